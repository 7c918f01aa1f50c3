package daemon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"

	"assize/machine"
)

// desk takes clients' requests and hands out the answers.
type desk struct {
	inbox  *inbox
	counts *counts
	limit  int // of requests that wait for an answer

	mu      sync.Mutex
	next    uint64 // connection
	open    map[uint64]*connection
	callers map[uint64]*caller
	waiting int
	closed  bool
}

// connection of a client whose requests are answered one by one.
type connection struct {
	seq     uint64                 // of the last request
	waiting map[uint64]chan []byte // by seq; closed where no answer will come
}

func newDesk(limit int, b *inbox, n *counts) *desk {
	var seed [8]byte
	rand.Read(seed[:]) // never fails
	// Connections count up from a random number: those of two nodes, or of two lives of one, do not meet.
	return &desk{
		inbox: b, counts: n, limit: limit, next: binary.LittleEndian.Uint64(seed[:]),
		open: map[uint64]*connection{}, callers: map[uint64]*caller{},
	}
}

func (h *host) Connect() uint64 { return h.desk.connect() }

func (d *desk) connect() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn := d.name()
	d.open[conn] = &connection{waiting: map[uint64]chan []byte{}}
	return conn
}

// name the next connection. Under mu.
func (d *desk) name() uint64 {
	if d.next++; d.next == 0 {
		d.next++
	}
	return d.next
}

func (h *host) Do(ctx context.Context, conn uint64, c machine.Command) (machine.Result, error) {
	return h.desk.do(ctx, conn, c)
}

func (d *desk) do(ctx context.Context, conn uint64, c machine.Command) (machine.Result, error) {
	body := c.Encode()
	seq, answer, refusal := d.submit(conn, body)
	if refusal != "" {
		d.counts.refused.Add(1)
		return machine.Result{Outcome: machine.Refused, Reason: refusal}, nil
	}
	d.counts.requests.Add(1)
	select {
	case b, ok := <-answer:
		if !ok {
			return machine.Result{}, errStopping
		}
		return machine.DecodeResult(b)
	case <-ctx.Done():
		d.forget(conn, seq)
		return machine.Result{}, ctx.Err()
	}
}

// submit numbers a request and puts it into the inbox under one lock, so that the machine sees a connection's requests in order.
func (d *desk) submit(conn uint64, body []byte) (seq uint64, answer chan []byte, refusal string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.open[conn]
	switch {
	case d.closed:
		return 0, nil, errStopping.Error()
	case c == nil:
		return 0, nil, "the connection has ended"
	case d.waiting >= d.limit:
		return 0, nil, "too many requests are waiting"
	}
	c.seq++
	answer = make(chan []byte, 1)
	c.waiting[c.seq] = answer
	d.waiting++
	d.inbox.put(machine.Event{Request: &machine.Request{Conn: conn, Seq: c.seq, Body: body}})
	return c.seq, answer, ""
}

func (d *desk) forget(conn, seq uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.open[conn]; c != nil && c.waiting[seq] != nil {
		delete(c.waiting, seq)
		d.waiting--
	}
}

// answer hands out replies. One that nobody waits for any more, or was not asked for here, is dropped.
func (d *desk) answer(replies []machine.Reply) {
	if len(replies) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range replies {
		r := &replies[i]
		if c := d.callers[r.Conn]; c != nil {
			d.push(c, r)
			continue
		}
		c := d.open[r.Conn]
		if c == nil {
			continue
		}
		if c.waiting[r.Seq] != nil {
			c.waiting[r.Seq] <- r.Body
			delete(c.waiting, r.Seq)
			d.waiting--
		}
		if r.Close && d.drop(r.Conn) {
			d.inbox.put(machine.Event{Gone: r.Conn})
		}
	}
}

func (h *host) Gone(conn uint64) { h.desk.gone(conn) }

func (d *desk) gone(conn uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drop(conn) && !d.closed {
		d.inbox.put(machine.Event{Gone: conn})
	}
}

// drop ends a connection. Under mu.
func (d *desk) drop(conn uint64) bool {
	if d.callers[conn] != nil {
		delete(d.callers, conn)
		return true
	}
	c := d.open[conn]
	if c == nil {
		return false
	}
	for _, answer := range c.waiting {
		close(answer)
	}
	d.waiting -= len(c.waiting)
	delete(d.open, conn)
	return true
}

// close ends all connections and takes no more requests.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for conn := range d.open {
		d.drop(conn)
	}
	for conn, c := range d.callers {
		d.drop(conn)
		c.told(nil, true)
	}
}
