package raft

import "assize/machine"

// handover of leadership (dissertation 3.10).
type handover struct {
	heir     int // 0: none
	heirTick uint64
	hinted   uint64 // tick of the last TimeoutNow; 0: none yet
	asker    asker
}

// asker of a change: a request of this server's own client, or one that another server has forwarded.
type asker struct {
	request   *request
	from      int
	conn, seq uint64
}

// govern takes a command that changes who leads or who takes part. Where it cannot be begun yet nothing is answered: it will be sent again.
// A change of membership is answered by its effect (fulfil), whoever brought it about.
func (r *Raft) govern(c machine.Command, x *request, from int, conn, seq uint64) {
	a := asker{x, from, conn, seq}
	switch c.Kind {
	case machine.CommandTransfer:
		r.beginHandover(c.Node, a)
	case machine.CommandJoin:
		r.join(c, a)
	case machine.CommandLeave:
		r.leave(c, a)
	default:
		r.inform(a, machine.Refused, "not a command")
	}
}

// inform who has asked.
func (r *Raft) inform(a asker, outcome machine.Outcome, reason string) {
	result := machine.Result{Outcome: outcome, Reason: reason, Succeeded: outcome == machine.Done, Revision: r.store.Revision(), Term: r.term, Index: r.applied}
	switch {
	case a.request != nil:
		if outcome == machine.Refused && a.request.sendings > 1 {
			result.Outcome = machine.Unknown // another leader may have taken it
		}
		r.answer(a.request, result)
	case a.from != 0:
		r.post(a.from, encodeRefusal(r.term, a.conn, a.seq, result.Encode()))
	}
}

// changeable tells whether a change of membership may begin: one at a time, and none before the leader has committed an entry of its own term.
// Without the latter two leaders can each commit a change of the same old configuration, and the two new ones need not share a member
// (the bug in dissertation 4.1 that its author announced on raft-dev in 2015).
func (r *Raft) changeable() bool {
	return r.heir == 0 && r.committedOwn() && r.configs[len(r.configs)-1].index <= r.commit
}

// join adds a server, first as a learner (dissertation 4.2.1).
func (r *Raft) join(c machine.Command, a asker) {
	m, in := r.config.member(c.Node)
	switch {
	case c.Node < 1 || c.Node > maxID:
		r.inform(a, machine.Refused, "no server can have that id")
	case r.config.removed(c.Node):
		r.inform(a, machine.Refused, "the server was removed; ids are never used again")
	case in && m.rank == voting:
		if r.ruling.voter(c.Node) {
			r.inform(a, machine.Done, "")
		}
	case in && m.rank == joining:
	case r.changeable():
		r.reform(r.config.with(member{c.Node, joining, c.Address}))
	}
}

// leave removes a server.
func (r *Raft) leave(c machine.Command, a asker) {
	_, in := r.config.member(c.Node)
	switch {
	case !in:
		if _, still := r.ruling.member(c.Node); !still {
			r.inform(a, machine.Done, "")
		}
	case len(r.config.voters) == 1 && r.config.voter(c.Node):
		r.inform(a, machine.Refused, "the last voter cannot leave")
	case r.changeable():
		r.reform(r.config.without(c.Node))
	}
}

// reform puts a new configuration into the log, from where on it is in force.
func (r *Raft) reform(c config) {
	r.propose(entry{r.term, c.data()})
}

// promote learners that have caught up: the last of their rounds of replication took less than an election time-out (dissertation 4.2.1).
func (r *Raft) promote() {
	for i := range r.peers {
		p := &r.peers[i]
		if p.rank != joining {
			continue
		}
		if p.goal > 0 && p.match >= p.goal && r.ticks-p.goalTick <= r.electionTicks && r.changeable() {
			m, _ := r.config.member(p.id)
			m.rank = voting
			r.reform(r.config.with(m))
			return
		}
		if p.goal == 0 || p.match >= p.goal {
			p.goal, p.goalTick = r.log.last(), r.ticks
		}
	}
}

// rule: the configuration at index is committed.
func (r *Raft) rule(index uint64) {
	r.ruling = r.configAt(index)
	r.fulfil()
	if r.role != leader {
		return
	}
	for i := range r.peers {
		p := &r.peers[i]
		if _, in := r.config.member(p.id); !in && p.match >= r.log.base {
			r.sendAppend(p, p.match, p.match) // the last that it hears: its own removal is committed
		}
	}
	r.assemble()
	if !r.ruling.voter(r.id) && !r.config.voter(r.id) {
		// Dissertation 4.2.2: "a leader that is removed from the configuration steps down once the C_new entry is committed."
		if heir := r.foremost(); heir != 0 {
			r.post(heir, encodeTimeoutNow(r.term))
		}
		r.follow(r.term, 0)
	}
}

// fulfil requests for changes of membership that have come about.
func (r *Raft) fulfil() {
	for _, x := range r.pending {
		if x.kind != admin || x.done {
			continue
		}
		joined := x.command.Kind == machine.CommandJoin && r.ruling.voter(x.command.Node)
		left := x.command.Kind == machine.CommandLeave && r.ruling.removed(x.command.Node)
		if joined || left {
			r.inform(asker{request: x}, machine.Done, "")
		}
	}
}

// foremost is the voter with the longest log among those that answer.
func (r *Raft) foremost() int {
	best := -1
	for i := range r.peers {
		p := &r.peers[i]
		if p.voter && r.ticks-p.heard <= r.electionTicks && (best < 0 || p.match > r.peers[best].match) {
			best = i
		}
	}
	if best < 0 {
		return 0
	}
	return r.peers[best].id
}

// beginHandover: the leader stops taking requests, brings the heir up to date and tells it to campaign at once.
func (r *Raft) beginHandover(to int, a asker) {
	if to == 0 {
		to = r.foremost()
	}
	switch {
	case to == 0:
		r.inform(a, machine.Refused, "there is nobody to hand over to")
	case to == r.id:
		r.inform(a, machine.Done, "")
	case !r.config.voter(to):
		r.inform(a, machine.Refused, "the heir is no voter")
	case r.heir != 0 && r.heir != to:
		r.inform(a, machine.Refused, "leadership is being handed to another server")
	case r.heir == 0:
		r.handover = handover{heir: to, heirTick: r.ticks, asker: a}
		r.transferred = true
	}
}

// handOver tells the heir to campaign as soon as it has all of the log, and again while nothing happens.
func (r *Raft) handOver() {
	if r.heir == 0 || r.hinted != 0 && r.ticks-r.hinted < r.heartbeatTicks {
		return
	}
	if p := r.peer(r.heir); p != nil && p.match == r.log.last() {
		r.hinted = max(r.ticks, 1)
		r.post(r.heir, encodeTimeoutNow(r.term))
	}
}

// handoverTick gives up after an election time-out (3.10) and serves again. The heir may yet campaign.
func (r *Raft) handoverTick() {
	if r.heir != 0 && r.ticks-r.heirTick > r.electionTicks {
		a := r.asker
		r.handover = handover{}
		r.inform(a, machine.Unknown, "the heir has not taken over")
	}
}

// succeeded answers who asked for the handover, once another server is known to lead a later term.
func (r *Raft) succeeded() {
	for _, x := range r.pending {
		if x.kind != admin || x.done || x.command.Kind != machine.CommandTransfer || x.sendings == 0 || r.term <= x.term {
			continue
		}
		if x.command.Node == 0 || x.command.Node == r.leader {
			r.inform(asker{request: x}, machine.Done, "")
		}
	}
}
