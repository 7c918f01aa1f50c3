package nemesis

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"assize/cluster"
	"assize/history"
)

// withObservers makes the last four of seven observers: more than those that vote.
func withObservers(f *fake) { f.observers = 4 }

func TestMajorityIsOneOfThoseThatVote(t *testing.T) {
	voters, observers := nodesOf(7)[:3], nodesOf(7)[3:]
	counts := map[string]int{}
	for _, n := range []Nemesis{kill, pause} {
		breaks(t, n, 7, withObservers, func(t *testing.T, _ *fake, fault history.Fault, err error) {
			votes := len(inOrder(voters, fault.Nodes))
			for what, is := range map[string]bool{
				"a minority": len(fault.Nodes) == 1 && votes == 1, "a majority": len(fault.Nodes) == 2 && votes == 2,
				"all observers": slices.Equal(fault.Nodes, observers), "all nodes": len(fault.Nodes) == 7, "in succession": votes == len(fault.Nodes),
			} {
				if strings.Contains(fault.What, what) {
					counts[what]++
					if !is || err != nil {
						t.Errorf("%s: %v", fault.What, err)
					}
				}
			}
		})
	}
	for _, what := range []string{"a minority", "a majority", "all observers", "all nodes", "in succession"} {
		if counts[what] < seeds/30 {
			t.Errorf("%s only %d times", what, counts[what])
		}
	}
	if members.Can(func() *fake { f := newFake(7); withObservers(f); return f }()) == nil {
		t.Error("the members of a cluster with observers cannot be changed")
	}
}

func TestSplitsDivideVotersAndObserversAlike(t *testing.T) {
	shapes := map[string]int{}
	orders(t, []int{7}, func(t *testing.T, nodes, order []string, r *rand.Rand) {
		voters, observers := nodes[:5], nodes[5:]
		for range 20 {
			s := chooseSplit(nodes, order, observers, "n1", r)
			voting := func(node string) int { return len(inOrder(voters, sees(nodes, s.links, node))) }
			switch {
			case strings.HasPrefix(s.what, "cut all observers"):
				shapes["observers"]++
				if !slices.Equal(s.nodes, observers) || voting("n1") != 5 || voting("n6") != 0 || len(s.links) != 20 {
					t.Errorf("%s: %v", s.what, s.links)
				}
			case strings.Contains(s.what, "ring"):
				shapes["ring"]++
				for _, n := range nodes {
					if got := voting(n); slices.Contains(voters, n) && got != 3 || !slices.Contains(voters, n) && got != 5 {
						t.Errorf("%s: %s sees %d that vote", s.what, n, got)
					}
				}
			case strings.Contains(s.what, "bridge"):
				shapes["bridge"]++
				for _, n := range nodes {
					if got := voting(n); got != 3 && (got != 5 || !strings.HasSuffix(s.what, "bridge "+n)) {
						t.Errorf("%s: %s sees %d that vote", s.what, n, got)
					}
				}
			case len(s.nodes) == 3 && strings.Contains(s.what, "|"):
				shapes["halves"]++
				if len(inOrder(voters, s.nodes)) != 2 || len(inOrder(observers, s.nodes)) != 1 {
					t.Errorf("%s", s.what)
				}
			}
		}
	})
	for _, shape := range []string{"observers", "ring", "bridge", "halves"} {
		if shapes[shape] < 20 {
			t.Errorf("%s only %d times", shape, shapes[shape])
		}
	}
}

// The leader and one more are a majority of three that vote, so it has no excuse, however many observers are out of touch.
func TestObserversDoNotExcuseATransferThatFails(t *testing.T) {
	f := newFake(7)
	withObservers(f)
	f.loyal = true
	f.nodes[2].down = true
	leader, _ := leaderOf(look(t.Context(), f, f.Nodes()))
	if _, err := settle(t.Context(), f, history.Fault{}, leader, "n2"); err != nil {
		t.Errorf("excused: %v", err)
	}
}

var _ cluster.Observed = (*fake)(nil)
