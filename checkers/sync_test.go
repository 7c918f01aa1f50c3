package checkers

import (
	"math/rand/v2"
	"reflect"
	"slices"
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

// TestOneReadBehindASync puts every judgement to the same small story: 1 is overwritten by 2, which is acknowledged at 7; then one session that has seen
// nothing yet reads.
func TestOneReadBehindASync(t *testing.T) {
	stale := tcall{process: 3, f: history.Read, key: "k", out: []int{1}, call: 10, ret: 12, kind: history.OK, version: 5, position: 5, node: "n3"}
	fresh, during, before := stale, stale, stale
	fresh.out, fresh.version, fresh.position = []int{2}, 7, 7
	during.call = 6 // the sync came before the write had been acknowledged
	before.process = 2
	for _, c := range []struct {
		what    string
		read    tcall
		synced  bool
		convict []string
	}{
		{"a stale read", stale, false, []string{"linearizable", "versions"}},
		{"a stale read behind a sync", stale, true, []string{"linearizable", "versions", "osc"}},
		{"a read that is stale while the write is acknowledged, behind a sync", during, true, nil},
		{"a fresh read behind a sync", fresh, true, nil},
		{"a writer's stale read behind a sync", before, true, []string{"linearizable", "versions", "osc", "sessions", "sequential"}},
	} {
		c.read.synced = c.synced
		h := build([]tcall{
			{process: 1, f: history.Write, key: "k", in: []int{1}, call: 1, ret: 2, kind: history.OK, version: 5, position: 5, node: "n1"},
			{process: 2, f: history.Write, key: "k", in: []int{2}, call: 3, ret: 7, kind: history.OK, version: 7, position: 7, node: "n2"},
			c.read,
		})
		for _, name := range []string{"linearizable", "versions", "osc", "sessions", "sequential"} {
			k, _ := Find(name)
			got, want := check(t, k, h), verdictOf(!slices.Contains(c.convict, name))
			if got.Verdict != want {
				t.Errorf("%s: %s is %s (%s), want %s", c.what, name, got.Verdict, got.Note, want)
			}
			shown := slices.ContainsFunc(got.Evidence, func(e Evidence) bool {
				return slices.ContainsFunc(e.Items, func(i Item) bool {
					return h[i.Invoke].Process == c.read.process && len(h[i.Invoke].Txn) == len(c.read.txn(nil))
				})
			})
			if got.Verdict == Invalid && !shown {
				t.Errorf("%s: the evidence of %s does not show the read: %+v", c.what, name, got.Evidence)
			}
		}
	}
}

// TestScansBehindSyncs: they lose, and show, what scans do.
func TestScansBehindSyncs(t *testing.T) {
	add := tcall{f: history.Add, key: "s", in: []int{4}, call: 1, ret: 2, kind: history.OK, node: "n1"}
	without := tcall{f: history.Scan, key: "s", call: 3, ret: 4, kind: history.OK, node: "n2", synced: true}
	with := without
	with.out, with.call, with.ret = []int{4}, 5, 6
	overlapping := without
	overlapping.call = 1
	for _, c := range []struct {
		scans []tcall
		fate  fate
		want  Verdict
	}{{[]tcall{with}, stable, Valid}, {[]tcall{without, with}, stale, Valid}, {[]tcall{overlapping, with}, stable, Valid}, {[]tcall{without}, vanished, Invalid}} {
		got := check(t, lost, build(append([]tcall{add}, c.scans...)))
		if got.Verdict != c.want || got.Figures[fateNames[c.fate]] != 1 {
			t.Errorf("%d scans: got %s (%s), %v, want %s and 1 %s", len(c.scans), got.Verdict, got.Note, got.Figures, c.want, fateNames[c.fate])
		}
	}
}
