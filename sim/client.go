package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/machine"
)

// conn is a client's connection to one process of a node. It carries one request at a time, in order, and loses nothing until it breaks.
type conn struct {
	sim     *Sim
	index   uint32
	node    *node
	life    uint32 // of the process
	local   bool   // reads ask nobody but the node
	timeout time.Duration
	key     uint64 // of its draws
	drawn   uint64

	seq     uint32 // of the last request
	body    []byte // of it
	at      int64  // when the last thing sent arrives: nothing overtakes it
	waiter  *routine
	result  machine.Result
	outcome error
	heard   bool // the last request has been answered by the node

	dead   bool // the process is gone
	reset  bool // and the client knows
	closed bool // by the client
}

const dialTimeout = time.Second // where the client gives none

var (
	errTimeout = errors.New("timed out")
	errReset   = errors.New("connection reset")
	errClosed  = fmt.Errorf("%w: the connection has been closed", cluster.ErrNotDone)
)

// id is the connection's name for machines: unique over all nodes and all time, never 0.
func (c *conn) id() uint64 { return uint64(c.index) + 1 }

func (c *conn) delay() int64 {
	c.drawn++
	return max(c.sim.delays.at(draw(c.key, c.drawn)), leastDelay)
}

// Dial connects to a node. One that is paused takes the connection, as its kernel would, and answers nothing.
func (s *Sim) Dial(_ context.Context, name string, o cluster.Options) (cluster.Client, error) {
	n, err := s.member(name)
	if err != nil {
		return nil, fmt.Errorf("dial: %w: %w: %w", err, cluster.ErrRefused, cluster.ErrNotDone)
	}
	s.Sleep(time.Duration(s.anyDelay() + s.anyDelay()))
	if !n.up || !n.member {
		return nil, fmt.Errorf("dial %s: %w: %w", name, cluster.ErrRefused, cluster.ErrNotDone)
	}
	return s.open(n, o), nil
}

func (s *Sim) open(n *node, o cluster.Options) *conn {
	if o.Timeout <= 0 {
		o.Timeout = dialTimeout
	}
	c := &conn{
		sim: s, index: uint32(len(s.conns)), node: n, life: n.life, local: o.Read == "local", timeout: o.Timeout,
		key: stream(s.config.Seed, streamClient, uint64(len(s.conns))),
	}
	s.conns = append(s.conns, c)
	n.conns = append(n.conns, c)
	return c
}

// Do executes t. See cluster.Client.
func (c *conn) Do(_ context.Context, t history.Txn) (cluster.Answer, error) {
	command, err := machine.CommandOf(t, c.local)
	if err != nil {
		return cluster.Answer{}, fmt.Errorf("%w: %w", cluster.ErrNotDone, err)
	}
	r, err := c.ask(command)
	if err != nil {
		return cluster.Answer{}, err
	}
	out, version, position, err := machine.AnswerOf(t, r)
	if errors.Is(err, machine.ErrNoEffect) {
		return cluster.Answer{}, fmt.Errorf("%s: %w: %w", c.node.name, cluster.ErrNotDone, err)
	}
	if errors.Is(err, machine.ErrNonsense) {
		return cluster.Answer{}, fmt.Errorf("%s: %w: %w", c.node.name, cluster.ErrNonsense, err)
	}
	if err != nil {
		return cluster.Answer{}, fmt.Errorf("%s: %w", c.node.name, err)
	}
	return cluster.Answer{Txn: out, Version: version, Position: position, Note: note(r.Term, r.Index)}, nil
}

// note is "term T index I", built by hand: there is one for each operation.
func note(term, index uint64) string {
	b := append(make([]byte, 0, 40), "term "...)
	b = appendUint(b, term)
	b = append(b, " index "...)
	return string(appendUint(b, index))
}

func appendUint(b []byte, n uint64) []byte {
	if n >= 10 {
		b = appendUint(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// ask sends a command and blocks until its result, or an error, has come back.
func (c *conn) ask(command machine.Command) (machine.Result, error) {
	s := c.sim
	if c.closed {
		return machine.Result{}, errClosed
	}
	if c.reset {
		s.Sleep(time.Duration(leastDelay))
		return machine.Result{}, fmt.Errorf("%s: %w: %w: %w", c.node.name, errReset, cluster.ErrRefused, cluster.ErrNotDone)
	}
	c.seq++
	c.body, c.heard, c.outcome = command.Encode(), false, nil
	c.at = max(c.at, s.now+c.delay())
	s.plan(c.at, request, c.index, c.seq)
	s.plan(s.now+int64(c.timeout), timeout, c.index, c.seq)
	c.waiter = s.self()
	s.block()
	if c.outcome != nil {
		return machine.Result{}, fmt.Errorf("%s: %w", c.node.name, c.outcome)
	}
	return c.result, nil
}

// wake the client that waits, if one does.
func (c *conn) wake(outcome error) {
	r := c.waiter
	if r == nil {
		return
	}
	c.waiter, c.outcome = nil, outcome
	c.sim.run(r)
}

// requested: a request has arrived. A process that is gone answers with a reset.
func (s *Sim) requested(c *conn, seq uint32) {
	if c.dead {
		s.plan(s.now+c.delay(), reset, c.index, 0)
		return
	}
	s.deliver(c.node, input{kind: request, conn: c, seq: seq})
}

// answer takes a reply from a machine, once it may leave the node.
func (s *Sim) answer(n *node, r machine.Reply) {
	if r.Conn < 1 || r.Conn > uint64(len(s.conns)) {
		s.court.violate(s, n, "reply", fmt.Sprintf("replies to connection %d, which there never was", r.Conn))
		return
	}
	c := s.conns[r.Conn-1]
	if c.node != n || c.life != n.life {
		// The machine may know the connection from its log; who asked there is not to be answered here.
		return
	}
	if r.Seq != uint64(c.seq) || c.heard {
		s.court.violate(s, n, "reply", fmt.Sprintf("replies to request %d of connection %d; the last was %d, answered before: %v", r.Seq, r.Conn, c.seq, c.heard))
		return
	}
	c.heard = true
	result, err := machine.DecodeResult(r.Body)
	if err != nil {
		s.court.violate(s, n, "reply", fmt.Sprintf("reply that cannot be read: %v", err))
		return
	}
	if !s.config.Unchecked {
		s.court.acknowledged(s, n, &result)
	}
	c.result = result
	s.plan(s.now+c.delay(), reply, c.index, c.seq)
}

// replied: the answer has come to the client.
func (s *Sim) replied(c *conn, seq uint32) {
	if c.seq == seq {
		c.wake(nil)
	}
}

func (s *Sim) timedOut(c *conn, seq uint32) {
	if c.seq == seq && c.waiter != nil {
		c.hangUp()
		c.wake(errTimeout)
	}
}

func (s *Sim) broken(c *conn) {
	c.reset = true
	c.wake(errReset)
}

// Close ends the connection; its node gets to know.
func (c *conn) Close() error {
	c.hangUp()
	c.wake(errClosed)
	return nil
}

func (c *conn) hangUp() {
	if c.closed {
		return
	}
	c.closed = true
	c.at = max(c.at, c.sim.now+c.delay())
	c.sim.plan(c.at, gone, c.index, 0)
}

// hungUp: the node sees the end of the connection.
func (s *Sim) hungUp(c *conn) {
	if c.dead {
		return
	}
	for i, other := range c.node.conns {
		if other == c {
			c.node.conns = append(c.node.conns[:i], c.node.conns[i+1:]...)
			break
		}
	}
	s.deliver(c.node, input{kind: gone, conn: c})
}
