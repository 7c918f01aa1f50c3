package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"assize/cluster"
	"assize/history"
)

var clock = Nemesis{
	Name:  "clock",
	Doc:   "falsifies clocks of one node or several: the wall clock jumps, the monotonic clock jumps, either drifts, or the wall clock strobes",
	Can:   canSkew,
	Break: breakClock,
	Mend:  mendClock,
}

func canSkew(c cluster.Cluster) error {
	return cluster.Lack(c, cluster.Skews)
}

const (
	leastJump = 250 * time.Millisecond // what a probe can tell from a busy node's delay
	greatJump = 30 * time.Second
	// leastDrift is far beyond what clocks do by themselves, so that the probe cannot take that for its own.
	leastDrift = 0.25
	driftProbe = time.Second // over which a rate is measured
	// slowLeaders, of all skews where somebody leads, slow the leader's monotonic clock and nothing else: all that it promises itself for a
	// time then lasts longer than the others allow it.
	slowLeaders = 0.25
	// tolerance of a measured jump or rate, as part of what was set.
	tolerance   = 0.3
	naturalRate = 0.1   // greatest difference of rates that is no fault
	disciplined = 0.001 // the same of a machine's clock over a long time, twice what those who discipline clocks will slew
)

// chooseSkew draws one way to falsify a clock.
func chooseSkew(r *rand.Rand) (s cluster.Skew, what string) {
	jump := func(greatest time.Duration) time.Duration {
		ratio := float64(greatest) / float64(leastJump)
		d := time.Duration(float64(leastJump) * math.Pow(ratio, r.Float64())).Round(time.Millisecond)
		if r.IntN(2) == 0 {
			return -d
		}
		return d
	}
	rate := func() float64 {
		if r.IntN(2) == 0 {
			return -(leastDrift + r.Float64()*0.65) // down to a tenth of its rate
		}
		return leastDrift + r.Float64()*2
	}
	switch r.IntN(6) {
	case 0:
		s.Wall = jump(greatJump)
		return s, fmt.Sprintf("wall clock jumps by %v", s.Wall)
	case 1:
		s.Mono = jump(greatJump / 3)
		return s, fmt.Sprintf("monotonic clock jumps by %v", s.Mono)
	case 2:
		s.MonoRate = rate()
		return s, fmt.Sprintf("monotonic clock runs at %.2f of its rate", 1+s.MonoRate)
	case 3:
		s.WallRate = rate()
		return s, fmt.Sprintf("wall clock runs at %.2f of its rate", 1+s.WallRate)
	case 4:
		s.MonoRate = rate()
		s.WallRate = s.MonoRate
		return s, fmt.Sprintf("both clocks run at %.2f of their rate", 1+s.MonoRate)
	}
	s.Wall = jump(greatJump / 6)
	s.Strobe = 100*time.Millisecond + time.Duration(r.Int64N(int64(400*time.Millisecond))).Round(time.Millisecond)
	return s, fmt.Sprintf("wall clock strobes by %v every %v", s.Wall, s.Strobe)
}

func breakClock(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	before := look(ctx, c, c.Nodes())
	targets, _ := aim(c, before, r)
	s, what := chooseSkew(r)
	if l, led := leaderOf(before); led && r.Float64() < slowLeaders {
		targets = []string{l.node}
		s = cluster.Skew{MonoRate: -(0.6 + 0.3*r.Float64())}
		what = fmt.Sprintf("monotonic clock runs at %.2f of its rate", 1+s.MonoRate)
	}
	fault := history.Fault{What: what + " on " + list(targets), Nodes: targets}
	if len(targets) == 0 {
		return fault, nothing("no clock to falsify: %s", told(before))
	}
	const attempts = 3 // a node that is killed in the middle of the probe cannot be compared
	seen := 0
	for range attempts {
		// Asked right before, since a jump is told by the difference.
		before = look(ctx, c, remaining(c, targets))
		stepped, err := falsify(ctx, c, targets, s)
		if err != nil {
			return fault, fmt.Errorf("skew: %w", err)
		}
		var held bool
		held, seen, fault.Probe = measure(ctx, c, before, s)
		fault.Probe += stepped
		if held {
			fault.Held = true
			return fault, nil
		}
		if _, err := falsify(ctx, c, targets, cluster.Skew{}); err != nil {
			return fault, fmt.Errorf("skew: %w", err)
		}
	}
	if seen == 0 {
		return fault, nothing("none of %s answered before and after", list(targets))
	}
	return fault, nil
}

// falsify the clocks of these nodes. That one may have stepped back is told and no failure: whether the skew took hold is judged by true time.
func falsify(ctx context.Context, c cluster.Cluster, nodes []string, s cluster.Skew) (stepped string, err error) {
	err = each(c, nodes, func(n string) error {
		err := c.(cluster.Skewer).Skew(ctx, n, s)
		if errors.Is(err, cluster.ErrStepped) {
			stepped += "; the monotonic clock of " + n + " may have stepped back when it was set, on this busy machine"
			return nil
		}
		return err
	})
	return stepped, err
}

// measure compares the clocks of the nodes that still answer with what they said before. seen is how many could be compared.
func measure(ctx context.Context, c cluster.Cluster, before []sight, s cluster.Skew) (held bool, seen int, probe string) {
	after := look(ctx, c, those(before, isUp))
	var series [][]sight
	series = append(series, after)
	const samples = 16
	for i := range samples {
		if s.Strobe == 0 && i > 0 {
			break
		}
		if s.Strobe > 0 {
			// Not a whole part of the period, lest all samples see the same face.
			c.Sleep(s.Strobe*3/8 + time.Millisecond)
		} else if s.WallRate != 0 || s.MonoRate != 0 {
			c.Sleep(driftProbe)
		}
		series = append(series, look(ctx, c, those(before, isUp)))
	}
	held = true
	for i, node := range those(before, isUp) {
		first, _ := find(before, node)
		var own []sight
		for _, sights := range series {
			if sights[i].up && sights[i].status.Process == first.status.Process {
				own = append(own, sights[i])
			}
		}
		if len(own) < len(series) {
			continue // it does not answer, or it is another process with another monotonic clock
		}
		seen++
		ok, words := judgeClock(first, own, s)
		held = held && ok
		if probe != "" {
			probe += "; "
		}
		probe += node + ": " + words
	}
	return held && seen > 0, seen, "status: " + probe
}

func find(sights []sight, node string) (sight, bool) {
	for _, s := range sights {
		if s.node == node {
			return s, true
		}
	}
	return sight{}, false
}

// judgeClock tells whether the readings before and after fit the skew that was set in between.
func judgeClock(before sight, after []sight, s cluster.Skew) (bool, string) {
	last := after[len(after)-1]
	switch {
	case s.Strobe > 0:
		low, high := time.Duration(math.MaxInt64), time.Duration(math.MinInt64)
		for _, a := range after {
			d := wallShift(before, a)
			low, high = min(low, d), max(high, d)
		}
		return (high - low).Abs() >= s.Wall.Abs()/2, fmt.Sprintf("wall clock off by %v to %v", low, high)
	case s.Wall != 0:
		d := wallShift(before, last)
		return near(d.Seconds(), s.Wall.Seconds(), slack(before, last)), fmt.Sprintf("wall clock moved by %v", d)
	case s.Mono != 0:
		d := monoShift(before, last)
		return near(d.Seconds(), s.Mono.Seconds(), slack(before, last)), fmt.Sprintf("monotonic clock moved by %v", d)
	}
	wall, mono := rates(after[0], last)
	spread := slack(after[0], last) / (last.at() - after[0].at()).Seconds()
	return near(wall, s.WallRate, spread) && near(mono, s.MonoRate, spread), fmt.Sprintf("rate of the wall clock %.2f, of the monotonic clock %.2f", 1+wall, 1+mono)
}

// near allows for natural drift and for what the measurement itself leaves open, but never so much that nothing at all would do: then
// nothing can be said, and that is not near.
func near(got, want, open float64) bool {
	allowed := tolerance*math.Abs(want) + open
	if want == 0 {
		return math.Abs(got) <= naturalRate+open
	}
	return allowed < math.Abs(want) && math.Abs(got-want) <= allowed
}

// slack is how far, in seconds, the difference of two readings may be off for the time that the answers took.
func slack(a, b sight) float64 {
	return (a.seen - a.asked + b.seen - b.asked).Seconds() / 2
}

// at is the moment of the World at which a node most probably read its clocks.
func (s sight) at() time.Duration { return s.asked + (s.seen-s.asked)/2 }

func wallShift(a, b sight) time.Duration {
	return b.status.Wall.Sub(a.status.Wall) - (b.at() - a.at())
}

func monoShift(a, b sight) time.Duration {
	return b.status.Mono - a.status.Mono - (b.at() - a.at())
}

// rates of both clocks between two looks; 0 is true.
func rates(a, b sight) (wall, mono float64) {
	d := (b.at() - a.at()).Seconds()
	if d <= 0 {
		return 0, 0
	}
	return wallShift(a, b).Seconds() / d, monoShift(a, b).Seconds() / d
}

// mendClock sets every member's clocks right, also those of nodes that are down: a skew lasts through a restart.
func mendClock(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
	fault := history.Fault{What: "clocks run true again", Mended: true}
	stepped, err := falsify(ctx, c, c.Nodes(), cluster.Skew{})
	if err != nil {
		return fault, fmt.Errorf("unskew: %w", err)
	}
	compared := 0
	fault.Held = await(ctx, c, probeBound, func() bool {
		var ok bool
		ok, compared, fault.Probe = steady(ctx, c, Stand{})
		return ok && compared > 0
	})
	fault.Probe += stepped
	if compared == 0 {
		return fault, nothing("no node's clocks can be seen to run true: %s", fault.Probe)
	}
	return fault, nil
}

// Stand is how the clocks of a cluster's nodes stood at some time, each by itself: machines need not agree.
type Stand struct {
	sights []sight
	drift  float64 // greatest difference of a clock's rate from true time that is no fault
}

// Stands reads the clocks of a cluster that nothing has broken yet.
func Stands(ctx context.Context, c cluster.Cluster, drift float64) Stand {
	s := Stand{drift: max(drift, disciplined)}
	if canSkew(c) != nil {
		return s
	}
	for _, node := range c.Nodes() { // not by look, which sleeps: what has not begun is not to begin later
		asked := c.Now()
		status, err := c.Status(ctx, node)
		s.sights = append(s.sights, sight{node: node, up: err == nil, status: status, err: err, asked: asked, seen: c.Now()})
	}
	return s
}

// left tells how far a node's wall clock is from where it would be had nothing been done to it; ok is false where that is more than drift and
// the reading of clocks can explain. Monotonic clocks begin anew with each process, and are not set back.
func (s Stand) left(now sight) (off time.Duration, ok bool) {
	before, found := find(s.sights, now.node)
	if !found || !before.up {
		return 0, true
	}
	off = wallShift(before, now)
	allowed := leastJump.Seconds()/2 + slack(before, now) + s.drift*(now.at()-before.at()).Seconds()
	return off, math.Abs(off.Seconds()) <= allowed
}

// steady tells whether both clocks of all nodes that answer run at their true rate, without jumps, for half a second, and the wall clocks are where they
// would be since they stood so, and how many were compared: not those that are down, stopped or restarted within it.
func steady(ctx context.Context, c cluster.Cluster, stood Stand) (ok bool, compared int, probe string) {
	const steps = 4
	series := [][]sight{look(ctx, c, c.Nodes())}
	for range steps {
		c.Sleep(driftProbe / 8)
		series = append(series, look(ctx, c, those(series[0], isUp)))
	}
	ok = true
	var left []string
	for _, first := range series[0] {
		var own []sight
		for _, sights := range series {
			if s, found := find(sights, first.node); found && s.up && s.status.Process == first.status.Process {
				own = append(own, s)
			}
		}
		if len(own) < len(series) {
			left = append(left, first.node)
			continue
		}
		compared++
		for i := range own[1:] {
			wall, mono := rates(own[i], own[i+1])
			spread := slack(own[i], own[i+1]) / (own[i+1].at() - own[i].at()).Seconds()
			if !near(wall, 0, spread) || !near(mono, 0, spread) {
				ok = false
				probe += fmt.Sprintf("; %s: rate of the wall clock %.2f, of the monotonic clock %.2f", first.node, 1+wall, 1+mono)
			}
		}
		if off, fits := stood.left(own[steps]); !fits {
			ok = false
			probe += fmt.Sprintf("; %s: the wall clock is off by %v from where it stood", first.node, off)
		}
	}
	if len(left) > 0 {
		probe += "; not of " + list(left)
	}
	return ok, compared, fmt.Sprintf("status: clocks of %d nodes compared with true time%s", compared, probe)
}
