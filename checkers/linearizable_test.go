package checkers

import (
	"math/rand/v2"
	"testing"

	"assize/history"
)

func TestLinearizableAgainstForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	valid := 0
	n := randoms(t, 25_000)
	for range n {
		calls := randomRegister(r, 7)
		want := linearizableByForce(calls)
		if want {
			valid++
		}
		if got := check(t, linearizable, build(calls)); got.Verdict != verdictOf(want) {
			t.Fatalf("got %s, want %s\n%s", got.Verdict, verdictOf(want), describe(calls))
		} else {
			convicting(t, calls, got)
		}
	}
	if valid < n/20 || valid > n*19/20 {
		t.Errorf("%d of %d are linearizable: the test is one-sided", valid, n)
	}
}

// convicting: the evidence by itself must convict, by force, and no operation of it can be spared.
func convicting(t *testing.T, calls []tcall, r Result) {
	t.Helper()
	h := build(calls)
	for _, e := range r.Evidence {
		if len(e.Why) == 0 || len(e.Why) > 2 {
			t.Fatalf("%d sentences: %q", len(e.Why), e.Why)
		}
		part := func(spare int) (kept []tcall) {
			written := map[int]bool{}
			for i, it := range e.Items {
				op := h[it.Invoke]
				c := tcall{key: "k", f: op.Txn[0].F, in: op.Txn[0].In, call: it.Invoke, ret: never, kind: history.Info}
				if it.Complete >= 0 {
					if c.kind = h[it.Complete].Kind; c.kind == history.OK {
						c.ret, c.out = it.Complete, h[it.Complete].Txn[0].Out
					}
				}
				if i != spare {
					kept = append(kept, c)
					if c.f != history.Read {
						written[c.in[len(c.in)-1]] = true
					}
				}
			}
			for i := 0; i < len(kept); i++ {
				switch c := &kept[i]; {
				case c.f == history.CAS && !written[c.in[0]]:
					c.f, c.in = history.Write, c.in[1:]
				case c.f == history.Read && len(c.out) == 1 && !written[c.out[0]] && spare >= 0:
					kept = append(kept[:i], kept[i+1:]...)
					i--
				}
			}
			return kept
		}
		orphan := len(e.Items) == 1 || e.Items[0].Role == "failed" || e.Items[1].Role == "failed"
		if orphan {
			continue
		}
		if linearizableByForce(part(-1)) {
			t.Fatalf("the evidence %+v does not convict:\n%s", e, describe(calls))
		}
		for i := range e.Items {
			if !linearizableByForce(part(i)) {
				t.Fatalf("item %d of the evidence %+v can be spared:\n%s", i, e, describe(calls))
			}
		}
	}
	if r.Verdict == Invalid && len(r.Evidence) == 0 {
		t.Fatal("invalid without evidence")
	}
}
