package raft

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"assize/history"
	"assize/machine"
)

// network joins servers for tests. Time passes only by its ticks; messages arrive in the order in which they were sent unless a test
// does otherwise.
type network struct {
	t       *testing.T
	o       machine.Options
	voters  []int
	servers []*server // by id, from 1
	queue   []machine.Message
	cut     func(machine.Message) bool // lost where true
	replies []machine.Reply
	conn    uint64
	now     time.Duration
	// forgetful: no checkpoint ever becomes durable.
	forgetful bool
}

// server and its disk.
type server struct {
	*Raft
	id       int
	joined   bool
	snapshot []byte
	log      [][]byte
	kept     machine.Effects // its last snapshot and that one's tail
	since    [][]byte        // logged after them
	down     bool
	paused   bool
	behind   time.Duration // of its clock
}

func newNetwork(t *testing.T, n int, o machine.Options) *network {
	if o.Tick == 0 {
		o.Tick = 10 * time.Millisecond
	}
	if o.Election == 0 {
		o.Election = defaultElection
	}
	net := &network{t: t, o: o, cut: func(machine.Message) bool { return false }}
	for i := range n {
		net.voters = append(net.voters, i+1)
	}
	for _, id := range net.voters {
		net.servers = append(net.servers, &server{id: id})
		net.start(id)
	}
	return net
}

func (n *network) at(id int) *server { return n.servers[id-1] }

func (n *network) start(id int) {
	s := n.at(id)
	c := machine.Config{ID: id, Seed: uint64(1000 + id), Snapshot: s.snapshot, Log: s.log, Options: n.o}
	if !s.joined {
		c.Voters = n.voters
	}
	s.Raft = New(c).(*Raft)
	s.down = false
}

// join starts a server that is not a member yet.
func (n *network) join() int {
	id := len(n.servers) + 1
	n.servers = append(n.servers, &server{id: id, joined: true})
	n.start(id)
	return id
}

func (n *network) kill(id int) { n.at(id).down = true }

func (n *network) restart(id int) {
	n.kill(id)
	n.start(id)
}

// step gives one event to a server.
func (n *network) step(id int, e machine.Event) {
	s := n.at(id)
	if s.down || s.paused {
		return
	}
	e.Mono = n.now - s.behind
	fx := s.Step(e)
	s.log = append(s.log, fx.Log...)
	s.since = append(s.since, fx.Log...)
	if fx.Snapshot != nil {
		s.kept, s.since = machine.Effects{Snapshot: fx.Snapshot, Tail: slices.Clone(fx.Tail)}, nil
	}
	if fx.Snapshot != nil && (fx.Installed || !n.forgetful) {
		s.snapshot, s.log = fx.Snapshot, slices.Clone(fx.Tail)
	}
	n.queue = append(n.queue, fx.Send...)
	n.replies = append(n.replies, fx.Reply...)
}

// settle delivers messages until there are none.
func (n *network) settle() {
	for len(n.queue) > 0 {
		m := n.queue[0]
		n.queue = n.queue[1:]
		n.deliver(m)
	}
}

func (n *network) deliver(m machine.Message) {
	if m.To <= len(n.servers) && !n.cut(m) {
		n.step(m.To, machine.Event{Message: &m})
	}
}

// tick lets time pass.
func (n *network) tick(times int) {
	for range times {
		n.now += n.o.Tick
		for _, s := range n.servers {
			n.step(s.id, machine.Event{})
		}
		n.settle()
	}
}

// elect waits for a leader and returns its id.
func (n *network) elect() int {
	n.t.Helper()
	for range 1000 {
		n.tick(1)
		if id := n.leader(); id != 0 && n.at(id).committedOwn() {
			return id
		}
	}
	n.t.Fatal("no leader within 1000 ticks")
	return 0
}

// campaign makes one server's election time-out fire; everyone's clock has moved on by then. Nothing is delivered.
func (n *network) campaign(id int) {
	n.now += n.o.Election
	n.at(id).deadline = n.at(id).ticks + 1
	n.step(id, machine.Event{})
}

func (n *network) leader() int {
	best := 0
	for _, s := range n.servers {
		if !s.down && s.role == leader && (best == 0 || s.term > n.at(best).term) {
			best = s.id
		}
	}
	return best
}

// ask sends a command to a server on a connection of its own and returns the connection.
func (n *network) ask(id int, c machine.Command) uint64 {
	n.conn++
	n.step(id, machine.Event{Request: &machine.Request{Conn: n.conn, Seq: 1, Body: c.Encode()}})
	return n.conn
}

// answer to a connection, if there is one.
func (n *network) answer(conn uint64) (machine.Result, bool) {
	for _, r := range n.replies {
		if r.Conn == conn {
			result, err := machine.DecodeResult(r.Body)
			if err != nil {
				n.t.Fatal(err)
			}
			return result, true
		}
	}
	return machine.Result{}, false
}

func write(key string, v int) machine.Command { return txn(history.Write, key, v) }

func get(key string) machine.Command { return txn(history.Read, key) }

func txn(f, key string, in ...int) machine.Command {
	c, err := machine.CommandOf(history.Txn{{F: f, Key: key, In: in}}, false)
	if err != nil {
		panic(err)
	}
	return c
}

// value of a read's result; -1: none.
func value(r machine.Result) int {
	if len(r.Responses) == 0 || len(r.Responses[0].Pairs) == 0 {
		return -1
	}
	v := 0
	fmt.Sscan(string(r.Responses[0].Pairs[0].Value), &v)
	return v
}

// do asks and waits for the answer.
func (n *network) do(id int, c machine.Command) machine.Result {
	n.t.Helper()
	conn := n.ask(id, c)
	n.settle()
	for range 500 {
		if r, ok := n.answer(conn); ok {
			return r
		}
		n.tick(1)
	}
	n.t.Fatalf("no answer from %d", id)
	return machine.Result{}
}
