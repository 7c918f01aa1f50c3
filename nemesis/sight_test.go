package nemesis

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"assize/cluster"
)

// A measurement that would allow for nothing at all proves nothing.
func TestWhatIsNearProvesSomething(t *testing.T) {
	for _, c := range []struct {
		got, want, open float64
		near            bool
	}{
		{0.25, 0.25, 0.01, true},
		{0.2, 0.25, 0.01, true},
		{0.1, 0.25, 0.01, false},
		{0, 0.25, 0.2, false}, // within what the measurement leaves open
		{0.25, 0.25, 0.2, false},
		{-5, -5, 0.2, true},
		{0.05, 0, 0.01, true}, // as clocks do by themselves
		{0.2, 0, 0.01, false},
	} {
		if got := near(c.got, c.want, c.open); got != c.near {
			t.Errorf("%v for %v, give or take %v: %v, want %v", c.got, c.want, c.open, got, c.near)
		}
	}
}

// Looks that take longer than the bound are repeated all the same.
func TestAwaitLooksMoreThanOnce(t *testing.T) {
	f, looks := newFake(1), 0
	await(t.Context(), f, time.Second, func() bool {
		looks++
		f.Sleep(2 * time.Second)
		return false
	})
	if looks != leastLooks {
		t.Errorf("%d looks, want %d", looks, leastLooks)
	}
}

// A change of the members needs a majority of those who are there and, as one of them may be the one that goes, of one more.
func TestWhoCanChangeTheMembers(t *testing.T) {
	for _, c := range []struct {
		nodes, follow int // the leader, too
		can           bool
	}{{3, 3, true}, {3, 2, false}, {4, 3, true}, {5, 4, true}, {5, 3, false}, {6, 4, true}} {
		sights := make([]sight, c.nodes)
		for i := range sights {
			s := cluster.Status{Role: "follower", Leader: "n1", Term: 2}
			switch {
			case i == 0:
				s.Role = "leader"
			case i >= c.follow:
				s.Term = 1
			}
			sights[i] = sight{node: fmt.Sprintf("n%d", i+1), up: true, status: s}
		}
		if err := changeable(sights); (err == nil) != c.can || err != nil && !errors.Is(err, ErrNothing) {
			t.Errorf("%d of %d: %v, want %v", c.follow, c.nodes, err, c.can)
		}
	}
}
