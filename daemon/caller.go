package daemon

import (
	"sync/atomic"

	"assize/machine"
)

const (
	// maxUntaken requests of one connection: who sends waits where there are more.
	maxUntaken = 64
	// maxUntold replies, and so many bytes: a client that lets more wait is hung up on. One reply alone may be longer.
	maxUntold      = 16 << 10
	maxUntoldBytes = 16 << 20
)

// caller is an open connection: what comes is numbered, and what the machine says to it is told in order by one goroutine, which is there while
// something waits. The node's own goroutines only ever put something into the queue.
type caller struct {
	told    func(body []byte, close bool)
	seq     uint64 // of the last request
	untaken int    // requests that the machine has not been stepped with
	queue   []saying
	replies int         // in queue or being told
	bytes   int         // of them
	telling bool        // a goroutine is at it
	over    atomic.Bool // nothing more is told
}

type saying struct {
	body  []byte
	close bool
}

func (h *host) Open(told func(body []byte, close bool)) uint64 { return h.desk.call(told) }

func (d *desk) call(told func(body []byte, close bool)) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn := d.name()
	if !d.closed {
		d.callers[conn] = &caller{told: told}
	}
	return conn
}

func (h *host) Send(conn uint64, body []byte) error { return h.desk.send(conn, body) }

func (d *desk) send(conn uint64, body []byte) error {
	if !d.inbox.await() {
		return errStopping
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.callers[conn]
	for c != nil && c.untaken >= maxUntaken {
		d.taking.Wait()
		c = d.callers[conn]
	}
	if c == nil {
		return errStopping
	}
	c.seq++
	c.untaken++
	d.untaken.Add(1)
	d.counts.requests.Add(1)
	d.inbox.put(machine.Event{Request: &machine.Request{Conn: conn, Seq: c.seq, Body: body}})
	return nil
}

// taken tells of a batch that the machine has been stepped with. The owner alone.
func (d *desk) taken(batch []machine.Event) {
	if d.untaken.Load() == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	room := false
	for i := range batch {
		if r := batch[i].Request; r != nil {
			if c := d.callers[r.Conn]; c != nil {
				room = room || c.untaken == maxUntaken
				c.untaken--
				d.untaken.Add(-1)
			}
		}
	}
	if room {
		d.taking.Broadcast()
	}
}

// push puts a reply behind what waits for the client. Under mu.
func (d *desk) push(c *caller, r *machine.Reply) {
	d.counts.pushed.Add(1)
	c.queue = append(c.queue, saying{r.Body, r.Close})
	c.replies++
	c.bytes += len(r.Body)
	switch {
	case r.Close:
		d.strike(r.Conn, c) // but what waits is told yet
		d.inbox.put(machine.Event{Gone: r.Conn})
	case c.replies > maxUntold, c.replies > 1 && c.bytes > maxUntoldBytes:
		d.counts.slow.Add(1)
		d.silence(c)
		d.strike(r.Conn, c)
		d.inbox.put(machine.Event{Gone: r.Conn})
		d.end(c)
		return
	}
	if !c.telling {
		c.telling = true
		d.work.Go(func() { d.tell(c) })
	}
}

// tell a client all that waits for it. A slow one keeps this goroutine waiting, and no other.
func (d *desk) tell(c *caller) {
	var batch []saying
	for {
		d.mu.Lock()
		for i := range batch {
			c.replies--
			c.bytes -= len(batch[i].body)
		}
		clear(batch)
		batch, c.queue = c.queue, batch[:0]
		c.telling = len(batch) > 0
		d.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for i := range batch {
			if c.over.Load() {
				break
			}
			c.told(batch[i].body, batch[i].close)
		}
	}
}

// strike a connection from the list. Under mu.
func (d *desk) strike(conn uint64, c *caller) {
	delete(d.callers, conn)
	d.untaken.Add(-int64(c.untaken))
	d.taking.Broadcast()
}

// silence what waits. Under mu.
func (d *desk) silence(c *caller) {
	c.over.Store(true)
	c.queue = nil
}

// end the client's connection whatever else it is being told. Under mu.
func (d *desk) end(c *caller) { d.work.Go(func() { c.told(nil, true) }) }
