package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"assize/daemon/zk"
	"assize/machine/jute"
)

// Operations on ZooKeeper.
const (
	set     = "setData"
	create  = "create"
	getData = "getData" // of the server's own state
)

var zookeeper = protocol{
	name:       "zookeeper",
	operations: []string{set, create, getData},
	leads: func(ctx context.Context, address string) (bool, error) {
		answer, err := zk.Ask(ctx, address, "srvr")
		return strings.Contains(answer, "Mode: leader"), err
	},
	prepare: prepareZooKeeper,
	dial: func(ctx context.Context, address string, number int) (session, error) {
		return dialZooKeeper(ctx, address, number)
	},
}

// How long the lean client waits before it does what other clients do sooner or later: it pings, and before it has a session it dials again. ZooKeeper's
// leader up to 3.8.0 can leave a committed transaction lying until the next request of any client comes (ZOOKEEPER-4537).
const (
	pingAfter   = 50 * time.Millisecond
	redialAfter = time.Second
)

// zkSession is a client of its own: go-zookeeper, which hands each request from goroutine to goroutine, takes more of the processors for a read than the
// server does that answers it, and so would measure itself.
type zkSession struct {
	net.Conn
	r      *bufio.Reader
	frame  []byte
	xid    int32
	number int
	path   string // of what it creates
}

func dialZooKeeper(ctx context.Context, address string, number int) (s *zkSession, err error) {
	for began := time.Now(); time.Since(began) < requestBound && ctx.Err() == nil; {
		if s, err = dialOnce(ctx, address, number); !errors.Is(err, os.ErrDeadlineExceeded) {
			return s, err
		}
	}
	return nil, errors.Join(err, ctx.Err())
}

func dialOnce(ctx context.Context, address string, number int) (*zkSession, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &zkSession{Conn: conn, r: bufio.NewReader(conn), number: number, path: fmt.Sprintf("/created/%d-%d-", time.Now().UnixNano(), number)}
	hello := jute.ConnectRequest{Timeout: int32(requestBound.Milliseconds()), Password: make([]byte, 16)}
	b, err := s.handshake(hello.Encode())
	if err == nil {
		var r jute.ConnectResponse
		if r, err = jute.DecodeConnectResponse(b); err == nil && r.Session == 0 {
			err = fmt.Errorf("%s gives no session", address)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *zkSession) handshake(hello []byte) ([]byte, error) {
	if err := s.SetDeadline(time.Now().Add(redialAfter)); err != nil {
		return nil, err
	}
	if err := s.send(hello); err != nil {
		return nil, err
	}
	return s.receive()
}

func (s *zkSession) send(payload []byte) error {
	s.frame = jute.AppendFrame(s.frame[:0], payload)
	_, err := s.Write(s.frame)
	return err
}

// receive a frame.
func (s *zkSession) receive() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > jute.MaxFrame {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	answer := make([]byte, n)
	_, err := io.ReadFull(s.r, answer)
	return answer, err
}

// exchange a frame for the next that answers no ping.
func (s *zkSession) exchange(payload []byte) ([]byte, error) {
	bound := time.Now().Add(requestBound)
	if err := s.SetDeadline(bound); err != nil {
		return nil, err
	}
	if err := s.send(payload); err != nil {
		return nil, err
	}
	for {
		if err := s.await(bound); err != nil {
			return nil, err
		}
		b, err := s.receive()
		if err != nil || len(b) < 4 || int32(binary.BigEndian.Uint32(b)) != jute.XidPing {
			return b, err
		}
	}
}

// await the beginning of a frame, and ping meanwhile.
func (s *zkSession) await(bound time.Time) error {
	for {
		if err := s.SetReadDeadline(time.Now().Add(pingAfter)); err != nil {
			return err
		}
		_, err := s.r.Peek(1)
		if err == nil {
			return s.SetReadDeadline(bound)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(bound) {
			return err
		}
		ping := jute.Request{Xid: jute.XidPing, Op: jute.Ping}
		if err := s.send(ping.Encode()); err != nil {
			return err
		}
	}
}

// ask for what q says.
func (s *zkSession) ask(q jute.Request) (jute.Response, error) {
	s.xid++
	q.Xid = s.xid
	b, err := s.exchange(q.Encode())
	if err != nil {
		return jute.Response{}, err
	}
	r, err := jute.DecodeResponse(q.Op, b)
	if err == nil && r.Xid != q.Xid {
		err = fmt.Errorf("%v number %d is answered as number %d", q.Op, q.Xid, r.Xid)
	}
	return r, err
}

// close the session too, or its end would be written while something else is measured.
func (s *zkSession) close() {
	_, _ = s.ask(jute.Request{Op: jute.CloseSession})
	s.Conn.Close()
}

// prepareZooKeeper makes the nodes, once: the last one is the sign that all are there.
func prepareZooKeeper(ctx context.Context, address string) error {
	s, err := dialZooKeeper(ctx, address, 0)
	if err != nil {
		return err
	}
	defer s.close()
	if r, err := s.ask(jute.Request{Op: jute.Exists, Path: "/created"}); err != nil || r.Err == jute.OK {
		return err
	}
	var paths []string
	for i := range keys {
		paths = append(paths, path(i))
	}
	for _, p := range append(paths, "/created") {
		r, err := s.ask(creation(p, []byte("v")))
		if err != nil {
			return err
		}
		if r.Err != jute.OK && r.Err != jute.NodeExists {
			return fmt.Errorf("create %s: %v", p, r.Err)
		}
	}
	return nil
}

func path(key int) string { return fmt.Sprintf("/key%04d", key) }

func creation(path string, data []byte) jute.Request {
	return jute.Request{Op: jute.Create, Path: path, Data: data, ACL: []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}}
}

func (s *zkSession) do(_ context.Context, operation string, i int, value []byte) error {
	var q jute.Request
	switch operation {
	case set:
		q = jute.Request{Op: jute.SetData, Path: path(key(s.number, i)), Data: value, Version: -1}
	case create:
		q = creation(fmt.Sprint(s.path, i), value)
	default:
		q = jute.Request{Op: jute.GetData, Path: path(key(s.number, i))}
	}
	r, err := s.ask(q)
	if err == nil && r.Err != jute.OK {
		err = fmt.Errorf("%s: %v", q.Path, r.Err)
	}
	return err
}
