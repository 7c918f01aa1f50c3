package sim

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"assize/machine"
)

// node is one server: its process, while there is one, and what outlives it.
type node struct {
	index  uint32
	id     int
	name   string
	member bool // it is in the cluster; a node that has left is not
	// founder: it belongs to the first configuration. Others learn it from the running cluster.
	founder bool
	clock   clock
	disk    disk
	links   []link // to the node of each index
	view    view   // what the invariants know of its log

	life   uint32 // of the process; odd while there is one
	up     bool
	paused bool
	burst  uint32 // the last life that ended by sending too much
	timer  uint32 // the newest tick timer
	due    int64  // when it fires, by the monotonic clock
	missed bool   // it fired while the process was paused
	ticked bool   // a tick is in the inbox
	// pipelined: it steps while a sync is under way, and what it logs joins the next one. Otherwise all that comes waits in the inbox.
	pipelined bool
	syncing   bool
	covered   uint64 // writes that the sync under way makes durable
	finished  bool   // the sync ended while the process was paused
	syncs     uint64 // draws of how long one takes
	taken     uint64 // draws of when a checkpoint is durable

	machine   machine.Machine
	inspector machine.Inspector // nil where the machine keeps no log
	status    machine.Status    // after its last step
	names     []string          // of status.Voters
	inbox     []input
	held      []effect // waits for a sync, oldest first
	conns     []*conn  // that are open to this process
}

// input waits in the inbox of a process that is paused or syncs.
type input struct {
	kind    kind // tick, message, request, gone
	message machine.Message
	conn    *conn
	seq     uint32
}

// effect waits until that many writes are durable. It is a message, or a reply where conn is not nil.
type effect struct {
	need    uint64
	message machine.Message
	reply   machine.Reply
}

const (
	// inboxBound is what a paused process's socket buffers hold. What comes beyond is lost.
	inboxBound = 1000
	// One sync in so many takes so much longer: a disk that has other things to do.
	stallOneIn, stallFactor = 400, 40
	// One checkpoint in so many is never written out; the others take up to so many syncs, most of them far less.
	lostOneIn, slowestCheckpoint = 4, 4096
)

func (s *Sim) add() *node {
	i := len(s.nodes)
	n := &node{index: uint32(i), id: i + 1, name: fmt.Sprintf("n%d", i+1), member: true}
	n.clock = newClock(stream(s.config.Seed, streamClock, uint64(n.id)), s.config.Weather.Drift)
	s.nodes = append(s.nodes, n)
	s.connect()
	return n
}

// start makes a machine of what is on the node's disk.
func (s *Sim) start(n *node) {
	n.life++
	n.up, n.paused = true, false
	n.clock.restart(s.now)
	host := stream(s.config.Seed, streamHost, uint64(n.id), uint64(n.life))
	n.pipelined = host&1 == 0
	c := machine.Config{
		ID: n.id, Seed: stream(s.config.Seed, streamMachine, uint64(n.id), uint64(n.life)),
		Snapshot: n.disk.snapshot, Log: n.disk.log, Options: s.config.Options,
	}
	if n.founder {
		for id := 1; id <= s.Size(); id++ {
			if id <= s.config.Nodes {
				c.Voters = append(c.Voters, id)
			} else {
				c.Observers = append(c.Observers, id)
			}
		}
	}
	defer s.dies(n)
	n.machine = s.config.New(c)
	n.inspector, _ = n.machine.(machine.Inspector)
	n.status = machine.Status{}
	s.look(n)
	if !s.config.Unchecked {
		s.court.begin(s, n)
	}
	n.due = int64(fraction(stream(s.config.Seed, streamTick, uint64(n.id), uint64(n.life))) * float64(s.period))
	s.arm(n)
}

// look takes the status of the machine, which may go on to use its slice of voters.
func (s *Sim) look(n *node) {
	known := n.status.Voters
	n.status = n.machine.Status()
	if !slices.Equal(known, n.status.Voters) || n.names == nil {
		known = slices.Clone(n.status.Voters)
		n.names = make([]string, 0, len(known))
		for _, id := range known {
			n.names = append(n.names, fmt.Sprintf("n%d", id))
		}
	}
	n.status.Voters = known
}

// dies is deferred around all that a machine does: a panic of it is a violation and the death of its process.
func (s *Sim) dies(n *node) {
	p := recover()
	if p == nil {
		return
	}
	s.court.violate(s, n, "panic", fmt.Sprintf("panic: %v, %s", p, origin(string(debug.Stack()))))
	s.crash(n)
}

// origin is the line of a stack where the panic was raised.
func origin(stack string) string {
	lines := strings.Split(stack, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic(") && i+3 < len(lines) {
			at := strings.TrimSpace(lines[i+3])
			at, _, _ = strings.Cut(at, " +0x")
			return "at " + at[strings.LastIndex(at, "/")+1:]
		}
	}
	return "at an unknown place"
}

// crash ends the process: its connections break, and of the disk remains what was synced and perhaps a little more.
func (s *Sim) crash(n *node) {
	if !n.up {
		return
	}
	h := stream(s.config.Seed, streamCrash, uint64(n.id), uint64(n.life))
	survive := 0
	if fraction(h) < s.config.Weather.Tear {
		survive = int(mix(h) % uint64(len(n.disk.unsynced)+1))
	}
	n.disk.crash(survive)
	n.life++
	n.timer++
	n.up, n.paused, n.missed, n.ticked, n.syncing, n.finished = false, false, false, false, false, false
	n.machine, n.inspector = nil, nil
	clear(n.inbox)
	clear(n.held)
	n.inbox, n.held = n.inbox[:0], n.held[:0]
	for _, c := range n.conns {
		c.dead = true
		s.plan(s.now+c.delay(), reset, c.index, 0)
	}
	n.conns = n.conns[:0]
}

// deliver hands something to the process of a node, if there is one.
func (s *Sim) deliver(n *node, in input) {
	if !n.up {
		return
	}
	if n.paused || n.syncing && !n.pipelined {
		if len(n.inbox) < inboxBound || in.kind == gone {
			n.inbox = append(n.inbox, in)
		} else if in.kind == request {
			in.conn.choked = true // or what comes later would seem to follow what came before
		}
		return
	}
	s.step(n, in)
	s.flush(n)
}

func (s *Sim) tick(n *node) {
	if n.paused {
		n.missed = true
		return
	}
	s.rearm(n)
	if n.syncing && !n.pipelined {
		if !n.ticked {
			n.ticked = true
			n.inbox = append(n.inbox, input{kind: tick})
		}
		return
	}
	s.step(n, input{kind: tick})
	s.flush(n)
}

// step lets the machine take one event, keeps what it logged for the next sync, and lets out what need not wait for one.
func (s *Sim) step(n *node, in input) {
	wall, mono := n.clock.read(s.now)
	e := machine.Event{Wall: epoch.Add(time.Duration(wall)), Mono: time.Duration(mono)}
	switch in.kind {
	case message:
		s.message = in.message
		e.Message = &s.message
	case request:
		s.request = machine.Request{Conn: in.conn.id(), Seq: uint64(in.seq), Body: in.conn.take()}
		e.Request = &s.request
	case gone:
		e.Gone = in.conn.id()
	}
	defer s.dies(n)
	fx := n.machine.Step(e)
	s.look(n)
	s.logged(n, fx)
	if !s.config.Unchecked {
		s.court.stepped(s, n, fx)
	}
	if n.disk.written == n.disk.durable {
		for _, m := range fx.Send {
			s.send(n, m)
		}
		for _, r := range fx.Reply {
			s.answer(n, r)
		}
		return
	}
	for _, m := range fx.Send {
		if m.Early && !slices.ContainsFunc(n.held, func(h effect) bool { return h.reply.Conn == 0 && h.message.To == m.To }) {
			s.send(n, m)
			continue
		}
		n.held = append(n.held, effect{need: n.disk.written, message: m})
	}
	for _, r := range fx.Reply {
		n.held = append(n.held, effect{need: n.disk.written, reply: r})
	}
}

// logged hands the disk what a step has logged.
func (s *Sim) logged(n *node, fx machine.Effects) {
	if fx.Installed {
		if len(fx.Log) > 0 || fx.Snapshot == nil {
			panic("an installed snapshot has no records but its tail")
		}
		n.disk.write(fx.Snapshot, fx.Tail)
		return
	}
	if len(fx.Log) > 0 {
		n.disk.write(nil, fx.Log)
	}
	if fx.Snapshot == nil {
		return
	}
	n.taken++
	h := draw(stream(s.config.Seed, streamCheckpoint, uint64(n.id)), n.taken)
	if h%lostOneIn == 0 {
		n.disk.begin(fx.Snapshot, fx.Tail, math.MaxInt64)
		return
	}
	due := s.now + int64(float64(max(s.config.Weather.Sync, leastDelay))*math.Pow(slowestCheckpoint, fraction(h)))
	n.disk.begin(fx.Snapshot, fx.Tail, due)
	s.plan(due, settled, n.index, n.life)
}

// flush begins a sync of all that has been written, unless one is under way.
func (s *Sim) flush(n *node) {
	if !n.up || n.syncing || n.disk.written == n.disk.durable {
		return
	}
	n.syncing, n.covered = true, n.disk.written
	n.syncs++
	h := draw(stream(s.config.Seed, streamSync, uint64(n.id)), n.syncs)
	took := int64(float64(s.config.Weather.Sync) * (0.4 + 1.2*fraction(h)))
	if h%stallOneIn == 0 {
		took *= stallFactor
	}
	s.plan(s.now+max(took, leastDelay), synced, n.index, n.life)
}

// synced ends a sync: what waited for it goes out, and what has come meanwhile is stepped and joins the next one.
func (s *Sim) synced(n *node) {
	if n.paused {
		n.finished = true
		return
	}
	n.syncing = false
	last := n.disk.sync(n.covered)
	n.disk.settle(s.now)
	n.view.durable = max(n.view.durable, min(last, n.view.last))
	s.release(n)
	s.drain(n)
}

// release lets out what waited for no more than is durable now.
func (s *Sim) release(n *node) {
	out := 0
	for ; out < len(n.held) && n.held[out].need <= n.disk.durable; out++ {
		if h := &n.held[out]; h.reply.Conn != 0 {
			s.answer(n, h.reply)
		} else {
			s.send(n, h.message)
		}
	}
	left := copy(n.held, n.held[out:])
	clear(n.held[left:])
	n.held = n.held[:left]
}

// drain steps all that waits in the inbox and then syncs once.
func (s *Sim) drain(n *node) {
	life := n.life
	for i := 0; i < len(n.inbox); i++ {
		in := n.inbox[i]
		if in.kind == tick {
			n.ticked = false
		}
		s.step(n, in)
		if n.life != life {
			return
		}
	}
	clear(n.inbox)
	n.inbox = n.inbox[:0]
	s.flush(n)
}

// Start starts a node that is down. A node that is about to join is nobody's to start by name: it comes back with the first that does.
func (s *Sim) Start(_ context.Context, name string) error {
	n, err := s.member(name)
	if err == nil && !n.up {
		s.start(n)
	}
	if s.joining != nil && !s.joining.up {
		s.start(s.joining)
	}
	return err
}

// Kill ends a node's process.
func (s *Sim) Kill(_ context.Context, name string) error {
	n, err := s.member(name)
	if err == nil {
		s.crash(n)
	}
	return err
}

// Pause stops a node's process: what comes waits for it, as far as there is room. Its clocks go on, and so does a sync in the kernel.
func (s *Sim) Pause(_ context.Context, name string) error {
	n, err := s.member(name)
	if err == nil && !n.up {
		return fmt.Errorf("pause %s: it is down", name)
	}
	if err == nil {
		n.paused = true
	}
	return err
}

// shuffle puts what waits in the sockets of a process that goes on into the order in which it reads them: each socket's own order holds, but
// nothing tells it which of two sockets was written to first. So a request of now can come before what a new leader said a second ago.
func (n *node) shuffle(h uint64) {
	socket := func(in input) uint64 {
		switch in.kind {
		case message:
			return draw(h, uint64(in.message.From))
		case request, gone:
			return draw(^h, in.conn.id())
		}
		return 0
	}
	slices.SortStableFunc(n.inbox, func(a, b input) int { return cmp.Compare(socket(a), socket(b)) })
}

// Resume lets a paused process go on. Whether it hears its timer first or what waits in its sockets is drawn: with the sockets first, a
// leader that was deposed meanwhile answers requests before any tick tells it how late it is.
func (s *Sim) Resume(_ context.Context, name string) error {
	n, err := s.member(name)
	if err != nil || !n.paused {
		return err
	}
	n.paused = false
	life := n.life
	s.jitter++
	h := draw(s.jitters, s.jitter)
	n.shuffle(h)
	timerFirst := h&1 == 0
	if timerFirst && n.missed {
		n.missed = false
		s.tick(n)
	}
	if n.finished && n.life == life {
		n.finished = false
		s.synced(n)
	} else if n.life == life && !(n.syncing && !n.pipelined) {
		s.drain(n)
	}
	if n.missed && n.life == life {
		n.missed = false
		s.tick(n)
	}
	return nil
}
