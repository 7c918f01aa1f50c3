package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"assize/cluster"
	"assize/cluster/skew"
)

// dying is how long a process that has been killed may take to show it.
const dying = 200 * time.Millisecond

// lies are what a node's clocks are told, through all its lives. They are kept here and nowhere else: a life may end in the midst of a change, and
// takes with it what its own clock holds.
type lies struct {
	skew  cluster.Skew // the last that was set; zero: the truth
	since time.Time
	stood time.Duration // by how much the wall clock was ahead when it was set
}

// ahead is by how much the wall clock is; a strobe's jumps, which go both ways, do not count.
func (l lies) ahead(now time.Time) time.Duration {
	d := l.stood + time.Duration(float64(now.Sub(l.since))*l.skew.WallRate)
	if l.skew.Strobe == 0 {
		d += l.skew.Wall
	}
	return d
}

// then is what is told once s has been set.
func (l lies) then(s cluster.Skew, now time.Time) lies {
	if s == (cluster.Skew{}) {
		return lies{}
	}
	return lies{skew: s, since: now, stood: l.ahead(now)}
}

// afresh is what to set, in this order, on clocks that run true so that they tell the same. The monotonic clock of a new life begins anew.
func (l lies) afresh(now time.Time) []cluster.Skew {
	s := l.skew
	s.Mono = 0
	if s.Strobe > 0 { // its jumps are around where the clock stands
		return []cluster.Skew{{Wall: l.ahead(now)}, s}
	}
	s.Wall = l.ahead(now)
	return []cluster.Skew{s}
}

// Skew falsifies the clocks of a node's process, and of its next lives. A node that is down is skewed when it starts.
func (c *Cluster) Skew(_ context.Context, name string, s cluster.Skew) error {
	if err := c.lackSkew; err != nil {
		return fmt.Errorf("skew %s: %w", name, err)
	}
	p, err := c.place(name)
	if err != nil {
		return err
	}
	return p.skew(s)
}

func (p *place) skew(s cluster.Skew) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := skew.Valid(s, p.lies.ahead(time.Now())); err != nil {
		return fmt.Errorf("skew %s: %w", p.node.Name, err)
	}
	var stepped error
	if p.process == nil || !p.process.running() {
		p.forget()
	} else if stepped = p.falsify(func(time.Time) []cluster.Skew { return []cluster.Skew{s} }); stepped != nil {
		stepped = fmt.Errorf("skew %s: %w", p.node.Name, stepped)
		if !errors.Is(stepped, cluster.ErrStepped) {
			return stepped
		}
	}
	p.lies = p.lies.then(s, time.Now())
	return stepped
}

// unskew sets the clocks right, where they are not.
func (p *place) unskew() error {
	p.mu.Lock()
	truthful := p.lies == lies{} && p.clock == nil
	p.mu.Unlock()
	if truthful {
		return nil
	}
	if err := p.skew(cluster.Skew{}); !errors.Is(err, cluster.ErrStepped) {
		return err
	}
	return nil
}

// inherit has the process that has just been started read its clocks as the one before it would. Under mu.
func (p *place) inherit() error {
	p.forget()
	if p.lies == (lies{}) {
		return nil
	}
	if err := p.falsify(p.lies.afresh); err != nil && !errors.Is(err, cluster.ErrStepped) {
		return fmt.Errorf("skew its clocks: %w", err)
	}
	return nil
}

// falsify the clocks of the process that runs. What could not be set since it has ended is for the next life to inherit. Under mu.
func (p *place) falsify(sets func(now time.Time) []cluster.Skew) error {
	err := p.set(sets)
	if err != nil && p.ending() {
		p.forget()
		return nil
	}
	// After an error the clock of a process that lives is kept: nobody knows what it tells, but it can still be mended.
	return err
}

func (p *place) set(sets func(now time.Time) []cluster.Skew) error {
	if p.clock == nil {
		if all := sets(time.Now()); len(all) == 1 && all[0] == (cluster.Skew{}) {
			return nil
		}
		clock, err := skew.Attach(p.process.cmd.Process.Pid)
		if err != nil {
			return err
		}
		p.clock = clock
	}
	// As of now: attaching takes time, in which a clock that goes at another rate moves away.
	var stepped error
	for _, s := range sets(time.Now()) {
		if err := p.clock.Set(s); errors.Is(err, cluster.ErrStepped) {
			stepped = err
		} else if err != nil {
			return err
		}
	}
	return stepped
}

// forget the clock of a process that has ended. Under mu.
func (p *place) forget() {
	if p.clock != nil {
		p.clock.Close() // ends its strobe, if there is still one
		p.clock = nil
	}
}

// ending tells whether the process has ended, though nobody may have waited for it yet. Under mu.
func (p *place) ending() bool {
	for end := time.Now().Add(dying); ; time.Sleep(time.Millisecond) {
		if !p.process.running() || p.process.ended() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
