package docker

import (
	"context"
	"errors"
	"fmt"

	"assize/cluster/agent"
)

// Lapsed tells of the faults that agents have healed by themselves while this process stood still for longer than the grace, once each.
func (c *Cluster) Lapsed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lapses
	c.lapses = nil
	return l
}

// lapsed takes note that the agent has healed by itself. What was set there is set again, though the run can prove nothing any more: those who
// carry out its plan go on from what they believe. It is called by the session, for whose other words an holder of op may be waiting.
func (p *place) lapsed(b *box, l agent.Lapse) {
	p.mu.Lock()
	if l.Count <= b.lapses {
		p.mu.Unlock()
		return
	}
	b.lapses = l.Count
	present := p.box == b
	if present {
		p.staleSet, p.staleSkew, p.unsure = true, true, true
	}
	p.mu.Unlock()
	words := fmt.Sprintf("%s: its agent had heard nothing from here for %v and healed: %s", p.node.Name, p.of.config.Grace, l.What)
	p.node.Log.Line("harness: " + words)
	p.of.mu.Lock()
	p.of.lapses = append(p.of.lapses, words)
	p.of.mu.Unlock()
	if present {
		go p.catchUp()
	}
}

func (p *place) catchUp() {
	p.op.Lock()
	defer p.op.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), agentBound)
	defer cancel()
	if err := errors.Join(p.review(ctx), p.freshen(ctx)); err != nil {
		p.node.Log.Line("harness: after its healing: " + err.Error()) // whoever does the next thing to the node meets it, too
	}
}

// review what is believed of the server where the agent may have started it or let it go on. Under op.
func (p *place) review(ctx context.Context) error {
	p.mu.Lock()
	b, unsure := p.box, p.unsure && !p.frozen
	p.mu.Unlock()
	if b == nil || !unsure {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, agentBound)
	defer cancel()
	s, err := p.remoteOf(b).State(ctx)
	if err != nil {
		return fmt.Errorf("ask the agent of %s: %w", p.node.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.box != b {
		return nil
	}
	lives := p.life != nil && !p.life.over()
	switch {
	case s.Running && s.Life > b.told && !lives:
		p.life = &life{box: b, number: s.Life, done: make(chan struct{})}
	case s.Running && lives && p.life.number != s.Life:
		return nil // the end of the one before has yet to be told: the next who asks will see
	}
	p.unsure, p.paused = false, s.Paused
	return nil
}
