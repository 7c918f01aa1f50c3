package checkers

import (
	"math/rand/v2"
	"testing"

	"assize/history"
)

// guaranteesByForce looks at each pair of answers of one session, and counts the answers that break each guarantee.
func guaranteesByForce(calls []tcall) map[string]float64 {
	version := versionsOf(calls)
	at := func(c tcall) (its uint64, wrote, known bool) {
		switch {
		case c.f == history.Read && c.kind == history.OK && len(c.out) == 0:
			return 0, false, true
		case c.f == history.Read && c.kind == history.OK:
			v := version[keyValue{c.key, c.out[0]}]
			return v, false, v != 0
		case len(c.in) == 0 || c.kind == history.Fail:
			return 0, false, false
		}
		v := version[keyValue{c.key, c.in[len(c.in)-1]}]
		return v, true, v != 0
	}
	broken := map[string]float64{}
	for _, b := range calls {
		vb, wroteB, known := at(b)
		if !known {
			continue
		}
		found := map[string]bool{}
		for _, a := range calls {
			va, wroteA, known := at(a)
			if !known || a.process != b.process || a.call >= b.call {
				continue
			}
			switch {
			case !wroteA && !wroteB && a.key == b.key:
				found["monotonic_reads_broken"] = found["monotonic_reads_broken"] || vb < va
			case wroteA && !wroteB && a.key == b.key:
				found["read_your_writes_broken"] = found["read_your_writes_broken"] || vb < va
			case wroteA && wroteB:
				found["monotonic_writes_broken"] = found["monotonic_writes_broken"] || vb <= va
			case !wroteA && wroteB:
				found["writes_follow_reads_broken"] = found["writes_follow_reads_broken"] || vb <= va
			}
		}
		for _, name := range []string{"monotonic_reads_broken", "read_your_writes_broken", "monotonic_writes_broken", "writes_follow_reads_broken"} {
			if found[name] {
				broken[name]++
			}
		}
	}
	return broken
}

func TestSessionsAgainstForce(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	count := map[string]int{}
	n := randoms(t, 25_000)
	for i := range n {
		// Without swaps that nobody answers, of which it may be that no version is known, and which end their session anyhow.
		w := world{processes: 1 + r.IntN(3), operations: 1 + r.IntN(12), keys: 1 + r.IntN(2), fail: 10, see: seeing(i % 3), sync: 5}
		calls := w.run(r)
		if i%4 == 0 {
			spoil(r, calls)
		}
		if i%5 == 0 && r.IntN(2) == 0 {
			for k := range calls {
				calls[k].process = calls[0].process // nobody asks twice at once
				calls[k].call, calls[k].ret = 2*k, 2*k+1
			}
		}
		want := guaranteesByForce(calls)
		got := check(t, sessions, build(calls))
		if got.Verdict == Unknown {
			continue // only syncs
		}
		sum := 0.0
		for _, g := range []guarantee{monotonicReads, readYourWrites, monotonicWrites, writesFollowReads} {
			if got.Figures[g.figure] != want[g.figure] {
				t.Fatalf("%s: got %v, want %v\n%s", g.figure, got.Figures[g.figure], want[g.figure], describe(calls))
			}
			if sum += want[g.figure]; want[g.figure] > 0 {
				count[g.figure]++
			}
		}
		if got.Verdict != verdictOf(sum == 0) {
			t.Fatalf("got %s (%s), want %s\n%s", got.Verdict, got.Note, verdictOf(sum == 0), describe(calls))
		}
		if got.Verdict == Valid {
			count["valid"]++
		}
	}
	t.Logf("%d histories: %v", n, count)
	for _, name := range []string{"valid", "monotonic_reads_broken", "read_your_writes_broken", "monotonic_writes_broken", "writes_follow_reads_broken"} {
		if count[name] < n/100 {
			t.Errorf("%s in %d of %d: the test is one-sided", name, count[name], n)
		}
	}
}

// TestGuaranteesTell: one sentence for each.
func TestGuaranteesTell(t *testing.T) {
	write := func(p int, key string, v, at int, version uint64) tcall {
		return tcall{process: p, f: "write", key: key, in: []int{v}, call: at, ret: at + 5, kind: history.OK, version: version, node: "n1"}
	}
	read := func(p int, key string, v, at int, version uint64) tcall {
		return tcall{process: p, f: "read", key: key, out: []int{v}, call: at, ret: at + 5, kind: history.OK, version: version, node: "n2"}
	}
	a, b := write(1, "k7", 5, 0, 3), write(2, "k7", 6, 10, 9)
	for _, c := range []struct {
		calls []tcall
		want  string
	}{
		{[]tcall{a, b, read(3, "k7", 6, 20, 9), read(3, "k7", 5, 30, 3)},
			"p3 on n2 read k7 -> 5 at version 3, although the same session had already read version 9 of k7 at n2"},
		{[]tcall{a, b, read(2, "k7", 5, 20, 3)}, "p2 on n2 read k7 -> 5 at version 3, although the same session had already written version 9 of k7 at n1"},
		{[]tcall{a, b, write(2, "k8", 7, 20, 8)}, "p2 on n1 wrote 7 to k8 at version 8, although the same session had already written version 9 of k7 at n1"},
		{[]tcall{a, b, read(3, "k7", 6, 20, 9), write(3, "k8", 7, 30, 8)},
			"p3 on n1 wrote 7 to k8 at version 8, although the same session had already read version 9 of k7 at n2"},
		// A read of another key may be older.
		{[]tcall{a, b, write(2, "k8", 7, 20, 10), read(3, "k8", 7, 30, 10), read(3, "k7", 5, 40, 3)},
			"none of the four guarantees was broken"},
	} {
		if got := check(t, sessions, build(c.calls)); got.Note != c.want {
			t.Errorf("got  %s\nwant %s", got.Note, c.want)
		}
	}
}
