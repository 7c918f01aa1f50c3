package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
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

func dialZooKeeper(ctx context.Context, address string, number int) (*zkSession, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &zkSession{Conn: conn, r: bufio.NewReader(conn), number: number, path: fmt.Sprintf("/created/%d-%d-", time.Now().UnixNano(), number)}
	hello := jute.ConnectRequest{Timeout: int32(requestBound.Milliseconds()), Password: make([]byte, 16)}
	b, err := s.exchange(hello.Encode())
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

// exchange a frame for the next.
func (s *zkSession) exchange(payload []byte) ([]byte, error) {
	if err := s.SetDeadline(time.Now().Add(requestBound)); err != nil {
		return nil, err
	}
	s.frame = jute.AppendFrame(s.frame[:0], payload)
	if _, err := s.Write(s.frame); err != nil {
		return nil, err
	}
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
