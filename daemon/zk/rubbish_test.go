package zk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"assize/cluster"
	"assize/history"
	"assize/machine/jute"
)

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, r.IntN(n))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// rubbish of several degrees: noise, noise in frames, noise behind a handshake, damage in requests. proper: there is a handshake, so an answer is due.
func rubbish(r *rand.Rand) (b []byte, proper bool) {
	degree := r.IntN(4)
	if degree == 0 {
		return noise(r, 400), false
	}
	if degree == 1 {
		for range r.IntN(5) {
			b = jute.AppendFrame(b, noise(r, 60))
		}
		return b, false
	}
	b = jute.AppendFrame(nil, hello.Encode())
	for range r.IntN(10) {
		if degree == 2 {
			b = jute.AppendFrame(b, noise(r, 60))
			continue
		}
		q := jute.Request{Xid: int32(r.IntN(9)), Op: jute.Op(r.IntN(23)), Path: "/r-a", Data: noise(r, 20)}
		frame := jute.AppendFrame(nil, q.Encode())
		frame[r.IntN(len(frame))] ^= byte(1 << r.IntN(8))
		b = append(b, frame...)
	}
	return b, true
}

// TestRubbishAtTheClientPort: whoever sends it is disconnected at most; the others do not notice.
func TestRubbishAtTheClientPort(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	honest := connect(t, address, cluster.Options{Timeout: long})
	r := rand.New(rand.NewPCG(1, 2))
	answered := 0
	for i := range 600 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		b, proper := rubbish(r)
		c.Write(b)
		c.(*net.TCPConn).CloseWrite()
		n, _ := io.Copy(io.Discard, c)
		if proper && n > 0 {
			answered++
		}
		c.Close()
		if i%100 == 0 {
			if _, err := honest.Do(t.Context(), one(history.Write, "honest", i)); err != nil {
				t.Fatalf("after %d connections: %v", i, err)
			}
		}
	}
	if answered < 100 {
		t.Errorf("only %d of the connections got as far as an answer", answered)
	}
}

// nonsense is what a bad server sends to a client that has shaken hands: noise, noise in a frame, damage in a reply.
func nonsense(r *rand.Rand, xid int32) []byte {
	switch r.IntN(4) {
	case 0:
		return binary.BigEndian.AppendUint32(nil, r.Uint32())
	case 1:
		return noise(r, 200)
	case 2:
		return jute.AppendFrame(nil, noise(r, 60))
	}
	// A reply to getChildren2 with a count that go-zookeeper would allocate at once.
	b := (&jute.Response{Xid: xid, Zxid: 5}).Encode(jute.Ping)
	return jute.AppendFrame(nil, append(binary.BigEndian.AppendUint32(b, 0xffffffff-r.Uint32N(3)), noise(r, 100)...))
}

// TestRubbishFromAServer ends in an error that does not say that nothing was done once something was sent, and never in go-zookeeper's panic.
func TestRubbishFromAServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		r := rand.New(rand.NewPCG(3, 4))
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := readFrame(c, 0, jute.MaxFrame); err == nil && r.IntN(4) > 0 {
				answer := jute.ConnectResponse{Timeout: 5000, Session: 5, Password: make([]byte, 16)}
				c.Write(jute.AppendFrame(nil, answer.Encode()))
				if q, err := readFrame(c, 8, jute.MaxFrame); err == nil {
					c.Write(nonsense(r, int32(binary.BigEndian.Uint32(q))))
				}
			} else {
				c.Write(noise(r, 200))
			}
			c.Close()
		}
	}()
	reached, told := 0, 0
	for i := range 200 {
		c, err := Dial(t.Context(), l.Addr().String(), cluster.Options{Timeout: long})
		if err != nil {
			if !errors.Is(err, cluster.ErrNotDone) {
				t.Errorf("dial: %v", err)
			}
			continue
		}
		reached++
		txn := one(history.Write, "a", 1)
		if i%2 == 0 {
			txn = one(history.Scan, "a")
		}
		a, err := c.Do(t.Context(), txn)
		if err == nil && !(i%2 == 0 && a.Txn[0].Out == nil) || errors.Is(err, cluster.ErrNotDone) {
			t.Errorf("%s: rubbish was understood as %+v, %v", txn[0].F, a, err)
		}
		if errors.Is(err, cluster.ErrNonsense) {
			told++
		}
		c.Close()
	}
	if reached < 100 || told < 50 {
		t.Errorf("%d connections came to be, and %d were known to be nonsense", reached, told)
	}
}

// TestRepliesOutOfOrder are nonsense, whoever they answer.
func TestRepliesOutOfOrder(t *testing.T) {
	h := newToy()
	c := connect(t, serve(t, h), cluster.Options{Timeout: long})
	h.set(func() {
		h.override = func(q jute.Request) ([]byte, bool) {
			r := jute.Response{Xid: q.Xid + 1, Zxid: 5}
			return r.Encode(q.Op), false
		}
	})
	if _, err := c.Do(t.Context(), one(history.Write, "a", 1)); !errors.Is(err, cluster.ErrNonsense) || errors.Is(err, cluster.ErrNotDone) {
		t.Errorf("got %v, want %v", err, cluster.ErrNonsense)
	}
}

// FuzzReply: whatever a server replies, it is passed on as something that is understood as the same again, or it is an accusation.
func FuzzReply(f *testing.F) {
	ops := []jute.Op{jute.Create, jute.SetData, jute.GetData, jute.GetChildren2, jute.Sync, jute.Ping, jute.CloseSession}
	for i := range ops {
		f.Add(uint8(i), (&jute.Response{Xid: 1, Zxid: 5, Path: "/a", Children: []string{"b"}}).Encode(ops[i]))
	}
	f.Add(uint8(0), jute.Event{Type: jute.EventCreated, Path: "/a"}.Encode())
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		due := func() *line {
			return &line{greeted: true, known: true, waiting: []sent{{1, ops[int(which)%len(ops)], ""}}, newest: 1}
		}
		got, err := due().understand(payload)
		if err != nil {
			return
		}
		if again, err := due().understand(got); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%x was passed on as %x, and that as %x, %v", payload, got, again, err)
		}
	})
}
