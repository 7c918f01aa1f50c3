package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"assize/cluster"
)

// Node is a member through all its lives.
type Node struct {
	ID    int
	Name  string
	Home  string // <Dir>/nodes/<Name>, on the controller's machine
	Log   *Journal
	Place Place

	joining  bool
	observer bool
	// peers as they were when it was made: the first configuration must be the same at every start, whoever has left or joined since.
	peers []cluster.Peer

	mu     sync.Mutex
	starts uint64
}

// newNode makes a node with the next id; it has no place yet and nobody knows it.
func (c *Cluster) newNode(joining bool) (*Node, error) {
	c.mu.Lock()
	id, closed := c.next, c.closed
	c.next++
	c.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	n := &Node{ID: id, Name: fmt.Sprintf("n%d", id), joining: joining}
	n.Home = filepath.Join(c.config.Dir, "nodes", n.Name)
	if err := os.MkdirAll(n.Home, 0o755); err != nil {
		return nil, err
	}
	log, err := NewJournal(filepath.Join(n.Home, "server.log"), c.Now)
	n.Log = log
	return n, err
}

// settle gives the node its place.
func (c *Cluster) settle(ctx context.Context, n *Node) error {
	place, err := c.host.Make(ctx, n)
	if err != nil {
		return fmt.Errorf("make %s: %w", n.Name, err)
	}
	c.mu.Lock()
	n.Place = place
	c.mu.Unlock()
	return nil
}

// close kills the node for good.
func (n *Node) close() error {
	var err error
	if n.Place != nil {
		err = n.Place.Close()
	}
	return errors.Join(err, n.Log.Close())
}

// Start starts a node that is down and waits until it answers, as it does for one that runs already. One that cannot answer, for it has been stopped or taken
// out of everybody's sight, is not waited for. With it a node starts that may have become a member but that no caller can
// name yet: where its join has been committed its vote is needed.
func (c *Cluster) Start(ctx context.Context, name string) error {
	n, err := c.Node(name)
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

// start tries again where the place has moved because the node could not live at the old one.
func (c *Cluster) start(ctx context.Context, n *Node) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		life, err := n.Place.Ignite(ctx, func() []string { return c.args(n) })
		if err != nil {
			return fmt.Errorf("start %s: %w", n.Name, err)
		}
		if life == nil {
			if ended := c.running(ctx, n); ended == nil || attempt == attempts || !errors.Is(ended, errEnded) {
				return ended
			}
			continue
		}
		if err = c.ready(ctx, n, life); err == nil {
			return nil
		}
		moved := false
		if !alive(life) && attempt < attempts {
			var failed error
			moved, failed = n.Place.Moved()
			if failed == nil && moved {
				failed = c.WritePeers(ctx)
			}
			err = errors.Join(err, failed)
			moved = moved && failed == nil
		}
		if !moved {
			return fmt.Errorf("start %s: %w", n.Name, err)
		}
	}
}

// args of the server's next life.
func (c *Cluster) args(n *Node) []string {
	n.mu.Lock()
	n.starts++
	starts := n.starts
	n.mu.Unlock()
	n.Log.Begin()
	dir, peer, client := n.Place.Listen()
	return c.config.System.Args(cluster.Node{
		ID:       n.ID,
		Dir:      dir,
		Peer:     peer,
		Client:   client,
		Peers:    n.peers,
		Cluster:  c.name,
		Joining:  n.joining,
		Observer: n.observer,
		Seed:     Mix(c.config.Seed, uint64(n.ID), starts),
		Settings: c.config.Settings,
	})
}

// Mix draws one seed from several numbers (splitmix64's finalizer).
func Mix(numbers ...uint64) uint64 {
	var h uint64
	for _, x := range numbers {
		h += x + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

func alive(l Life) bool {
	select {
	case <-l.Done():
		return false
	default:
		return true
	}
}

// ready waits until the node answers, or has died, or the bound has passed.
func (c *Cluster) ready(ctx context.Context, n *Node, life Life) error {
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
		case <-life.Done():
			return fmt.Errorf("%w: it ended with %s: %s", cluster.ErrSystem, life.Ending(), strings.Join(n.Log.Ending(), " | "))
		case <-bound.Done():
			return fmt.Errorf("%w: no answer within %v: %w", cluster.ErrSystem, startBound, err)
		}
	}
}

// errEnded: the life that was to answer is over.
var errEnded = fmt.Errorf("%w: it has ended meanwhile", cluster.ErrSystem)

// running waits until a node that ran already answers, cannot, or the bound has passed.
func (c *Cluster) running(ctx context.Context, n *Node) error {
	bound, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		_, err := c.statusOf(bound, n)
		switch unable := !n.Place.Answering(); {
		case err == nil:
			return nil
		case unable && errors.Is(err, cluster.ErrRefused):
			return fmt.Errorf("start %s: %w", n.Name, errEnded)
		case unable:
			return nil
		}
		select {
		case <-poll.C:
		case <-bound.Done():
			return fmt.Errorf("start %s: %w: it runs and gives no answer within %v: %w", n.Name, cluster.ErrSystem, startBound, err)
		}
	}
}

// Died tells of a life that ended otherwise than by having been killed.
func (c *Cluster) Died(n *Node, end string) {
	c.Violation("%s died by itself with %s; the end of its log:\n%s", n.Name, end, strings.Join(n.Log.Ending(), "\n"))
}

// Kill ends a node as SIGKILL does, and waits until it is gone.
func (c *Cluster) Kill(ctx context.Context, name string) error {
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	return n.kill(ctx)
}

func (n *Node) kill(ctx context.Context) error {
	if err := n.Place.Kill(ctx); err != nil {
		return fmt.Errorf("kill %s: %w", n.Name, err)
	}
	return nil
}

// Resume lets a node that was stopped go on; nothing happens to others.
func (c *Cluster) Resume(ctx context.Context, name string) error {
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	return n.resume(ctx)
}

func (n *Node) resume(ctx context.Context) error {
	if err := n.Place.Resume(ctx); err != nil {
		return fmt.Errorf("resume %s: %w", n.Name, err)
	}
	return nil
}

// Dial opens one client connection, straight to the node.
func (c *Cluster) Dial(ctx context.Context, name string, o cluster.Options) (cluster.Client, error) {
	n, err := c.Node(name)
	if err != nil {
		return nil, err
	}
	_, address := n.Place.Addresses()
	return c.config.System.Dial(ctx, address, o)
}

// Status asks a node; the error wraps cluster.ErrRefused where nobody listens at its address.
func (c *Cluster) Status(ctx context.Context, name string) (cluster.Status, error) {
	n, err := c.Node(name)
	if err != nil {
		return cluster.Status{}, err
	}
	return c.statusOf(ctx, n)
}

func (c *Cluster) statusOf(ctx context.Context, n *Node) (cluster.Status, error) {
	// As with probes of links, what is believed of a node decides only how long it has to answer.
	bound := statusBound
	if !n.Place.Answering() {
		bound = Silence
	}
	asked, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	s, err := c.hear(asked, n)
	if err == nil {
		return s, nil
	}
	if errors.Is(err, syscall.ECONNREFUSED) || n.Place.Down(ctx) {
		err = errors.Join(cluster.ErrRefused, cluster.ErrNotDone, err)
	}
	return cluster.Status{}, fmt.Errorf("status of %s: %w", n.Name, err)
}

// hear opens a connection of our own first: only it tells a port that nobody listens on from a node that does not answer.
func (c *Cluster) hear(ctx context.Context, n *Node) (cluster.Status, error) {
	_, address := n.Place.Addresses()
	var d net.Dialer
	knock, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return cluster.Status{}, err
	}
	knock.Close()
	s, err := c.config.System.Status(ctx, address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		// It listened a moment ago: whoever asks again will see.
		return s, fmt.Errorf("%v", err)
	}
	return s, err
}
