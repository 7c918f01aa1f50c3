package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"assize/cluster"
	"assize/cluster/agent"
	"assize/cluster/fleet"
	"assize/cluster/packets"
	"assize/cluster/skew"
)

const (
	// patience is how long a probe that should be answered waits: the machine may be busy.
	patience = 3 * time.Second
	// backlog is what a link of limited rate is given to carry before a probe.
	backlog = 2 * time.Second
)

func (c *Cluster) place(name string) (*place, error) {
	n, err := c.Node(name)
	if err != nil {
		return nil, err
	}
	return n.Place.(*place), nil
}

// learn what the containers' kernel can do, from the first agent that answers.
func (c *Cluster) learn(s agent.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.choices != nil {
		return
	}
	a := s.Abilities
	for power, why := range map[cluster.Power]string{cluster.Cut: a.Drop, cluster.Duplicate: a.Duplicate, cluster.Skews: s.SkewLack} {
		if why != "" {
			c.lacking[power] = fmt.Errorf("%s", why)
		}
	}
	if a.Loss != "" && a.Delay != "" && a.Rate != "" {
		c.lacking[cluster.Shapes] = fmt.Errorf("%s; %s; %s", a.Loss, a.Delay, a.Rate)
	}
	c.choices = []string{a.Means}
	if s.SkewLack == "" {
		c.choices = append(c.choices, skew.Means())
	}
}

// freshen tells the agent whatever it does not know yet. One that is down or frozen is told when it is back.
func (p *place) freshen(ctx context.Context) error {
	p.telling.Lock()
	defer p.telling.Unlock()
	p.mu.Lock()
	b := p.box
	if b == nil || p.frozen {
		p.mu.Unlock()
		return nil
	}
	peers, content := p.stalePeer, p.peers
	set, clocks := p.staleSet, p.staleSkew
	p.stalePeer, p.staleSet, p.staleSkew = false, false, false
	s, turn := p.skew, p.skewTurn
	if !p.skewedAt.IsZero() {
		s = skew.Rebased(s, time.Since(p.skewedAt))
		s.Mono = p.jump
	}
	remote := b.remote
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, agentBound)
	defer cancel()
	var err error
	if set {
		err = remote.Packets(ctx, p.of.setFor(p))
	}
	if err == nil && peers {
		err = remote.Write(ctx, "peers.json", content)
	}
	if err == nil && clocks { // the zero Skew, too: it may have been mended while nobody could be told
		if err = remote.Skew(ctx, turn, s); errors.Is(err, cluster.ErrStepped) {
			err = nil // it is set
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		if clocks {
			p.jump = 0
		}
		return nil
	}
	p.stalePeer, p.staleSet, p.staleSkew = p.stalePeer || peers, p.staleSet || set, p.staleSkew || clocks
	if p.box != b || p.frozen {
		return nil // it went down meanwhile, and will be told
	}
	return fmt.Errorf("tell the agent of %s: %w", p.node.Name, err)
}

// setFor is what is in force at one node. A cut link is dropped at both ends, as one of them may be frozen and cannot be told.
func (c *Cluster) setFor(p *place) (set packets.Set) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.inOrder() {
		in, out := cluster.Link{From: other.node.Name, To: p.node.Name}, cluster.Link{From: p.node.Name, To: other.node.Name}
		peer := packets.Peer{Address: other.address, Ports: []uint16{peerPort}}
		if c.cut[in] {
			set.From = append(set.From, peer)
		}
		if c.cut[out] {
			set.To = append(set.To, peer)
		}
		if s, shaped := c.shapes[out]; shaped {
			set.Shaped = append(set.Shaped, packets.Shaped{To: peer, Shape: s})
		}
	}
	return set
}

// inOrder are all places, by id. Under mu.
func (c *Cluster) inOrder() []*place {
	all := make([]*place, 0, len(c.places))
	for _, p := range c.places {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *place) int { return a.node.ID - b.node.ID })
	return all
}

// spread tells all agents of the packets that are in force now.
func (c *Cluster) spread(ctx context.Context) error {
	return fleet.Each(c.Everybody(), func(n *fleet.Node) error {
		p := n.Place.(*place)
		p.mu.Lock()
		p.staleSet = true
		p.mu.Unlock()
		return p.freshen(ctx)
	})
}

// Cut silences exactly these links from now on. Links of nodes that are not members (any more) are ignored.
func (c *Cluster) Cut(ctx context.Context, links []cluster.Link) error {
	if c.config.Disconnect {
		return c.disconnect(ctx, links)
	}
	c.mu.Lock()
	clear(c.cut)
	for _, l := range links {
		c.cut[l] = true
	}
	c.mu.Unlock()
	return c.spread(ctx)
}

// Shape slows exactly these links from now on; all others run free.
func (c *Cluster) Shape(ctx context.Context, links []cluster.Link, s cluster.Shape) error {
	if s.Loss < 0 || s.Loss > 1 || s.Duplicated < 0 || s.Duplicated > 1 || s.Delay < 0 || s.Jitter < 0 || s.Rate < 0 {
		return fmt.Errorf("shape %+v: delay, jitter and rate must not be negative, probabilities must be from 0 to 1", s)
	}
	c.mu.Lock()
	clear(c.shapes)
	if s != (cluster.Shape{}) {
		for _, l := range links {
			c.shapes[l] = s
		}
	}
	c.mu.Unlock()
	return c.spread(ctx)
}

// Skew falsifies the clocks of a node's server, and of its next lives.
func (c *Cluster) Skew(ctx context.Context, name string, s cluster.Skew) error {
	p, err := c.place(name)
	if err != nil {
		return err
	}
	p.telling.Lock()
	defer p.telling.Unlock()
	p.mu.Lock()
	p.skewTurn++
	p.skew, p.skewedAt, p.jump = s, time.Now(), s.Mono
	turn := p.skewTurn
	b, frozen := p.box, p.frozen
	p.staleSkew = p.staleSkew || frozen
	p.mu.Unlock()
	if b == nil || frozen {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, agentBound)
	defer cancel()
	err = p.remoteOf(b).Skew(ctx, turn, s)
	p.mu.Lock()
	defer p.mu.Unlock()
	stepped := errors.Is(err, cluster.ErrStepped)
	if err != nil && !stepped && (p.box != b || p.frozen) {
		p.staleSkew = true
		return nil
	}
	if err == nil || stepped {
		p.jump = 0
	}
	if err != nil {
		return fmt.Errorf("skew %s: %w", name, err)
	}
	return nil
}

// Alone leaves the kept nodes with each other.
func (c *Cluster) Alone(ctx context.Context, kept []*fleet.Node, cut []cluster.Link) error {
	c.mu.Lock()
	clear(c.shapes)
	c.mu.Unlock()
	err := c.Cut(ctx, cut)
	if c.config.Disconnect { // which tells no agent of the shapes that are no more
		err = errors.Join(err, c.spread(ctx))
	}
	if err != nil {
		return err
	}
	return fleet.Each(kept, func(n *fleet.Node) error {
		p := n.Place.(*place)
		p.mu.Lock()
		skewed := p.skew != (cluster.Skew{})
		p.mu.Unlock()
		if !skewed {
			return nil
		}
		return c.mendClock(ctx, p)
	})
}

// mendClock is Skew for nodes that are no members yet.
func (c *Cluster) mendClock(ctx context.Context, p *place) error {
	if _, err := c.Node(p.node.Name); err != nil {
		return nil // no fault can name it
	}
	if err := c.Skew(ctx, p.node.Name, cluster.Skew{}); !errors.Is(err, cluster.ErrStepped) {
		return err
	}
	return nil
}

// Reach probes all links at once, each from within the network of the node that it begins at.
func (c *Cluster) Reach(ctx context.Context) ([]cluster.Link, error) {
	var links []cluster.Link
	for _, from := range c.Members() {
		for _, to := range c.Members() {
			if from != to {
				links = append(links, cluster.Link{From: from.Name, To: to.Name})
			}
		}
	}
	times, err := c.probe(ctx, links, 1)
	if err != nil {
		return nil, err
	}
	var dead []cluster.Link
	for i, l := range links {
		if times[i][0] < 0 {
			dead = append(dead, l)
		}
	}
	return dead, ctx.Err()
}

// Trips probes links as Reach does, several times each.
func (c *Cluster) Trips(ctx context.Context, links []cluster.Link, probes int) ([]cluster.Trip, error) {
	times, err := c.probe(ctx, links, probes)
	if err != nil {
		return nil, err
	}
	trips := make([]cluster.Trip, len(links))
	for i, l := range links {
		trips[i] = cluster.Trip{Link: l, Times: times[i]}
	}
	return trips, errors.Join(c.count(ctx, trips), ctx.Err())
}

// probe has the agent at the beginning of each link connect to its end. Where there is none that could, or it does not answer, nothing gets through.
func (c *Cluster) probe(ctx context.Context, links []cluster.Link, probes int) ([][]time.Duration, error) {
	times := make([][]time.Duration, len(links))
	own := map[string][]int{} // links by their beginning
	for i, l := range links {
		times[i] = slices.Repeat([]time.Duration{-1}, probes)
		own[l.From] = append(own[l.From], i)
	}
	var all sync.WaitGroup
	for from, ends := range own {
		p, err := c.place(from)
		if err != nil {
			continue
		}
		remote := p.reachable()
		if remote == nil {
			continue
		}
		var which []int // whose ends are there
		var targets, bulk []agent.Target
		longest := time.Duration(0)
		for _, i := range ends {
			t, there := c.target(links[i], probes)
			if !there {
				continue
			}
			which = append(which, i)
			targets = append(targets, t)
			if probes > 1 && c.thin(links[i]) {
				bulk = append(bulk, agent.Target{Address: t.Address, Wait: bulkWait, Times: 1, Bytes: bulkBytes})
			}
			longest = max(longest, t.Wait*time.Duration(probes))
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, longest+patience)
			defer cancel()
			if got, err := remote.Probe(ctx, targets); err == nil && len(got) == len(which) {
				for k, i := range which {
					copy(times[i], got[k])
				}
			}
			if len(bulk) > 0 {
				remote.Probe(ctx, bulk)
			}
		})
	}
	all.Wait()
	return times, ctx.Err()
}

// Few links are ever so busy that a limit of their rate shows, if it is not so low that probes show it. A burst that no limit lets through at once does;
// what becomes of its connection, which the target resets in the middle, does not matter.
const (
	bulkBytes = 16 << 10
	bulkWait  = time.Second
	lowRate   = 20e3
)

// thin tells whether a link is of limited rate, but not of a low one.
func (c *Cluster) thin(l cluster.Link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shapes[l].Rate > lowRate
}

// reachable is the session with an agent that could answer, or nil.
func (p *place) reachable() *agent.Remote {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.box == nil || p.frozen {
		return nil
	}
	return p.box.remote
}

// target of a link's probe; none where its end has left. What is believed of a link decides only how long its probe waits.
func (c *Cluster) target(l cluster.Link, probes int) (t agent.Target, there bool) {
	to, err := c.place(l.To)
	if err != nil {
		return t, false
	}
	t = agent.Target{Wait: fleet.Silence, Times: probes}
	t.Address, _ = to.Addresses()
	able := to.Answering()
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.shapes[l]; able && !c.cut[l] {
		t.Wait = patience + 2*(s.Delay+s.Jitter)
		if s.Rate > 0 {
			t.Wait += backlog
		}
	}
	return t, true
}

// count adds what the shapers have done. One that is down, or frozen, has done nothing that anybody can know of.
func (c *Cluster) count(ctx context.Context, trips []cluster.Trip) error {
	counts := map[string][]packets.Count{}
	for i := range trips {
		t := &trips[i]
		from, err := c.place(t.Link.From)
		if err != nil {
			continue
		}
		to, err := c.place(t.Link.To)
		if err != nil {
			continue
		}
		if _, asked := counts[t.Link.From]; !asked {
			if counts[t.Link.From], err = from.counts(ctx); err != nil {
				return fmt.Errorf("counts of %s: %w", t.Link.From, err)
			}
		}
		for _, k := range counts[t.Link.From] {
			if k.To == to.address {
				t.Held, t.Lost, t.Duplicated = k.Held, k.Lost, k.Duplicated
			}
		}
	}
	return nil
}

func (p *place) counts(ctx context.Context) ([]packets.Count, error) {
	remote := p.reachable()
	if remote == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, agentBound)
	defer cancel()
	counts, err := remote.Counts(ctx)
	if p.reachable() != remote {
		return nil, nil
	}
	return counts, err
}
