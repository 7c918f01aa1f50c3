package checkers

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/history"
)

// run is a whole run in short: storm, a fault, mend, last words on two nodes, states.
func wholeRun() []history.Op {
	harness := func(phase, note string) history.Op {
		return history.Op{Process: history.Harness, Kind: history.Info, Phase: phase, Note: note}
	}
	ask := func(p int, node string, kind history.Kind, m history.Mop) history.Op {
		return history.Op{Process: p, Kind: kind, Node: node, Txn: history.Txn{m}}
	}
	fault := func(mended bool) history.Op {
		return history.Op{Process: history.Nemesis, Kind: history.Info, Fault: &history.Fault{ID: 1, Name: "kill", What: "kill n2", Mended: mended, Held: true}}
	}
	state := func(node string) history.Op {
		return history.Op{Process: history.Harness, Kind: history.Info, State: &history.State{Node: node, Applied: 9, Hash: 7}}
	}
	read := history.Mop{F: history.Read, Key: "k"}
	write := history.Mop{F: history.Write, Key: "k", In: []int{1}}
	answer := history.Mop{F: history.Read, Key: "k", Out: []int{1}}
	h := []history.Op{
		harness(history.PhaseStorm, ""),
		ask(1, "n1", history.Invoke, write),
		ask(1, "n1", history.OK, write),
		fault(false),
		ask(2, "n2", history.Invoke, read),
		ask(2, "n2", history.Fail, read),
		fault(true),
		harness(history.PhaseQuorum, "n1 n2 must answer within 9s"),
		ask(1, "n1", history.Invoke, read),
		ask(1, "n1", history.OK, answer),
		harness(history.PhaseMend, ""),
		harness(history.PhaseFinal, ""),
		ask(1, "n1", history.Invoke, read),
		ask(1, "n1", history.OK, answer),
		ask(2, "n2", history.Invoke, read),
		ask(2, "n2", history.OK, answer),
		state("n1"),
		state("n2"),
		harness(history.PhaseStop, ""),
	}
	return timed(h)
}

// timed numbers the events, 100 ms apart.
func timed(h []history.Op) []history.Op {
	for i := range h {
		h[i].Index, h[i].Time = i, time.Duration(i)*100*time.Millisecond
	}
	return h
}

// TestJudgements changes one thing in a good run and says which judgement must notice, and what it must say.
func TestJudgements(t *testing.T) {
	cut := func(from, to int) func([]history.Op) []history.Op {
		return func(h []history.Op) []history.Op { return slices.Delete(h, from, to) }
	}
	edit := func(f func(h []history.Op)) func([]history.Op) []history.Op {
		return func(h []history.Op) []history.Op { f(h); return h }
	}
	violation := history.Op{Process: history.Harness, Kind: history.Info, Phase: history.PhaseViolation, Note: "two leaders in term 3"}
	for _, c := range []struct {
		name    string
		change  func([]history.Op) []history.Op
		checker Checker
		want    Verdict
		note    string
	}{
		{"good", cut(0, 0), invariants, Valid, "nothing"},
		{"good", cut(0, 0), faults, Valid, "the one fault took hold"},
		{"good", cut(0, 0), agreement, Valid, "2 nodes at index 9"},
		{"good", cut(0, 0), alive, Valid, "every kind"},
		{"good", cut(0, 0), availability, Valid, "gap"},
		{"good", cut(0, 0), linearizable, Valid, "1 key with 4 operations"},
		{"broken invariant", func(h []history.Op) []history.Op { return slices.Insert(h, 4, violation) }, invariants, Invalid, "two leaders in term 3"},
		{"missed fault", edit(func(h []history.Op) { h[3].Fault.Held = false }), faults, Unknown, "inconclusive: F1 kill n2 did not take hold"},
		{"missed mending", edit(func(h []history.Op) { h[6].Fault.Held = false }), faults, Unknown, "inconclusive: F1 kill n2 was not seen mended"},
		{"no faults", func(h []history.Op) []history.Op { return slices.Delete(slices.Delete(h, 6, 7), 3, 4) }, faults, Valid, "there were none"},
		{"two states", edit(func(h []history.Op) { h[17].State.Hash = 8 }), agreement, Invalid, "n1 and n2 have both applied index 9"},
		{"one behind", edit(func(h []history.Op) { h[17].State.Applied, h[17].State.Hash = 8, 1 }), agreement, Unknown, "n2 at 8"},
		{"one silent", edit(func(h []history.Op) { h[17].State.Note = "refused" }), agreement, Unknown, "n2 (refused)"},
		{"one silent of three, two differ", func(h []history.Op) []history.Op {
			third := history.Op{Process: history.Harness, Kind: history.Info, State: &history.State{Node: "n3", Applied: 9, Hash: 70}}
			h[17].State.Note = "refused"
			return slices.Insert(h, 18, third)
		}, agreement, Invalid, "n1 and n3"},
		{"no states", cut(16, 18), agreement, Unknown, "no node was asked"},
		{"a state from before the end does not count", func(h []history.Op) []history.Op {
			early := history.Op{Process: history.Harness, Kind: history.Info, State: &history.State{Node: "n1", Applied: 9, Hash: 70}}
			return slices.Insert(h, 3, early)
		}, agreement, Valid, "2 nodes"},
		{"a kind never succeeded", edit(func(h []history.Op) {
			h[2].Kind = history.Info
			h[8].Process, h[9].Process = 2, 2
			h[12].Process, h[13].Process = 2, 2
		}),
			alive, Unknown, "no write ever succeeded (1 were asked)"},
		{"silent quorum", cut(8, 10), alive, Invalid, "the mended quorum answered nothing: n1 n2 must answer within 9s"},
		{"the quorum's answer was asked for before", func(h []history.Op) []history.Op { h[7], h[8] = h[8], h[7]; return h }, alive, Invalid, "the mended quorum"},
		{"cut short in the quorum", cut(8, 19), alive, Unknown, "ends before the mended quorum"},
		{"cut short in the storm", cut(7, 19), alive, Unknown, "before the last words"},
		{"silent node", edit(func(h []history.Op) { h[15].Kind, h[15].Txn = history.Fail, h[14].Txn }), alive, Invalid, "n2 answered none of its last questions"},
		{"silent node of a cluster that had not settled", edit(func(h []history.Op) {
			h[11].Note = "not settled"
			h[15].Kind, h[15].Txn = history.Fail, h[14].Txn
		}), alive, Unknown, "n2 left 1 of its last 1 question"},
		{"node that was not asked", cut(14, 16), alive, Unknown, "n2 could not be asked"},
		{"nothing asked", func([]history.Op) []history.Op { return nil }, alive, Unknown, "nothing was asked"},
		{"nothing recorded", func([]history.Op) []history.Op { return nil }, availability, Valid, "nothing was recorded"},
		{"nothing recorded", func([]history.Op) []history.Op { return nil }, linearizable, Unknown, "no registers"},
		{"nothing recorded", func([]history.Op) []history.Op { return nil }, sequential, Unknown, "no registers"},
		{"nothing recorded", func([]history.Op) []history.Op { return nil }, lost, Unknown, "no sets"},
		{"nothing recorded", func([]history.Op) []history.Op { return nil }, versions, Unknown, "no answer"},
	} {
		got := check(t, c.checker, timed(c.change(wholeRun())))
		if got.Verdict != c.want || !strings.Contains(got.Note, c.note) {
			t.Errorf("%s: %s: got %s (%s), want %s (...%s...)", c.name, c.checker.Name, got.Verdict, got.Note, c.want, c.note)
		}
		if got.Verdict == Invalid && (len(got.Evidence) == 0 || len(got.Evidence[0].Items) == 0 || len(got.Evidence[0].Why) == 0) {
			t.Errorf("%s: %s: invalid without evidence", c.name, c.checker.Name)
		}
	}
}

// TestAvailabilityFigures: successes every 10 ms but for one gap of 500 ms that a fault begins.
func TestAvailabilityFigures(t *testing.T) {
	var h []history.Op
	now := time.Duration(0)
	event := func(op history.Op) {
		op.Index, op.Time = len(h), now
		h = append(h, op)
	}
	m := history.Txn{{F: history.Read, Key: "k"}}
	event(history.Op{Process: history.Harness, Kind: history.Info, Phase: history.PhaseStorm})
	for i := range 100 {
		event(history.Op{Process: 1, Kind: history.Invoke, Txn: m})
		now += 10 * time.Millisecond
		event(history.Op{Process: 1, Kind: history.OK, Txn: m})
		if i == 50 {
			event(history.Op{Process: history.Nemesis, Kind: history.Info, Fault: &history.Fault{ID: 7, Held: true}})
			now += 490 * time.Millisecond
		}
	}
	event(history.Op{Process: history.Harness, Kind: history.Info, Phase: history.PhaseMend})
	// After the storm nothing counts.
	now += time.Hour
	event(history.Op{Process: 1, Kind: history.Invoke, Txn: m})
	event(history.Op{Process: 1, Kind: history.OK, Txn: m})
	got := check(t, availability, h)
	if got.Judged != 100 {
		t.Errorf("got %d operations judged, want the 100 of the storm", got.Judged)
	}
	for name, want := range map[string]float64{"storm_s": 1.49, "ok": 100, "gaps": 1, "longest_gap_s": 0.5, "total_gap_s": 0.5, "latency_p50_ms": 10, "latency_p100_ms": 10,
		"f7_broken_to_ok_s": 0.5, "broken_to_ok_most_s": 0.5} {
		if math.Abs(got.Figures[name]-want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", name, got.Figures[name], want)
		}
	}
}

func TestMalformedIsAnErrorForEveryJudgement(t *testing.T) {
	op := func(k history.Kind, m history.Mop) history.Op {
		return history.Op{Process: 1, Kind: k, Txn: history.Txn{m}}
	}
	w := history.Mop{F: history.Write, Key: "k", In: []int{1}}
	sync := history.Mop{F: history.Sync, Key: "k"}
	for _, c := range []struct {
		want string
		h    []history.Op
	}{
		{"while its event 0 is open", []history.Op{op(history.Invoke, w), op(history.Invoke, w)}},
		{"values must be unique", []history.Op{op(history.Invoke, w), op(history.OK, w), op(history.Invoke, w)}},
		{"values must be unique", []history.Op{op(history.Invoke, w), op(history.OK, w), op(history.Invoke, history.Mop{F: history.CAS, Key: "k", In: []int{2, 1}})}},
		{"is a register and a set", []history.Op{op(history.Invoke, w), op(history.OK, w), op(history.Invoke, history.Mop{F: history.Scan, Key: "k"})}},
		{"takes 1 arguments, not 0", []history.Op{op(history.Invoke, history.Mop{F: history.Write, Key: "k"})}},
		{"at most 1 results, not 2", []history.Op{op(history.Invoke, history.Mop{F: history.Read, Key: "k"}),
			op(history.OK, history.Mop{F: history.Read, Key: "k", Out: []int{1, 2}})}},
		{"sync takes 0 arguments, not 1", []history.Op{op(history.Invoke, history.Mop{F: history.Sync, Key: "k", In: []int{1}})}},
		{"step 2 is a sync", []history.Op{{Process: 1, Txn: history.Txn{w, sync}}}},
		{"step 2 is a sync", []history.Op{{Process: 1, Txn: history.Txn{sync, sync}}}},
		{"is no micro-operation", []history.Op{op(history.Invoke, history.Mop{F: "dance", Key: "k"})}},
	} {
		for i := range c.h {
			c.h[i].Index = i
		}
		for _, checker := range Table {
			r, err := checker.Check(c.h, Limits{})
			if err == nil || !strings.Contains(err.Error(), c.want) || r.Verdict != "" {
				t.Errorf("%s: got verdict %q and error %v, want %q", checker.Name, r.Verdict, err, c.want)
			}
		}
	}
}

func TestTable(t *testing.T) {
	for _, c := range Table {
		if found, ok := Find(c.Name); !ok || found.Name != c.Name || c.Question == "" || c.Doc == "" || c.Check == nil {
			t.Errorf("%q is incomplete, or not found by its name", c.Name)
		}
	}
	if _, ok := Find("nothing"); ok {
		t.Error("found what is not there")
	}
}

// TestTransactionsAreNotJudged: of a type with transactions of several steps nothing is said that could be wrong.
func TestTransactionsAreNotJudged(t *testing.T) {
	txn := history.Txn{{F: history.Write, Key: "a", In: []int{1}}, {F: history.Write, Key: "b", In: []int{1}}}
	h := timed([]history.Op{{Process: 1, Kind: history.Invoke, Txn: txn}, {Process: 1, Kind: history.OK, Txn: txn}})
	for _, c := range []Checker{linearizable, sequential, osc, sessions} {
		if got := check(t, c, h); got.Verdict != Unknown || !strings.Contains(got.Note, "several steps") {
			t.Errorf("%s: got %s (%s), want unknown", c.Name, got.Verdict, got.Note)
		}
	}
}

// TestEvidenceReadsWell: the stale read of the project's own example.
func TestEvidenceReadsWell(t *testing.T) {
	h := build([]tcall{
		{process: 19, f: "write", key: "k6", in: []int{4688}, call: 10, ret: 20, kind: history.OK, node: "n5"},
		{process: 6, f: "write", key: "k6", in: []int{4700}, call: 30, ret: 40, kind: history.OK, node: "n2"},
		{process: 7, f: "write", key: "k6", in: []int{4701}, call: 35, ret: 95, kind: history.OK, node: "n2"},
		{process: 13, f: "read", key: "k6", out: []int{4688}, call: 2464, ret: 2470, kind: history.OK, node: "n4"},
	})
	got := check(t, linearizable, h)
	want := Evidence{Key: "k6", Items: []Item{{0, 1, "wrote"}, {2, 4, "overwrote"}, {6, 7, "returned old"}},
		Edges: []Edge{{0, 2, "reads from"}, {1, 2, "real time"}, {0, 1, "real time"}},
		Why: []string{"n4 returned 4688, asked 2.424 s after 4700 had been acknowledged by n2",
			"4688 was the older of the two: it had been acknowledged by n5 before 4700 was asked to be written"}}
	if len(got.Evidence) != 1 || !equalEvidence(got.Evidence[0], want) {
		t.Errorf("got  %+v\nwant %+v", got.Evidence, want)
	}
	if want := "1 of 1 key; k6: " + want.Why[0]; got.Note != want {
		t.Errorf("got  %s\nwant %s", got.Note, want)
	}
	if picture := got.Files["linearizable-k6.html"]; !strings.Contains(string(picture), "read -\\u003e 4688") {
		t.Errorf("the picture (%d bytes) does not show the read", len(picture))
	}
}

func equalEvidence(a, b Evidence) bool {
	return a.Key == b.Key && slices.Equal(a.Items, b.Items) && slices.Equal(a.Edges, b.Edges) && slices.Equal(a.Why, b.Why)
}

func TestFileNames(t *testing.T) {
	for key, want := range map[string]string{"k6": "k6", "../x": "___x", "r/k": "r_k", "": ""} {
		if got := fileName(key); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

// TestZxidsAreToldAsSuch: the upper half is the epoch.
func TestZxidsAreToldAsSuch(t *testing.T) {
	h := timed(wholeRun())
	h[16].State.Applied, h[17].State.Applied, h[17].State.Hash = 0x200000005, 0x200000005, 8
	got := check(t, agreement, h)
	if want := "n1 and n2 have both applied index 0x200000005 and have two states"; got.Verdict != Invalid || got.Note != want {
		t.Errorf("got %s, %q, want invalid, %q", got.Verdict, got.Note, want)
	}
}

// TestVersionsThatAreZxidsAreToldAsSuch in the sentences of checkers that speak of versions, as in the notes of the operations beside them.
func TestVersionsThatAreZxidsAreToldAsSuch(t *testing.T) {
	h := build([]tcall{
		{process: 1, f: "write", key: "k1", in: []int{1}, call: 10, ret: 20, kind: history.OK, node: "n1", version: 0x10000007b},
		{process: 2, f: "write", key: "k1", in: []int{2}, call: 30, ret: 40, kind: history.OK, node: "n2", version: 0x200000001},
		{process: 2, f: "read", key: "k1", out: []int{1}, call: 50, ret: 60, kind: history.OK, node: "n1", version: 0x10000007b},
	})
	for _, c := range []Checker{versions, sequential, osc, sessions} {
		got := check(t, c, h)
		told := got.Note
		for _, e := range got.Evidence {
			told += fmt.Sprintln(e)
		}
		if got.Verdict != Invalid || !strings.Contains(told, "0x200000001") || strings.Contains(told, "8589934593") {
			t.Errorf("%s: got %s, %s", c.Name, got.Verdict, told)
		}
	}
}

// TestReadOfWhatASwapHadFoundReadsWell: the swap, under way when the write was, shows itself that its value is the newer.
func TestReadOfWhatASwapHadFoundReadsWell(t *testing.T) {
	h := build([]tcall{
		{process: 1, f: "write", key: "k9", in: []int{40}, call: 10, ret: 20, kind: history.OK, node: "n5"},
		{process: 2, f: "cas", key: "k9", in: []int{40, 41}, call: 15, ret: 25, kind: history.OK, node: "n4"},
		{process: 3, f: "read", key: "k9", out: []int{40}, call: 55, ret: 60, kind: history.OK, node: "n2"},
	})
	got := check(t, linearizable, h)
	want := Evidence{Key: "k9", Items: []Item{{0, 2, "wrote"}, {1, 3, "overwrote"}, {4, 5, "returned old"}},
		Edges: []Edge{{0, 1, "reads from"}, {0, 2, "reads from"}, {1, 2, "real time"}},
		Why:   []string{"n2 returned 40, asked 0.030 s after 41 had been acknowledged by n4", "40 was the older of the two: n4 found it where it wrote 41"}}
	if len(got.Evidence) != 1 || !equalEvidence(got.Evidence[0], want) {
		t.Errorf("got  %+v\nwant %+v", got.Evidence, want)
	}
}

// TestReadOfNothingReadsWell: what was there before the first write is the oldest of all.
func TestReadOfNothingReadsWell(t *testing.T) {
	h := build([]tcall{
		{process: 5, f: "write", key: "k6", in: []int{1}, call: 10, ret: 20, kind: history.OK, node: "n1"},
		{process: 8, f: "read", key: "k6", call: 44, ret: 50, kind: history.OK, node: "n4"},
		{process: 5, f: "read", key: "k6", out: []int{1}, call: 60, ret: 70, kind: history.OK, node: "n1"},
	})
	got := check(t, linearizable, h)
	want := Evidence{Key: "k6", Items: []Item{{0, 1, "wrote"}, {2, 3, "returned nothing"}}, Edges: []Edge{{0, 1, "real time"}},
		Why: []string{"n4 returned nothing, asked 0.024 s after 1 had been acknowledged by n1", "nothing deletes k6, so it cannot be empty again"}}
	if len(got.Evidence) != 1 || !equalEvidence(got.Evidence[0], want) {
		t.Errorf("got  %+v\nwant %+v", got.Evidence, want)
	}
}
