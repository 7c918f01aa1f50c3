package harness

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/nemesis"
)

// linked is a fake whose links can be cut and shaped.
type linked struct {
	*fake
	cut    *[]cluster.Link
	shaped *bool
	stuck  []cluster.Link // cannot be healed
}

func (l linked) Cut(_ context.Context, links []cluster.Link) error { *l.cut = links; return nil }

func (l linked) Reach(context.Context) (dead []cluster.Link, err error) {
	for _, from := range l.Nodes() {
		for _, to := range l.Nodes() {
			link := cluster.Link{From: from, To: to}
			if _, down := l.Status(context.Background(), to); from != to && (down != nil || slices.Contains(l.stuck, link) || slices.Contains(*l.cut, link)) {
				dead = append(dead, link)
			}
		}
	}
	return dead, nil
}

func (l linked) Shape(_ context.Context, _ []cluster.Link, s cluster.Shape) error {
	*l.shaped = s != cluster.Shape{}
	return nil
}

func (l linked) Trips(_ context.Context, links []cluster.Link, _ int) ([]cluster.Trip, error) {
	trips := make([]cluster.Trip, len(links))
	for i, link := range links {
		trips[i] = cluster.Trip{Link: link, Times: []time.Duration{time.Millisecond}}
		if *l.shaped {
			trips[i].Held++
		}
	}
	return trips, nil
}

// TestWhatIsCutFromWhatIsOnRecord: after each fault and each mending, and at the end of all, whatever no nemesis knows of has been mended too.
func TestWhatIsCutFromWhatIsOnRecord(t *testing.T) {
	for _, stuck := range [][]cluster.Link{nil, {{From: "n2", To: "n1"}}} {
		cut, shaped := []cluster.Link{{From: "n1", To: "n2"}}, true
		ops, _ := trial(t, withFaults(plan()), func(f *fake, s *Setup) {
			s.Nemeses = []nemesis.Nemesis{killer()}
			s.Cluster = linked{f, &cut, &shaped, stuck}
		})
		var notes []string
		for _, op := range ops {
			if strings.Contains(op.Note, "links") {
				notes = append(notes, op.Note)
			}
		}
		if cut != nil || shaped {
			t.Errorf("at the end %v are cut, shaped: %v", cut, shaped)
		}
		rest := ": links: 5 of 6 carry, not n1>n2"
		down := ": links: nothing reaches n3; among the others 1 of 2 carry, not n1>n2"
		want := []string{"with F1 kill" + down, "after kill" + rest, "with F2 kill" + down}
		want = append(want, "all is mended: reach: 0 of 6 links between live nodes are dead; trips over 6 of 6 links: median 1.0 ms after; 0 held, 0 lost, 0 duplicated")
		if stuck == nil && !slices.Equal(notes, want) {
			t.Errorf("notes %q, want %q", notes, want)
		}
		missed := slices.ContainsFunc(ops, func(op history.Op) bool {
			return op.Fault != nil && op.Fault.Mended && !op.Fault.Held && strings.Contains(op.Fault.Probe, "n2>n1")
		})
		if missed != (stuck != nil) {
			t.Errorf("with %v stuck, a mending that was not seen: %v", stuck, missed)
		}
	}
}
