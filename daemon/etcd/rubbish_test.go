package etcd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"google.golang.org/protobuf/proto"

	"assize/cluster"
	"assize/history"
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame of HTTP/2.
func frame(kind, flags byte, stream uint32, body []byte) []byte {
	b := append([]byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body)), kind, flags}, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[5:], stream)
	return append(b, body...)
}

// rubbish of several degrees: noise, noise in frames, damage in frames, damage in the body of a request. proper: it looks like a request, so an answer
// is due.
func rubbish(r *rand.Rand) (b []byte, proper bool) {
	noise := func(n int) []byte {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	degree := r.IntN(4)
	if degree == 0 {
		return noise(400), false
	}
	b = append([]byte(preface), frame(4, 0, 0, nil)...)
	if degree == 3 {
		// :method POST, :scheme http, :path /etcdserverpb.KV/Txn, te trailers, content-type application/grpc, all literal or from the static table.
		var h bytes.Buffer
		h.Write([]byte{0x83, 0x86, 0x04})
		for i, s := range []string{"/etcdserverpb.KV/Txn", "x", "content-type", "application/grpc", "te", "trailers"} {
			switch i {
			case 1:
				h.WriteByte(0x01) // :authority
			case 2, 4:
				h.WriteByte(0x00)
			}
			h.WriteByte(byte(len(s)))
			h.WriteString(s)
		}
		b = append(b, frame(1, 4, 1, h.Bytes())...)
		body, err := proto.Marshal(txnOf(draw{r}.command()))
		if err != nil {
			panic(err)
		}
		if len(body) > 0 && r.IntN(2) == 0 {
			body[r.IntN(len(body))] ^= byte(r.Uint32())
		}
		message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
		return append(b, frame(0, 1, 1, append(message, body...))...), true
	}
	for range r.IntN(10) {
		b = append(b, frame(byte(r.IntN(11)), byte(r.Uint32()), uint32(r.IntN(6)), noise(60))...)
		if degree == 2 {
			b[r.IntN(len(b)-len(preface))+len(preface)] ^= byte(r.Uint32())
		}
	}
	return b, false
}

// answer reads frames until one that ends the request: headers, a reset or a farewell.
func answer(c io.Reader) (seen bool) {
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return seen
		}
		seen = true
		if _, err := io.CopyN(io.Discard, c, int64(head[0])<<16|int64(head[1])<<8|int64(head[2])); err != nil || head[3] == 1 || head[3] == 3 || head[3] == 7 {
			return seen
		}
	}
}

// TestRubbishAtTheClientPort: whoever sends it is disconnected at most; the others do not notice.
func TestRubbishAtTheClientPort(t *testing.T) {
	h := newMemory(0)
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
		if !proper {
			c.(*net.TCPConn).CloseWrite()
		}
		if answer(c) {
			answered++
		}
		c.Close()
		if i%100 == 0 {
			if _, err := honest.Do(t.Context(), one(history.Write, "a", i)); err != nil {
				t.Fatalf("after %d connections: %v", i, err)
			}
		}
	}
	if answered < 100 {
		t.Errorf("only %d of the connections got as far as an answer", answered)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns < 20 {
		t.Errorf("only %d connections got as far as the host", h.conns)
	}
}

// TestRubbishFromAServer ends in an error that does not say that nothing was done once something was sent.
func TestRubbishFromAServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	settings := frame(4, 0, 0, nil)
	go func() {
		r := rand.New(rand.NewPCG(3, 4))
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r.IntN(2) == 0 {
				c.Write(settings)
				c.Write(frame(4, 1, 0, nil))
				io.ReadFull(c, make([]byte, len(preface)+100))
			}
			b := make([]byte, 200)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			c.Write(b)
			c.Close()
		}
	}()
	reached := 0
	for range 40 {
		c, err := Dial(t.Context(), l.Addr().String(), cluster.Options{Timeout: long})
		if err != nil {
			if !errors.Is(err, cluster.ErrNotDone) {
				t.Errorf("dial: %v", err)
			}
			continue
		}
		reached++
		if a, err := c.Do(t.Context(), one(history.Write, "a", 1)); err == nil {
			t.Errorf("rubbish was understood as %+v", a)
		}
		c.Close()
	}
	if reached == 0 {
		t.Error("no connection came to be")
	}
}
