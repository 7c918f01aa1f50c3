// Package local runs a cluster on this machine: every node a process of our own binary on loopback, without any privilege.
//
// Whatever a node sends to another passes a relay in this process, one for each direction, so that a direction can be cut (silence, never
// a reset) or slowed. Clients talk to the nodes directly. No node outlives the process that made the Cluster, even if that is killed: on
// Linux the kernel kills the nodes, stopped ones too; elsewhere a node sees the end of its standard input, which a stopped one
// does not before it is resumed by hand.
//
// Under <Dir>/nodes/<name>/ are the node's data (data/) and its output (server.log), each line stamped with the seconds since the
// run began as this process read them. Both stay after Close.
package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"assize/cluster"
)

// Config of a cluster.
type Config struct {
	System   cluster.System
	Binary   string // of the nodes; empty: this executable
	Dir      string // of the run
	Nodes    int    // n1 to n<Nodes>
	Seed     uint64
	Settings cluster.Settings
	// Direct leaves the relays out, for measuring: links can then be neither cut nor shaped.
	Direct bool
}

// Bounds on what this package waits for, in real time.
const (
	startBound  = 15 * time.Second // a node's first answer after its start: it reads its log first, on a disk shared with all others
	statusBound = time.Second      // one node's answer
	exitBound   = 10 * time.Second // a killed process leaves when its last system call, perhaps an fsync, returns
	changeBound = 15 * time.Second // a membership change, through elections
	pollEvery   = 20 * time.Millisecond
)

// Cluster is a running cluster. All methods are safe for concurrent use.
type Cluster struct {
	config  Config
	name    string          // no other cluster's, ever
	run     context.Context // of the whole run: its end wakes sleepers
	began   time.Time
	work    sync.WaitGroup
	spawner *spawner
	change  sync.Mutex // held through a change of the members, one at a time

	mu         sync.Mutex
	nodes      []*node // members, by id
	pending    *node   // started, but nobody knows yet whether it has become a member
	next       int     // id
	relays     []*relay
	violations []string
	closed     bool
}

var _ interface {
	cluster.Cluster
	cluster.Pauser
	cluster.Cutter
	cluster.Shaper
	cluster.Transferer
	cluster.Members
	cluster.Sizer
	cluster.Quorum
	cluster.Watcher
} = (*Cluster)(nil)

// New starts all nodes and returns when each has answered. ctx is the run's: its end wakes those who sleep in the World.
func New(ctx context.Context, config Config) (*Cluster, error) {
	if config.Nodes < 1 {
		return nil, fmt.Errorf("a cluster of %d nodes", config.Nodes)
	}
	if config.Binary == "" {
		own, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this executable: %w", err)
		}
		config.Binary = own
	}
	dir, err := filepath.Abs(config.Dir)
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	config.Dir = dir
	c := &Cluster{config: config, name: rand.Text(), run: ctx, began: time.Now(), spawner: newSpawner(), next: 1}
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// begin makes the first nodes, lets all of them know of all others, and starts them side by side.
func (c *Cluster) begin(ctx context.Context) error {
	var all []*node
	for range c.config.Nodes {
		n, err := c.newNode(false)
		if err != nil {
			return err
		}
		all = append(all, n)
		c.mu.Lock()
		c.nodes = append(c.nodes, n)
		c.mu.Unlock()
		if err := c.connect(n); err != nil {
			return err
		}
	}
	for _, n := range all {
		n.peers = c.peersOf(n)
	}
	if err := c.writePeers(); err != nil {
		return err
	}
	return eachNode(all, func(n *node) error { return c.start(ctx, n) })
}

// eachNode does f to all nodes at once.
func eachNode(nodes []*node, f func(*node) error) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { errs[i] = f(n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Close kills all nodes and waits until they are gone. Data and logs stay.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	relays := c.relays
	c.relays = nil
	c.mu.Unlock()

	err := eachNode(c.everybody(), func(n *node) error { return n.close() })
	for _, r := range relays {
		r.close()
	}
	c.spawner.close()
	return err
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
func (c *Cluster) Nodes() []string {
	return namesOf(c.members())
}

// Size is the number of members that the cluster began with.
func (c *Cluster) Size() int { return c.config.Nodes }

// Address is where clients reach a node. It changes when the node finds its port taken at a restart.
func (c *Cluster) Address(name string) (string, error) {
	n, err := c.node(name)
	if err != nil {
		return "", err
	}
	_, client := n.addresses()
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

func (c *Cluster) violation(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

func (c *Cluster) node(name string) (*node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%s is not a member: %w", name, errNoMember)
}

var errNoMember = errors.Join(cluster.ErrRefused, cluster.ErrNotDone)

// members are the present nodes, by id.
func (c *Cluster) members() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// everybody: the members and the node that may have become one.
func (c *Cluster) everybody() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := slices.Clone(c.nodes)
	if c.pending != nil {
		nodes = append(nodes, c.pending)
	}
	return nodes
}
