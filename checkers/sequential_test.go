package checkers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"assize/history"
)

// versionsOf values: a write's own word goes before what reads say of it.
func versionsOf(calls []tcall) map[keyValue]uint64 {
	version := map[keyValue]uint64{}
	for _, c := range calls {
		if c.kind != history.OK {
			continue
		}
		if c.f == history.Read && len(c.out) == 1 {
			version[keyValue{c.key, c.out[0]}] = c.version
		}
	}
	for _, c := range calls {
		if c.kind == history.OK && len(c.in) > 0 {
			version[keyValue{c.key, c.in[len(c.in)-1]}] = c.version
		}
	}
	return version
}

// sessionsOf gives what each session did, in its order, and the versions of the writes, ascending.
func sessionsOf(calls []tcall) (sessions [][]tcall, writes []uint64) {
	version := versionsOf(calls)
	place := map[int]int{}
	sorted := slices.Clone(calls)
	slices.SortFunc(sorted, func(a, b tcall) int { return a.call - b.call })
	for _, c := range sorted {
		if c.f != history.Read {
			if c.kind == history.Fail {
				continue
			}
			if c.version = version[keyValue{c.key, c.in[len(c.in)-1]}]; c.version != 0 {
				writes = append(writes, c.version)
			}
		} else if c.kind != history.OK {
			continue
		}
		p, seen := place[c.process]
		if !seen {
			p = len(sessions)
			place[c.process] = p
			sessions = append(sessions, nil)
		}
		sessions[p] = append(sessions[p], c)
	}
	slices.Sort(writes)
	return sessions, writes
}

// sequentialByForce tries every order that keeps the sessions' and has the writes in the order of their versions. A write that nobody knows of
// takes part if a read saw its value, and may take part anywhere if none did.
func sequentialByForce(calls []tcall) bool {
	sessions, writes := sessionsOf(calls)
	state := map[string]int{}
	var try func(left, written int) bool
	try = func(left, written int) bool {
		if left == 0 {
			return true
		}
		for p := range sessions {
			if len(sessions[p]) == 0 {
				continue
			}
			c, rest := sessions[p][0], sessions[p]
			was, there := state[c.key]
			wrote, need := written, left-1
			switch {
			case c.f == history.Read:
				if there != (len(c.out) == 1) || there && was != c.out[0] {
					continue
				}
			case c.version != 0 && c.version != writes[written], c.f == history.CAS && (!there || was != c.in[0]):
				continue
			default:
				state[c.key] = c.in[len(c.in)-1]
				if wrote++; c.version == 0 {
					wrote, need = written, left
				}
			}
			sessions[p] = rest[1:]
			ok := try(need, wrote)
			sessions[p] = rest
			if there {
				state[c.key] = was
			} else {
				delete(state, c.key)
			}
			if ok {
				return true
			}
		}
		return false
	}
	left := 0
	for _, s := range sessions {
		for _, c := range s {
			if c.f == history.Read || c.version != 0 {
				left++
			}
		}
	}
	return try(left, 0)
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
