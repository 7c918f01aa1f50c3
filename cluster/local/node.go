package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"assize/cluster"
)

// node is a member through all its lives.
type node struct {
	id      int
	name    string
	dir     string // of its data
	joining bool
	// peers as they were when it was made: the first configuration must be the same at every start, whoever has left or joined since.
	peers []cluster.Peer
	log   *journal

	mu      sync.Mutex
	peer    string // addresses that it listens on
	client  string
	held    []claim  // of both addresses, while it is down
	process *process // nil before the first start
	starts  uint64
	paused  bool
	closed  bool // it will not be started again
}

// newNode makes a node with the next id; it does not run yet and nobody knows it.
func (c *Cluster) newNode(joining bool) (*node, error) {
	c.mu.Lock()
	id := c.next
	c.next++
	c.mu.Unlock()
	name := fmt.Sprintf("n%d", id)
	home := filepath.Join(c.config.Dir, "nodes", name)
	n := &node{id: id, name: name, dir: filepath.Join(home, "data"), joining: joining}
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return nil, err
	}
	log, err := newJournal(filepath.Join(home, "server.log"), c.Now)
	if err != nil {
		return nil, err
	}
	n.log = log
	n.mu.Lock()
	defer n.mu.Unlock()
	return n, n.settle()
}

// settle takes new addresses for the node and holds them. Under mu.
func (n *node) settle() error {
	n.release()
	peer, err := choose()
	if err != nil {
		return err
	}
	client, err := choose()
	if err != nil {
		peer.release()
		return err
	}
	n.held = []claim{peer, client}
	n.peer, n.client = peer.address(), client.address()
	return nil
}

// keep holds the node's addresses while it is down. Who cannot have them back has others at the next start. Under mu.
func (n *node) keep() {
	if n.closed || len(n.held) > 0 || n.process != nil && n.process.running() {
		return
	}
	for _, address := range []string{n.peer, n.client} {
		_, port, _ := net.SplitHostPort(address)
		number, _ := strconv.Atoi(port)
		if release, err := hold(number); err == nil {
			n.held = append(n.held, claim{number, release})
		}
	}
}

// release gives the held addresses free. Under mu.
func (n *node) release() {
	for _, c := range n.held {
		c.release()
	}
	n.held = nil
}

func (n *node) addresses() (peer, client string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peer, n.client
}

// answering tells whether the node could answer: it runs and is not stopped.
func (n *node) answering() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil && n.process.running() && !n.paused
}

// Start starts a node that is down and waits until it answers. With it a node starts that may have become a member but that no caller can
// name yet: where its join has been committed its vote is needed.
func (c *Cluster) Start(ctx context.Context, name string) error {
	n, err := c.node(name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	pending := c.pending
	c.mu.Unlock()
	if pending != nil && pending != n {
		err = c.start(ctx, pending)
	}
	return errors.Join(err, c.start(ctx, n))
}

// start tries again with other ports where somebody has taken the node's while it was down.
func (c *Cluster) start(ctx context.Context, n *node) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		p, err := c.ignite(n)
		if err != nil || p == nil {
			return err
		}
		err = c.ready(ctx, n, p)
		if err == nil {
			return nil
		}
		if p.running() || attempt == attempts || !n.taken() {
			return fmt.Errorf("start %s: %w", n.name, err)
		}
		n.mu.Lock()
		err = n.settle()
		n.mu.Unlock()
		if err == nil {
			err = c.writePeers()
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", n.name, err)
		}
	}
}

// ignite starts the process; nil if there is one already.
func (c *Cluster) ignite(n *node) (*process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fmt.Errorf("start %s: it has left", n.name)
	}
	if n.process != nil && n.process.running() {
		return nil, nil
	}
	n.starts++
	args := c.config.System.Args(cluster.Node{
		ID:       n.id,
		Dir:      n.dir,
		Peer:     n.peer,
		Client:   n.client,
		Peers:    n.peers,
		Cluster:  c.name,
		Joining:  n.joining,
		Seed:     mix(c.config.Seed, uint64(n.id), n.starts),
		Settings: c.config.Settings,
	})
	n.release()
	n.log.begin()
	p, err := launch(c.spawner, c.config.Binary, args, n.log, func(end string) {
		if !n.taken() {
			c.violation("%s died by itself with %s; the end of its log:\n%s", n.name, end, strings.Join(n.log.ending(), "\n"))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", n.name, err)
	}
	n.process, n.paused = p, false
	go func() {
		<-p.done
		n.mu.Lock()
		defer n.mu.Unlock()
		n.keep()
	}()
	return p, nil
}

// mix draws one seed from several numbers (splitmix64's finalizer).
func mix(numbers ...uint64) uint64 {
	var h uint64
	for _, x := range numbers {
		h += x + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// taken tells whether the last life ended because somebody else had the port.
func (n *node) taken() bool {
	return slices.ContainsFunc(n.log.ending(), func(line string) bool {
		return strings.Contains(line, syscall.EADDRINUSE.Error())
	})
}

// ready waits until the node answers, or has died, or the bound has passed.
func (c *Cluster) ready(ctx context.Context, n *node, p *process) error {
	bound, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		_, err := c.statusOf(bound, n)
		if err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-p.done:
			return fmt.Errorf("it ended with %s: %s", p.ending(), strings.Join(n.log.ending(), " | "))
		case <-bound.Done():
			return fmt.Errorf("no answer within %v: %w", startBound, err)
		}
	}
}

// Kill ends a node as SIGKILL does, and waits until it is gone.
func (c *Cluster) Kill(_ context.Context, name string) error {
	n, err := c.node(name)
	if err != nil {
		return err
	}
	return n.kill()
}

func (n *node) kill() error {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if p == nil {
		return nil
	}
	if err := p.kill(); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keep()
	return nil
}

// close kills the node for good.
func (n *node) close() error {
	n.mu.Lock()
	n.closed = true
	n.release()
	n.mu.Unlock()
	return errors.Join(n.kill(), n.log.close())
}

// Pause stops a node's process with SIGSTOP and returns when it has stopped.
func (c *Cluster) Pause(_ context.Context, name string) error {
	n, err := c.node(name)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil || !n.process.running() {
		return fmt.Errorf("pause %s: it is down: %w", name, cluster.ErrRefused)
	}
	if err := n.process.pause(); err != nil {
		return fmt.Errorf("pause %s: %w", name, err)
	}
	n.paused = true
	n.log.line("harness: paused")
	return nil
}

// Resume lets a node that was paused go on; nothing happens to others.
func (c *Cluster) Resume(_ context.Context, name string) error {
	n, err := c.node(name)
	if err != nil {
		return err
	}
	return n.resume()
}

func (n *node) resume() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.paused || !n.process.running() {
		n.paused = false
		return nil
	}
	if err := n.process.resume(); err != nil && n.process.running() {
		return fmt.Errorf("resume %s: %w", n.name, err)
	}
	n.paused = false
	n.log.line("harness: resumed")
	return nil
}

// Dial opens one client connection, straight to the node.
func (c *Cluster) Dial(ctx context.Context, name string, o cluster.Options) (cluster.Client, error) {
	n, err := c.node(name)
	if err != nil {
		return nil, err
	}
	_, address := n.addresses()
	return c.config.System.Dial(ctx, address, o)
}

// Status asks a node; the error wraps cluster.ErrRefused where nobody listens at its address.
func (c *Cluster) Status(ctx context.Context, name string) (cluster.Status, error) {
	n, err := c.node(name)
	if err != nil {
		return cluster.Status{}, err
	}
	return c.statusOf(ctx, n)
}

func (c *Cluster) statusOf(ctx context.Context, n *node) (cluster.Status, error) {
	// As with probes of links, what is believed of a node decides only how long it has to answer.
	bound := statusBound
	if !n.answering() {
		bound = silence
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	_, address := n.addresses()
	// A connection of our own first: only it tells a port that nobody listens on from a node that does not answer.
	var d net.Dialer
	knock, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			err = errors.Join(cluster.ErrRefused, cluster.ErrNotDone, err)
		}
		return cluster.Status{}, fmt.Errorf("status of %s: %w", n.name, err)
	}
	knock.Close()
	s, err := c.config.System.Status(ctx, address)
	if err != nil {
		return cluster.Status{}, fmt.Errorf("status of %s: %w", n.name, err)
	}
	return s, nil
}
