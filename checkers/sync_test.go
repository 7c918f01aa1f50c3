package checkers

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"assize/history"
)

// TestSyncsDoNotMatterToOthers: all judgements that are about values find the same of a history with syncs before its reads and scans as without them. Syncs
// that stand by themselves are further events, so of those histories only the verdicts are the same.
func TestSyncsDoNotMatterToOthers(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	seen := map[string]map[Verdict]int{}
	for i := range 300 {
		plain := world{processes: 3, operations: 1 + r.IntN(20), keys: 2, info: 8, fail: 8, see: seeing(i % 3)}.run(r)
		if i%5 == 0 {
			plain = bare(plain)
		}
		if i%4 == 0 {
			plain = randomSet(r)
		}
		synced, more := withSyncs(r, plain)
		for _, c := range Table {
			if c.Name == osc.Name || c.Name == alive.Name { // for alive a sync is an operation as any other
				continue
			}
			want, got := check(t, c, build(plain)), check(t, c, build(synced))
			want.Files, got.Files = nil, nil
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: got  %+v\nwant %+v\n%s", c.Name, got, want, describe(synced))
			}
			if got := check(t, c, build(more)); got.Verdict != want.Verdict {
				t.Fatalf("%s: got %s (%s), want %s (%s)\n%s", c.Name, got.Verdict, got.Note, want.Verdict, want.Note, describe(more))
			}
			if seen[c.Name] == nil {
				seen[c.Name] = map[Verdict]int{}
			}
			seen[c.Name][want.Verdict]++
		}
	}
	for _, name := range []string{linearizable.Name, sequential.Name, versions.Name, lost.Name, sessions.Name} {
		if seen[name][Valid] == 0 || seen[name][Invalid] == 0 {
			t.Errorf("%s: %v: the test is one-sided", name, seen[name])
		}
	}
}

// withSyncs puts syncs before some of the calls, and in addition some of other processes between them.
func withSyncs(r *rand.Rand, calls []tcall) (synced, more []tcall) {
	last := 0
	for _, c := range calls {
		c.synced = r.IntN(2) == 0
		synced = append(synced, c)
		last = max(last, c.call)
	}
	for _, c := range synced {
		c.call *= 4
		if c.ret != never {
			c.ret *= 4
		}
		more = append(more, c)
	}
	for i := range 3 {
		at := r.IntN(last + 1)
		more = append(more, tcall{process: 5000 + i, f: history.Sync, key: "k", call: at*4 + 1, ret: at*4 + 2, kind: history.Kind(1 + r.IntN(3))})
	}
	return synced, more
}

func TestAloneASyncIsNoRegister(t *testing.T) {
	h := build([]tcall{{process: 1, f: history.Sync, key: "k", call: 0, ret: 1, kind: history.OK}})
	for _, c := range []Checker{linearizable, sequential, versions, lost, osc, sessions} {
		if got := check(t, c, h); got.Verdict != Unknown {
			t.Errorf("%s: got %s (%s), want unknown", c.Name, got.Verdict, got.Note)
		}
	}
}
