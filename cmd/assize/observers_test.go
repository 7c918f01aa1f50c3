package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/daemon/zk"
	"assize/harness"
	"assize/history"
	"assize/nemesis"
	"assize/report"
	"assize/targets"
)

// executioner kills always the same nodes.
func executioner(nodes []string) nemesis.Nemesis {
	each := func(c cluster.Cluster, do func(context.Context, string) error, down bool) error {
		var errs []error
		for _, n := range nodes {
			_, err := c.Status(context.Background(), n)
			if err == nil != down {
				errs = append(errs, fmt.Errorf("%s is not as it should be: %v", n, err))
			}
			errs = append(errs, do(context.Background(), n))
		}
		return errors.Join(errs...)
	}
	return nemesis.Nemesis{
		Name: "kill", Can: func(cluster.Cluster) error { return nil },
		Break: func(_ context.Context, c cluster.Cluster, _ *rand.Rand) (history.Fault, error) {
			return history.Fault{What: "kill", Nodes: nodes, Held: true}, each(c, c.Kill, true)
		},
		Mend: func(_ context.Context, c cluster.Cluster) (history.Fault, error) {
			return history.Fault{What: "start", Nodes: nodes, Held: true, Mended: true}, each(c, c.Start, false)
		},
	}
}

// b9 runs seven nodes, of which n4 to n7 are killed twice, or not at all, and gives the verdict, the longest time without a write that n1, n2 or n3
// acknowledged, and the last term of the storm.
func b9(t *testing.T, seed uint64, observers int, killed bool) (v report.Verdict, gap time.Duration, term uint64) {
	t.Helper()
	p := zabOf("quorum-sync", "register", "kill")
	p.Nodes, p.Observers, p.Clients, p.Rate, p.Seed = 7-observers, observers, 14, 200, seed
	p = withWeather(p)
	p.Faults = []harness.Fault{}
	if killed {
		p.Faults = []harness.Fault{{ID: 1, Name: "kill", At: 4 * time.Second, For: 4 * time.Second}, {ID: 2, Name: "kill", At: 12 * time.Second, For: 4 * time.Second}}
	}
	if err := validate(p); err != nil {
		t.Fatal(err)
	}
	target, _ := targets.Find(p.Target)
	c, host, err := open(t.Context(), target, p, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	recorder := history.NewRecorder(nil, c.Now)
	s := setup(p, c, []nemesis.Nemesis{executioner([]string{"n4", "n5", "n6", "n7"})}, recorder)
	stay := []string{"n1", "n2", "n3"}
	s.Observe = func(s harness.Sample) {
		if s.Time < p.Time {
			term = max(term, s.Term)
		}
	}
	if err := conduct(t.Context(), s, host); err != nil {
		t.Fatal(err)
	}
	var last time.Duration
	for _, op := range recorder.Ops() {
		switch {
		case op.Phase == history.PhaseStorm:
			last = op.Time
		case op.Phase != "":
			gap = max(gap, op.Time-last)
			last = math.MaxInt64 // it is over
		case !slices.Contains(stay, op.Node):
		case op.Kind == history.OK && slices.ContainsFunc(op.Txn, func(m history.Mop) bool { return m.F == history.Write }):
			gap, last = max(gap, op.Time-last), max(last, op.Time)
		}
	}
	v, err = judge(p, recorder.Ops(), nil, report.Expectation{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v, gap, term
}

// TestB9: there are more observers than voters, so whoever counted them would find no majority. The same nodes with votes are missed.
func TestB9KillingEveryObserverChangesNeitherAvailabilityNorAnyVerdict(t *testing.T) {
	t.Parallel()
	if _, gap, _ := b9(t, 1, 0, true); gap < 4*time.Second {
		t.Errorf("four voters of seven are down for 4 s, and the longest time without a write is %v", gap)
	}
	for seed := uint64(1); seed <= 6; seed++ {
		calm, usual, before := b9(t, seed, 4, false)
		v, gap, term := b9(t, seed, 4, true)
		for i, j := range v.Judgements {
			if want := calm.Judgements[i]; j.Checker != want.Checker || j.Verdict != want.Verdict {
				t.Errorf("seed %d: %s is %s, without a kill %s %s", seed, j.Checker, j.Verdict, want.Checker, want.Verdict)
			}
		}
		if v.Verdict != report.Valid || gap > 2*usual || term != before {
			t.Errorf("seed %d: %s, %v without a write, term %d; without a kill %v, term %d", seed, v.Verdict, gap, term, usual, before)
		}
	}
}

func TestObserversOfUpSayWhatTheyAre(t *testing.T) {
	endpoints := upAndRunning(t, "--target", "zab", "--nodes", "3", "--observers", "1")
	if len(endpoints) != 4 {
		t.Fatalf("got endpoints %v, want four", endpoints)
	}
	for word, want := range map[string]string{"srvr": "\nMode: observer\n", "stat": "\nMode: observer\n", "mntr": "\nzk_server_state\tobserver\n"} {
		var got string
		eventually(t, word+" of an observer that serves", func() bool {
			var err error
			got, err = zk.Ask(t.Context(), endpoints[3], word)
			return err == nil && strings.Contains(got, want)
		})
	}
	c, err := zk.Dial(t.Context(), endpoints[3], cluster.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Do(t.Context(), history.Txn{{F: history.Write, Key: "k", In: []int{1}}}); err != nil {
		t.Errorf("a write through an observer: %v", err)
	}
	if got, err := c.Do(t.Context(), history.Txn{{F: history.Read, Key: "k"}}); err != nil || !slices.Equal(got.Txn[0].Out, []int{1}) {
		t.Errorf("a read of an observer: %+v, %v", got, err)
	}
}
