package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/machine"
)

// conn is a client's connection to one process of a node. It carries requests and replies, each way in their order, and loses nothing until it breaks.
type conn struct {
	sim     *Sim
	index   uint32
	node    *node
	life    uint32 // of the process
	tongue  machine.Tongue
	timeout time.Duration
	key     uint64 // of its draws
	drawn   uint64

	seq    uint32   // of the last request
	sent   [][]byte // requests that the process has not taken yet
	at     int64    // when the last thing sent arrives: nothing overtakes it
	choked bool     // a request found no room at the node; none after it arrives
	open   []uint64 // requests since the operation began, or before the first, that no reply has named

	heard   []machine.Reply // that are on their way
	heardAt int64           // when the last of them arrives
	shut    bool            // the machine has closed the connection
	ended   bool            // the process has been told of the end

	greeted bool   // nothing stands before an operation
	turn    uint32 // number of the last operation
	waiter  *routine
	outcome error

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
	return s.open(n, o, s.tongue(o.Read)), nil
}

// tongue of the next connection.
func (s *Sim) tongue(read string) machine.Tongue {
	if s.config.Tongue == nil {
		return &machine.Commands{Local: read == "local"}
	}
	return s.config.Tongue(read)
}

func (s *Sim) open(n *node, o cluster.Options, tongue machine.Tongue) *conn {
	if o.Timeout <= 0 {
		o.Timeout = dialTimeout
	}
	c := &conn{
		sim: s, index: uint32(len(s.conns)), node: n, life: n.life, tongue: tongue, timeout: o.Timeout,
		key: stream(s.config.Seed, streamClient, uint64(len(s.conns))),
	}
	s.conns = append(s.conns, c)
	n.conns = append(n.conns, c)
	if hello := tongue.Hello(); hello != nil {
		c.send(hello)
	} else {
		c.greeted = true
	}
	return c
}

// Do executes t. See cluster.Client.
func (c *conn) Do(_ context.Context, t history.Txn) (cluster.Answer, error) {
	if err := c.begin(); err != nil {
		return cluster.Answer{}, err
	}
	requests, err := c.tongue.Ask(t)
	if err != nil {
		return cluster.Answer{}, fmt.Errorf("%w: %w", cluster.ErrNotDone, err)
	}
	if err := c.ask(requests); err != nil {
		return cluster.Answer{}, err
	}
	out, version, position, note, err := c.tongue.Answer()
	if err != nil {
		return cluster.Answer{}, c.judged(err)
	}
	return cluster.Answer{Txn: out, Version: version, Position: position, Note: note}, nil
}

// judged is what a test may know of an operation that ended so.
func (c *conn) judged(err error) error {
	switch {
	case errors.Is(err, machine.ErrNoEffect):
		return fmt.Errorf("%s: %w: %w", c.node.name, cluster.ErrNotDone, err)
	case errors.Is(err, machine.ErrNonsense):
		return fmt.Errorf("%s: %w: %w", c.node.name, cluster.ErrNonsense, err)
	}
	return fmt.Errorf("%s: %w", c.node.name, err)
}

// begin an operation: its time runs from now. It waits until the connection's first request has been answered; what ends before has sent nothing else.
func (c *conn) begin() error {
	s := c.sim
	if c.closed {
		return errClosed
	}
	if c.reset {
		s.Sleep(time.Duration(leastDelay))
		return c.refused(errReset)
	}
	c.turn++
	s.plan(s.now+int64(c.timeout), timeout, c.index, c.turn)
	if !c.greeted {
		if err := c.wait(); err != nil {
			return c.refused(err)
		}
	}
	if c.tongue.Closed() != nil {
		c.hangUp()
		return c.refused(errClosed)
	}
	return nil
}

// refused: the node takes no operations from this connection.
func (c *conn) refused(err error) error {
	return fmt.Errorf("%s: %w: %w: %w", c.node.name, c.explained(err), cluster.ErrRefused, cluster.ErrNotDone)
}

// explained adds what the node has said of the connection's end.
func (c *conn) explained(err error) error {
	if said := c.tongue.Closed(); said != nil {
		return fmt.Errorf("%w: %w", err, said)
	}
	return err
}

// ask sends the first requests of an operation and blocks until it has its answer, or an error.
func (c *conn) ask(requests [][]byte) error {
	c.open = c.open[:0]
	for _, body := range requests {
		c.send(body)
	}
	if err := c.wait(); err != nil {
		return c.judged(c.explained(err))
	}
	return nil
}

func (c *conn) send(body []byte) {
	c.seq++
	c.sent = append(c.sent, body)
	c.open = append(c.open, uint64(c.seq))
	c.at = max(c.at, c.sim.now+c.delay())
	c.sim.plan(c.at, request, c.index, c.seq)
}

// take what the next request says: the process reads them in their order.
func (c *conn) take() []byte {
	body := c.sent[0]
	c.sent = slices.Delete(c.sent, 0, 1)
	return body
}

// wait until wake.
func (c *conn) wait() error {
	c.outcome, c.waiter = nil, c.sim.self()
	c.sim.block()
	return c.outcome
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

// requested: a request has arrived. A process that is gone answers with a reset; where the machine has closed the connection one is under way.
func (s *Sim) requested(c *conn, seq uint32) {
	switch {
	case c.dead:
		s.plan(s.now+c.delay(), reset, c.index, 0)
	case !c.shut && !c.choked:
		s.deliver(c.node, input{kind: request, conn: c, seq: seq})
	}
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
	if c.shut {
		s.court.violate(s, n, "reply", fmt.Sprintf("replies to connection %d, which it has closed", r.Conn))
		return
	}
	if r.Seq != 0 {
		i := slices.Index(c.open, r.Seq)
		if i < 0 {
			s.court.violate(s, n, "reply", fmt.Sprintf("replies to request %d of connection %d; the last was %d, answered before: %v", r.Seq, r.Conn, c.seq, r.Seq <= uint64(c.seq)))
			return
		}
		c.open = slices.Delete(c.open, i, i+1)
	}
	c.answered(n, r)
}

// answered: the reply leaves the node. It arrives behind all that left before it, and the end of the connection behind it.
func (c *conn) answered(n *node, r machine.Reply) {
	s := c.sim
	said := r.Body != nil || !r.Close
	if a, tells := c.tongue.(machine.Acknowledger); tells && said {
		entry, err := a.Acknowledged(r)
		if err != nil {
			s.court.violate(s, n, "reply", fmt.Sprintf("reply that cannot be read: %v", err))
			return
		}
		if !s.config.Unchecked {
			s.court.acknowledged(s, n, entry)
		}
	}
	c.heardAt = max(c.heardAt, s.now+c.delay())
	if said {
		c.heard = append(c.heard, r)
		s.plan(c.heardAt, reply, c.index, 0)
	}
	if r.Close {
		c.shut = true
		s.plan(c.heardAt, reset, c.index, 0)
		s.plan(s.now+leastDelay, gone, c.index, 0)
	}
}

// replied: the next reply has come to the client.
func (s *Sim) replied(c *conn) {
	r := c.heard[0]
	c.heard = slices.Delete(c.heard, 0, 1)
	if c.closed || c.reset {
		return
	}
	more, done := c.tongue.Hear(r)
	for _, body := range more {
		c.send(body)
	}
	if done {
		c.greeted = true
		c.wake(nil)
	}
}

func (s *Sim) timedOut(c *conn, turn uint32) {
	if c.turn == turn && c.waiter != nil {
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
	if c.dead || c.ended {
		return
	}
	c.ended = true
	for i, other := range c.node.conns {
		if other == c {
			c.node.conns = append(c.node.conns[:i], c.node.conns[i+1:]...)
			break
		}
	}
	s.deliver(c.node, input{kind: gone, conn: c})
}
