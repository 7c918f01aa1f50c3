package raft

import (
	"fmt"
	"math/rand/v2"
	"time"

	"assize/machine"
)

// role of a server (section 5.1).
type role uint8

const (
	follower role = iota
	preCandidate
	candidate
	leader
)

// Raft is one server.
type Raft struct {
	id   int
	o    machine.Options
	mode mode
	flaw flaw
	rand *rand.Rand

	// Persistent state (figure 2).
	term uint64
	vote int
	log  log

	// Volatile state.
	role    role
	leader  int // whom this server follows in this term; 0: unknown
	commit  uint64
	applied uint64

	store    *machine.Store
	sessions *machine.Sessions
	config   config   // the latest in the log, committed or not (section 6)
	configs  []placed // all that the log holds, oldest first; the first is the one below the log's base
	ruling   config   // the latest that has been applied

	snapshot      []byte // the last one, whole, as it is on the disk and as it travels
	snapshotIndex uint64
	snapshotTerm  uint64

	clock
	campaign
	reign
	desk

	dirty   bool             // term or vote changed and not logged yet
	held    [][]byte         // of ackBeforeSync
	out     machine.Effects  // of the present step; its slices are used again
	scratch machine.Encoder  // for what is measured before it is copied
	counts  machine.Counters // of rare things
	// lastBefore is the last entry before the present step.
	lastBefore uint64
}

// clock is what a server knows of time. Ticks pace what is for liveness; safety (leases, and the votes that leases rest on) goes by
// readings of the monotonic clock, because a server that was paused has seen no ticks.
type clock struct {
	ticks          uint64
	now            time.Duration // monotonic reading of the present event
	started        bool
	heartbeatTicks uint64
	electionTicks  uint64
	timeout        uint64 // ticks without a leader until this server campaigns
	deadline       uint64 // tick at which this server stops waiting for a leader and campaigns
	heard          time.Duration
	bound          bool // heard holds: votes are refused until Election after it (dissertation 4.2.3)
	leaderless     uint64
}

// New makes a server of what its host has found on the disk. Options must have passed Check, and what comes from the disk must be what the
// server has logged: a log that no server has written panics, because going on would break promises.
func New(c machine.Config) machine.Machine {
	r, err := Load(c)
	if err != nil {
		panic(err)
	}
	return r
}

// Load is New with an error in place of the panic.
func Load(c machine.Config) (*Raft, error) {
	if err := Check(c.Options); err != nil {
		return nil, err
	}
	o := defaults(c.Options)
	r := &Raft{
		id: c.ID, o: o, mode: modeOf(o.Read), flaw: flawOf(o.Flaw), rand: rand.New(rand.NewPCG(c.Seed, uint64(c.ID))),
		store: machine.NewStore(o.Keep), sessions: machine.NewSessions(sessionLimit),
	}
	r.heartbeatTicks = ticksOf(o.Heartbeat, o.Tick)
	r.electionTicks = max(ticksOf(o.Election, o.Tick), 2)
	r.configs = []placed{{config: newConfig(c.Voters, c.Observers)}}
	r.desk.init()
	if err := r.restore(c.Snapshot, c.Log); err != nil {
		return nil, fmt.Errorf("raft: node %d cannot go on from its disk: %w", c.ID, err)
	}
	r.config = r.configs[len(r.configs)-1].config
	r.ruling = r.configs[0].config
	// Whoever restarts may have promised a lease and has forgotten it.
	r.bound = r.mode == lease && (c.Snapshot != nil || len(c.Log) > 0)
	r.wait()
	return r, nil
}

func ticksOf(d, tick time.Duration) uint64 { return uint64(max(1, (d+tick-1)/tick)) }

// Step takes one event. The slices of the effects, not what they hold, are used again by the next Step.
func (r *Raft) Step(e machine.Event) machine.Effects {
	r.out = machine.Effects{Log: r.out.Log[:0], Tail: r.out.Tail[:0], Send: r.out.Send[:0], Reply: r.out.Reply[:0], Applied: r.out.Applied[:0]}
	r.lastBefore = r.log.last()
	r.read(e.Mono)
	switch {
	case e.Message != nil:
		r.receive(e.Message)
	case e.Request != nil:
		r.request(e.Request)
	case e.Gone != 0:
		r.gone(e.Gone)
	default:
		r.tick()
	}
	r.settle()
	if r.flaw == ackBeforeSync {
		r.holdBack(e)
	}
	return r.out
}

// read the monotonic clock. It may have gone backwards; nothing that was measured before can be compared with it then: promises begin anew,
// leases end.
func (r *Raft) read(mono time.Duration) {
	if !r.started {
		r.started, r.heard = true, mono
	}
	if mono < r.now {
		r.heard = mono
		r.voidLeases()
	}
	r.now = mono
}

// settle draws the consequences of what an event has changed, in the order in which they follow from each other.
func (r *Raft) settle() {
	for {
		if r.role == leader && r.tally {
			r.tally = false
			r.commitByMajority()
		}
		if r.applied == r.commit {
			break
		}
		r.apply()
	}
	if r.role == leader {
		r.send()
	}
	if r.applied-r.snapshotIndex >= uint64(r.o.Snapshot) {
		r.compact()
	}
	r.saveState()
	if r.out.Snapshot != nil {
		r.logTail()
	}
	if r.finished > 32 && 2*r.finished > len(r.pending) {
		r.sweep()
	}
}

// holdBack is the flaw ackBeforeSync: records are handed to the host one tick late, so acknowledgements overtake them. None is held back beyond a snapshot, which
// holds it.
func (r *Raft) holdBack(e machine.Event) {
	if r.out.Installed {
		r.held = r.held[:0]
		return
	}
	r.held = append(r.held, r.out.Log...)
	r.out.Log = r.out.Log[:0]
	if r.out.Snapshot != nil || e.Message == nil && e.Request == nil && e.Gone == 0 {
		r.out.Log = append(r.out.Log, r.held...)
		r.held = r.held[:0]
	}
}

// tick moves the timers.
func (r *Raft) tick() {
	r.ticks++
	if r.role == leader {
		r.reignTick()
	} else if r.ticks >= r.deadline {
		r.expire()
	} else if r.role != follower && (r.ticks-r.asked) >= r.heartbeatTicks {
		r.solicit()
	}
	if len(r.pending) > 0 && r.ticks >= r.review {
		r.reviewPending()
	}
}

// wait draws a new election time-out (5.2: randomised, so that split votes are rare and end).
func (r *Raft) wait() {
	r.timeout = r.electionTicks
	if r.flaw != fixedTimeouts {
		r.timeout += r.rand.Uint64N(r.electionTicks + 1)
	}
	r.deadline = r.ticks + r.timeout
}

// follow becomes a follower of a term, without a vote where it is a new one.
func (r *Raft) follow(term uint64, of int) {
	if term < r.term {
		panic(fmt.Sprintf("raft: term goes back from %d to %d", r.term, term))
	}
	was, before := r.role, r.leader
	if term > r.term {
		r.term, r.vote, r.dirty = term, 0, true
	}
	r.role, r.leader = follower, of
	if was == leader {
		r.abdicate()
	}
	if was != follower || before != of {
		r.wait()
	}
	if of == 0 && before != 0 {
		r.leaderless = r.ticks
	}
	if of != 0 && (before != of || was != follower) {
		r.redispatch()
	}
}

// heed notes that the leader of this term has been heard.
func (r *Raft) heed() {
	r.heard, r.bound = r.now, true
	r.deadline = r.ticks + r.timeout
}

// sticky tells whether this server has heard a leader, or been one, so shortly that it must not help another one into office.
func (r *Raft) sticky() bool {
	return r.role == leader || r.bound && r.now-r.heard < r.o.Election
}

// member of the configuration in force with a vote.
func (r *Raft) isVoter() bool { return r.config.voter(r.id) }

// Status is the server's view of the cluster.
func (r *Raft) Status() machine.Status {
	s := machine.Status{
		ID: r.id, Term: r.term, Leader: r.leader, Voters: r.config.voters, Commit: r.commit, Applied: r.applied, Last: r.log.last(),
		Snapshot: r.snapshotIndex, Revision: r.store.Revision(), Hash: r.store.Hash(), Counters: r.counts,
	}
	switch r.role {
	case leader:
		s.Role = machine.Leader
	case candidate, preCandidate:
		s.Role = machine.Candidate
	default:
		s.Role = machine.Follower
		if !r.isVoter() {
			s.Role = machine.Learner
		}
	}
	return s
}

// Changed is for the host that holds the log to its invariants.
func (r *Raft) Changed() uint64 {
	i := r.log.changed
	r.log.changed = 0
	return i
}

// Entry is for the host that holds the log to its invariants.
func (r *Raft) Entry(index uint64) (term uint64, body []byte, ok bool) {
	if index <= r.log.base || index > r.log.last() {
		return 0, nil, false
	}
	e := r.log.at(index)
	return e.term, e.data, true
}

func (r *Raft) post(to int, body []byte) {
	r.out.Send = append(r.out.Send, machine.Message{From: r.id, To: to, Body: body})
}
