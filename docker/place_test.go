package docker

import (
	"testing"
	"time"
)

// TestSessionThatCannotBeOpenedForAWhile, as while the engine is started anew: the node has not died, and is reached as soon as it can be.
func TestSessionThatCannotBeOpenedForAWhile(t *testing.T) {
	engine := proxied(t)
	c := town(t, 2, nil)
	p, err := c.place("n1")
	must(t, err)
	before := status(t, c, "n1").Process
	engine.fail("/exec", 1<<30)
	must(t, p.reachable().Close())
	c.Sleep(rejoinBound + time.Second)
	if err := c.Pause(t.Context(), "n1"); err == nil {
		t.Error("paused, with nobody to be told so")
	}
	engine.fail("", 0)
	until(t, c, "another session", func() bool { return p.reachable() != nil && c.Resume(t.Context(), "n1") == nil })
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
	if after := status(t, c, "n1").Process; after != before {
		t.Errorf("process %d, want the same as before, %d", after, before)
	}
	must(t, c.Kill(t.Context(), "n1"))
	must(t, c.Start(t.Context(), "n1"))
}

// TestFrozenNodeWhoseSessionHasEndedIsThawed: its agent cannot answer before that.
func TestFrozenNodeWhoseSessionHasEndedIsThawed(t *testing.T) {
	c := town(t, 1, nil)
	p, err := c.place("n1")
	must(t, err)
	must(t, c.Freeze(t.Context(), "n1"))
	p.mu.Lock()
	session := p.box.remote
	p.mu.Unlock()
	must(t, session.Close())
	c.Sleep(2 * rejoinPause)
	until(t, c, "n1 is resumed", func() bool { return c.Resume(t.Context(), "n1") == nil })
	if !is(t.Context(), c.engine, p.id, false) {
		t.Error("its container is frozen")
	}
	status(t, c, "n1")
}
