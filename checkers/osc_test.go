package checkers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"assize/history"
)

// foretold tells whether a read returned a value before it was asked to be written.
func foretold(calls []tcall) bool {
	for _, r := range calls {
		for _, w := range calls {
			if r.f == history.Read && r.kind == history.OK && len(r.out) == 1 && len(w.in) > 0 && w.key == r.key && w.in[len(w.in)-1] == r.out[0] && w.call > r.ret {
				return true
			}
		}
	}
	return false
}

// oscByForce has the writes in the order of their versions, which are different ones, and writes and syncs in real time. By positions each read, and
// each sync by itself, stands at the position that its server said it had: between the writes of that version and of the next, and behind all that
// stands at a lower position.
func oscByForce(calls []tcall, byPosition bool) bool {
	sessions, writes := stepsOf(calls, byPosition)
	if len(slices.Compact(slices.Clone(writes))) < len(writes) || foretold(calls) {
		return false
	}
	return ordered(sessions, writes)
}

// agreeOnOSC puts the calls to the judgement and to force, and gives what they agree upon: with values alone, and by positions too.
func agreeOnOSC(t *testing.T, calls []tcall) (values, positions bool) {
	t.Helper()
	got := check(t, osc, build(calls))
	values = oscByForce(calls, false)
	positions = values && (!slices.ContainsFunc(calls, func(c tcall) bool { return c.position != 0 }) || oscByForce(calls, true))
	if !slices.ContainsFunc(calls, func(c tcall) bool { return c.f != history.Sync }) {
		if got.Verdict != Unknown {
			t.Fatalf("got %s, though there are only syncs, want unknown", got.Verdict)
		}
		return values, positions
	}
	if got.Verdict != verdictOf(positions) || values != (got.Verdict == Valid || got.Figures["by_position"] > 0) {
		t.Fatalf("got %s (%s, %v), want values %v, positions %v\n%s", got.Verdict, got.Note, got.Figures, values, positions, describe(calls))
	}
	for _, e := range got.Evidence {
		if len(e.Items) == 0 || len(e.Items) > 4 || len(e.Why) == 0 || len(e.Why) > 2 || len(e.Items) > 1 && len(e.Edges) == 0 {
			t.Fatalf("poor evidence: %+v\n%s", e, describe(calls))
		}
	}
	return values, positions
}

// randomSessions draws calls of a few sessions on two registers: anything that is well formed.
func randomSessions(r *rand.Rand, most int) []tcall {
	n, processes, keys := 1+r.IntN(most), 1+r.IntN(3), 1+r.IntN(2)
	times, versions := r.Perm(2*n), r.Perm(2*n)
	calls := make([]tcall, n)
	taken := make([][]int, processes)
	for i := range calls {
		p := r.IntN(processes)
		calls[i] = tcall{process: p + 1, key: string(rune('a' + r.IntN(keys))), kind: history.OK, call: len(taken[p])}
		taken[p] = append(taken[p], times[2*i], times[2*i+1])
	}
	for p := range taken {
		slices.Sort(taken[p])
	}
	if r.IntN(4) > 0 { // versions in the order in which writes might have taken effect
		slices.Sort(versions)
	}
	last := make([]int, processes)
	for i := range calls {
		c, p := &calls[i], calls[i].process-1
		c.call, c.ret = taken[p][c.call], taken[p][c.call+1]
		last[p] = max(last[p], c.call)
	}
	slices.SortFunc(calls, func(a, b tcall) int { return a.call - b.call })
	values := map[string][]int{"a": {0}, "b": {0}}
	for i := range calls {
		c := &calls[i]
		c.version = uint64(versions[i] + 1)
		switch d := r.IntN(12); {
		case d < 4:
			c.f, c.in = history.Write, []int{i + 1}
		case d < 5:
			c.f, c.in = history.CAS, []int{1 + r.IntN(n), i + 1}
			if c.in[0] == c.in[1] {
				c.in[0] = n + 1
			}
		case d < 6:
			c.f, c.version = history.Sync, 0
		default:
			c.f, c.version = history.Read, 0
		}
		if len(c.in) > 0 {
			values[c.key] = append(values[c.key], i)
		}
		c.synced = c.f != history.Sync && r.IntN(4) == 0
	}
	for i := range calls {
		c := &calls[i]
		if all := values[c.key]; c.f == history.Read {
			if w := all[r.IntN(len(all))]; w != 0 || calls[0].key == c.key && len(calls[0].in) > 0 && r.IntN(2) == 0 {
				c.out, c.version = []int{w + 1}, uint64(versions[w]+1)
			}
		}
		if r.IntN(3) == 0 {
			c.position = c.version + uint64(r.IntN(4)*r.IntN(2))
			if r.IntN(4) == 0 {
				c.position = uint64(r.IntN(2*n + 1))
			}
		}
	}
	for i := range calls {
		c := &calls[i]
		if d := r.IntN(12); d == 0 || d == 1 && c.call == last[c.process-1] {
			c.kind, c.out, c.version, c.position = history.Kind(int(history.Fail)+d), nil, 0, 0
		}
	}
	return calls
}

func TestOSCAgainstForce(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	n := randoms(t, 50_000)
	count := map[string]int{}
	for i := range n {
		var calls []tcall
		if i%2 == 0 {
			calls = randomSessions(r, 7)
		} else {
			calls = world{processes: 1 + r.IntN(3), operations: 1 + r.IntN(9), keys: 1 + r.IntN(2), info: 6, fail: 10, see: seeing(i / 2 % 3), sync: 1 + r.IntN(5),
				deaf: r.IntN(3) == 0}.run(r)
			if i%3 == 0 {
				spoil(r, calls)
			}
			if i%5 == 0 {
				calls[r.IntN(len(calls))].position = uint64(r.IntN(6))
			}
		}
		switch values, positions := agreeOnOSC(t, calls); {
		case positions:
			count["valid"]++
		case values:
			count["by position"]++
		default:
			count["invalid"]++
		}
	}
	t.Logf("%d histories: %v", n, count)
	for _, what := range []string{"valid", "by position", "invalid"} {
		if count[what] < n/50 {
			t.Errorf("%d of %d %s: the test is one-sided", count[what], n, what)
		}
	}
}
