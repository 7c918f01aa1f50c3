package checkers

import (
	"testing"

	"assize/history"
)

// TestAllSmallHistories puts every history of up to 3 operations on one register to the judgement, and of 4 those of a write, a write, and two
// of any kind: every interleaving of their calls and returns, every kind of operation, answered or not, every value that could be seen.
func TestAllSmallHistories(t *testing.T) {
	histories, valid := 0, 0
	try := func(calls []tcall) {
		want := linearizableByForce(calls)
		got, err := linearizable.Check(build(calls), Limits{})
		if err != nil {
			t.Fatalf("%v\n%s", err, describe(calls))
		}
		if got.Verdict != verdictOf(want) {
			t.Fatalf("got %s, want %s\n%s", got.Verdict, verdictOf(want), describe(calls))
		}
		histories++
		if want {
			valid++
		}
	}
	for n := 1; n <= 3; n++ {
		interleavings(n, func(at [][2]int) { kinds(at, nil, n, try) })
	}
	if !testing.Short() {
		interleavings(4, func(at [][2]int) {
			first := []tcall{
				{f: history.Write, key: "k", in: []int{1}, call: at[0][0], ret: at[0][1], kind: history.OK},
				{f: history.Write, key: "k", in: []int{2}, call: at[1][0], ret: at[1][1], kind: history.OK},
			}
			kinds(at, first, 4, try)
		})
	}
	t.Logf("%d histories, %d linearizable", histories, valid)
	if valid == 0 || valid == histories {
		t.Error("all or none are linearizable")
	}
}

// interleavings of n calls with their returns; calls are in the order of their numbers.
func interleavings(n int, each func(at [][2]int)) {
	at := make([][2]int, n)
	var place func(clock, called int, open []int)
	place = func(clock, called int, open []int) {
		if clock == 2*n {
			each(at)
			return
		}
		if called < n {
			at[called][0] = clock
			place(clock+1, called+1, append(append([]int(nil), open...), called))
		}
		for i, c := range open {
			at[c][1] = clock
			place(clock+1, called, append(append([]int(nil), open[:i]...), open[i+1:]...))
		}
	}
	place(0, 0, nil)
}

// kinds extends calls to n in every way. Operation i writes i+1, if it writes.
func kinds(at [][2]int, calls []tcall, n int, each func([]tcall)) {
	i := len(calls)
	if i == n {
		each(calls)
		return
	}
	c := tcall{key: "k", call: at[i][0], ret: at[i][1], kind: history.OK}
	with := func(c tcall) { kinds(at, append(append([]tcall(nil), calls...), c), n, each) }
	c.f = history.Read
	with(c)
	for v := 1; v <= n; v++ {
		c.out = []int{v}
		with(c)
	}
	c.out = nil
	for _, kind := range []history.Kind{history.OK, history.Info, history.Fail} {
		c.kind = kind
		c.f, c.in = history.Write, []int{i + 1}
		with(c)
		for v := 1; v <= n; v++ {
			if v == i+1 {
				continue
			}
			c.f, c.in = history.CAS, []int{v, i + 1}
			with(c)
		}
	}
}
