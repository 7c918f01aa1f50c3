// Package fleet is what all clusters of real nodes have in common, wherever their nodes run: a World in real time, nodes that start and answer or
// do not, members that come and go by asking whoever leads, a quorum to mend, and the journals of what nodes print. Where and how a
// node runs is its Host's and its Place's affair.
package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"assize/cluster"
)

// Config of a fleet.
type Config struct {
	System    cluster.System
	Dir       string // of the run
	Nodes     int    // n1 to n<Nodes> at the beginning, voters
	Observers int    // the next ones
	Seed      uint64
	Settings  cluster.Settings
}

// Host is the kind of machine that the nodes run on. Its methods may be called at once from several goroutines.
type Host interface {
	// Make prepares the place for a new node. Nothing of the node runs yet, and no other node knows it.
	Make(ctx context.Context, n *Node) (Place, error)
	// Connect makes the links between n and all of others usable, Disconnect removes them.
	Connect(n *Node, others []*Node) error
	Disconnect(n *Node)
	// PeerAddress is where from is told that it finds to.
	PeerAddress(from, to *Node) string
	// Alone mends all links, but leaves exactly these cut, and sets the clocks of the kept nodes right.
	Alone(ctx context.Context, kept []*Node, cut []cluster.Link) error
}

// Place is where one node's server runs, through all its lives. Its methods may be called at once from several goroutines.
type Place interface {
	// Listen tells the server's directory, and where it is to listen, in the words of its own machine.
	Listen() (dir, peer, client string)
	// Addresses are where others, and the test's clients, reach it.
	Addresses() (peer, client string)
	// Tell the server where it finds its peers, by id; it may be down.
	Tell(ctx context.Context, peers map[string]string) error
	// Ignite starts the server; nil where it runs already, or where nobody can see it answer, and an error where the place has been closed. args are asked
	// for once it is known that it will be started.
	Ignite(ctx context.Context, args func() []string) (Life, error)
	// Moved tells, after a life that never answered, whether the place has got other addresses for the next try.
	Moved() (bool, error)
	Kill(ctx context.Context) error   // as SIGKILL; returns when the server is gone; idempotent
	Resume(ctx context.Context) error // whatever has stopped it; idempotent
	// Answering is what is believed: the server runs, and neither has been stopped nor is out of everybody's sight. Down is asked where no connection could be made: whether that
	// is because nothing of the node runs.
	Answering() bool
	Down(ctx context.Context) bool
	Close() error // kill for good and clean up; idempotent
}

// Life of a server, from its start to its end.
type Life interface {
	Done() <-chan struct{}
	Ending() string // how it ended, once it is done
}

// Bounds on what this package waits for, in real time.
const (
	startBound  = 15 * time.Second // a node's first answer after its start: it reads its log first, on a disk shared with all others
	statusBound = time.Second      // one node's answer
	changeBound = 15 * time.Second // a membership change, through elections
	pollEvery   = 20 * time.Millisecond
	// Silence is how long somebody who expects none waits for an answer.
	Silence = 250 * time.Millisecond
)

// Cluster is the part of a running cluster that does not depend on where it runs. All methods are safe for concurrent use.
type Cluster struct {
	config Config
	host   Host
	name   string          // no other cluster's, ever
	run    context.Context // of the whole run: its end wakes sleepers
	began  time.Time
	work   sync.WaitGroup

	change sync.Mutex // held through a change of the members, one at a time

	mu         sync.Mutex
	nodes      []*Node // members, by id
	pending    *Node   // started, but nobody knows yet whether it has become a member
	next       int     // id
	violations []string
	closed     bool
}

// New makes a fleet of which nothing runs yet. ctx is the run's: its end wakes those who sleep in the World.
func New(ctx context.Context, config Config, host Host) (*Cluster, error) {
	if config.Nodes < 1 {
		return nil, fmt.Errorf("a cluster of %d nodes", config.Nodes)
	}
	return &Cluster{config: config, host: host, name: rand.Text(), run: ctx, began: time.Now(), next: 1}, nil
}

// Begin makes the first nodes, lets all of them know of all others, and starts them side by side. It returns when each has answered.
func (c *Cluster) Begin(ctx context.Context) error {
	var all []*Node
	for i := range c.Size() {
		n, err := c.newNode(false)
		if err != nil {
			return err
		}
		n.observer = i >= c.config.Nodes
		all = append(all, n)
	}
	c.mu.Lock()
	c.nodes = slices.Clone(all)
	c.mu.Unlock()
	if err := Each(all, func(n *Node) error { return c.settle(ctx, n) }); err != nil {
		return err
	}
	for i, n := range all {
		if err := c.host.Connect(n, all[:i]); err != nil {
			return err
		}
	}
	for _, n := range all {
		n.peers = c.peersOf(n)
	}
	if err := c.WritePeers(ctx); err != nil {
		return err
	}
	return Each(all, func(n *Node) error { return c.start(ctx, n) })
}

// Each does f to all nodes at once.
func Each(nodes []*Node, f func(*Node) error) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { errs[i] = f(n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Close kills all nodes and waits until they are gone; false where that had been done already. Logs stay.
func (c *Cluster) Close() (bool, error) {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return false, nil
	}
	return true, Each(c.Everybody(), func(n *Node) error { return n.close() })
}

// Now is the monotonic time since New was called.
func (c *Cluster) Now() time.Duration { return time.Since(c.began) }

// afterInterrupt is how long a sleep may still take when the run has been interrupted: whoever polls in the mending that follows
// must not spin.
const afterInterrupt = 100 * time.Millisecond

// Sleep returns early when the run is interrupted while it sleeps.
func (c *Cluster) Sleep(d time.Duration) {
	if c.run.Err() != nil {
		time.Sleep(min(d, afterInterrupt))
		return
	}
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.run.Done():
	}
}

// Go starts f beside the caller.
func (c *Cluster) Go(f func()) { c.work.Go(f) }

// Wait for all that Go has started.
func (c *Cluster) Wait() { c.work.Wait() }

// Nodes are the members, also those that are down.
func (c *Cluster) Nodes() []string { return namesOf(c.Members()) }

// Size is the number of members that the cluster began with.
func (c *Cluster) Size() int { return c.config.Nodes + c.config.Observers }

// Observers are the members that have no vote.
func (c *Cluster) Observers() []string {
	return namesOf(slices.DeleteFunc(c.Members(), func(n *Node) bool { return !n.observer }))
}

// Address is where clients reach a node. It may change at a restart.
func (c *Cluster) Address(name string) (string, error) {
	n, err := c.Node(name)
	if err != nil {
		return "", err
	}
	_, client := n.Place.Addresses()
	return client, nil
}

// Violations are told once each: nodes that died without having been killed, with the end of their log.
func (c *Cluster) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.violations
	c.violations = nil
	return v
}

// Violation is for the Host to tell of one.
func (c *Cluster) Violation(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

// Node is the member of this name.
func (c *Cluster) Node(name string) (*Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%s is not a member: %w", name, errNoMember)
}

var errNoMember = errors.Join(cluster.ErrRefused, cluster.ErrNotDone)

// Members are the present nodes, by id.
func (c *Cluster) Members() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// Everybody: the members and the node that may have become one.
func (c *Cluster) Everybody() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := slices.Clone(c.nodes)
	if c.pending != nil {
		nodes = append(nodes, c.pending)
	}
	return nodes
}
