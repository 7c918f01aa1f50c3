package raft

import (
	"assize/machine"
)

// sort of a request.
type sort uint8

const (
	writes sort = iota
	reads
	admin
)

// request of a client of this server, until it is answered.
type request struct {
	conn, seq uint64
	kind      sort
	command   machine.Command // of reads and admin
	data      []byte          // of writes and admin: as it is forwarded and logged
	since     uint64          // tick
	sent      uint64          // tick when it was last forwarded or proposed
	sendings  int
	term      uint64 // in which it was last forwarded or proposed
	query     uint64 // of reads on a follower: the question that will cover it
	index     uint64 // of reads: where to read
	ready     bool   // index holds
	done      bool
}

// desk is where requests of this server's own clients wait.
type desk struct {
	pending  []*request // in the order of arrival; the answered ones are swept out now and then
	finished int
	conns    map[uint64]*connection
	review   uint64 // tick of the next look at pending
	query    query
	waiting  []*request // reads that wait for their index to be applied
}

// connection of a client. open are its requests without an answer, in their order; born is the index applied when the first of them, or of
// those answered since, came while none was open.
type connection struct {
	born uint64
	open []*request
}

func (d *desk) init() {
	d.conns = map[uint64]*connection{}
	d.query.answered = true
}

// request of a client: any server takes it, the leader orders it (section 8).
func (r *Raft) request(in *machine.Request) {
	c, err := machine.DecodeCommand(in.Body)
	if err != nil {
		r.reply(in.Conn, in.Seq, &machine.Result{Outcome: machine.Refused, Reason: err.Error()})
		return
	}
	x := &request{conn: in.Conn, seq: in.Seq, since: r.ticks, kind: writes}
	switch {
	case c.Kind == machine.CommandChanges, c.ReadOnly() && (c.Local || r.mode == local):
		result := r.store.Read(c)
		result.Term, result.Index = r.term, r.applied
		r.reply(in.Conn, in.Seq, &result)
		return
	case c.ReadOnly():
		x.kind, x.command = reads, c
	case c.Kind == machine.CommandTxn:
		if reason := c.Check(); reason != "" {
			r.reply(in.Conn, in.Seq, &machine.Result{Outcome: machine.Refused, Reason: reason, Revision: r.store.Revision(), Term: r.term})
			return
		}
	default:
		x.kind, x.command = admin, c
	}
	conn := r.conns[in.Conn]
	if conn == nil {
		conn = &connection{}
		r.conns[in.Conn] = conn
	}
	if len(conn.open) == 0 {
		// With nothing outstanding a connection is as good as new: low tells old requests from those that follow. One that kept its first
		// birth and was idle while the table forgot it could never write again.
		conn.born = r.applied
	}
	conn.open = append(conn.open, x)
	if x.kind != reads {
		o := order{conn: in.Conn, seq: in.Seq, low: conn.open[0].seq, born: conn.born, body: in.Body}
		kind := kindCommand
		if x.kind == admin {
			kind = kindAdmin
		}
		x.data = o.encode(kind)
	}
	if len(r.pending) == 0 {
		r.review = r.ticks + 1
	}
	r.pending = append(r.pending, x)
	r.dispatch(x)
}

// dispatch a request to whoever leads; without a leader it waits.
func (r *Raft) dispatch(x *request) {
	switch {
	case x.done || r.leader == 0:
		return
	case x.kind == reads && r.role == leader:
		r.offer(reading{request: x})
	case x.kind == reads:
		r.ask(x)
	case r.role == leader && x.kind == admin:
		r.sending(x)
		r.govern(x.command, x, 0, x.conn, x.seq)
	case r.role == leader:
		if r.heir == 0 { // a leader that hands over takes nothing new (dissertation 3.10)
			r.sending(x)
			r.propose(entry{r.term, x.data})
		}
	default:
		r.sending(x)
		r.post(r.leader, encodeForward(r.term, x.data))
	}
}

func (r *Raft) sending(x *request) {
	x.sent, x.term = r.ticks, r.term
	x.sendings++
}

// redispatch everything after leadership has changed: what was sent to the old leader may be lost, and the table of executed requests takes
// care of what was not (section 8).
func (r *Raft) redispatch() {
	r.succeeded()
	r.query.answered = true
	for i := 0; i < len(r.pending); i++ {
		if x := r.pending[i]; !x.done && !x.ready {
			r.dispatch(x)
		}
	}
	if r.role == follower {
		r.renew()
	}
}

// reviewPending sends again what has had no answer for long, and gives up what nobody can be found for.
func (r *Raft) reviewPending() {
	r.review = r.ticks + max(1, r.heartbeatTicks/2)
	again := max(2*r.heartbeatTicks, r.electionTicks/2)
	for i := 0; i < len(r.pending); i++ {
		x := r.pending[i]
		age := r.ticks - x.since
		switch {
		case x.done:
		case r.leader == 0 && r.ticks-max(x.since, r.leaderless) > 2*r.electionTicks:
			r.giveUp(x, "no leader is known")
		case age > 20*r.electionTicks:
			r.giveUp(x, "no answer from the leader")
		case r.leader == 0 || x.ready:
		case x.kind == reads && r.role != leader && !r.query.answered && r.ticks-r.query.tick > again:
			r.repeatQuery()
		case x.kind == writes && (r.role != leader || x.term != r.term) && r.ticks-x.sent > again,
			x.kind == admin && r.ticks-x.sent > again:
			r.dispatch(x)
		}
	}
	r.sweep()
}

// renew the reads on a follower after a question was asked: it covers all that have come so far.
func (r *Raft) renew() {
	for _, x := range r.pending {
		if x.kind == reads && x.query > 0 && !x.done && !x.ready {
			x.query = r.query.number
		}
	}
}

// giveUp answers that nobody knows, or, where nothing has left this server, that nothing was done.
func (r *Raft) giveUp(x *request, reason string) {
	result := machine.Result{Outcome: machine.Refused, Reason: reason, Term: r.term}
	if x.sendings > 0 {
		result.Outcome = machine.Unknown
	}
	r.answer(x, result)
}

// answer a request and forget it.
func (r *Raft) answer(x *request, result machine.Result) {
	r.answerEncoded(x, result.Encode())
}

func (r *Raft) answerEncoded(x *request, body []byte) {
	if x.done {
		return
	}
	x.done = true
	r.finished++
	r.out.Reply = append(r.out.Reply, machine.Reply{Conn: x.conn, Seq: x.seq, Body: body})
	c := r.conns[x.conn]
	for i := range c.open {
		if c.open[i] == x {
			c.open = append(c.open[:i], c.open[i+1:]...)
			break
		}
	}
}

func (r *Raft) reply(conn, seq uint64, result *machine.Result) {
	r.out.Reply = append(r.out.Reply, machine.Reply{Conn: conn, Seq: seq, Body: result.Encode()})
}

// sweep out what is answered.
func (r *Raft) sweep() {
	left := r.pending[:0]
	for _, x := range r.pending {
		if !x.done {
			left = append(left, x)
		}
	}
	clear(r.pending[len(left):])
	r.pending, r.finished = left, 0
}

// gone: the client will not hear the answers.
func (r *Raft) gone(conn uint64) {
	c := r.conns[conn]
	if c == nil {
		return
	}
	delete(r.conns, conn)
	for _, x := range c.open {
		x.done = true
		r.finished++
	}
}

// find a request of this server's own clients.
func (r *Raft) find(conn, seq uint64) *request {
	c := r.conns[conn]
	if c == nil {
		return nil
	}
	for _, x := range c.open {
		if x.seq == seq {
			return x
		}
	}
	return nil
}

// onForward: a request of another server's client.
func (r *Raft) onForward(from int, m *message) {
	if r.role != leader || r.heir != 0 || len(m.data) == 0 {
		return // it will be sent again
	}
	o, err := decodeOrder(m.data)
	if err != nil {
		return
	}
	switch m.data[0] {
	case kindCommand:
		if _, v := r.seen(&o); v == machine.Duplicate {
			return // that server finds the reply where it finds all others: in its own log
		}
		r.propose(entry{r.term, m.data})
		if p := r.peer(from); p != nil {
			p.wants = max(p.wants, r.log.last())
		}
	case kindAdmin:
		if c, err := machine.DecodeCommand(o.body); err == nil {
			r.govern(c, nil, from, o.conn, o.seq)
		}
	}
}

// onRefusal of a forwarded request. Where the network may have doubled what was forwarded, or it was sent before, the other one may yet be done.
func (r *Raft) onRefusal(m *message) {
	result, err := machine.DecodeResult(m.data)
	if x := r.find(m.hintTerm, m.hint); x != nil && err == nil {
		if result.Outcome == machine.Refused {
			result.Outcome = machine.Unknown
		}
		r.answer(x, result)
	}
}
