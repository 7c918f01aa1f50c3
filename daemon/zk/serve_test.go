package zk

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/machine/jute"
)

// raw is a client by hand.
type raw struct {
	testing.TB
	net.Conn
}

func dialRaw(t testing.TB, address string) raw {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	return raw{t, c}
}

func (l raw) send(payloads ...[]byte) {
	l.Helper()
	var b []byte
	for _, p := range payloads {
		b = jute.AppendFrame(b, p)
	}
	if _, err := l.Write(b); err != nil {
		l.Fatal(err)
	}
}

func (l raw) receive() []byte {
	l.Helper()
	b, err := readFrame(l, 0, jute.MaxFrame)
	if err != nil {
		l.Fatal(err)
	}
	return b
}

func (l raw) ended() {
	l.Helper()
	if n, err := io.Copy(io.Discard, l); n != 0 || err != nil {
		l.Errorf("%d bytes more, %v, want the end", n, err)
	}
}

var hello = jute.ConnectRequest{Timeout: 5000, Password: make([]byte, 16)}

func greeted(t testing.TB, address string) raw {
	t.Helper()
	l := dialRaw(t, address)
	l.send(hello.Encode())
	if r, err := jute.DecodeConnectResponse(l.receive()); err != nil || r.Session == 0 {
		t.Fatalf("handshake: %+v, %v", r, err)
	}
	return l
}

func TestHandshakeIsPassedOnAsItIs(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	for i, readOnly := range []bool{false, true} {
		q := hello
		q.HasReadOnly = readOnly
		l := dialRaw(t, address)
		l.send(q.Encode())
		if b := l.receive(); len(b) != 36+i {
			t.Errorf("the answer has %d bytes, want %d", len(b), 36+i)
		}
	}
	h.set(func() {
		if want := []string{"127.0.0.1", "127.0.0.1"}; !reflect.DeepEqual(h.hello, want) {
			t.Errorf("clients came from %v, want %v", h.hello, want)
		}
	})
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		ip   net.IP
		zone string
		want string
	}{{net.IPv4(10, 0, 0, 1), "", "10.0.0.1"}, {net.ParseIP("::ffff:10.0.0.1"), "", "10.0.0.1"}, {net.ParseIP("fe80::1"), "eth0", "fe80::1"}} {
		if got := hostOf(&net.TCPAddr{IP: c.ip, Port: 5, Zone: c.zone}); got != c.want {
			t.Errorf("%v: got %q, want %q", c.ip, got, c.want)
		}
	}
	if got := hostOf(&net.UnixAddr{Name: "@"}); got != "" {
		t.Errorf("a socket without an address has %q", got)
	}
}

// TestOrder: replies leave in the order in which they were told, with what was pushed between them.
func TestOrder(t *testing.T) {
	h := newToy()
	event := jute.Event{Type: jute.EventCreated, State: jute.StateConnected, Path: "/e"}
	address := serve(t, h)
	l := greeted(t, address)
	h.set(func() {
		h.override = func(q jute.Request) ([]byte, bool) {
			if q.Xid%100 == 0 {
				h.open[1].told(event.Encode(), false)
			}
			return nil, false
		}
	})
	var requests []byte
	const n = 3000
	for i := range int32(n) {
		q := jute.Request{Xid: i, Op: jute.Sync, Path: "/a"}
		requests = jute.AppendFrame(requests, q.Encode())
	}
	go l.Write(requests)
	events := 0
	for i := int32(0); i < n; {
		r, err := jute.DecodeReplyHeader(l.receive())
		switch {
		case err != nil:
			t.Fatal(err)
		case r.Xid == jute.XidNotification:
			events++
		case r.Xid != i:
			t.Fatalf("reply %d comes as number %d", r.Xid, i)
		default:
			i++
		}
	}
	if events != n/100 {
		t.Errorf("%d events, want %d", events, n/100)
	}
}

// TestLastWord: what the machine says with its close still arrives, though the client has sent more that nobody reads.
func TestLastWord(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	for range 20 {
		l := greeted(t, address)
		end, more := jute.Request{Xid: 1, Op: jute.CloseSession}, jute.Request{Xid: 2, Op: jute.Sync, Path: "/a"}
		payloads := [][]byte{end.Encode()}
		for range 100 {
			payloads = append(payloads, more.Encode())
		}
		l.send(payloads...)
		if r, err := jute.DecodeReplyHeader(l.receive()); err != nil || r.Xid != 1 {
			t.Fatalf("got %+v, %v", r, err)
		}
		l.ended()
	}
	h.await(t, "the end of all", func() bool { return len(h.gone) == 20 })
}

func TestServerThatDoesNotServe(t *testing.T) {
	h := newToy()
	h.shut = true
	l := dialRaw(t, serve(t, h))
	l.send(hello.Encode())
	l.ended()
}

func TestGone(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	l := greeted(t, address)
	l.Close()
	h.await(t, "the end of the connection", func() bool { return len(h.gone) == 1 })
	if want := []uint64{1}; !reflect.DeepEqual(h.gone, want) {
		t.Errorf("%v are gone, want %v", h.gone, want)
	}
}

// TestKnocking: who says nothing, or not all, or nonsense, is nobody to the machine.
func TestKnocking(t *testing.T) {
	h := newToy()
	b := usual
	b.handshake = short
	address := serveWithin(t, h, b)
	for _, what := range [][]byte{nil, {0}, {0, 0, 0, 45, 1}, {0xff, 0xff, 0xff, 0xff}, {0x7f, 0, 0, 0}, {0, 0, 0, 2, 1, 2}, []byte("quux"), []byte("GET / HTTP/1.1\r\n\r\n")} {
		l := dialRaw(t, address)
		l.Write(what)
		io.Copy(io.Discard, l) // it ends, with a reset where something was not read
	}
	h.set(func() {
		if h.conns != 0 {
			t.Errorf("%d of them got to the host", h.conns)
		}
	})
}

func TestLengthsOfRequests(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	q := jute.Request{Xid: 1, Op: jute.Create, Path: "/big", ACL: []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}}
	q.Data = make([]byte, jute.MaxFrame-len(q.Encode()))
	l := greeted(t, address)
	l.send(q.Encode())
	if r, err := jute.DecodeReplyHeader(l.receive()); err != nil || r.Err != jute.OK {
		t.Errorf("the greatest request: %+v, %v", r, err)
	}
	for _, n := range []int32{jute.MaxFrame + 1, -1, 7} {
		l := greeted(t, address)
		l.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
		if n > 0 {
			l.Write(make([]byte, 10))
		}
		io.Copy(io.Discard, l)
	}
	h.await(t, "the end of three", func() bool { return len(h.gone) == 3 })
	if len(h.asked) != 1 {
		t.Errorf("the host was asked for %d requests", len(h.asked))
	}
}

// TestSlowClient is cut off by the bytes that wait for it, long before its time to take them is over, and nobody waits for it. It is so with answers to
// requests that it makes, and with what is pushed.
func TestSlowClient(t *testing.T) {
	h := newToy()
	b := usual
	b.write = time.Hour
	address := serveWithin(t, h, b)
	slow, pushed, honest := greeted(t, address), greeted(t, address), greeted(t, address)
	h.set(func() { h.nodes["/big"] = &node{data: make([]byte, 1<<20)} })
	read, sync := jute.Request{Xid: 1, Op: jute.GetData, Path: "/big"}, jute.Request{Xid: 2, Op: jute.Sync, Path: "/a"}
	go func() {
		for frame := jute.AppendFrame(nil, read.Encode()); ; {
			if _, err := slow.Write(frame); err != nil {
				return
			}
		}
	}()
	event := jute.Event{Type: jute.EventCreated, State: jute.StateConnected, Path: "/" + strings.Repeat("e", 10_000)}.Encode()
	bytes := 0
	for over := 0; over < 2; {
		honest.send(sync.Encode())
		honest.receive()
		h.set(func() {
			if over = len(h.gone); slices.Contains(h.gone, 3) {
				t.Fatalf("%v are gone, the honest client among them", h.gone)
			}
			if c := h.open[2]; c != nil {
				c.told(event, false)
				bytes += len(event)
			}
		})
	}
	if bytes < maxBytes {
		t.Errorf("cut off after %d bytes", bytes)
	}
	pushed.Close()
}

// TestClientThatReadsNothing, of a server that says little, is hung up on after a while.
func TestClientThatReadsNothing(t *testing.T) {
	h := newToy()
	b := usual
	b.write = short
	address := serveWithin(t, h, b)
	l := greeted(t, address)
	h.set(func() { h.nodes["/big"] = &node{data: make([]byte, 8<<20)} })
	q := jute.Request{Xid: 1, Op: jute.GetData, Path: "/big"}
	l.send(q.Encode())
	h.await(t, "the end of the connection", func() bool { return len(h.gone) == 1 })
}

// TestOutstanding: a client's requests wait in its socket while too many have no reply.
func TestOutstanding(t *testing.T) {
	h := newToy()
	h.silent = true
	address := serve(t, h)
	l := greeted(t, address)
	q := jute.Request{Xid: 1, Op: jute.Sync, Path: "/a"}
	var b []byte
	for range 2 * maxAsked {
		b = jute.AppendFrame(b, q.Encode())
	}
	l.Write(b)
	h.await(t, "the last request", func() bool { return len(h.asked) == maxAsked })
	r := jute.Response{Xid: 1}
	for range maxAsked {
		h.set(func() { h.open[1].told(r.Encode(jute.Sync), false) })
	}
	h.await(t, "as many again", func() bool { return len(h.asked) == 2*maxAsked })
	h.set(func() { h.open[1].told(nil, true) }) // wakes whoever waits
	h.await(t, "the end", func() bool { return len(h.gone) == 1 })
}

// TestOutstandingOfAll: the limit is one for all clients. Where it is reached each may still have one request without a reply, so that the patience of
// one does not keep others from getting any. A client that was hung up on takes no part in it.
func TestOutstandingOfAll(t *testing.T) {
	h := newToy()
	h.silent = true
	address := serve(t, h)
	ask := func(l raw, xids ...int32) {
		var b []byte
		for _, xid := range xids {
			q := jute.Request{Xid: xid, Op: jute.Sync, Path: "/a"}
			b = jute.AppendFrame(b, q.Encode())
		}
		l.Write(b)
	}
	reply := func(conn uint64, xid int32) {
		r := jute.Response{Xid: xid}
		h.set(func() { h.open[conn].told(r.Encode(jute.Sync), false) })
	}
	greedy, modest, last := greeted(t, address), greeted(t, address), greeted(t, address)
	ask(greedy, make([]int32, 2*maxAsked)...)
	h.await(t, "as many as may be", func() bool { return len(h.asked) == maxAsked })
	beyond := func(want ...int32) {
		t.Helper()
		h.await(t, "one more", func() bool { return len(h.asked) >= maxAsked+len(want) })
		h.set(func() {
			for i, q := range h.asked[maxAsked:] {
				if i >= len(want) || q.Xid != want[i] {
					t.Fatalf("request %d has come, want %v", q.Xid, want)
				}
			}
		})
	}
	ask(modest, 1, 2, 3, 4, 5)
	beyond(1)
	ask(last, 10, 11)
	beyond(1, 10)
	reply(2, 1)
	beyond(1, 10, 2)
	h.set(func() { h.open[1].told(nil, true) })
	h.await(t, "the end of the greedy one", func() bool { return len(h.gone) == 1 })
	reply(2, 2)
	beyond(1, 10, 2, 3, 4, 5)
}

// TestStop: a front end whose listener is closed hangs up, also on those who wait.
func TestStop(t *testing.T) {
	h := newToy()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(l, h, nil) }()
	a, b := greeted(t, l.Addr().String()), dialRaw(t, l.Addr().String())
	l.Close()
	if err := <-done; err == nil {
		t.Error("no error of the listener")
	}
	io.Copy(io.Discard, a)
	io.Copy(io.Discard, b)
	if len(h.gone) != 1 {
		t.Errorf("%v are gone", h.gone)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 1, 2})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Add(jute.AppendFrame(nil, make([]byte, 3*cautious)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readFrame(bytes.NewReader(b), 0, jute.MaxFrame)
		if err != nil {
			return
		}
		if want := b[4 : 4+len(got)]; !bytes.Equal(got, want) || !bytes.Equal(jute.AppendFrame(nil, got), b[:4+len(got)]) {
			t.Errorf("%v was read as %v", b, got)
		}
	})
}
