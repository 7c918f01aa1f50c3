package sim

import (
	"slices"
	"testing"
)

// TestQuorumOutlivesAChangeInDoubt: a node that was paused logs the configuration that waits in its inbox only when it goes on, and what was a
// quorum before is none then.
func TestQuorumOutlivesAChangeInDoubt(t *testing.T) {
	s := &Sim{doubts: []*doubt{{node: &node{id: 5}, present: true}, {node: &node{id: 2}}}}
	got := s.foreseen([][]int{{2, 3, 4}})
	want := [][]int{{2, 3, 4}, {2, 3, 4, 5}, {3, 4}}
	if !slices.EqualFunc(got, want, slices.Equal[[]int]) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := s.foreseen([][]int{{2}}); len(got) != 2 {
		t.Errorf("got %v, want no configuration of nobody", got)
	}
	two := []*node{{id: 3}, {id: 4}}
	if majorities(two, got) {
		t.Error("two of four were taken for a quorum")
	}
	if !majorities(append(two, &node{id: 5}), got) {
		t.Error("a majority of all that may come was not taken for a quorum")
	}
}
