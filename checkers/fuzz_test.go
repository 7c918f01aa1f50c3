package checkers

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"assize/history"
)

// FuzzCheckers: whatever a history file holds, each judgement gives a verdict or an error, and a conviction always has evidence within the
// history.
func FuzzCheckers(f *testing.F) {
	text := func(h []history.Op) (b []byte) {
		for _, op := range h {
			b = append(op.Append(b), '\n')
		}
		return b
	}
	r := rand.New(rand.NewPCG(11, 12))
	f.Add(text(wholeRun()))
	f.Add(text(build(world{processes: 3, operations: 12, keys: 2, info: 5, fail: 5, see: anywhere}.run(r))))
	f.Add(text(build(randomSet(r))))
	f.Add(text(build(world{processes: 3, operations: 12, keys: 2, info: 5, fail: 5, see: forward, sync: 3, deaf: true}.run(r))))
	f.Add(text(build(hopeless("k", 3))))
	f.Add(text((&realm{r: r, wrong: "shared"}).run()[:120]))
	f.Add(text((&realm{r: r, wrong: "twice", watches: true}).run()[:120]))
	f.Add(text(chaos(r)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := history.ReadFrom("h", bytes.NewReader(b))
		if err != nil {
			return
		}
		sound(t, h, map[string]int{})
	})
}

// sound: each judgement gives a verdict or an error, and a conviction has evidence within the history. count gets the verdicts, by the names of the judgements.
func sound(t *testing.T, h []history.Op, count map[string]int) {
	t.Helper()
	for _, c := range Table {
		got, err := c.Check(h, Limits{Memory: 1 << 20})
		if err != nil {
			continue
		}
		count[c.Name+" "+string(got.Verdict)]++
		if got.Verdict != Valid && got.Verdict != Unknown && (got.Verdict != Invalid || len(got.Evidence) == 0) {
			t.Errorf("%s: %+v", c.Name, got)
		}
		for _, e := range got.Evidence {
			for _, item := range e.Items {
				if item.Invoke < 0 || item.Invoke >= len(h) || item.Complete >= len(h) || item.Role == "" {
					t.Errorf("%s: item %+v", c.Name, item)
				}
			}
			for _, edge := range e.Edges {
				if edge.From < 0 || edge.To < 0 || edge.From >= len(e.Items) || edge.To >= len(e.Items) || edge.From == edge.To {
					t.Errorf("%s: edge %+v of %d items", c.Name, edge, len(e.Items))
				}
			}
		}
	}
}

// chaos is a history that is well formed, and of which nothing else is true: any answer to any question, at any version.
func chaos(r *rand.Rand) (h []history.Op) {
	now, value, processes := time.Duration(0), 0, []int{0, 1, 2, 3}
	record := func(op history.Op) {
		now += time.Duration(r.IntN(3000)) * time.Millisecond
		op.Index, op.Time = len(h), now
		h = append(h, op)
	}
	keys := map[string][]string{"register": {"a", "b", "c"}, node: {"a", "b"}, "set": {"s", "t"}, family: {"s"}, "sequence": {"q", "p"}}
	kinds := make([]shape, 1+r.IntN(8)) // that it has
	for i := range kinds {
		kinds[i] = shapes[r.IntN(len(shapes))]
	}
	nodes := []string{"n1", "n2", "n3"}
	open := map[int]history.Op{}
	phases := []string{history.PhaseStorm, history.PhaseQuorum, history.PhaseMend, history.PhaseRest, history.PhaseFinal, history.PhaseStop}
	for range 10 + r.IntN(120) {
		p, session, version := r.IntN(4), uint64(r.IntN(3)), func() uint64 { return uint64(r.IntN(30)) }
		asked, under := open[p]
		process := processes[p]
		switch d := r.IntN(20); {
		case d == 0 && len(phases) > 0:
			n := r.IntN(len(phases))
			record(history.Op{Process: history.Harness, Kind: history.Info, Phase: phases[n]})
			phases = phases[n+1:]
		case d == 1:
			record(history.Op{Process: process, Kind: history.Notify, Session: 1 + session, Txn: history.Txn{{F: notices[r.IntN(len(notices))], Key: "abs"[r.IntN(3):][:1]}}})
		case d == 2:
			record(history.Op{Process: history.Nemesis, Kind: history.Info, Fault: &history.Fault{ID: 1 + r.IntN(3), Name: "kill", Mended: r.IntN(2) == 0, Held: r.IntN(2) == 0}})
		case d == 3:
			record(history.Op{Process: history.Harness, Kind: history.Info, State: &history.State{Node: nodes[r.IntN(3)], Applied: version() / 10, Hash: version()}})
		case !under:
			var txn history.Txn
			for range 1 + r.IntN(2)*r.IntN(3) {
				s := kinds[r.IntN(len(kinds))]
				m := history.Mop{F: s.f}
				if list := keys[s.typ]; list != nil {
					m.Key = list[r.IntN(len(list))]
				}
				for range s.in {
					value++
					m.In = append(m.In, value)
				}
				if m.F == history.CAS || m.F == history.Remove {
					m.In[0] = r.IntN(value)
				}
				if m.F != history.Sync || len(txn) == 0 {
					txn = append(txn, m)
				}
			}
			op := history.Op{Process: process, Kind: history.Invoke, Session: session, Node: nodes[r.IntN(3)], Txn: txn}
			open[p] = op
			record(op)
		default:
			delete(open, p)
			if asked.Kind = []history.Kind{history.OK, history.OK, history.OK, history.Fail, history.Info}[r.IntN(5)]; asked.Kind == history.OK {
				asked.Version, asked.Position, asked.Txn = version()*uint64(r.IntN(2)), version(), slices.Clone(asked.Txn)
				for i, m := range asked.Txn {
					s, _ := shapeOf(m.F)
					most := s.out
					if most < 0 {
						most = 2
					}
					for range min(r.IntN(3), most) {
						asked.Txn[i].Out = append(asked.Txn[i].Out, r.IntN(value+2))
					}
					slices.Sort(asked.Txn[i].Out)
				}
				if r.IntN(4) > 0 {
					asked.Position = max(asked.Position, asked.Version)
				}
			}
			record(asked)
			if asked.Kind == history.Info { // its process has ended
				processes[p] += 4
			}
		}
	}
	return h
}

// TestRandomHistoriesPanicNobody, whatever they are of.
func TestRandomHistoriesPanicNobody(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	count := map[string]int{}
	for range randoms(t, 5000) {
		sound(t, chaos(r), count)
	}
	for _, c := range Table {
		if c.Name != invariants.Name && c.Name != faults.Name && c.Name != availability.Name && count[c.Name+" invalid"] == 0 {
			t.Errorf("%s convicts nobody: %v", c.Name, count)
		}
	}
}
