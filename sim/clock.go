package sim

import (
	"context"
	"fmt"
	"math"
	"time"

	"assize/cluster"
)

// epoch is what a true wall clock reads at the beginning of a run.
var epoch = time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)

// clock of a node: two readings and their rates since a moment of true time.
type clock struct {
	since              int64   // true time of the readings
	wall, mono         int64   // readings then
	wallRate, monoRate float64 // per true time
	// What it would be by itself.
	offset                     int64
	naturalWall, naturalMono   float64
	strobe, strobeBy, strobeAt int64
}

// newClock draws a clock that no fault has touched: a wall clock up to 50 ms off, and rates of which no two differ by more than drift.
func newClock(key uint64, drift float64) clock {
	rate := func(n uint64) float64 { return 1 + drift*(fraction(draw(key, n))-0.5) }
	c := clock{offset: int64((fraction(draw(key, 0)) - 0.5) * 1e8), naturalWall: rate(1), naturalMono: rate(2)}
	c.wallRate, c.monoRate = c.naturalWall, c.naturalMono
	c.wall = c.offset
	return c
}

func (c *clock) read(now int64) (wall, mono int64) {
	d := float64(now - c.since)
	wall, mono = c.wall+int64(d*c.wallRate), c.mono+int64(d*c.monoRate)
	if c.strobe > 0 && (now-c.strobeAt)/c.strobe%2 == 0 {
		wall += c.strobeBy
	}
	return wall, mono
}

// restart begins the monotonic clock anew, with the process.
func (c *clock) restart(now int64) {
	c.rebase(now)
	c.mono = 0
}

func (c *clock) rebase(now int64) {
	strobe := c.strobe
	c.strobe = 0
	c.wall, c.mono = c.read(now)
	c.since, c.strobe = now, strobe
}

// skew falsifies the clock, or mends it: then the wall clock is what it would be by itself, and the monotonic clock goes on from where
// it stands, for stepping back would be another fault.
func (c *clock) skew(now int64, k cluster.Skew) {
	c.rebase(now)
	c.wallRate, c.monoRate = c.naturalWall+k.WallRate, c.naturalMono+k.MonoRate
	c.strobe = 0
	switch {
	case k == cluster.Skew{}:
		c.wall = c.offset + int64(float64(now)*c.naturalWall)
	case k.Strobe > 0:
		c.strobe, c.strobeBy, c.strobeAt = int64(k.Strobe), int64(k.Wall), now
		c.mono += int64(k.Mono)
	default:
		c.wall += int64(k.Wall)
		c.mono += int64(k.Mono)
	}
}

// until is the true time that passes until the monotonic clock reads due.
func (c *clock) until(now, due int64) int64 {
	_, mono := c.read(now)
	if due <= mono {
		return 0
	}
	return int64(math.Ceil(float64(due-mono) / c.monoRate))
}

const leastRate = 0.001 // slower than this a clock would never let a timer fire

// Skew falsifies a node's clocks. The tick timer goes by the monotonic clock: a jump forward fires it at once, one back freezes it.
func (s *Sim) Skew(_ context.Context, name string, k cluster.Skew) error {
	n, err := s.member(name)
	if err != nil {
		return err
	}
	if 1+k.WallRate < leastRate || 1+k.MonoRate < leastRate || k.Strobe < 0 {
		return fmt.Errorf("skew %s: a rate must be above %v and a period at least 0: %+v", name, leastRate-1, k)
	}
	n.clock.skew(s.now, k)
	if n.up {
		if k == (cluster.Skew{}) {
			_, mono := n.clock.read(s.now)
			n.due = mono + s.period
		}
		s.arm(n)
	}
	return nil
}

// arm sets the node's tick timer to its due reading of the monotonic clock.
func (s *Sim) arm(n *node) {
	n.timer++
	s.plan(s.now+n.clock.until(s.now, n.due), tick, n.index, n.timer)
}

// rearm after a tick. A timer that is late does not make up for the ticks that it has missed.
func (s *Sim) rearm(n *node) {
	_, mono := n.clock.read(s.now)
	n.due += s.period
	if n.due <= mono {
		n.due = mono + s.period
	}
	n.timer++
	s.plan(s.now+max(1, n.clock.until(s.now, n.due)), tick, n.index, n.timer)
}
