package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/checkers"
	"assize/harness"
	"assize/history"
)

// builder of histories.
type builder []history.Op

func (b *builder) add(at time.Duration, op history.Op) int {
	op.Index, op.Time = len(*b), at
	*b = append(*b, op)
	return op.Index
}

func (b *builder) client(at time.Duration, process int, kind history.Kind, node string, m history.Mop, version uint64, note string) int {
	return b.add(at, history.Op{Process: process, Kind: kind, Node: node, Txn: history.Txn{m}, Version: version, Note: note})
}

func (b *builder) harness(at time.Duration, phase string) {
	b.add(at, history.Op{Process: history.Harness, Kind: history.Info, Phase: phase})
}

const s = time.Second

// staleRead: two writes, and a read at a cut-off node that returns the first.
func staleRead() (ops []history.Op, evidence checkers.Evidence) {
	var b builder
	one, two, read := history.Mop{F: "write", Key: "k6", In: []int{4688}}, history.Mop{F: "write", Key: "k6", In: []int{4700}}, history.Mop{F: "read", Key: "k6"}
	b.harness(0, history.PhaseStorm)
	w1 := b.client(25*s, 19, history.Invoke, "n5", one, 0, "")
	w1ok := b.client(25999*time.Millisecond, 19, history.OK, "n5", one, 7, "term 2 index 7")
	b.add(26*s, history.Op{Process: history.Nemesis, Kind: history.Info, Fault: &history.Fault{ID: 3, Name: "partition", What: "cut n4 | n1 n2 n3 n5", Held: true}})
	w2 := b.client(26010*time.Millisecond, 6, history.Invoke, "n2", two, 0, "")
	w2ok := b.client(26052*time.Millisecond, 6, history.OK, "n2", two, 8, "term 2 index 8")
	r := b.client(28476*time.Millisecond, 13, history.Invoke, "n4", read, 0, "")
	read.Out = []int{4688}
	rok := b.client(28480*time.Millisecond, 13, history.OK, "n4", read, 7, "")
	b.add(35*s, history.Op{Process: history.Nemesis, Kind: history.Info, Fault: &history.Fault{ID: 3, Name: "partition", Mended: true, Held: true}})
	b.add(36*s, history.Op{Process: history.Harness, Kind: history.Info, Node: "n1", State: &history.State{Node: "n1", Applied: 8, Hash: 0xabc}})
	b.harness(37*s, history.PhaseStop)
	return b, checkers.Evidence{
		Key: "k6", Why: []string{"The read missed 2, which had been acknowledged before it was called."},
		Items: []checkers.Item{{Invoke: w1, Complete: w1ok, Role: "wrote"}, {Invoke: w2, Complete: w2ok, Role: "overwrote"}, {Invoke: r, Complete: rok, Role: "returned old"}},
		Edges: []checkers.Edge{{From: 1, To: 2, Why: "real time"}},
	}
}

// says makes a checker that comes to a fixed result: what is tested here is what becomes of results.
func says(name string, r checkers.Result) checkers.Checker {
	return checkers.Checker{Name: name, Question: "is it?", Check: func([]history.Op, checkers.Limits) (checkers.Result, error) { return r, nil }}
}

func trialPlan() harness.Plan {
	p := harness.Plan{Target: "raft", Time: 60 * s, Seed: 7701}
	p.Fill()
	return p
}

func judged(t *testing.T, ops []history.Op, list ...checkers.Checker) Verdict {
	t.Helper()
	samples := []harness.Sample{{Time: 28400 * time.Millisecond, Node: "n4", Role: "follower"}}
	v, err := Judge(Case{Plan: trialPlan(), Ops: ops, Samples: samples, Checkers: list, Expect: Expectation{Claim: "R1", Violated: true}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range v.Judgements {
		v.Judgements[i].Took = time.Duration(i+1) * time.Millisecond
	}
	return v
}

func convicted(t *testing.T) Verdict {
	ops, e := staleRead()
	return judged(t, ops,
		says("faults", checkers.Result{Verdict: checkers.Valid, Note: "1 fault took hold"}),
		says("linearizable", checkers.Result{Verdict: checkers.Invalid, Note: "1 of 1 key", Evidence: []checkers.Evidence{e}, Files: map[string][]byte{"../k6.html": []byte("x")}}),
		says("sequential", checkers.Result{Verdict: checkers.Valid, Judged: 1234567, Unit: "sessions"}),
	)
}

func TestTextOfAConviction(t *testing.T) {
	const want = `INVALID  not linearizable: raft, local, register, 37.0 of 60 s, seed 7701
  1 #1  p19 on n5            write k6 4688    wrote         acknowledged at 25.9990 s  term 2 index 7
  2 #4  p6 on n2             write k6 4700    overwrote     acknowledged at 26.0520 s  term 2 index 8
  3 #6  p13 on n4 (follower)  read k6 -> 4688  returned old  called at 28.4760 s, 2.42 s after 2 was acknowledged
  2 before 3: real time
  The read missed 2, which had been acknowledged before it was called.
  fault: F3 partition: cut n4 | n1 n2 n3 n5, 26.000 s to 35.000 s
  faults        holds     1 fault took hold                                     1 ms
  linearizable  violated  1 of 1 key                                            2 ms
  sequential    holds     1,234,567 sessions                                    3 ms
  behind acknowledged writes   1 of 1 reads    by 2.424 s at most; acknowledged writes that one read missed: 1 at most
  as claim R1 expects
replay  assize run --plan 'results/a b/plan.json'
check   assize check 'results/a b'
`
	got := Text(convicted(t), "results/a b")
	if squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// squeeze makes the width of columns irrelevant.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return strings.Join(lines, "\n")
}

func TestHeadlineHasTheOperationInIt(t *testing.T) {
	v := convicted(t)
	if want := "not linearizable: p13 on n4 read k6 -> 4688: The read missed 2, which had been acknowledged before it was called."; v.Headline != want {
		t.Errorf("headline %q, want %q", v.Headline, want)
	}
	if v.Model != "sequentially consistent" || !v.AsExpected || !v.Complete {
		t.Errorf("model %q, as expected %v, complete %v", v.Model, v.AsExpected, v.Complete)
	}
	if v.Stale == nil || *v.Stale != staleOnce {
		t.Errorf("stale %+v, want %+v", v.Stale, staleOnce)
	}
	if len(v.Agreement) != 1 || v.Agreement[0].Hash != "0000000000000abc" {
		t.Errorf("agreement %+v", v.Agreement)
	}
	if want := (Counts{Operations: 3, OK: 3, Faults: 1, Held: 1, Time: 37 * s, Storm: 37 * s}); v.Counts != want {
		t.Errorf("counts %+v, want %+v", v.Counts, want)
	}
}

func TestWorstJudgementDecides(t *testing.T) {
	valid, unknown, invalid := checkers.Result{Verdict: checkers.Valid}, checkers.Result{Verdict: checkers.Unknown, Note: "limit"}, checkers.Result{Verdict: checkers.Invalid, Note: "bad"}
	ops, _ := staleRead()
	cut := ops[:len(ops)-1]
	for _, c := range []struct {
		ops                  []history.Op
		faults, alive, other checkers.Result
		want, headline       string
	}{
		{ops, valid, valid, valid, Valid, "linearizable: 3 operations under 1 faults"},
		{ops, valid, unknown, valid, Unknown, "alive is not known: limit"},
		{ops, valid, valid, invalid, Invalid, "not linearizable: bad"},
		{ops, unknown, unknown, valid, Inconclusive, "faults did not take hold: limit"},
		{ops, unknown, unknown, invalid, Invalid, "not linearizable: bad"},
		{ops, invalid, valid, valid, Inconclusive, "faults did not take hold: bad"},
		{cut, valid, valid, valid, Unknown, "the record ends before the run did; nothing is wrong with what there is"},
		{cut, valid, valid, invalid, Invalid, "not linearizable: bad"},
	} {
		v := judged(t, c.ops, says("faults", c.faults), says("alive", c.alive), says("linearizable", c.other))
		if v.Verdict != c.want || v.Headline != c.headline {
			t.Errorf("got %s, %q, want %s, %q", v.Verdict, v.Headline, c.want, c.headline)
		}
		if want := c.want == Invalid; v.AsExpected != want {
			t.Errorf("%s: as expected %v, want %v", v.Verdict, v.AsExpected, want)
		}
	}
}

// TestExpectationIsMetByItsOwnJudgementOnly: whatever else is wrong with the run neither meets it nor stands against it, but for what makes a run say nothing.
func TestExpectationIsMetByItsOwnJudgementOnly(t *testing.T) {
	result := map[byte]checkers.Result{'v': {Verdict: checkers.Valid}, 'u': {Verdict: checkers.Unknown}, 'i': {Verdict: checkers.Invalid}}
	ops, _ := staleRead()
	for _, c := range []struct {
		claim                             string
		cut                               bool
		faults, alive, linear, sequential byte
		violated, holds                   bool
	}{
		{claim: "R1", faults: 'v', alive: 'v', linear: 'i', sequential: 'v', violated: true},
		{claim: "R1", faults: 'u', alive: 'u', linear: 'i', sequential: 'v', violated: true, cut: true},
		{claim: "R1", faults: 'v', alive: 'i', linear: 'v', sequential: 'v', holds: true},
		{claim: "R1", faults: 'v', alive: 'v', linear: 'v', sequential: 'i', holds: true},
		{claim: "R4", faults: 'v', alive: 'v', linear: 'v', sequential: 'i', violated: true},
		{claim: "R4", faults: 'v', alive: 'v', linear: 'i', sequential: 'v', holds: true},
		{claim: "R1", faults: 'v', alive: 'v', linear: 'u', sequential: 'i'},
		{claim: "R1", faults: 'u', alive: 'v', linear: 'v', sequential: 'v'},
		{claim: "R1", faults: 'v', alive: 'u', linear: 'v', sequential: 'v'},
		{claim: "R1", faults: 'v', alive: 'v', linear: 'v', sequential: 'v', cut: true},
		{claim: "Z6", faults: 'v', alive: 'v', linear: 'i', sequential: 'v'}, // nobody has judged it
		{claim: "R9", faults: 'v', alive: 'v', linear: 'i', sequential: 'v'},
	} {
		recorded := ops
		if c.cut {
			recorded = ops[:len(ops)-1]
		}
		for violated, want := range map[bool]bool{true: c.violated, false: c.holds} {
			v, err := Judge(Case{Plan: trialPlan(), Ops: recorded, Expect: Expectation{c.claim, violated}, Checkers: []checkers.Checker{
				says("faults", result[c.faults]), says("alive", result[c.alive]), says("linearizable", result[c.linear]), says("sequential", result[c.sequential]),
			}})
			if err != nil || v.AsExpected != want {
				t.Errorf("%+v, violated %v: as expected %v, error %v", c, violated, v.AsExpected, err)
			}
		}
	}
}

func TestNothingJudgedIsNotValid(t *testing.T) {
	ops, _ := staleRead()
	if v := judged(t, ops); v.Verdict != Unknown {
		t.Errorf("got %s, want %s", v.Verdict, Unknown)
	}
}

func TestMalformedHistoryHasNoVerdict(t *testing.T) {
	ops, _ := staleRead()
	ops[2].Process = 5
	if _, err := Judge(Case{Plan: trialPlan(), Ops: ops}); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("error %v", err)
	}
}

func TestOpenCallIsToldAsSuch(t *testing.T) {
	ops, e := staleRead()
	e.Items = []checkers.Item{{Invoke: 1, Complete: -1, Role: "wrote"}}
	v := judged(t, ops, says("linearizable", checkers.Result{Verdict: checkers.Invalid, Evidence: []checkers.Evidence{e}}))
	if got, want := v.Evidence[0].Items[0].Words, "called at 25.0000 s, never answered"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEventsThatAreNoClientsCanBeEvidence(t *testing.T) {
	ops, e := staleRead()
	e.Items = []checkers.Item{{Invoke: 3, Complete: -1, Role: "missed"}, {Invoke: 9, Complete: -1, Role: "differs"}, {Invoke: 10, Complete: -1, Role: "end"}}
	v := judged(t, ops, says("agreement", checkers.Result{Verdict: checkers.Invalid, Note: "n1 differs", Evidence: []checkers.Evidence{e}}))
	got := []string{v.Evidence[0].Items[0].Operation, v.Evidence[0].Items[1].Operation, v.Evidence[0].Items[2].Operation, v.Headline}
	want := []string{"F3 partition: cut n4 | n1 n2 n3 n5", "applied 8, hash 0000000000000abc", "stop", "replicas disagree: n1 differs"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	ops, e := staleRead()
	ops[2].Note, e.Why[0] = "\x1b[2Jx\n", "a\x1b]0;evil\a"
	v := judged(t, ops, says("linearizable", checkers.Result{Verdict: checkers.Invalid, Note: "n\x1b[1m", Evidence: []checkers.Evidence{e}}))
	if got := Text(v, "results/x"); strings.ContainsAny(got, "\x1b\a") {
		t.Errorf("text has control characters: %q", got)
	}
}

func TestSaveStaysInTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := Begin(dir, trialPlan(), Environment([]string{"pause"}, []string{"skew"}, nil)); err != nil {
		t.Fatal(err)
	}
	v := convicted(t)
	if err := Save(dir, v); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), "env.json k6.html plan.json summary.txt verdict.json"; got != want {
		t.Errorf("files %q, want %q", got, want)
	}
	if others, _ := os.ReadDir(filepath.Dir(dir)); len(others) != 1 {
		t.Errorf("%d entries beside the directory", len(others)-1)
	}
	b, err := os.ReadFile(filepath.Join(dir, VerdictFile))
	if err != nil {
		t.Fatal(err)
	}
	var back Verdict
	if err := json.Unmarshal(b, &back); err != nil || back.Headline != v.Headline || len(back.Evidence[0].Items) != 3 {
		t.Errorf("%v: read back %+v", err, back)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestLongScansAreCutShort(t *testing.T) {
	got := operation(history.Txn{{F: "scan", Key: "s1", Out: []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}})
	if want := "scan s1 -> 1 2 3 4 5 6 7 8 and 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestNothingVacuousPasses: what was never asked, and faults that never came, are not in the history; the plan and the workload miss them.
func TestNothingVacuousPasses(t *testing.T) {
	ops, _ := staleRead() // writes, a read and one fault
	quiet := slices.DeleteFunc(slices.Clone(ops), func(op history.Op) bool { return op.Fault != nil })
	for i := range quiet {
		quiet[i].Index = i
	}
	list := []checkers.Checker{says("faults", checkers.Result{Verdict: checkers.Valid}), says("alive", checkers.Result{Verdict: checkers.Valid})}
	planned := trialPlan()
	planned.Faults = []harness.Fault{{ID: 1, Name: "partition"}}
	for _, c := range []struct {
		name  string
		plan  harness.Plan
		ops   []history.Op
		kinds []string
		want  string
	}{
		{"all was done", planned, ops, []string{"read", "write"}, Valid},
		{"no faults were wanted", trialPlan(), quiet, []string{"read", "write"}, Valid},
		{"no cas was asked", planned, ops, []string{"read", "write", "cas"}, Unknown},
		{"no fault came", planned, quiet, []string{"read", "write"}, Inconclusive},
		{"the record ends before any fault", planned, quiet[:len(quiet)-1], []string{"read", "write"}, Unknown},
	} {
		v, err := Judge(Case{Plan: c.plan, Ops: c.ops, Checkers: list, Kinds: c.kinds})
		if err != nil || v.Verdict != c.want {
			t.Errorf("%s: got %s (%s), %v; want %s", c.name, v.Verdict, v.Headline, err, c.want)
		}
	}
}
