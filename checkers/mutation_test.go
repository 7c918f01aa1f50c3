package checkers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"assize/history"
)

// mutation spoils a valid history so that it certainly is no longer; false where this one gives no occasion.
type mutation struct {
	name   string
	mutate func(r *rand.Rand, calls []tcall) ([]tcall, bool)
}

var mutations = []mutation{
	{"stale read", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		// Some write was overwritten by one asked for after it, and that was acknowledged before this read was asked for.
		for _, i := range r.Perm(len(calls)) {
			c := calls[i]
			if c.f != history.Read || c.kind != history.OK {
				continue
			}
			for _, old := range calls {
				for _, newer := range calls {
					if acknowledged(old) && acknowledged(newer) && old.ret < newer.call && newer.ret < c.call {
						calls[i].out, calls[i].version = old.in[len(old.in)-1:], old.version
						return calls, true
					}
				}
			}
		}
		return nil, false
	}},
	{"lost write", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		// An acknowledged write that nobody was in the middle of vanishes from all later reads, which see what was there before.
		for _, i := range r.Perm(len(calls)) {
			w := calls[i]
			if !acknowledged(w) || w.f != history.Write || slices.ContainsFunc(calls, func(c tcall) bool {
				return c.f == history.CAS && c.kind != history.Fail && c.in[0] == w.in[0]
			}) {
				continue
			}
			var before *tcall
			for k, c := range calls {
				if acknowledged(c) && c.ret < w.call && (before == nil || c.version > before.version) {
					before = &calls[k]
				}
			}
			hit := false
			for k, c := range calls {
				if before != nil && c.f == history.Read && c.kind == history.OK && len(c.out) == 1 && c.out[0] == w.in[0] {
					calls[k].out, calls[k].version = before.in[len(before.in)-1:], before.version
					hit = hit || c.call > w.ret
				}
			}
			if hit {
				return calls, true
			}
		}
		return nil, false
	}},
	{"double swap", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		for _, i := range r.Perm(len(calls)) {
			if c := calls[i]; c.f == history.CAS && c.kind == history.OK {
				c.process, c.in, c.version = 10_000, []int{c.in[0], 10_000}, 1_000_000
				return append(calls, c), true
			}
		}
		return nil, false
	}},
	{"value from nowhere", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		for _, i := range r.Perm(len(calls)) {
			if c := calls[i]; c.f == history.Read && c.kind == history.OK {
				calls[i].out = []int{10_000}
				return calls, true
			}
		}
		return nil, false
	}},
	{"aborted read", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		for _, i := range r.Perm(len(calls)) {
			if c := calls[i]; c.f == history.Read && c.kind == history.OK && len(c.out) == 1 {
				for k, w := range calls {
					if w.f == history.Write && w.in[0] == c.out[0] && w.ret != never {
						calls[k].kind = history.Fail
						return calls, true
					}
				}
			}
		}
		return nil, false
	}},
	{"read before the write", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		for _, i := range r.Perm(len(calls)) {
			for _, w := range calls {
				if c := calls[i]; c.f == history.Read && c.kind == history.OK && acknowledged(w) && c.ret < w.call {
					calls[i].out, calls[i].version = w.in[len(w.in)-1:], w.version
					return calls, true
				}
			}
		}
		return nil, false
	}},
}

func acknowledged(c tcall) bool { return len(c.in) > 0 && c.kind == history.OK }

// TestMutations: what has been made wrong is convicted, with and without versions, in a history far beyond what can be tried by force.
func TestMutations(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, m := range mutations {
		tried := 0
		for range 200 {
			calls := world{processes: 6, operations: 120, keys: 1, info: 15, fail: 15}.run(r)
			if got := check(t, linearizable, build(bare(calls))); got.Verdict != Valid {
				t.Fatalf("before the mutation: %s: %s", got.Verdict, got.Note)
			}
			mutated, done := m.mutate(r, calls)
			if !done {
				continue
			}
			tried++
			for _, calls := range [][]tcall{mutated, bare(mutated)} {
				got := check(t, linearizable, build(calls))
				if got.Verdict != Invalid || len(got.Evidence) != 1 {
					t.Fatalf("%s: got %s: %s", m.name, got.Verdict, got.Note)
				}
				if items := len(got.Evidence[0].Items); items > 7 {
					t.Errorf("%s: %d operations are no small evidence: %+v", m.name, items, got.Evidence[0])
				}
			}
		}
		if tried < 50 {
			t.Errorf("%s: only %d of 200 histories gave occasion", m.name, tried)
		}
	}
}

// TestVersionsAreNotBelieved: an order that claims to be right does not make a stale read right, and one that is wrong does not make good values
// wrong, but is itself a violation.
func TestVersionsAreNotBelieved(t *testing.T) {
	write := func(v, call, ret int, version uint64) tcall {
		return tcall{f: "write", key: "k", in: []int{v}, call: call, ret: ret, kind: history.OK, version: version, position: version}
	}
	read := func(v, call, ret int, version, position uint64) tcall {
		return tcall{f: "read", key: "k", out: []int{v}, call: call, ret: ret, kind: history.OK, version: version, position: position}
	}
	for _, c := range []struct {
		name        string
		calls       []tcall
		line, order Verdict
	}{
		{"all well", []tcall{write(1, 0, 1, 1), write(2, 2, 3, 2), read(2, 4, 5, 2, 2)}, Valid, Valid},
		{"a stale read with a version that would be right", []tcall{write(1, 0, 1, 1), write(2, 2, 3, 2), read(1, 4, 5, 3, 3)}, Invalid, Invalid},
		{"writes acknowledged in the wrong order", []tcall{write(1, 0, 1, 2), write(2, 2, 3, 1)}, Valid, Invalid},
		{"one version for two writes", []tcall{write(1, 0, 3, 1), write(2, 1, 4, 1)}, Valid, Invalid},
		{"one value with two versions", []tcall{write(1, 0, 1, 1), read(1, 2, 3, 2, 2)}, Valid, Invalid},
		{"stale only by versions", []tcall{write(1, 0, 5, 1), write(2, 1, 4, 2), read(1, 6, 7, 1, 1)}, Valid, Invalid},
		{"read at a position at which it had been overwritten", []tcall{write(1, 0, 1, 1), write(2, 2, 9, 2), read(1, 3, 4, 1, 2)}, Valid, Invalid},
		{"one version for writes to two keys", []tcall{write(1, 0, 3, 1), {f: "write", key: "j", in: []int{1}, call: 1, ret: 2, kind: history.OK, version: 1}}, Valid, Invalid},
		{"a write to another key before what had been read", []tcall{write(1, 0, 1, 5), read(1, 2, 3, 5, 5),
			{f: "write", key: "j", in: []int{1}, call: 4, ret: 5, kind: history.OK, version: 4}}, Valid, Invalid},
		{"a swap over another write", []tcall{write(1, 0, 9, 1), write(2, 1, 8, 2), {f: "cas", key: "k", in: []int{1, 3}, call: 2, ret: 7, kind: history.OK, version: 3}},
			Valid, Invalid},
		{"one version for two adds", []tcall{{f: "add", key: "s", in: []int{1}, call: 0, ret: 1, kind: history.OK, version: 4}, {f: "add", key: "s", in: []int{2}, call: 2,
			ret: 3, kind: history.OK, version: 4}}, Unknown, Invalid},
	} {
		if got := check(t, linearizable, build(c.calls)); got.Verdict != c.line {
			t.Errorf("%s: linearizable: got %s (%s), want %s", c.name, got.Verdict, got.Note, c.line)
		}
		got := check(t, versions, build(c.calls))
		if got.Verdict != c.order {
			t.Errorf("%s: versions: got %s (%s), want %s", c.name, got.Verdict, got.Note, c.order)
		}
		if got.Verdict == Invalid && (len(got.Evidence) == 0 || len(got.Evidence[0].Items) < 2 || got.Note == "") {
			t.Errorf("%s: no evidence: %+v", c.name, got)
		}
	}
}
