package local

import (
	"context"
	"fmt"
	"time"

	"assize/cluster"
	"assize/cluster/skew"
)

// Skew falsifies the clocks of a node's process, and of its next lives. A node that is down is skewed when it starts.
func (c *Cluster) Skew(_ context.Context, name string, s cluster.Skew) error {
	if err := c.lackSkew; err != nil {
		return fmt.Errorf("skew %s: %w", name, err)
	}
	p, err := c.place(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	running := p.process != nil && p.process.running()
	if running {
		err = p.falsify(s)
	} else {
		p.forget()
	}
	p.lies, p.since = s, time.Now()
	if err != nil && !p.ending() { // one that has just ended is told at its next start
		return fmt.Errorf("skew %s: %w", name, err)
	}
	return nil
}

// falsify the clocks of the process that runs. Under mu.
func (p *place) falsify(s cluster.Skew) error {
	if p.clock == nil {
		if s == (cluster.Skew{}) {
			return nil
		}
		clock, err := skew.Attach(p.process.cmd.Process.Pid)
		if err != nil {
			return err
		}
		p.clock = clock
	}
	return p.clock.Set(s)
}

// inherit has the process that has just been started read its clocks as the one before it would. Under mu.
func (p *place) inherit() error {
	s := skew.Rebased(p.lies, time.Since(p.since))
	if p.clock != nil && p.lies != (cluster.Skew{}) {
		s = p.clock.Lasting()
	}
	p.forget()
	if err := p.falsify(s); err != nil && !p.ending() {
		return fmt.Errorf("skew its clocks: %w", err)
	}
	return nil
}

// forget the clock of a process that has ended. Under mu.
func (p *place) forget() {
	if p.clock != nil {
		p.clock.Close() // ends its strobe, if there is still one
		p.clock = nil
	}
}

// ending tells whether the process has ended, though nobody may have waited for it yet. Under mu.
func (p *place) ending() bool { return !p.process.running() || p.process.ended() }
