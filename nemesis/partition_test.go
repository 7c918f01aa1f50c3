package nemesis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"assize/cluster"
)

func nodesOf(n int) []string {
	var nodes []string
	for i := range n {
		nodes = append(nodes, fmt.Sprintf("n%d", i+1))
	}
	return nodes
}

func orders(t *testing.T, sizes []int, f func(t *testing.T, nodes, order []string, r *rand.Rand)) {
	for _, n := range sizes {
		for seed := range 20 {
			r := draw(seed)
			nodes := nodesOf(n)
			order := slices.Clone(nodes)
			r.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
			f(t, nodes, order, r)
			if t.Failed() {
				t.Fatalf("%d nodes in the order %v", n, order)
			}
		}
	}
}

// sees are the nodes with which a node has both directions, itself among them.
func sees(nodes []string, links []cluster.Link, node string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool {
		return slices.Contains(links, cluster.Link{From: n, To: node}) || slices.Contains(links, cluster.Link{From: node, To: n})
	})
}

func TestHalvesAreHalves(t *testing.T) {
	orders(t, []int{2, 3, 4, 5, 6, 7, 9}, func(t *testing.T, nodes, order []string, _ *rand.Rand) {
		s := halves(nodes, order, nil)
		small, large := len(nodes)/2, len(nodes)-len(nodes)/2
		if got, want := len(s.links), 2*small*large; got != want {
			t.Errorf("%d links, want %d", got, want)
		}
		if !slices.Contains(s.nodes, order[0]) {
			t.Errorf("%s is aimed at and not in the smaller half %v", order[0], s.nodes)
		}
		for _, n := range nodes {
			want := large
			if slices.Contains(s.nodes, n) {
				want = small
			}
			if got := sees(nodes, s.links, n); len(got) != want {
				t.Errorf("%s sees %v, want %d", n, got, want)
			}
		}
	})
}

func TestEachOfTheRingSeesAnotherMajority(t *testing.T) {
	orders(t, []int{3, 4, 5, 6, 7, 8, 9}, func(t *testing.T, nodes, order []string, _ *rand.Rand) {
		s := ring(nodes, order, nil)
		var views []string
		for _, n := range nodes {
			view := sees(nodes, s.links, n)
			if len(view) <= len(nodes)/2 {
				t.Errorf("%s sees only %v", n, view)
			}
			views = append(views, fmt.Sprint(view))
		}
		slices.Sort(views)
		if len(slices.Compact(views)) != len(nodes) {
			t.Errorf("two nodes see the same: %v", views)
		}
		if len(s.links) == 0 {
			t.Error("nothing is cut")
		}
		for _, l := range s.links {
			if !slices.Contains(s.links, cluster.Link{From: l.To, To: l.From}) {
				t.Errorf("%v is cut one way only", l)
			}
		}
	})
}

func TestBridgeIsTheOnlyWay(t *testing.T) {
	orders(t, []int{3, 4, 5, 6, 7}, func(t *testing.T, nodes, order []string, _ *rand.Rand) {
		s := bridge(nodes, order, nil)
		middle := order[0]
		if got := sees(nodes, s.links, middle); len(got) != len(nodes) {
			t.Errorf("the bridge %s sees only %v", middle, got)
		}
		rest := without(nodes, middle)
		for _, n := range rest {
			view := without(sees(nodes, s.links, n), middle)
			if len(view) != len(rest)/2 && len(view) != len(rest)-len(rest)/2 {
				t.Errorf("%s sees %v besides the bridge, want half of the others", n, view)
			}
			for _, other := range view {
				if got := without(sees(nodes, s.links, other), middle); !slices.Equal(got, view) {
					t.Errorf("%s sees %v, but %s, which it sees, sees %v", n, view, other, got)
				}
			}
		}
	})
}

func TestOneWayCutsOneDirectionOfOneNode(t *testing.T) {
	orders(t, []int{2, 3, 5}, func(t *testing.T, nodes, order []string, _ *rand.Rand) {
		for _, out := range []bool{true, false} {
			s := oneWay(nodes, order[0], out)
			if len(s.links) != len(nodes)-1 {
				t.Errorf("%v", s.links)
			}
			for _, l := range s.links {
				if out && l.From != order[0] || !out && l.To != order[0] {
					t.Errorf("%v is none of %s's, outgoing %v", l, order[0], out)
				}
			}
		}
	})
}

func TestSplitsInAllShapes(t *testing.T) {
	shapes := make(map[string]int)
	orders(t, []int{2, 3, 4, 5, 7}, func(t *testing.T, nodes, order []string, r *rand.Rand) {
		for range 20 {
			leader := ""
			if r.IntN(2) == 0 {
				leader = nodes[r.IntN(len(nodes))]
			}
			s := chooseSplit(nodes, order, nil, leader, r)
			sorted := among(nodes, func(from, to string) bool { return slices.Contains(s.links, cluster.Link{From: from, To: to}) })
			if len(s.links) == 0 || !slices.Equal(s.links, sorted) {
				t.Errorf("%s: links %v, want each once, in order", s.what, s.links)
			}
			for _, shape := range []string{"leader", "bridge", "ring", "one way"} {
				if strings.Contains(s.what, shape) {
					shapes[shape]++
				}
			}
			if strings.Contains(s.what, "leader") && (s.nodes[0] != leader || len(sees(nodes, s.links, leader)) != 1) {
				t.Errorf("%s: the leader %s sees %v", s.what, leader, sees(nodes, s.links, leader))
			}
			if len(nodes) > 3 {
				shapes[fmt.Sprint(len(s.nodes)*2 < len(nodes))]++
			}
		}
	})
	for _, shape := range []string{"leader", "bridge", "ring", "one way", "true", "false"} {
		if shapes[shape] < 20 {
			t.Errorf("shape %s only %d times", shape, shapes[shape])
		}
	}
}

func TestLeadersAreAimedAt(t *testing.T) {
	sights := make([]sight, 5)
	for i := range sights {
		sights[i] = sight{node: nodesOf(5)[i], up: i != 4}
		sights[i].status.Mono = 1
	}
	// An old leader that does not know better yet.
	sights[0].status.Role, sights[0].status.Term = "leader", 3
	sights[2].status.Role, sights[2].status.Term = "leader", 4
	first := 0
	for seed := range 1000 {
		order := shuffled(sights, draw(seed))
		if len(order) != 4 || slices.Contains(order, "n5") {
			t.Fatalf("order %v of nodes that answer", order)
		}
		if order[0] == "n3" {
			first++
		}
	}
	// Half by aim, a quarter of a half, less what is aimed at the fresh, by chance.
	if first < 500 || first > 700 {
		t.Errorf("the leader comes first %d times of 1000", first)
	}
}
