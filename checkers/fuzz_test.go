package checkers

import (
	"bytes"
	"math/rand/v2"
	"testing"

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
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := history.ReadFrom("h", bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, c := range Table {
			got, err := c.Check(h, Limits{Memory: 1 << 20})
			if err != nil {
				continue
			}
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
	})
}
