package checkers

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"assize/history"
)

// wrongByForce says for each element of a set whether it is lost, duplicated, unexpected or resurrected, from the definition alone.
func wrongByForce(calls []tcall) bool {
	for value := range 10 {
		var add *tcall
		known := never
		for i, c := range calls {
			if c.f == history.Add && c.in[0] == value {
				add = &calls[i]
				if c.kind == history.OK {
					known = min(known, c.ret)
				}
			}
			if c.f == history.Scan && c.kind == history.OK && slices.Contains(c.out, value) {
				known = min(known, c.ret)
			}
		}
		for _, c := range calls {
			if c.f != history.Scan || c.kind != history.OK {
				continue
			}
			times := 0
			for _, v := range c.out {
				if v == value {
					times++
				}
			}
			if times > 1 || times == 1 && (add == nil || add.kind == history.Fail || c.ret < add.call) {
				return true
			}
			if times == 1 || c.call < known {
				continue
			}
			later := slices.ContainsFunc(calls, func(l tcall) bool {
				return l.f == history.Scan && l.kind == history.OK && l.call > c.call && slices.Contains(l.out, value)
			})
			if !later {
				return true
			}
		}
	}
	return false
}

func randomSet(r *rand.Rand) []tcall {
	n := 1 + r.IntN(6)
	times := r.Perm(2 * n)
	calls := make([]tcall, n)
	for i := range calls {
		c := tcall{key: "s", f: history.Scan, kind: history.OK}
		c.call, c.ret = min(times[2*i], times[2*i+1]), max(times[2*i], times[2*i+1])
		if r.IntN(2) == 0 {
			c.f, c.in = history.Add, []int{i}
		} else {
			for v := range n {
				if r.IntN(2) == 0 && calls[v].f != history.Scan || r.IntN(20) == 0 {
					c.out = append(c.out, v)
				}
			}
			if r.IntN(20) == 0 && len(c.out) > 0 {
				c.out = append(c.out, c.out[0])
			}
		}
		switch r.IntN(8) {
		case 0:
			c.kind, c.out = history.Info, nil
		case 1:
			c.kind, c.out = history.Fail, nil
		}
		calls[i] = c
	}
	return calls
}

func TestLostAgainstForce(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	wrong := 0
	n := randoms(t, 30_000)
	for range n {
		calls := randomSet(r)
		want := wrongByForce(calls)
		h := build(calls)
		if sets := slices.ContainsFunc(calls, func(c tcall) bool { return true }); !sets {
			continue
		}
		got := check(t, lost, h)
		if (got.Verdict == Invalid) != want {
			t.Fatalf("got %s (%s), want wrong %v\n%s", got.Verdict, got.Note, want, describe(calls))
		}
		if want {
			wrong++
			if len(got.Evidence) == 0 || len(got.Evidence[0].Why) == 0 || len(got.Evidence[0].Items) == 0 {
				t.Fatalf("no evidence: %+v", got)
			}
		}
	}
	if wrong < n/20 || wrong > n*19/20 {
		t.Errorf("%d of %d are wrong: the test is one-sided", wrong, n)
	}
}

func add(v, call, ret int, k history.Kind) tcall {
	return tcall{f: history.Add, key: "s", in: []int{v}, call: call, ret: ret, kind: k, node: "n1"}
}

func scan(call, ret int, out ...int) tcall {
	return tcall{f: history.Scan, key: "s", call: call, ret: ret, kind: history.OK, out: out, node: "n2"}
}

// phased puts the phases of a run into a history, before the events at the given times (in units of build).
func phased(h []history.Op, final int, note string) []history.Op {
	mark := func(phase, note string) history.Op {
		return history.Op{Process: history.Harness, Kind: history.Info, Phase: phase, Note: note}
	}
	out := []history.Op{mark(history.PhaseStorm, "")}
	done := false
	for _, op := range h {
		if final >= 0 && !done && int(op.Time.Milliseconds()) >= final {
			out = append(out, mark(history.PhaseMend, ""), mark(history.PhaseFinal, note))
			done = true
		}
		out = append(out, op)
	}
	for i := range out {
		out[i].Index = i
		if out[i].Phase != "" && i > 0 {
			out[i].Time = out[i-1].Time
		}
	}
	return out
}

func TestFates(t *testing.T) {
	ack := add(1, 0, 1, history.OK)
	for _, c := range []struct {
		name  string
		calls []tcall
		final int // -2: a history without phases; -1: one without last words
		note  string
		want  Verdict
		fate  string
	}{
		{"stable", []tcall{ack, scan(2, 3, 1)}, 2, "", Valid, "stable"},
		{"lost, no phases", []tcall{ack, scan(2, 3)}, -2, "", Invalid, "lost"},
		{"lost in the last words", []tcall{ack, scan(2, 3, 1), scan(10, 11)}, 10, "", Invalid, "lost"},
		{"missed to the end of a run that was cut short: it may have been staleness", []tcall{ack, scan(2, 3)}, -1, "", Unknown, "missing"},
		{"missed in the storm, never asked for again", []tcall{ack, scan(2, 3), add(2, 10, 11, history.OK), scan(12, 13, 2, 1)}, 10, "", Valid, "stale"},
		{"overlap is no loss", []tcall{add(1, 0, 5, history.OK), scan(2, 8), scan(10, 11, 1)}, 10, "", Valid, "stable"},
		{"one node has it, one has not", []tcall{ack, scan(10, 11, 1), scan(12, 13)}, 10, "", Invalid, "uneven"},
		{"one node has it not, one has", []tcall{ack, scan(10, 11), scan(12, 13, 1)}, 10, "", Invalid, "uneven"},
		{"one node has it, one has not, and they had not settled", []tcall{ack, scan(10, 11, 1), scan(12, 13)}, 10, "not settled", Unknown, "missing"},
		{"one node has it not, one has, and they had not settled", []tcall{ack, scan(10, 11), scan(12, 13, 1)}, 10, "not settled", Valid, "stale"},
		{"nobody has it, settled or not", []tcall{ack, scan(10, 11), scan(12, 13)}, 10, "not settled", Invalid, "lost"},
		{"known by a scan, then lost", []tcall{add(1, 0, never, history.Info), scan(2, 3, 1), scan(10, 11), ack2()}, 10, "", Invalid, "lost"},
		{"recovered", []tcall{add(1, 0, 1, history.Info), scan(2, 3, 1), ack2(), scan(10, 11, 1, 9)}, 10, "", Valid, "recovered"},
		{"recovered, shown by last words that overlap", []tcall{add(1, 0, 1, history.Info), ack2(), scan(10, 12, 1, 9), scan(11, 13, 1, 9)}, 10, "", Valid, "recovered"},
		{"never shown, never acknowledged", []tcall{add(1, 0, 1, history.Info), ack2(), scan(10, 11, 9)}, 10, "", Valid, "pending"},
		{"nobody looked", []tcall{ack}, -1, "", Unknown, "unread"},
		{"looked only while it was being added", []tcall{add(1, 0, 5, history.OK), scan(2, 4, 1)}, -1, "", Valid, "stable"},
		{"twice", []tcall{ack, scan(2, 3, 1, 1)}, -1, "", Invalid, "duplicated"},
		{"from nowhere", []tcall{ack, scan(2, 3, 1, 7)}, -1, "", Invalid, "unexpected"},
		{"before its time", []tcall{scan(0, 1, 1), add(1, 2, 3, history.OK)}, -1, "", Invalid, "unexpected"},
		{"back from the dead", []tcall{add(1, 0, 1, history.Fail), scan(2, 3, 1)}, -1, "", Invalid, "resurrected"},
	} {
		h := build(c.calls)
		if c.final >= -1 {
			h = phased(h, c.final, c.note)
		}
		got := check(t, lost, h)
		if got.Verdict != c.want || got.Figures[c.fate] < 1 {
			t.Errorf("%s: got %s (%s), %v; want %s and one %s", c.name, got.Verdict, got.Note, got.Figures, c.want, c.fate)
		}
	}
}

func ack2() tcall { return add(9, 4, 5, history.OK) }

// TestLostTellsWho: the evidence names who acknowledged, in which term, and what was broken then.
func TestLostTellsWho(t *testing.T) {
	h := build([]tcall{add(1, 1, 2, history.OK), scan(30, 31), scan(40, 41)})
	h[1].Note = "term 2 index 23"
	h = append([]history.Op{{Process: history.Nemesis, Kind: history.Info, Fault: &history.Fault{ID: 3, Name: "kill", What: "kill n2 n3", Held: true}}}, h...)
	for i := range h {
		h[i].Index = i
	}
	got := check(t, lost, h)
	if len(got.Evidence) != 1 {
		t.Fatalf("got %+v", got)
	}
	text := strings.Join(got.Evidence[0].Why, ". ")
	for _, want := range []string{"1 of s is lost", "n2 was asked 0.028 s after", "the last that of n2 after 0.038 s", "acknowledged by n1 (term 2 index 23)", "during F3 kill n2 n3"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	for i, role := range []string{"acknowledged", "missed", "missed at last"} {
		if got.Evidence[0].Items[i].Role != role {
			t.Errorf("got role %q, want %q", got.Evidence[0].Items[i].Role, role)
		}
	}
}
