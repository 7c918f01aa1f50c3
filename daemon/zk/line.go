package zk

import (
	"bytes"
	"context"
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
	rest    bytes.Reader // of the frame that has been read last
	writing sync.Mutex   // frames leave in the order in which they wait for replies

	// Of a session that outlives its connections; nil: it does not.
	carried   *carried
	greeting  chan jute.ConnectResponse // the answer to the handshake
	rewatched chan jute.Code            // watches have been set anew
	closed    chan jute.Code            // the session has been
	dead      chan struct{}             // closed when nothing more will come
	ended     sync.Once

	mu      sync.Mutex
	greeted bool // the handshake has been sent
	known   bool // it has been answered
	waiting []sent
	newest  int32 // xid of the last request, but for pings
	last    jute.ReplyHeader
	parts   []jute.Code // of the multi that was answered last, the outcome of each part
	fault   error       // of the server, if it has talked nonsense
	deaf    bool        // nothing more is understood
}

// sent is a request without a reply.
type sent struct {
	xid     int32
	op      jute.Op
	watched string // path on which it leaves a watch
}

// carriedLine is a line of a session that outlives it.
func carriedLine(c net.Conn, k *carried) *line {
	return &line{Conn: c, carried: k, greeting: make(chan jute.ConnectResponse, 1), rewatched: make(chan jute.Code, 1), closed: make(chan jute.Code, 1), dead: make(chan struct{})}
}

// end: nothing more will come.
func (l *line) end() {
	if l.dead != nil {
		l.ended.Do(func() { close(l.dead) })
	}
}

func (l *line) Write(b []byte) (int, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	if l.greeted && len(b) >= 12 {
		q := sent{xid: int32(binary.BigEndian.Uint32(b[4:])), op: jute.Op(binary.BigEndian.Uint32(b[8:]))}
		if (q.op == jute.Exists || q.op == jute.GetChildren2) && l.carried != nil {
			if r, err := jute.DecodeRequest(b[4:]); err == nil && r.Watch {
				q.watched = r.Path
			}
		}
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
			l.end()
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

// hangUp for good: what has not been understood by now never will be, so that a watch whose user was told that it failed is not left.
func (l *line) hangUp() error {
	l.mu.Lock()
	l.deaf = true
	l.mu.Unlock()
	return l.Conn.Close()
}

func (l *line) accuse(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf {
		return err
	}
	l.fault = fmt.Errorf("%w: %w", err, cluster.ErrNonsense)
	return l.fault
}

// understand a payload, which must be what is due: replies come in the order of the requests. The result is what has been understood, encoded anew, where
// a list that is not there has become an empty one.
func (l *line) understand(payload []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf {
		return nil, net.ErrClosed
	}
	if !l.known {
		if !l.greeted || len(payload) > 100 { // go-zookeeper's buffer
			return nil, errors.New("no answer to a handshake")
		}
		l.known = true
		r, err := jute.DecodeConnectResponse(payload)
		if err == nil && l.carried != nil {
			l.carried.greeted(&r)
			l.greeting <- r
		}
		return r.Encode(), err
	}
	h, err := jute.DecodeReplyHeader(payload)
	if err != nil {
		return nil, err
	}
	if h.Xid == jute.XidNotification {
		e, err := jute.DecodeEvent(payload)
		if err == nil && l.carried != nil {
			err = l.carried.hear(e)
		}
		return e.Encode(), err
	}
	if len(l.waiting) == 0 || l.waiting[0].xid != h.Xid {
		return nil, fmt.Errorf("a reply to request %d, which is not the oldest of %v", h.Xid, l.waiting)
	}
	q := l.waiting[0]
	l.waiting = l.waiting[1:]
	r, err := jute.DecodeResponse(q.op, payload)
	if err != nil {
		return nil, err
	}
	if h.Xid >= 0 {
		l.last, l.parts = h, nil
		for i := range r.Sub {
			l.parts = append(l.parts, r.Sub[i].Err)
		}
	}
	if l.carried != nil {
		if err = l.carried.answered(q, r.Err); err != nil {
			return nil, err
		}
	}
	select {
	case l.answers(q) <- r.Err:
	default:
	}
	return r.Encode(q.op), nil
}

// answers of a request that go-zookeeper's caller does not get; nil: it does.
func (l *line) answers(q sent) chan jute.Code {
	switch q.op {
	case jute.SetWatches:
		return l.rewatched
	case jute.CloseSession:
		return l.closed
	}
	return nil
}

// xidClose is that of no request of go-zookeeper's, which counts from 1.
const xidClose = 1<<31 - 1

// closeSession asks for the end of the session. go-zookeeper can only end itself with it, and then nobody could ask whether the session has ended.
func (l *line) closeSession() (jute.Code, error) {
	q := jute.Request{Xid: xidClose, Op: jute.CloseSession}
	if _, err := l.Write(jute.AppendFrame(nil, q.Encode())); err != nil {
		return 0, err
	}
	return wait(context.Background(), l, l.closed)
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

// codes are the outcomes of the parts of the multi that was answered last. go-zookeeper does not pass on all of them.
func (l *line) codes() []jute.Code {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parts
}

// nonsense that the server has talked, if any.
func (l *line) nonsense() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}
