package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/daemon"
	"assize/machine/jute"
	"assize/targets"
)

// alone runs one server of ours, which leads nobody.
func alone(t *testing.T) (address string) {
	t.Helper()
	a, err := freeAddresses(2)
	if err != nil {
		t.Fatal(err)
	}
	target, _ := targets.Find("zab")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Config{
			Node:   cluster.Node{ID: 1, Dir: t.TempDir(), Peer: a[0], Client: a[1], Settings: cluster.Settings{Target: "zab"}},
			Voters: []int{1}, New: target.New, Options: target.Defaults, Front: target.Front,
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for poll := time.NewTicker(20 * time.Millisecond); ; <-poll.C {
		s, err := dialZooKeeper(t.Context(), a[1], 0)
		if err == nil {
			s.close()
			return a[1]
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestLoadOnZooKeeper(t *testing.T) {
	address := alone(t)
	for range 2 { // the second time the nodes are there
		for _, operation := range zookeeper.operations {
			l := load{zookeeper, []string{address}, operation, 2, time.Millisecond, toAll}
			if _, err := l.run(t.Context()); err != nil {
				t.Errorf("%s: %v", operation, err)
			}
		}
	}
	s, err := dialZooKeeper(t.Context(), address, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	written, err := s.ask(jute.Request{Op: jute.GetData, Path: path(key(1, 1))})
	if err != nil || len(written.Data) != valueSize || written.Stat.Version != 2 {
		t.Errorf("the second key of the second connection: %+v, %v, want %d bytes, written once in each run", written, err, valueSize)
	}
	if r, err := s.ask(jute.Request{Op: jute.GetChildren, Path: "/created"}); err != nil || len(r.Children) < 2*2*2 {
		t.Errorf("%d nodes were created, %v; want two by each connection of each run", len(r.Children), err)
	}
	if err := s.do(t.Context(), set, 0, nil); err != nil {
		t.Error(err)
	}
	if r, err := s.ask(jute.Request{Op: jute.Delete, Path: path(0), Version: -1}); err != nil || r.Err != jute.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := s.do(t.Context(), set, 0, nil); err == nil || !strings.Contains(err.Error(), "NoNode") {
		t.Errorf("an operation that fails: %v", err)
	}
	if _, err := (load{zookeeper, []string{address}, set, 1, time.Millisecond, toLeader}).run(t.Context()); err == nil || !strings.Contains(err.Error(), "leads") {
		t.Errorf("a server alone: %v", err)
	}
}

// TestAnswerToAnotherRequest is none: what is counted has been answered.
func TestAnswerToAnotherRequest(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		defer theirs.Close()
		for xid := range int32(2) {
			if _, err := io.CopyN(io.Discard, theirs, int64(len(jute.AppendFrame(nil, (&jute.Request{Op: jute.Ping}).Encode())))); err != nil {
				return
			}
			theirs.Write(jute.AppendFrame(nil, (&jute.Response{Xid: 2*(xid+1) - 1}).Encode(jute.Ping)))
		}
	}()
	s := zkSession{Conn: ours, r: bufio.NewReader(ours)}
	if _, err := s.ask(jute.Request{Op: jute.Ping}); err != nil {
		t.Error(err)
	}
	if _, err := s.ask(jute.Request{Op: jute.Ping}); err == nil || !strings.Contains(err.Error(), "number 2 is answered as number 3") {
		t.Errorf("got %v", err)
	}
}

// TestServerThatAnswersWhenSomethingElseComes, as ZooKeeper's leader may: a connection gets no session and the next one does, and a request is answered after
// a ping.
func TestServerThatAnswersWhenSomethingElseComes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	size := func(payload []byte) int64 { return int64(len(jute.AppendFrame(nil, payload))) }
	hello := size(jute.ConnectRequest{Password: make([]byte, 16)}.Encode())
	get, ping := jute.Request{Op: jute.GetData, Path: path(1)}, jute.Request{Op: jute.Ping}
	served := make(chan error, 1)
	go func() {
		silent, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer silent.Close()
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		_, err = io.CopyN(io.Discard, conn, hello)
		conn.Write(jute.AppendFrame(nil, jute.ConnectResponse{Session: 1, Password: make([]byte, 16)}.Encode()))
		_, asked := io.CopyN(io.Discard, conn, size(get.Encode())+size(ping.Encode()))
		conn.Write(jute.AppendFrame(nil, (&jute.Response{Xid: jute.XidPing}).Encode(jute.Ping)))
		conn.Write(jute.AppendFrame(nil, (&jute.Response{Xid: 1, Data: []byte("v")}).Encode(jute.GetData)))
		served <- errors.Join(err, asked)
	}()
	s, err := dialZooKeeper(t.Context(), l.Addr().String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.ask(get)
	s.Conn.Close() // or a server that has not been pinged would wait for ever
	if err != nil || string(r.Data) != "v" {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestContestsShareNoDirectory: the nodes of two contests have the same names, and other logs.
func TestContestsShareNoDirectory(t *testing.T) {
	seen, dir := map[string]bool{}, t.TempDir()
	none := errors.New("nothing to measure")
	for _, name := range []string{"one", "other"} {
		k := contest{name: name, systems: []func(comparison) (*servers, error){func(c comparison) (*servers, error) {
			if info, err := os.Stat(c.dir); err != nil || !info.IsDir() || seen[c.dir] {
				t.Errorf("%s: got %q, %v, want a directory of its own", name, c.dir, err)
			}
			seen[c.dir] = true
			return nil, none
		}}}
		err := compare(t.Context(), io.Discard, comparison{contests: []contest{k}, rounds: 1, binary: "x", dir: dir})
		if !errors.Is(err, none) {
			t.Errorf("got %v, want %v", err, none)
		}
	}
}
