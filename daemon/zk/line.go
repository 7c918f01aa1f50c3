package zk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"assize/cluster"
	"assize/machine/jute"
)

// maxReply is the length of a reply that is taken for one: a set's children are many, and no set is that large.
const maxReply = 64 << 20

// line is a client's one TCP connection. It stands between go-zookeeper and the socket, because go-zookeeper believes whatever a server says: a reply
// that is too short, or a list whose count is -1, ends its process. Each reply is looked at here before it is passed on, and the zxid in its
// header is kept, which go-zookeeper throws away.
//
// go-zookeeper writes a frame with each Write, from one goroutine at a time, and reads from one goroutine.
type line struct {
	net.Conn
	rest bytes.Reader // of the frame that has been read last

	mu      sync.Mutex
	greeted bool // the handshake has been sent
	known   bool // it has been answered
	waiting []sent
	newest  int32 // xid of the last request, but for pings
	last    jute.ReplyHeader
	fault   error // of the server, if it has talked nonsense
}

// sent is a request without a reply.
type sent struct {
	xid int32
	op  jute.Op
}

func (l *line) Write(b []byte) (int, error) {
	l.mu.Lock()
	if l.greeted && len(b) >= 12 {
		q := sent{int32(binary.BigEndian.Uint32(b[4:])), jute.Op(binary.BigEndian.Uint32(b[8:]))}
		l.waiting = append(l.waiting, q)
		if q.xid >= 0 {
			l.newest = q.xid
		}
	}
	l.greeted = true
	l.mu.Unlock()
	return l.Conn.Write(b)
}

func (l *line) Read(b []byte) (int, error) {
	if l.rest.Len() == 0 {
		frame, err := l.next()
		if err != nil {
			return 0, err
		}
		l.rest.Reset(frame)
	}
	return l.rest.Read(b)
}

// next frame, with its length. Only one that makes sense is passed on.
func (l *line) next() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(l.Conn, head[:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(head[:])))
	if n < 0 || n > maxReply {
		return nil, l.accuse(fmt.Errorf("a reply of %d bytes", n))
	}
	payload, err := readPayload(l.Conn, head, 0, maxReply)
	if err != nil {
		return nil, err
	}
	if payload, err = l.understand(payload); err != nil {
		return nil, l.accuse(err)
	}
	return jute.AppendFrame(make([]byte, 0, 4+len(payload)), payload), nil
}

func (l *line) accuse(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fmt.Errorf("%w: %w", err, cluster.ErrNonsense)
	return l.fault
}

// understand a payload, which must be what is due: replies come in the order of the requests. The result is what has been understood, encoded anew, where
// a list that is not there has become an empty one.
func (l *line) understand(payload []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known {
		if !l.greeted || len(payload) > 100 { // go-zookeeper's buffer
			return nil, errors.New("no answer to a handshake")
		}
		l.known = true
		r, err := jute.DecodeConnectResponse(payload)
		return r.Encode(), err
	}
	h, err := jute.DecodeReplyHeader(payload)
	if err != nil {
		return nil, err
	}
	if h.Xid == jute.XidNotification {
		e, err := jute.DecodeEvent(payload)
		return e.Encode(), err
	}
	if len(l.waiting) == 0 || l.waiting[0].xid != h.Xid {
		return nil, fmt.Errorf("a reply to request %d, which is not the oldest of %v", h.Xid, l.waiting)
	}
	op := l.waiting[0].op
	l.waiting = l.waiting[1:]
	r, err := jute.DecodeResponse(op, payload)
	if err != nil {
		return nil, err
	}
	if h.Xid >= 0 {
		l.last = h
	}
	return r.Encode(op), nil
}

// reply to the last request, but for pings; zero: there has been none.
func (l *line) reply() jute.ReplyHeader {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.Xid != l.newest {
		return jute.ReplyHeader{}
	}
	return l.last
}

// nonsense that the server has talked, if any.
func (l *line) nonsense() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}
