package daemon

import "assize/machine"

// caller is an open connection: what comes is numbered, and what the machine says to it is told at once.
type caller struct {
	told func(body []byte, close bool)
	seq  uint64 // of the last request
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
	if c == nil {
		return errStopping
	}
	c.seq++
	d.counts.requests.Add(1)
	d.inbox.put(machine.Event{Request: &machine.Request{Conn: conn, Seq: c.seq, Body: body}})
	return nil
}

// push a reply to the client. Under mu, so that nothing is told after the connection's end.
func (d *desk) push(c *caller, r *machine.Reply) {
	d.counts.pushed.Add(1)
	c.told(r.Body, r.Close)
	if r.Close {
		d.drop(r.Conn)
		d.inbox.put(machine.Event{Gone: r.Conn})
	}
}
