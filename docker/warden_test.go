package docker

import (
	"strings"
	"testing"
)

// TestWardenDoesNotGiveUp: one container that does not thaw at once, and an engine that is too busy to answer, must not leave all others as they are.
func TestWardenDoesNotGiveUp(t *testing.T) {
	engine := proxied(t)
	c := town(t, 2, nil)
	must(t, c.Crash(t.Context(), "n2"))
	for _, busy := range []struct {
		part  string
		times int
	}{{"/unpause", freezeAttempts + 1}, {"/start", 2}, {"/version", 1}} {
		must(t, c.Freeze(t.Context(), "n1"))
		engine.fail(busy.part, busy.times)
		must(t, Watch(t.Context(), strings.NewReader(""), c.run, 0))
		for _, node := range []string{"n1", "n2"} {
			p, err := c.place(node)
			must(t, err)
			s, err := c.engine.ContainerInspect(t.Context(), p.id)
			if err != nil || s.State.Paused || !s.State.Running {
				t.Errorf("%s: %s: %v", busy.part, node, err)
			}
		}
		must(t, c.Resume(t.Context(), "n1"))
		must(t, c.engine.ContainerKill(t.Context(), c.places["n2"].id, "KILL"))
	}
}
