package checkers

import (
	"math/rand/v2"
	"testing"

	"assize/history"
)

// sequentialByForce has the writes in the order of their versions, and nothing in real time.
func sequentialByForce(calls []tcall) bool {
	sessions, writes := stepsOf(calls, false)
	for _, list := range sessions {
		for i := range list {
			list[i].ordered = false
		}
	}
	return ordered(sessions, writes)
}

func TestSequentialAgainstForce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	valid := 0
	n := randoms(t, 30_000)
	for i := range n {
		w := world{processes: 1 + r.IntN(3), operations: 1 + r.IntN(9), keys: 1 + r.IntN(2), info: 6, fail: 10, see: seeing(i % 3)}
		calls := w.run(r)
		if i%4 == 0 {
			spoil(r, calls)
		}
		want := sequentialByForce(calls)
		got := check(t, sequential, build(calls))
		if got.Verdict != verdictOf(want) {
			t.Fatalf("got %s (%s), want %s\n%s", got.Verdict, got.Note, verdictOf(want), describe(calls))
		}
		if got.Verdict == Invalid && (len(got.Evidence) == 0 || len(got.Evidence[0].Items) == 0 || len(got.Evidence[0].Why) == 0) {
			t.Fatalf("no evidence: %+v", got)
		}
		if want {
			valid++
		}
	}
	if valid < n/20 || valid > n*19/20 {
		t.Errorf("%d of %d are sequentially consistent: the test is one-sided", valid, n)
	}
}

// spoil exchanges what two answers say, versions and all.
func spoil(r *rand.Rand, calls []tcall) {
	a, b := &calls[r.IntN(len(calls))], &calls[r.IntN(len(calls))]
	if a.kind != history.OK || b.kind != history.OK || a.key != b.key {
		return
	}
	switch {
	case a.f == history.Read && b.f == history.Read:
		a.out, b.out = b.out, a.out
		a.version, b.version = b.version, a.version
	case len(a.in) > 0 && len(b.in) > 0:
		a.version, b.version = b.version, a.version
	}
}

// TestModels: what each kind of store is found to be.
func TestModels(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	convicted := map[seeing][2]int{}
	for range 300 {
		for _, see := range []seeing{fresh, forward, anywhere} {
			h := build(world{processes: 5, operations: 150, keys: 2, info: 20, fail: 20, see: see}.run(r))
			line, order, seq := check(t, linearizable, h), check(t, versions, h), check(t, sequential, h)
			c := convicted[see]
			if line.Verdict == Invalid {
				c[0]++
			}
			if seq.Verdict == Invalid {
				c[1]++
			}
			convicted[see] = c
			if line.Verdict == Invalid && order.Verdict != Invalid {
				t.Fatalf("not linearizable, and yet one order explains all versions: %v", line.Evidence)
			}
			if see == fresh && (order.Verdict != Valid || line.Figures["proven_by_versions"] != 2) {
				t.Fatalf("a fresh store: versions %s (%s), figures %v", order.Verdict, order.Note, line.Figures)
			}
			if see != anywhere && seq.Figures["monotonic_reads_broken"]+seq.Figures["read_your_writes_broken"] != 0 {
				t.Fatalf("sessions that only go forward: %v", seq.Figures)
			}
		}
	}
	if got := convicted[fresh]; got != [2]int{} {
		t.Errorf("fresh: %v convicted, want none", got)
	}
	if got := convicted[forward]; got[0] < 290 || got[1] != 0 {
		t.Errorf("forward: %v convicted, want nearly all as not linearizable, none as not sequential", got)
	}
	if got := convicted[anywhere]; got[0] < 290 || got[1] < 290 {
		t.Errorf("anywhere: %v convicted, want nearly all of 300", got)
	}
}

func TestSequentialNeedsVersions(t *testing.T) {
	h := build(bare(world{processes: 2, operations: 20, keys: 1}.run(rand.New(rand.NewPCG(1, 1)))))
	if got := check(t, sequential, h); got.Verdict != Unknown {
		t.Errorf("got %s, want unknown", got.Verdict)
	}
	if got := check(t, versions, h); got.Verdict != Unknown {
		t.Errorf("got %s, want unknown", got.Verdict)
	}
}

// TestFirstKnown by walking: chains that meet, end and come back.
func TestFirstKnown(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	for range 1000 {
		n := 1 + r.IntN(8)
		next, version := make([]int, n), make([]uint64, n)
		for v := range n {
			next[v], version[v] = r.IntN(n+1)-1, uint64(r.IntN(2)*r.IntN(2))
		}
		for v, got := range firstKnown(next, version) {
			want := v
			for steps := 0; want >= 0 && version[want] == 0; steps++ {
				if want = next[want]; steps == n {
					want = -1
				}
			}
			if got != want {
				t.Fatalf("%d of next %v, versions %v: got %d, want %d", v, next, version, got, want)
			}
		}
	}
}
