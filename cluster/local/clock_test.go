package local

import (
	"testing"
	"time"

	"assize/cluster"
)

func TestClocksOfOneProcessLie(t *testing.T) {
	c, _ := newTown(t, 2)
	if err := c.Lack(cluster.Skews); err != nil {
		t.Skip(err)
	}
	ahead := func(node string, want time.Duration, when string) {
		t.Helper()
		if got := time.Until(heard(t, c, node).Wall).Round(time.Minute); got != want {
			t.Errorf("%s: %s is %v ahead, want %v", when, node, got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	ahead("n1", time.Hour, "skewed")
	ahead("n2", 0, "skewed")
	must(c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	ahead("n1", 2*time.Hour, "again")
	for range 2 { // it lasts through restarts
		must(c.Kill(t.Context(), "n1"))
		must(c.Start(t.Context(), "n1"))
		ahead("n1", 2*time.Hour, "restarted")
	}
	must(c.Pause(t.Context(), "n1"))
	must(c.Skew(t.Context(), "n1", cluster.Skew{}))
	must(c.Resume(t.Context(), "n1"))
	ahead("n1", 0, "mended while it was stopped")
	must(c.Kill(t.Context(), "n1"))
	must(c.Skew(t.Context(), "n1", cluster.Skew{Wall: -time.Hour}))
	must(c.Start(t.Context(), "n1"))
	ahead("n1", -time.Hour, "skewed while it was down")
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
}

// TestDeathUnderATracerIsSeen: skewing a clock and killing its process at once leaves neither of them hanging, and is no violation.
func TestDeathUnderATracerIsSeen(t *testing.T) {
	c, _ := newTown(t, 1)
	if err := c.Lack(cluster.Skews); err != nil {
		t.Skip(err)
	}
	for range 20 {
		done := make(chan error)
		go func() { done <- c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Second}) }()
		if err := c.Kill(t.Context(), "n1"); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := c.Start(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
	}
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
}
