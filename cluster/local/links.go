package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"assize/cluster"
	"assize/cluster/fleet"
	"assize/cluster/skew"
)

var (
	errDirect    = errors.New("this cluster was started without relays: its links can be neither cut nor shaped")
	errDuplicate = errors.New("links between processes are TCP connections, which duplicate nothing")
)

var _ cluster.Limited = (*Cluster)(nil)

// Lack tells what no cluster of processes can do on this machine, whatever runs on it.
func Lack(power cluster.Power) error {
	switch power {
	case cluster.Duplicate:
		return errDuplicate
	case cluster.Freeze, cluster.Crash:
		return errors.New("a process has no machine of its own")
	case cluster.Skews:
		return skew.Able()
	}
	return nil
}

// Lack tells what this cluster cannot do.
func (c *Cluster) Lack(power cluster.Power) error {
	switch power {
	case cluster.Cut, cluster.Shapes, cluster.Duplicate:
		if c.config.Direct {
			return errDirect
		}
	case cluster.Skews: // asked once
		return c.lackSkew
	case cluster.Transfers, cluster.Membership:
		return c.Cluster.Lack(power)
	}
	return Lack(power)
}

// Choices tells by what means clocks lie; to all else there is one means here.
func (c *Cluster) Choices() []string {
	if c.lackSkew != nil {
		return nil
	}
	return []string{skew.Means()}
}

// Connect makes the relays between a new node and the others.
func (c *Cluster) Connect(n *fleet.Node, others []*fleet.Node) error {
	if c.config.Direct {
		return nil
	}
	var made []*relay
	for _, other := range others {
		for _, ends := range [][2]*fleet.Node{{n, other}, {other, n}} {
			from, to := ends[0], ends[1]
			target := func() string {
				peer, _ := to.Place.Addresses()
				return peer
			}
			r, err := newRelay(cluster.Link{From: from.Name, To: to.Name}, target, fleet.Mix(c.config.Seed, uint64(from.ID), uint64(to.ID)))
			if err != nil {
				for _, r := range made {
					r.close()
				}
				return err
			}
			made = append(made, r)
		}
	}
	c.mu.Lock()
	c.relays = append(c.relays, made...)
	c.mu.Unlock()
	return nil
}

// Disconnect removes the relays of a node that has left.
func (c *Cluster) Disconnect(n *fleet.Node) {
	c.mu.Lock()
	var kept, gone []*relay
	for _, r := range c.relays {
		if r.link.From == n.Name || r.link.To == n.Name {
			gone = append(gone, r)
		} else {
			kept = append(kept, r)
		}
	}
	c.relays = kept
	c.mu.Unlock()
	for _, r := range gone {
		r.close()
	}
}

// PeerAddress is the relay's, or the node's own where there are no relays.
func (c *Cluster) PeerAddress(from, to *fleet.Node) string {
	for _, r := range c.allRelays() {
		if r.link.From == from.Name && r.link.To == to.Name {
			return r.address()
		}
	}
	peer, _ := to.Place.Addresses()
	return peer
}

// Alone leaves the kept nodes with each other, their clocks set right.
func (c *Cluster) Alone(ctx context.Context, kept []*fleet.Node, cut []cluster.Link) error {
	err := fleet.Each(kept, func(n *fleet.Node) error { return n.Place.(*place).unskew() })
	if c.config.Direct {
		return err
	}
	// In this order, for what a shape holds is let go with it.
	return errors.Join(err, c.Cut(ctx, cut), c.Shape(ctx, nil, cluster.Shape{}))
}

func (c *Cluster) allRelays() []*relay {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.relays)
}

// Cut silences exactly these links from now on. Links of nodes that are not members (any more) are ignored.
func (c *Cluster) Cut(_ context.Context, links []cluster.Link) error {
	if c.config.Direct {
		return errDirect
	}
	for _, r := range c.allRelays() {
		r.set(slices.Contains(links, r.link))
	}
	return nil
}

// Shape slows exactly these links from now on; all others run free. TCP neither duplicates nor reorders, so Duplicated must be 0, and
// Loss is what it makes of it: each piece of up to 16 kB is stalled, with all behind it, for one retransmission time-out, or
// several of doubling length. A link of limited rate is one for all its connections, and lets its senders wait when it has a second's work.
func (c *Cluster) Shape(_ context.Context, links []cluster.Link, s cluster.Shape) error {
	if c.config.Direct {
		return errDirect
	}
	if s.Duplicated != 0 {
		return errDuplicate
	}
	if !(s.Loss >= 0 && s.Loss < 1) || s.Delay < 0 || s.Jitter < 0 || !(s.Rate == 0 || s.Rate >= 1) {
		return fmt.Errorf("shape %+v: delay and jitter must not be negative, loss must be from 0 to below 1, a rate at least 1", s)
	}
	for _, r := range c.allRelays() {
		if slices.Contains(links, r.link) {
			r.setShape(s)
		} else {
			r.setShape(cluster.Shape{})
		}
	}
	return nil
}

const (
	// silence is how long a probe that should meet silence listens to it.
	silence = fleet.Silence
	// patience is how long a probe that should be answered waits: the machine may be busy.
	patience = 3 * time.Second
	// interval between two probes of one link.
	interval = 20 * time.Millisecond
)

// Reach probes all links at once. A probe is a connection through the relay that greets the target with rubbish: that it
// closes upon that shows that bytes got there. Silence is a dead link, and so is a reset, which says that nobody listens. What is believed of a link
// decides only how long its probe waits.
func (c *Cluster) Reach(ctx context.Context) ([]cluster.Link, error) {
	if c.config.Direct {
		return nil, errDirect
	}
	able := make(map[string]bool)
	place := make(map[string]int)
	for i, n := range c.Members() {
		able[n.Name] = n.Place.Answering()
		place[n.Name] = i
	}
	// The links of a node that has not become a member yet are nobody's business.
	relays := slices.DeleteFunc(c.allRelays(), func(r *relay) bool {
		_, from := place[r.link.From]
		_, to := place[r.link.To]
		return !from || !to
	})
	slices.SortFunc(relays, func(a, b *relay) int {
		if a.link.From != b.link.From {
			return place[a.link.From] - place[b.link.From]
		}
		return place[a.link.To] - place[b.link.To]
	})
	alive := make([]bool, len(relays))
	var all sync.WaitGroup
	for i, r := range relays {
		wait := r.patience(able[r.link.To])
		all.Go(func() { alive[i] = r.probe(ctx, wait) >= 0 })
	}
	all.Wait()
	var dead []cluster.Link
	for i, r := range relays {
		if !alive[i] {
			dead = append(dead, r.link)
		}
	}
	return dead, ctx.Err()
}

// patience of a probe: how long it waits for an answer. able tells whether the target could give one.
func (r *relay) patience(able bool) time.Duration {
	cut, s := r.state()
	if cut || !able {
		return silence
	}
	wait := patience + s.Delay + s.Jitter
	if s.Loss > 0 {
		wait += mostStall
	}
	if s.Rate > 0 {
		wait += backlog
	}
	return wait
}

// Trips probes links as Reach does, several times each. A trip takes until the target has been seen to close.
func (c *Cluster) Trips(ctx context.Context, links []cluster.Link, probes int) ([]cluster.Trip, error) {
	if c.config.Direct {
		return nil, errDirect
	}
	able := make(map[string]bool)
	for _, n := range c.Members() {
		able[n.Name] = n.Place.Answering()
	}
	relays := c.allRelays()
	trips := make([]cluster.Trip, len(links))
	var all sync.WaitGroup
	for i, link := range links {
		trips[i] = cluster.Trip{Link: link, Times: slices.Repeat([]time.Duration{-1}, probes)}
		at := slices.IndexFunc(relays, func(r *relay) bool { return r.link == link })
		if at < 0 {
			continue // of a node that is no member (any more)
		}
		r := relays[at]
		wait := r.patience(able[link.To])
		all.Go(func() {
			var own sync.WaitGroup
			for p := range probes {
				if p > 0 {
					time.Sleep(interval)
				}
				own.Go(func() { trips[i].Times[p] = r.probe(ctx, wait) })
			}
			own.Wait()
			trips[i].Held, trips[i].Lost = r.doings()
		})
	}
	all.Wait()
	return trips, ctx.Err()
}

// rubbish is no frame of anybody's: a length of 2^32-1, or, for a text protocol, no text.
var rubbish = slices.Repeat([]byte{0xff}, 64)

// probe returns how long it took until the target closed; negative: no answer.
func (r *relay) probe(ctx context.Context, wait time.Duration) time.Duration {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.address())
	if err != nil {
		return -1
	}
	defer conn.Close()
	defer r.drop(conn.LocalAddr().String())
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	defer stop()
	if _, err := conn.Write(rubbish); err != nil {
		return -1
	}
	var b [1]byte
	if _, err = conn.Read(b[:]); !errors.Is(err, io.EOF) {
		return -1
	}
	return time.Since(began)
}
