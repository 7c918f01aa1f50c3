package zk

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"assize/machine/jute"
)

// visitor is a client's connection. One goroutine reads, another writes; what the machine says waits in between.
type visitor struct {
	net.Conn
	front *front
	began time.Time
	traffic

	mu     sync.Mutex
	change *sync.Cond // ready, asked, over or broken has changed
	id     uint64     // the host's name for it; 0: it has not shaken hands
	ready  [][]byte   // to be written
	bytes  int        // of ready
	asked  []asked    // requests without a reply, in order
	next   int        // in asked: the oldest
	greet  bool       // the handshake has been answered
	over   bool       // nothing comes after what is ready
	broken bool       // nothing can be written any more
	last   asked      // request that was replied to last
	heard  time.Time  // of that reply
	lasted time.Duration
}

// asked is a request that has come.
type asked struct {
	at  time.Time
	xid int32
	op  jute.Op
}

func newVisitor(f *front, c net.Conn) *visitor {
	v := &visitor{Conn: c, front: f, began: time.Now()}
	v.change = sync.NewCond(&v.mu)
	return v
}

// cut the connection now. Reads and writes that are under way end.
func (v *visitor) cut() {
	v.mu.Lock()
	v.broken = true
	v.mu.Unlock()
	v.change.Broadcast()
	v.Conn.Close()
}

// visit from its beginning to its end.
func (v *visitor) visit() {
	defer v.Conn.Close()
	_ = v.SetReadDeadline(v.began.Add(v.front.handshake)) // fails only on a closed connection, as the read does
	r := bufio.NewReaderSize(v.Conn, 4<<10)
	var head [4]byte
	if b, err := r.Peek(4); err != nil {
		return
	} else {
		copy(head[:], b)
	}
	if _, ok := words[string(head[:])]; ok {
		_, _ = r.Discard(4)
		v.front.received.Add(1)
		v.received.Add(1)
		if answer, err := v.front.word(string(head[:]), r); err == nil {
			v.say(answer)
			v.drain(r)
		}
		return
	}
	hello, err := readFrame(r, 0, jute.MaxFrame)
	if err != nil {
		return
	}
	if _, err := jute.DecodeConnectRequest(hello); err != nil {
		return // whoever only knocks, or talks rubbish, is nobody to the machine
	}
	_ = v.SetReadDeadline(time.Time{})
	v.front.received.Add(1)
	v.received.Add(1)
	id := v.front.host.Open(v.told)
	v.mu.Lock()
	v.id = id
	v.mu.Unlock()
	var writing sync.WaitGroup
	writing.Go(v.write)
	if v.front.host.Send(id, jute.Introduce(hostOf(v.RemoteAddr()), hello)) == nil {
		v.listen(r)
	}
	v.forget()
	v.front.host.Gone(id)
	v.told(nil, true) // the machine says no more; what it has said is still written
	writing.Wait()
	v.drain(r)
}

// listen to requests until the client hangs up, says what no client says, or the machine closes the connection.
func (v *visitor) listen(r *bufio.Reader) {
	for {
		payload, err := readFrame(r, 8, jute.MaxFrame)
		if err != nil || !v.ask(payload) || v.front.host.Send(v.id, payload) != nil {
			return
		}
	}
}

// ask notes a request. It waits while too many are without a reply, one of which is its own: so whoever waits is woken by a reply. False: the connection is
// over.
func (v *visitor) ask(payload []byte) bool {
	v.front.received.Add(1)
	v.received.Add(1)
	q := asked{xid: int32(binary.BigEndian.Uint32(payload)), op: jute.Op(binary.BigEndian.Uint32(payload[4:]))}
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.asked) > v.next && v.front.asked.Load() >= maxAsked && !v.over && !v.broken {
		v.change.Wait()
	}
	if v.next == len(v.asked) || v.next > maxAsked {
		v.asked = append(v.asked[:0], v.asked[v.next:]...)
		v.next = 0
	}
	q.at = time.Now()
	v.asked = append(v.asked, q)
	v.front.asked.Add(1)
	return !v.over && !v.broken
}

// forget what was asked: whoever has gone keeps nobody waiting.
func (v *visitor) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.front.asked.Add(-int64(len(v.asked) - v.next))
	v.asked, v.next = nil, 0
}

// told is what the machine says. It never blocks: a client that does not read is hung up on.
func (v *visitor) told(body []byte, end bool) {
	v.mu.Lock()
	defer v.change.Broadcast()
	defer v.mu.Unlock()
	if v.over || v.broken {
		return
	}
	v.over = end
	if body == nil {
		v.wake(end)
		return
	}
	if len(v.ready) > 0 && v.bytes+len(body) > maxBytes {
		v.broken = true
		v.Conn.Close()
		return
	}
	v.ready = append(v.ready, body)
	v.bytes += len(body)
	v.answered(body)
	v.wake(end)
}

// wake the reader if this is the end, so that it goes on to the end, too. Under mu.
func (v *visitor) wake(end bool) {
	if end {
		_ = v.SetReadDeadline(time.Now())
	}
}

// answered says which request a reply belongs to: all have replies, in order, and only notifications come between. Under mu.
func (v *visitor) answered(body []byte) {
	v.front.sent.Add(1)
	v.sent.Add(1)
	switch {
	case !v.greet:
		v.greet = true
	case len(body) >= 4 && int32(binary.BigEndian.Uint32(body)) == jute.XidNotification:
	case v.next < len(v.asked):
		v.last, v.heard = v.asked[v.next], time.Now()
		v.next++
		v.front.asked.Add(-1)
		v.lasted = v.heard.Sub(v.last.at)
		v.traffic.took(v.lasted)
		v.front.traffic.took(v.lasted)
	}
}

// write what is ready until all is over.
func (v *visitor) write() {
	var frames [][]byte
	var b []byte
	for {
		v.mu.Lock()
		for len(v.ready) == 0 && !v.over && !v.broken {
			v.change.Wait()
		}
		if v.broken || len(v.ready) == 0 {
			v.mu.Unlock()
			return
		}
		frames, v.ready, v.bytes = v.ready, frames[:0], 0
		v.mu.Unlock()
		for i, body := range frames {
			frames[i] = nil
			if b = jute.AppendFrame(b, body); len(b) < batch && i < len(frames)-1 {
				continue
			}
			if !v.say(b) {
				v.cut()
				return
			}
			if b = b[:0]; cap(b) > 4*batch {
				b = nil
			}
		}
	}
}

func (v *visitor) say(b []byte) bool {
	_ = v.SetWriteDeadline(time.Now().Add(v.front.write))
	_, err := v.Write(b)
	return err == nil
}

// drain what still comes after the last word. A socket that is closed with something unread is reset, and the client may never read the last word.
func (v *visitor) drain(r *bufio.Reader) {
	t, ok := v.Conn.(interface{ CloseWrite() error })
	if !ok || t.CloseWrite() != nil {
		return
	}
	_ = v.SetReadDeadline(time.Now().Add(v.front.linger))
	for {
		if _, err := r.Discard(cautious); err != nil {
			return
		}
	}
}
