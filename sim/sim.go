// Package sim hosts machines in virtual time: one thread, one seed, a whole cluster.
//
// A Sim is a cluster.Cluster with every power that there is. Network, disks, clocks and processes are numbers here, so a run of 20 s takes
// milliseconds, and the same Config gives the same run to the byte. Harness, workloads and nemeses run as coroutines that give up the thread
// only in Sleep, Wait, in a Client's methods and in the cluster's powers.
//
// Messages between nodes are lost, duplicated, delayed and reordered. A node's effects leave it when what it logged before them is
// synced, and not earlier, but for messages that are Early. A crash takes all that was not. A checkpoint becomes durable soon, late, or never,
// beside what is logged meanwhile; until then a crash leaves the snapshot before it and the whole log since. After every step the invariants of replicated logs are checked (court.go).
package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"assize/cluster"
	"assize/machine"
)

// Config of a run.
type Config struct {
	Seed      uint64
	Nodes     int // n1 .. n<Nodes>, the first voters
	Observers int // the nodes after them
	New       func(machine.Config) machine.Machine
	// Tongue of each client connection, by its read mode; nil: machine.Commands.
	Tongue func(read string) machine.Tongue
	// Lack tells what the system cannot do itself, as cluster.System does; nil: it knows the commands of package machine that change who leads and who
	// takes part.
	Lack    func(cluster.Power) error
	Options machine.Options
	Weather Weather
	// Unchecked leaves the invariants out, to measure what they cost. Never for a run that is judged.
	Unchecked bool
}

// Weather is how bad everything is by itself, without any fault.
type Weather struct {
	Delay     time.Duration // median one-way delay
	Spread    float64       // sigma of its logarithm: reordering comes from it
	Loss      float64       // probability per message
	Duplicate float64       // probability per message
	Sync      time.Duration // mean time of an fsync
	Tear      float64       // probability that a crash leaves some of what was not synced, up to a torn record
	Drift     float64       // greatest difference of two clocks' rates
}

const (
	leastDelay   = 1000 // nanoseconds; nothing takes no time, so that no two nodes can talk for ever at one moment
	defaultTick  = 25 * time.Millisecond
	defaultBound = 5 * time.Second // for a power that needs the cluster's consent
)

// Sim is one run.
type Sim struct {
	queue
	config  Config
	now     int64
	nodes   []*node // all that ever were; n<i+1> at i
	period  int64   // of ticks
	delays  *quantiles
	jitters uint64 // key of the draws for things that no link and no connection stands for
	jitter  uint64 // how many were drawn
	lose    uint32 // of 1<<16
	double  uint32 // of 1<<16

	mail     []mail
	slowed   int             // of it, on shaped links
	message  machine.Message // what is being stepped
	request  machine.Request
	freeMail []uint32
	conns    []*conn

	routines []*routine
	idle     []*routine
	waiting  []*routine
	current  *routine
	running  int
	ended    bool
	halting  bool

	court    court
	joining  *node
	told     int // violations that Violations has told of
	changing bool
	doubts   []*doubt
}

var (
	_ cluster.Cluster    = (*Sim)(nil)
	_ cluster.Pauser     = (*Sim)(nil)
	_ cluster.Cutter     = (*Sim)(nil)
	_ cluster.Shaper     = (*Sim)(nil)
	_ cluster.Skewer     = (*Sim)(nil)
	_ cluster.Transferer = (*Sim)(nil)
	_ cluster.Members    = (*Sim)(nil)
	_ cluster.Sizer      = (*Sim)(nil)
	_ cluster.Observed   = (*Sim)(nil)
	_ cluster.Quorum     = (*Sim)(nil)
	_ cluster.Watcher    = (*Sim)(nil)
)

// New makes a cluster whose nodes have all just started.
func New(c Config) *Sim {
	if c.Options.Tick <= 0 {
		c.Options.Tick = defaultTick
		if c.Options.Heartbeat > 0 {
			c.Options.Tick = min(max(c.Options.Heartbeat/2, time.Microsecond), defaultTick)
		}
	}
	s := &Sim{
		config: c, period: int64(c.Options.Tick), delays: lognormal(c.Weather.Delay, c.Weather.Spread),
		jitters: stream(c.Seed, streamJitter), lose: share(c.Weather.Loss), double: share(c.Weather.Duplicate),
	}
	for range s.Size() {
		s.add()
	}
	for _, n := range s.nodes {
		n.founder = true
		s.start(n)
	}
	return s
}

// share of 1<<16.
func share(p float64) uint32 { return uint32(min(max(p, 0), 1) * (1 << 16)) }

// Run lets main and all that it starts act until main returns. Its error is that nothing can happen any more though main has not returned,
// or the broken invariants that Violations has not told of. A panic of main, or of what it started, goes through.
func (s *Sim) Run(main func()) error {
	defer s.halt()
	s.launch(func() {
		main()
		s.ended = true
	})
	for !s.ended {
		e, ok := s.next()
		if !ok {
			return fmt.Errorf("sim: at %v everything waits for something that cannot happen", s.Now())
		}
		s.now = e.at
		s.dispatch(e)
	}
	if untold := s.Violations(); len(untold) > 0 {
		errs := make([]error, len(untold))
		for i, what := range untold {
			errs[i] = errors.New(what)
		}
		return errors.Join(errs...)
	}
	return nil
}

// halt unwinds all that is still blocked.
func (s *Sim) halt() {
	s.halting = true
	for _, r := range s.routines {
		r.stop()
	}
	s.routines, s.idle, s.waiting = nil, nil, nil
}

func (s *Sim) dispatch(e event) {
	switch e.kind() {
	case wake:
		if r := s.routines[e.arg]; r.token == e.token {
			s.run(r)
		}
	case message:
		s.arrive(e.arg)
	case tick:
		if n := s.nodes[e.arg]; n.timer == e.token {
			s.tick(n)
		}
	case synced:
		if n := s.nodes[e.arg]; n.life == e.token {
			s.synced(n)
		}
	case settled:
		if n := s.nodes[e.arg]; n.life == e.token {
			n.disk.settle(s.now)
		}
	case request:
		s.requested(s.conns[e.arg], e.token)
	case reply:
		s.replied(s.conns[e.arg])
	case timeout:
		s.timedOut(s.conns[e.arg], e.token)
	case reset:
		s.broken(s.conns[e.arg])
	case burst:
		if n := s.nodes[e.arg]; n.life == e.token {
			s.crash(n)
		}
	case gone:
		s.hungUp(s.conns[e.arg])
	}
}

// anyDelay is one that belongs to no link between nodes.
func (s *Sim) anyDelay() int64 {
	s.jitter++
	return max(s.delays.at(draw(s.jitters, s.jitter)), leastDelay)
}

// Nodes are the members in the order of their ids.
func (s *Sim) Nodes() []string {
	s.resolve(false)
	names := make([]string, 0, len(s.nodes))
	for _, n := range s.nodes {
		if n.member {
			names = append(names, n.name)
		}
	}
	return names
}

// Size is with how many members the run began.
func (s *Sim) Size() int { return s.config.Nodes + s.config.Observers }

// Observers are the members that have no vote.
func (s *Sim) Observers() (names []string) {
	for _, n := range s.nodes[s.config.Nodes:s.Size()] {
		if n.member {
			names = append(names, n.name)
		}
	}
	return names
}

// member finds a node by its name; one that has left is an error.
func (s *Sim) member(name string) (*node, error) {
	if len(name) > 1 && name[0] == 'n' {
		if id, err := strconv.Atoi(name[1:]); err == nil && id >= 1 && id <= len(s.nodes) && s.nodes[id-1].member {
			return s.nodes[id-1], nil
		}
	}
	return nil, fmt.Errorf("%s is no member: %v", name, s.Nodes())
}

// Status is what a node says of itself, at once. A node that is down refuses; one that is paused does not answer.
func (s *Sim) Status(_ context.Context, name string) (cluster.Status, error) {
	n, err := s.member(name)
	switch {
	case err != nil:
		return cluster.Status{}, err
	case !n.up:
		return cluster.Status{}, fmt.Errorf("%s is down: %w: %w", name, cluster.ErrRefused, cluster.ErrNotDone)
	case n.paused:
		return cluster.Status{}, fmt.Errorf("%s does not answer", name)
	}
	st := &n.status
	wall, mono := n.clock.read(s.now)
	answer := cluster.Status{
		Role: st.Role, Term: st.Term, Commit: st.Commit, Applied: st.Applied, Hash: st.Hash, Position: cmp.Or(st.Position, st.Applied), Members: n.names,
		Wall: epoch.Add(time.Duration(wall)), Mono: time.Duration(mono), Process: uint64(n.life),
		Counters: counters(st.Counters),
	}
	if st.Leader >= 1 && st.Leader <= len(s.nodes) {
		answer.Leader = s.nodes[st.Leader-1].name
	}
	return answer, nil
}

// counters leaves out the zeros.
func counters(c machine.Counters) map[string]uint64 {
	if c == (machine.Counters{}) {
		return nil
	}
	all := make(map[string]uint64, 6)
	set := func(name string, n uint64) {
		if n > 0 {
			all[name] = n
		}
	}
	set("elections", c.Elections)
	set("snapshots taken", c.SnapshotsTaken)
	set("snapshots loaded", c.SnapshotsLoaded)
	set("truncations", c.Truncations)
	set("lease reads", c.LeaseReads)
	set("index reads", c.IndexReads)
	return all
}

// Violations are broken invariants and machines that panicked, each told once.
func (s *Sim) Violations() []string {
	fresh := s.court.violations[s.told:]
	s.told = len(s.court.violations)
	return slices.Clone(fresh)
}

// Close ends nothing: a Sim holds nothing but memory once Run has returned.
func (s *Sim) Close() error { return nil }
