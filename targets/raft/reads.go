package raft

import "time"

// readings is what a leader keeps of rounds of heartbeats and of reads that wait for one.
//
// A round begins at one reading of the clock and is answered by whoever answers a message that carries its number or a later one. So an
// answer, however late or often it comes, vouches for the time at which its round began and no later.
type readings struct {
	round       uint64 // the latest that has begun
	roundTick   uint64 // and when
	rounds      [64]begun
	voided      uint64 // rounds up to it say nothing about time: the clock has gone backwards since
	reads       []reading
	early       []reading // that have come before an entry of this term was committed
	transferred bool      // leadership has been offered to another one in this term: no leases any more
}

// begun is when a round began.
type begun struct {
	round uint64
	mono  time.Duration
	tick  uint64
}

// reading is a read, or a follower's question for an index to read at.
type reading struct {
	round     uint64 // it is answered when a majority has answered this round
	index     uint64 // commit index when it came
	from      int    // the follower that asks
	conn, seq uint64 // names its question
	number    uint64
	request   *request
}

// newRound begins a round of heartbeats.
func (r *Raft) newRound() {
	r.round++
	r.roundTick = r.ticks
	r.rounds[r.round%uint64(len(r.rounds))] = begun{r.round, r.now, r.ticks}
	r.beat = true
}

// acknowledge that a peer has answered a message of a round: it followed this leader then.
func (r *Raft) acknowledge(p *peer, round uint64) {
	if round <= p.round {
		return
	}
	p.round = round
	if b := r.rounds[round%uint64(len(r.rounds))]; b.round == round && round > r.voided {
		p.began, p.ticked, p.vouch = b.mono, b.tick, true
	}
	r.confirm()
}

// confirmed is the latest round that a majority of the present configuration has answered.
func (r *Raft) confirmed() uint64 {
	return r.majority(func(p *peer) uint64 { return p.round }, r.round)
}

// confirm answers the reads whose rounds a majority has answered (dissertation 6.4, step 3).
func (r *Raft) confirm() {
	if len(r.reads) == 0 {
		return
	}
	done, n := r.confirmed(), 0
	for n < len(r.reads) && r.reads[n].round <= done {
		r.grant(&r.reads[n])
		n++
	}
	left := copy(r.reads, r.reads[n:])
	clear(r.reads[left:])
	r.reads = r.reads[:left]
	if left > 0 && done == r.round && r.reads[0].round > r.round {
		r.newRound()
	}
}

// offer a read to the leader.
func (r *Raft) offer(x reading) {
	// Dissertation 6.4, step 1: "If the leader has not yet marked an entry from its current term committed, it waits until it has done so":
	// until then its commit index may be older than its predecessor's.
	if !r.committedOwn() && r.flaw != readBeforeOwnTerm {
		r.early = append(r.early, x)
		return
	}
	x.index = r.commit
	if r.mode == unchecked {
		r.grant(&x)
		return
	}
	if r.mode == lease && r.leased() {
		r.counts.LeaseReads++
		r.grant(&x)
		return
	}
	r.counts.IndexReads++
	// The round must begin after the read has come. While one is under way reads gather for the next.
	if r.confirmed() == r.round {
		r.newRound()
		x.round = r.round
	} else {
		x.round = r.round + 1
	}
	r.reads = append(r.reads, x)
	r.confirm()
}

// offerEarly reads once an entry of the own term is committed.
func (r *Raft) offerEarly() {
	early := r.early
	r.early = nil
	for _, x := range early {
		r.offer(x)
	}
}

// grant a read: everything up to its index was committed after the read had come.
func (r *Raft) grant(x *reading) {
	if x.request != nil {
		r.serveAt(x.request, x.index)
		return
	}
	r.post(x.from, encodeQuery(msgIndex, r.term, x.conn, x.seq, x.number, x.index))
	if p := r.peer(x.from); p != nil {
		p.wants = max(p.wants, x.index)
	}
}

// leased tells whether clocks alone say that no other leader can have been elected yet (dissertation 6.4.1): a majority of the present
// configuration has answered a round that began less than the lease ago, and each of these servers refuses votes for an election time-out of
// its own clock after it. Clocks are compared, not ticks counted: a server that was paused has missed its ticks.
func (r *Raft) leased() bool {
	// A leader that has told another to campaign (TimeoutNow) has released the servers from their refusal.
	if r.transferred && r.flaw != leaseSurvivesTransfer {
		return false
	}
	if r.flaw == leaseKeepsTicking {
		began := r.majority(func(p *peer) uint64 { return p.ticked }, r.ticks)
		return began > 0 && float64(r.ticks-began) < float64(r.electionTicks)*(1-r.o.Drift)
	}
	// Readings may be negative; majority wants them greater the later they are, and 0 for none.
	const zero = 1 << 62
	began := r.majority(func(p *peer) uint64 {
		if !p.vouch {
			return 0
		}
		return uint64(p.began + zero)
	}, uint64(r.now+zero))
	if began == 0 {
		return false
	}
	age := r.now - (time.Duration(began) - zero)
	return age >= 0 && float64(age) < float64(r.o.Election)*(1-r.o.Drift)
}

// voidLeases: the clock has gone backwards.
func (r *Raft) voidLeases() {
	r.voided = r.round
	for i := range r.peers {
		r.peers[i].vouch = false
	}
}

// onQuery of a follower that has reads to serve.
func (r *Raft) onQuery(from int, m *message) {
	if r.role == leader {
		r.offer(reading{from: from, conn: m.hintTerm, seq: m.hint, number: m.round})
	}
}

// query is a follower's question to its leader. It is named after one of the reads that it is for and a number. Names of connections are unique
// for all time; a number alone would begin anew after a restart, and the answer to a question of the life before would be taken for a fresh
// one. The read alone may be asked for twice, and the answer to the first question is too old for reads that came before the second.
type query struct {
	conn, seq uint64
	number    uint64 // of this question
	answered  bool
	tick      uint64
}

// ask the leader for an index to read at, for all reads that wait.
func (r *Raft) ask(x *request) {
	x.query = r.query.number + 1
	if r.query.answered {
		r.sendQuery(x)
	}
}

func (r *Raft) sendQuery(x *request) {
	r.query = query{conn: x.conn, seq: x.seq, number: r.query.number + 1, tick: r.ticks}
	r.post(r.leader, encodeQuery(msgQuery, r.term, x.conn, x.seq, r.query.number, 0))
}

// repeatQuery asks the same question again. Another one in its place would make the answer to the first worthless, and where links are slower
// than patience that would be true of every answer.
func (r *Raft) repeatQuery() {
	r.query.tick = r.ticks
	r.post(r.leader, encodeQuery(msgQuery, r.term, r.query.conn, r.query.seq, r.query.number, 0))
}

// onIndex: the leader's answer. All reads that had come when the question was sent can be served at this index.
func (r *Raft) onIndex(m *message) {
	if r.query.answered || m.hintTerm != r.query.conn || m.hint != r.query.seq || m.round != r.query.number {
		return
	}
	r.query.answered = true
	var next *request
	for i := 0; i < len(r.pending); i++ {
		x := r.pending[i]
		if x.kind != reads || x.done || x.ready || x.query == 0 {
			continue
		}
		if x.query <= r.query.number {
			r.serveAt(x, m.index)
		} else if next == nil {
			next = x
		}
	}
	if next != nil && r.role == follower && r.leader != 0 {
		r.sendQuery(next)
	}
}

// serveAt serves a read as soon as the entry at index has been applied (dissertation 6.4, step 4).
func (r *Raft) serveAt(x *request, index uint64) {
	if x.done {
		return
	}
	if r.applied >= index {
		r.serve(x)
		return
	}
	if !x.ready {
		x.ready, x.index = true, index
		r.waiting = append(r.waiting, x)
	}
}

// serveWaiting reads whose index has been applied.
func (r *Raft) serveWaiting() {
	left := r.waiting[:0]
	for _, x := range r.waiting {
		if x.done {
			continue
		}
		if r.applied >= x.index {
			r.serve(x)
		} else {
			left = append(left, x)
		}
	}
	clear(r.waiting[len(left):])
	r.waiting = left
}

// serve a read from the own state.
func (r *Raft) serve(x *request) {
	result := r.store.Read(x.command)
	result.Term, result.Index = r.term, r.applied
	r.answer(x, result)
}
