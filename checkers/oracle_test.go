package checkers

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"assize/history"
)

// call of a test's history: [ret] never is info, or still open.
type tcall struct {
	process   int
	f, key    string
	in, out   []int
	call, ret int // in units of the test; any order, distinct
	kind      history.Kind
	version   uint64
	position  uint64
	node      string
	synced    bool // a sync goes before it
}

func (c *tcall) txn(out []int) (t history.Txn) {
	if c.synced {
		t = append(t, history.Mop{F: history.Sync, Key: "/"})
	}
	return append(t, history.Mop{F: c.f, Key: c.key, In: c.in, Out: out})
}

// build makes a history of calls. Each gets a process of its own unless it names one (from 1).
func build(calls []tcall) []history.Op {
	type event struct {
		at   int
		done bool
		c    int
	}
	var events []event
	for i, c := range calls {
		events = append(events, event{c.call, false, i})
		if c.ret != never {
			events = append(events, event{c.ret, true, i})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at - b.at })
	var h []history.Op
	for _, e := range events {
		c := calls[e.c]
		op := history.Op{Index: len(h), Time: time.Duration(e.at) * time.Millisecond, Process: 1000 + e.c, Txn: c.txn(nil), Node: c.node}
		if c.process > 0 {
			op.Process = c.process
		}
		if e.done {
			op.Kind = c.kind
			if c.kind == history.OK {
				op.Txn, op.Version, op.Position = c.txn(c.out), c.version, c.position
			}
		}
		h = append(h, op)
	}
	return h
}

// linearizableByForce tries every order of the calls on one register, and for each call that nobody knows of, with it and without it. It knows
// no versions, no pruning and no limits.
func linearizableByForce(calls []tcall) bool {
	const nothing = math.MinInt
	done := make([]bool, len(calls))
	var try func(state, left int) bool
	try = func(state, left int) bool {
		if left == 0 {
			return true
		}
		earliest := never // return of what has not been placed
		for i, c := range calls {
			if !done[i] && c.kind == history.OK {
				earliest = min(earliest, c.ret)
			}
		}
		for i, c := range calls {
			if done[i] || c.call > earliest || c.kind == history.Fail || c.kind == history.Info && c.f == history.Read {
				continue
			}
			next := state
			switch c.f {
			case history.Read:
				if len(c.out) == 0 && state != nothing || len(c.out) == 1 && c.out[0] != state {
					continue
				}
			case history.Write:
				next = c.in[0]
			case history.CAS:
				if state != c.in[0] {
					continue
				}
				next = c.in[1]
			}
			done[i] = true
			after := left
			if c.kind == history.OK {
				after--
			}
			ok := try(next, after)
			done[i] = false
			if ok {
				return true
			}
		}
		return false
	}
	must := 0
	for _, c := range calls {
		if c.kind == history.OK {
			must++
		}
	}
	return try(nothing, must)
}

// randoms is how many random histories a test tries: more by ASSIZE_RANDOM.
func randoms(t testing.TB, n int) int {
	if s := os.Getenv("ASSIZE_RANDOM"); s != "" {
		more, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return more
	}
	if testing.Short() {
		return n / 10
	}
	return n
}

// randomRegister draws calls on one register: anything that is well formed, hence mostly not linearizable, but often nearly.
func randomRegister(r *rand.Rand, most int) []tcall {
	n := 1 + r.IntN(most)
	times := r.Perm(2 * n)
	calls := make([]tcall, n)
	values := 1 + r.IntN(n)
	next := 1
	for i := range calls {
		c := tcall{key: "k", kind: history.OK}
		c.call, c.ret = times[2*i], times[2*i+1]
		if c.call > c.ret {
			c.call, c.ret = c.ret, c.call
		}
		if r.IntN(3) == 0 { // short ones overlap less
			c.ret = c.call
			for _, x := range times {
				if x > c.call {
					taken := slices.ContainsFunc(calls[:i], func(o tcall) bool { return o.call == x || o.ret == x })
					if !taken && (c.ret == c.call || x < c.ret) && !slices.Contains(times[2*i+2:], x) {
						c.ret = x
					}
				}
			}
		}
		switch d := r.IntN(10); {
		case d < 5:
			c.f = history.Read
			if v := r.IntN(values + 1); v > 0 {
				c.out = []int{v}
			}
		case d < 8 || next == 1:
			c.f, c.in = history.Write, []int{next}
			next++
		default:
			c.f, c.in = history.CAS, []int{1 + r.IntN(values), next}
			next++
		}
		switch r.IntN(8) {
		case 0:
			c.kind, c.out = history.Info, nil
			if r.IntN(2) == 0 {
				c.ret = never
			}
		case 1:
			if r.IntN(3) == 0 {
				c.kind, c.out = history.Fail, nil
			}
		}
		calls[i] = c
	}
	return calls
}

func check(t testing.TB, c Checker, h []history.Op) Result {
	t.Helper()
	r, err := c.Check(h, Limits{})
	if err != nil {
		t.Fatalf("%s: %v\n%v", c.Name, err, h)
	}
	return r
}

func verdictOf(valid bool) Verdict {
	if valid {
		return Valid
	}
	return Invalid
}

func describe(calls []tcall) string {
	s := ""
	for _, c := range calls {
		s += fmt.Sprintf("  [%d,%d] %v %s %v -> %v v%d at %d of %s p%d synced %v\n", c.call, c.ret, c.kind, c.f, c.in, c.out, c.version, c.position,
			c.key, c.process, c.synced)
	}
	return s
}
