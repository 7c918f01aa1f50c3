package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"assize/cluster"
)

// peersOf lists where n finds the others.
func (c *Cluster) peersOf(n *Node) []cluster.Peer {
	var peers []cluster.Peer
	for _, other := range c.Everybody() {
		if other != n {
			peers = append(peers, cluster.Peer{ID: other.ID, Address: c.host.PeerAddress(n, other), Observer: other.observer})
		}
	}
	return peers
}

// WritePeers tells every node where it finds all others.
func (c *Cluster) WritePeers(ctx context.Context) error {
	return Each(c.Everybody(), func(n *Node) error {
		addresses := make(map[string]string)
		for _, p := range c.peersOf(n) {
			addresses[strconv.Itoa(p.ID)] = p.Address
		}
		if err := n.Place.Tell(ctx, addresses); err != nil {
			return fmt.Errorf("tell %s its peers: %w", n.Name, err)
		}
		return nil
	})
}

// statuses asks all at once, also the node that may have become a member, for it may have been elected; the zero Status for those that do
// not answer.
func (c *Cluster) statuses(ctx context.Context) ([]*Node, []cluster.Status) {
	nodes := c.Everybody()
	all := make([]cluster.Status, len(nodes))
	var done sync.WaitGroup
	for i, n := range nodes {
		done.Go(func() {
			if s, err := c.statusOf(ctx, n); err == nil {
				all[i] = s
			}
		})
	}
	done.Wait()
	return nodes, all
}

var errClosed = errors.New("the cluster has been closed")

// ErrNoLeader is wrapped where nobody leads whom one could ask.
var ErrNoLeader = errors.New("no node says that it leads")

// foremost is the position of the leader of the highest term, -1 if nobody says that he leads.
func foremost(all []cluster.Status) int {
	best := -1
	for i, s := range all {
		if s.Role == "leader" && (best < 0 || s.Term > all[best].Term) {
			best = i
		}
	}
	return best
}

func (c *Cluster) leader(ctx context.Context) (*Node, error) {
	nodes, all := c.statuses(ctx)
	best := foremost(all)
	if best < 0 {
		return nil, ErrNoLeader
	}
	return nodes[best], nil
}

// Lack tells what the system that runs cannot do itself.
func (c *Cluster) Lack(power cluster.Power) error { return c.config.System.Lack(power) }

// Transfer asks the leader to hand over. It returns when the leader has agreed; whether it comes to pass shows in Status.
func (c *Cluster) Transfer(ctx context.Context, to string) error {
	n, err := c.Node(to)
	if err != nil {
		return err
	}
	leader, err := c.leader(ctx)
	if err != nil {
		return fmt.Errorf("transfer to %s: %w", to, err)
	}
	if leader == n {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, changeBound/3)
	defer cancel()
	_, address := leader.Place.Addresses()
	if err := c.config.System.Transfer(ctx, address, n.ID); err != nil {
		return fmt.Errorf("transfer from %s to %s: %w", leader.Name, to, err)
	}
	return nil
}

// Settled tells whether a majority of the members whom the leader counts say that name is one, or is none. The leader alone is no
// witness: in Raft a server uses a configuration as soon as it has logged it, and an isolated leader's log may be undone.
func (c *Cluster) Settled(ctx context.Context, name string, present bool) bool {
	nodes, all := c.statuses(ctx)
	best := foremost(all)
	if best < 0 {
		return false
	}
	members, witnesses := all[best].Members, 0
	for i, s := range all {
		if slices.Contains(members, nodes[i].Name) && s.Role != "" && slices.Contains(s.Members, name) == present {
			witnesses++
		}
	}
	return slices.Contains(members, name) == present && witnesses > len(members)/2
}

// ask repeats a membership change at whoever leads until it is done or the bound has passed. An answer that is lost says nothing, so
// where the request fails the members themselves decide.
func (c *Cluster) ask(ctx context.Context, name string, present bool, request func(ctx context.Context, address string) error) error {
	ctx, cancel := context.WithTimeout(ctx, changeBound)
	defer cancel()
	var last error
	for {
		if c.Settled(ctx, name, present) {
			return nil
		}
		leader, err := c.leader(ctx)
		if err == nil {
			_, address := leader.Place.Addresses()
			one, done := context.WithTimeout(ctx, changeBound/3)
			err = request(one, address)
			done()
		}
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		pause := time.NewTimer(pollEvery * 2)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("not within %v: %w", changeBound, errors.Join(last, ctx.Err()))
		}
	}
}

// Join starts a node with a new id and has it made a member. Where that could not be seen to happen the node stays, running and reachable, for
// a change that commits late must find it; the next Join takes it up again.
func (c *Cluster) Join(ctx context.Context) (string, error) {
	c.change.Lock()
	defer c.change.Unlock()
	n, err := c.recruit(ctx)
	if err != nil {
		return "", err
	}
	if err := c.start(ctx, n); err != nil {
		return "", err
	}
	err = c.ask(ctx, n.Name, true, func(ctx context.Context, address string) error {
		peer, _ := n.Place.Addresses()
		return c.config.System.Join(ctx, address, n.ID, peer)
	})
	if err != nil {
		return "", fmt.Errorf("join of %s: %w", n.Name, err)
	}
	c.mu.Lock()
	c.nodes = append(c.nodes, n)
	c.pending = nil
	c.mu.Unlock()
	return n.Name, nil
}

// recruit makes a node that is to join, and tells all of it.
func (c *Cluster) recruit(ctx context.Context) (*Node, error) {
	c.mu.Lock()
	n := c.pending
	c.mu.Unlock()
	if n != nil {
		return n, nil
	}
	n, err := c.newNode(true)
	if err != nil {
		return nil, err
	}
	if err := c.settle(ctx, n); err != nil {
		return nil, errors.Join(err, n.close())
	}
	if err := c.host.Connect(n, c.Members()); err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.peers = c.peersOf(n)
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.pending = n
	}
	c.mu.Unlock()
	if closed { // by somebody who did not know of it
		err = errors.Join(errClosed, n.close())
		c.host.Disconnect(n)
		return nil, err
	}
	return n, c.WritePeers(ctx)
}

// Leave has a node removed from the members and then stops it for good. A node whose removal could not be seen stays a member.
func (c *Cluster) Leave(ctx context.Context, name string) error {
	c.change.Lock()
	defer c.change.Unlock()
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	err = c.ask(ctx, name, false, func(ctx context.Context, address string) error {
		return c.config.System.Leave(ctx, address, n.ID)
	})
	if err != nil {
		return fmt.Errorf("leave of %s: %w", name, err)
	}
	c.mu.Lock()
	c.nodes = slices.DeleteFunc(c.nodes, func(m *Node) bool { return m == n })
	c.mu.Unlock()
	err = n.close()
	c.host.Disconnect(n)
	return errors.Join(err, c.WritePeers(ctx))
}
