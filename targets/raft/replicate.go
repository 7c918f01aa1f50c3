package raft

import (
	"fmt"
	"time"

	"assize/machine"
)

// state of a leader's knowledge of one follower.
type state uint8

const (
	probing     state = iota // looking for where the logs agree, one empty append at a time
	replicating              // entries flow, up to window appends under way
	installing               // a snapshot is under way
)

// peer is another server as the leader sees it.
type peer struct {
	id    int
	voter bool
	rank  rank
	match uint64 // greatest index known to be replicated there
	next  uint64 // index of the next entry to send
	state state
	asked bool // probing: the probe is under way

	flights [window]flight // appends under way, oldest first
	flying  int
	pace    int // how many there may be: from one, when logs have just been found to agree, up to window

	sent   uint64 // tick of the last message
	heard  uint64 // tick of the last answer
	told   uint64 // commit index that it was told of and could use
	wants  uint64 // commit index that it waits for: a client of its does
	round  uint64 // the latest round of heartbeats that it has answered
	began  time.Duration
	ticked uint64 // as began, in ticks
	vouch  bool   // began holds

	goal, goalTick uint64 // of a learner: where the present round of catching up ends, and when it began (dissertation 4.2.1)
}

type flight struct{ last, tick uint64 }

// reign is what a leader keeps.
type reign struct {
	peers []peer // by id
	tally bool   // acknowledgements have come: see what is committed
	beat  bool   // a round has begun: everyone gets a message

	// One append body serves all followers that need the same.
	cached     []byte
	cachedFrom uint64
	cachedTo   uint64
	cachedInfo [4]uint64

	readings
	handover
}

// begin a reign: nothing is known of the others but that they are there.
func (r *Raft) begin() {
	r.reign = reign{peers: r.peers[:0], readings: readings{early: r.early[:0], reads: r.reads[:0]}}
	r.assemble()
	r.newRound()
}

// abdicate: a leader no more.
func (r *Raft) abdicate() {
	r.reign = reign{peers: r.peers[:0], readings: readings{early: r.early[:0], reads: r.reads[:0]}}
}

// assemble the peers that the configurations in force name: the latest, and all before it until it is committed.
func (r *Raft) assemble() {
	old := r.peers
	r.peers = make([]peer, 0, len(r.config.members))
	for id, k := 0, len(r.configs); ; {
		id = r.nextMember(id, k)
		if id == 0 {
			break
		}
		if id == r.id {
			continue
		}
		p := peer{id: id, next: r.log.last() + 1, heard: r.ticks}
		for i := range old {
			if old[i].id == id {
				p = old[i]
			}
		}
		m, in := r.config.member(id)
		p.voter, p.rank = in && m.rank == voting, m.rank
		if !in {
			p.rank = observing
		}
		r.peers = append(r.peers, p)
	}
	r.tally = true
}

// nextMember is the least id above id in the latest configuration or one that is in force until the latest is committed; 0: none.
func (r *Raft) nextMember(id, k int) int {
	least := 0
	for k--; k >= 0; k-- {
		for _, m := range r.configs[k].config.members {
			if m.id > id && (least == 0 || m.id < least) {
				least = m.id
			}
		}
		if r.configs[k].index <= r.commit {
			break
		}
	}
	return least
}

func (r *Raft) peer(id int) *peer {
	for i := range r.peers {
		if r.peers[i].id == id {
			return &r.peers[i]
		}
	}
	return nil
}

// propose appends an entry to the leader's log (5.3).
func (r *Raft) propose(e entry) {
	r.log.append(e)
	r.logEntries(r.log.last(), r.log.entries[len(r.log.entries)-1:])
	if e.data[0] == kindConfig {
		r.adopt(r.log.last(), e.data)
	}
	r.tally = true
}

// logEntries hands the record of appended entries to the host. Term and vote go first: a crash may keep the one and lose the other.
func (r *Raft) logEntries(first uint64, entries []entry) {
	r.saveState()
	r.out.Log = append(r.out.Log, entriesRecord(first, entries))
}

func entriesRecord(first uint64, entries []entry) []byte {
	size := 24
	for i := range entries {
		size += 12 + len(entries[i].data)
	}
	e := machine.Encoder{B: make([]byte, 0, size)}
	encodeEntries(&e, first, entries)
	return e.B
}

// send each follower what it lacks.
func (r *Raft) send() {
	for i := range r.peers {
		p := &r.peers[i]
		due := r.beat || r.ticks-p.sent >= r.heartbeatTicks
		switch p.state {
		case probing:
			if due || !p.asked {
				r.probe(p)
			}
		case replicating:
			r.replicate(p, due)
		case installing:
			r.install(p, due)
		}
	}
	r.beat = false
	r.handOver()
}

// probe asks whether the logs agree before next. It carries no entries: until that is known they would only have to be sent again.
func (r *Raft) probe(p *peer) {
	if p.next <= r.log.base {
		p.state, p.asked = installing, false
		r.install(p, true)
		return
	}
	p.asked = true
	r.sendAppend(p, p.next-1, p.next-1)
}

func (r *Raft) replicate(p *peer, due bool) {
	if p.flying > 0 && r.ticks-p.flights[0].tick > max(2*r.heartbeatTicks, r.electionTicks/2) {
		// Lost, or refused and the refusal lost.
		p.state, p.next, p.flying = probing, p.match+1, 0
		r.probe(p)
		return
	}
	if p.next <= r.log.base {
		p.state, p.flying, p.asked = installing, 0, false
		r.install(p, true)
		return
	}
	told := false
	for p.flying < p.pace && p.next <= r.log.last() {
		last := r.batch(p.next)
		r.sendAppend(p, p.next-1, last)
		p.flights[p.flying] = flight{last, r.ticks}
		p.flying++
		p.next = last + 1
		told = true
	}
	if told {
		return
	}
	// Where the log has forgotten what the follower has, an append can tell it nothing.
	if due || p.match >= r.log.base && p.wants > p.told && min(r.commit, p.match) > p.told {
		prev := p.match
		if prev < r.log.base {
			prev = 0
		}
		r.sendAppend(p, prev, prev)
	}
}

// batch is the last index that goes with first into one append: entries of one term, and not too many bytes.
func (r *Raft) batch(first uint64) uint64 {
	size, term := 0, r.log.term(first)
	for i := first; i <= r.log.last(); i++ {
		e := r.log.at(i)
		size += len(e.data)
		if i > first && (size > batchBytes || e.term != term) {
			return i - 1
		}
	}
	return r.log.last()
}

// sendAppend sends the entries after prev up to last (5.3, figure 2). The commit index is the leader's own: receivers take of it what they
// can be sure of.
func (r *Raft) sendAppend(p *peer, prev, last uint64) {
	prevTerm := uint64(0)
	if prev > 0 {
		prevTerm = r.log.term(prev)
	}
	p.sent = r.ticks
	p.told = max(p.told, min(r.commit, last))
	info := [4]uint64{r.term, prevTerm, r.commit, r.round}
	if r.cached == nil || r.cachedFrom != prev || r.cachedTo != last || r.cachedInfo != info {
		r.cached = r.encodeAppend(prev, prevTerm, last)
		r.cachedFrom, r.cachedTo, r.cachedInfo = prev, last, info
	}
	r.post(p.id, r.cached)
}

func (r *Raft) encodeAppend(prev, prevTerm, last uint64) []byte {
	var record []byte
	if last > prev {
		r.scratch.B = r.scratch.B[:0]
		encodeEntries(&r.scratch, prev+1, r.log.entries[prev-r.log.base:last-r.log.base])
		record = r.scratch.B
	}
	e := machine.Encoder{B: make([]byte, 0, 32+len(record))}
	e.Byte(msgAppend)
	e.Uint(r.term)
	e.Uint(prev)
	e.Uint(prevTerm)
	e.Uint(r.commit)
	e.Uint(r.round)
	e.Bytes(record)
	return e.B
}

// onAppend: figure 2, AppendEntries, rules 2 to 5.
func (r *Raft) onAppend(from int, m *message) {
	prev := m.index
	if prev > r.log.last() {
		r.post(from, encodeAppendReply(r.term, false, prev, m.round, r.log.last()+1, 0))
		return
	}
	if prev > r.log.base && r.log.term(prev) != m.logTerm {
		// 5.3: "the follower can include the term of the conflicting entry and the first index it stores for that term."
		r.post(from, encodeAppendReply(r.term, false, prev, m.round, r.log.firstOf(prev), r.log.term(prev)))
		return
	}
	last := prev + uint64(len(m.entries))
	match := last
	r.take(prev, m)
	if r.flaw == priorTermCommitIndex {
		last = r.log.last()
	}
	// Rule 5: "set commitIndex = min(leaderCommit, index of last new entry)": what stands behind that may be another leader's.
	if c := min(m.commit, last); c > r.commit {
		r.commit = c
	}
	r.post(from, encodeAppendReply(r.term, true, match, m.round, 0, 0))
}

// take appends what is new of m (rules 3 and 4). Only a conflict truncates: an append that was overtaken by a later one says nothing against
// what that one brought.
func (r *Raft) take(prev uint64, m *message) {
	entries, index := m.entries, prev+1
	for len(entries) > 0 && (index <= r.log.base || index <= r.log.last() && r.log.term(index) == entries[0].term) {
		entries, index = entries[1:], index+1
	}
	if index <= r.log.last() && (len(entries) > 0 || r.flaw == truncateAlways && index > r.commit) {
		r.truncate(index, len(entries) == 0)
	}
	if len(entries) == 0 {
		return
	}
	for i := range entries {
		r.log.append(entries[i])
	}
	if len(entries) == len(m.entries) {
		r.saveState()
		r.out.Log = append(r.out.Log, m.record)
	} else {
		r.logEntries(index, entries)
	}
	for i := range entries {
		if entries[i].data[0] == kindConfig {
			r.adopt(index+uint64(i), entries[i].data)
		}
	}
}

// truncate the log from index on. A record of entries that follow truncates by itself.
func (r *Raft) truncate(index uint64, record bool) {
	if index <= r.commit {
		panic(fmt.Sprintf("raft: entry %d is to be truncated, but all up to %d are committed", index, r.commit))
	}
	r.counts.Truncations++
	r.log.truncate(index)
	r.forsake(index)
	if record {
		r.logEntries(index, nil)
	}
}

// onAppendReply: what a follower has, or why it refused.
func (r *Raft) onAppendReply(from int, m *message) {
	if m.term > r.term {
		r.follow(m.term, 0)
		return
	}
	p := r.peer(from)
	if r.role != leader || m.term < r.term || p == nil || m.round > r.round || m.index > r.log.last() {
		return
	}
	p.heard = r.ticks
	r.acknowledge(p, m.round)
	if m.granted {
		r.advance(p, m.index)
	} else {
		r.retreat(p, m)
	}
}

func (r *Raft) advance(p *peer, match uint64) {
	if match > p.match {
		p.match = match
		r.tally = true
	}
	switch p.state {
	case replicating:
		n := 0
		for n < p.flying && p.flights[n].last <= match {
			n++
		}
		p.flying = copy(p.flights[:], p.flights[n:p.flying])
		p.pace = min(p.pace+n, window)
		p.next = max(p.next, match+1)
	case probing, installing:
		// An answer to something older does not say that the log agrees up to the probe.
		if match >= p.next-1 {
			p.state, p.next, p.flying, p.pace, p.asked = replicating, match+1, 0, 1, false
		}
	}
}

// retreat to where the logs may agree (5.3): "the leader can decrement nextIndex to bypass all of the conflicting entries in that term".
func (r *Raft) retreat(p *peer, m *message) {
	switch {
	case p.state == probing && m.index != p.next-1, p.state == replicating && m.index <= p.match, p.state == installing:
		return // an answer to something older
	}
	next := m.hint
	if m.hintTerm > 0 {
		if i := r.log.lastOf(m.hintTerm, m.index); i >= r.log.base && r.log.term(i) == m.hintTerm {
			next = i + 1
		}
	}
	p.state, p.flying, p.asked = probing, 0, false
	// Never behind what the follower is known to have: an old refusal would ask for a snapshot that nobody needs.
	p.next = max(min(next, m.index), p.match+1)
}

// commitByMajority: 5.3 and 5.4.2: "Only log entries from the leader's current term are committed by counting replicas; once an entry from
// the current term has been committed in this way, then all prior entries are committed indirectly". Without that a leader of term 4 commits
// an entry of term 2 which a leader of term 5, elected for its entry of term 3, overwrites (figure 8).
func (r *Raft) commitByMajority() {
	n := r.majority(func(p *peer) uint64 { return p.match }, r.log.last())
	if n > r.commit && n >= r.log.base && (r.log.term(n) == r.term || r.flaw == commitOldTerm) {
		r.commit = n
	}
}

// majority is the greatest value that a majority of the voters has reached; own is the leader's, which counts if it is a voter.
func (r *Raft) majority(of func(*peer) uint64, own uint64) uint64 {
	var space [16]uint64
	values := space[:0]
	if r.isVoter() {
		values = append(values, own)
	}
	for i := range r.peers {
		if r.peers[i].voter {
			values = append(values, of(&r.peers[i]))
		}
	}
	if len(values) == 0 {
		return 0
	}
	for i := 1; i < len(values); i++ {
		for j := i; j > 0 && values[j] > values[j-1]; j-- {
			values[j], values[j-1] = values[j-1], values[j]
		}
	}
	return values[len(values)/2]
}

// committedOwn tells whether an entry of the leader's own term is committed: only then does it know all that is (dissertation 6.4).
func (r *Raft) committedOwn() bool {
	return r.commit >= r.log.base && r.log.term(r.commit) == r.term
}

// reignTick: heartbeats, and the leader's own doubt: one that no majority answers for an election time-out steps down (dissertation 6.2).
func (r *Raft) reignTick() {
	since := r.majority(func(p *peer) uint64 { return p.heard }, r.ticks)
	if r.ticks-since > r.electionTicks {
		r.follow(r.term, 0)
		return
	}
	if r.ticks-r.roundTick >= r.heartbeatTicks {
		r.newRound()
	}
	r.confirm() // a change of membership may have made a majority of those that had answered
	r.promote()
	r.handoverTick()
}
