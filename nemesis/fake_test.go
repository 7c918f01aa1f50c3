package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"assize/cluster"
)

// fake is a cluster that consists of its state: what has been done to it shows, nothing else happens. Flaws are what it does wrong.
type fake struct {
	cluster.Cluster // of which nothing else may be used
	now             time.Duration
	size            int
	observers       int // the last ones of the beginning
	next            int
	nodes           []*fakeNode
	term            uint64
	cut             []cluster.Link
	bent            []cluster.Link // shaped, as bend says
	bend            cluster.Shape
	tolls           map[cluster.Link]*cluster.Trip // what was done to the bent
	probed          int

	stubborn string               // cannot be killed or paused, or stays down or stopped
	leak     cluster.Link         // is never cut
	frozen   cluster.Link         // is dead for good
	elects   bool                 // another node leads when the leader is killed
	loyal    bool                 // leadership is never handed over
	rivals   bool                 // whoever is to be handed it, another is elected
	fleeting int                  // so many requests to hand it over come when the leader has just been deposed
	deaf     bool                 // membership requests fail
	busy     int                  // so many membership requests fail first
	blind    bool                 // membership requests are answered and forgotten
	perfect  bool                 // clocks cannot be falsified
	stepped  bool                 // clocks are set so late that they may have stepped back
	crooked  bool                 // clocks cannot be mended
	sloppy   bool                 // of a wall clock that is mended only the rate is
	late     string               // has left without anybody having seen it
	pending  *fakeNode            // has joined without anybody having seen it
	hunted   bool                 // whoever is paused or skewed is killed at once
	reborn   bool                 // whoever is paused is killed at once and started again
	restless bool                 // every answer comes from another process
	weak     func(*cluster.Shape) // parts of a shape that do not act
	clogged  bool                 // shaped links carry nothing
	thin     bool                 // of all probes of shaped links one is answered, each time
	sticky   bool                 // links cannot be unshaped
}

type fakeNode struct {
	name         string
	down, paused bool
	leads        bool
	born         time.Duration
	skew         cluster.Skew
	since        time.Duration
	wall, mono   time.Duration // off at since
	natural      time.Duration // off by itself
	process      uint64
}

func newFake(size int) *fake {
	f := &fake{size: size, term: 1, elects: true}
	for range size {
		f.add()
	}
	f.nodes[0].leads = true
	return f
}

func (f *fake) add() *fakeNode {
	f.next++
	n := &fakeNode{name: fmt.Sprintf("n%d", f.next), born: f.now, since: f.now}
	f.nodes = append(f.nodes, n)
	return n
}

func (f *fake) get(name string) (*fakeNode, error) {
	for _, n := range f.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no %s", name)
}

// lead lets one node lead a new term.
func (f *fake) lead(name string) {
	f.term++
	for _, n := range f.nodes {
		n.leads = n.name == name
	}
}

func (f *fake) Now() time.Duration    { return f.now }
func (f *fake) Sleep(d time.Duration) { f.now += d }
func (f *fake) Go(g func())           { g() }
func (f *fake) Size() int             { return f.size }

func (f *fake) Observers() []string {
	return minus(nodesOf(f.size), nodesOf(f.size-f.observers))
}

func (f *fake) Nodes() []string {
	var names []string
	for _, n := range f.nodes {
		names = append(names, n.name)
	}
	return names
}

func (f *fake) Start(_ context.Context, name string) error {
	n, err := f.get(name)
	if err == nil && n.down && name != f.stubborn {
		n.down, n.paused, n.born = false, false, f.now
	}
	return err
}

func (f *fake) Kill(_ context.Context, name string) error {
	n, err := f.get(name)
	if err == nil && name != f.stubborn {
		led := n.leads
		n.down, n.leads = true, false
		for _, other := range f.nodes {
			if led && f.elects && !other.down {
				other.leads, led = true, false
				f.term++
			}
		}
	}
	return err
}

func (f *fake) Pause(_ context.Context, name string) error {
	n, err := f.get(name)
	if err == nil && name != f.stubborn {
		n.paused = !f.reborn
		n.down = f.hunted
		if f.reborn {
			n.process++
		}
	}
	return err
}

func (f *fake) Resume(_ context.Context, name string) error {
	n, err := f.get(name)
	if err == nil && name != f.stubborn {
		n.paused = false
	}
	return err
}

func (f *fake) Status(_ context.Context, name string) (cluster.Status, error) {
	n, err := f.get(name)
	if err != nil {
		return cluster.Status{}, err
	}
	if n.down {
		return cluster.Status{}, fmt.Errorf("%s: %w", name, cluster.ErrRefused)
	}
	if n.paused {
		f.now += time.Second
		return cluster.Status{}, errors.New("time-out")
	}
	s := cluster.Status{Role: "follower", Term: f.term, Members: f.counted()}
	for _, other := range f.nodes {
		if other.leads {
			s.Leader = other.name
		}
	}
	if f.pending != nil && f.pending.leads {
		s.Leader = f.pending.name
	}
	if n.leads {
		s.Role = "leader"
	} else if slices.Contains(f.Observers(), name) {
		s.Role = "learner"
	}
	s.Wall, s.Mono = n.clocks(f.now)
	s.Process = n.process
	if f.restless {
		n.process++
		s.Process, s.Mono = n.process, 0
	}
	return s, nil
}

func (n *fakeNode) clocks(now time.Duration) (time.Time, time.Duration) {
	passed := now - n.since
	wall := n.wall + now + time.Duration(float64(passed)*n.skew.WallRate)
	if n.skew.Strobe > 0 && passed/n.skew.Strobe%2 == 0 {
		wall += n.skew.Wall
	}
	mono := n.mono + now - n.born + time.Duration(float64(passed)*n.skew.MonoRate)
	return time.Unix(1e9, 0).Add(wall), mono
}

func (f *fake) Skew(_ context.Context, name string, s cluster.Skew) error {
	n, err := f.get(name)
	if err != nil || f.perfect || f.crooked && s == (cluster.Skew{}) {
		return err
	}
	n.wall += time.Duration(float64(f.now-n.since) * n.skew.WallRate)
	n.mono += time.Duration(float64(f.now-n.since) * n.skew.MonoRate)
	n.since, n.skew = f.now, s
	if s.Strobe == 0 {
		n.wall += s.Wall
	}
	if s == (cluster.Skew{}) && !f.sloppy {
		n.wall = n.natural
	}
	n.mono += s.Mono
	n.down = n.down || f.hunted
	if f.stepped {
		return fmt.Errorf("skew %s: %w", name, cluster.ErrStepped)
	}
	return nil
}

func (f *fake) Cut(_ context.Context, links []cluster.Link) error {
	f.cut = slices.DeleteFunc(slices.Clone(links), func(l cluster.Link) bool { return l == f.leak })
	return nil
}

func (f *fake) Reach(context.Context) ([]cluster.Link, error) {
	return among(f.Nodes(), func(from, to string) bool {
		target, _ := f.get(to)
		l := cluster.Link{From: from, To: to}
		return slices.Contains(f.cut, l) || l == f.frozen || target.down || target.paused
	}), nil
}

func (f *fake) Shape(_ context.Context, links []cluster.Link, s cluster.Shape) error {
	if f.sticky && s == (cluster.Shape{}) {
		return nil
	}
	if f.weak != nil {
		f.weak(&s)
	}
	f.bent, f.bend, f.tolls = slices.Clone(links), s, map[cluster.Link]*cluster.Trip{}
	return nil
}

// Trips take a millisecond where nothing acts. Of jitter the first probe has none and the last one all.
func (f *fake) Trips(_ context.Context, links []cluster.Link, probes int) ([]cluster.Trip, error) {
	dead, _ := f.Reach(context.Background())
	trips := make([]cluster.Trip, len(links))
	for i, l := range links {
		toll, bent := f.tolls[l], slices.Contains(f.bent, l)
		if toll == nil {
			toll = &cluster.Trip{}
		}
		var times []time.Duration
		for p := range probes {
			took := time.Millisecond
			if bent {
				took = f.pass(toll, time.Duration(p)*f.bend.Jitter/time.Duration(probes-1))
				f.tolls[l] = toll
			}
			if slices.Contains(dead, l) || bent && (f.clogged || f.thin && i+p > 0) {
				took = -1
			}
			times = append(times, took)
		}
		trips[i] = *toll
		trips[i].Link, trips[i].Times = l, times
	}
	f.now += 50 * time.Millisecond
	return trips, nil
}

func (f *fake) pass(toll *cluster.Trip, jitter time.Duration) time.Duration {
	s := f.bend
	took := time.Millisecond + s.Delay + jitter
	if s.Rate > 0 {
		took += time.Duration(1e11 / s.Rate)
	}
	if took > time.Millisecond {
		toll.Held++
	}
	if s.Duplicated > 0 {
		toll.Duplicated++
	}
	if f.probed++; s.Loss > 0 && f.probed%8 == 3 {
		toll.Lost++
		return -1
	}
	return took
}

func (f *fake) Transfer(_ context.Context, to string) error {
	if f.rivals || f.fleeting > 0 {
		to = f.nodes[slices.IndexFunc(f.nodes, func(n *fakeNode) bool { return !n.leads && n.name != to })].name
	}
	if !f.loyal {
		f.lead(to)
	}
	if f.fleeting > 0 {
		f.fleeting--
		return errors.New("no node says that it leads")
	}
	return nil
}

// counted are those whom the leader counts.
func (f *fake) counted() []string {
	names := without(f.Nodes(), f.late)
	if f.pending != nil {
		names = append(names, f.pending.name)
	}
	return names
}

func (f *fake) Join(context.Context) (string, error) {
	if f.busy--; f.busy >= 0 {
		return "", errors.New("no answer")
	}
	switch {
	case f.pending != nil:
		f.nodes = append(f.nodes, f.pending)
		f.pending = nil
		return f.nodes[len(f.nodes)-1].name, nil
	case f.deaf:
		return "", errors.New("no answer")
	case f.blind:
		return fmt.Sprintf("n%d", f.next+1), nil
	}
	return f.add().name, nil
}

func (f *fake) Leave(_ context.Context, name string) error {
	if f.busy--; f.busy >= 0 {
		return errors.New("no answer")
	}
	switch {
	case f.deaf:
		return errors.New("no answer")
	case f.blind:
		return nil
	}
	n, err := f.get(name)
	if err != nil {
		return err
	}
	f.nodes = slices.DeleteFunc(f.nodes, func(m *fakeNode) bool { return m == n })
	if n.leads {
		for _, m := range f.nodes {
			if !m.down && !m.paused {
				f.lead(m.name)
				break
			}
		}
	}
	return nil
}

// whole tells what is still broken; empty: nothing.
func (f *fake) whole() string {
	for _, n := range f.nodes {
		if n.down || n.paused || n.skew != (cluster.Skew{}) {
			return fmt.Sprintf("%+v", *n)
		}
	}
	if len(f.cut) > 0 || len(f.bent) > 0 || len(f.nodes) != f.size {
		return fmt.Sprintf("%d links are cut, %d shaped, %d nodes of %d", len(f.cut), len(f.bent), len(f.nodes), f.size)
	}
	return ""
}
