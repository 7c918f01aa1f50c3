package checkers

import (
	"fmt"

	"assize/history"
)

var image = Checker{
	Name:     "image",
	Question: "does no session go back in time, on whatever server it goes on?",
	Doc: "the single system image: the position of an answer, the version that its server had reached, is never less than one that the same session was " +
		"answered before it asked. O(n)",
	Check: checkImage,
}

func checkImage(h []history.Op, _ Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	r := Result{Verdict: Valid, Unit: "answers", Figures: map[string]float64{}}
	furthest := map[uint64]history.Call{}
	for _, c := range t.calls {
		session := h[c.Invoke].Session
		if session == 0 || c.Kind != history.OK || h[c.Complete].Position == 0 {
			continue
		}
		r.Judged++
		before, any := furthest[session]
		if at := h[c.Complete].Position; any && at < h[before.Complete].Position && before.Complete < c.Invoke {
			r.Figures["back"]++
			if len(r.Evidence) < mostTold {
				r.Evidence = append(r.Evidence, Evidence{
					Items: []Item{item(before, "saw more"), item(c, "saw less")},
					Edges: []Edge{{0, 1, "session"}},
					Why: []string{fmt.Sprintf("p%d on %s was answered at position %s, though its session %s had been answered at %s before it asked", h[c.Invoke].Process,
						t.node(c), numeral(at), name(session), numeral(h[before.Complete].Position))},
				})
			}
		}
		if !any || h[c.Complete].Position > h[before.Complete].Position {
			furthest[session] = c
		}
	}
	switch {
	case len(r.Evidence) > 0:
		r.Verdict, r.Note = Invalid, r.Evidence[0].Why[0]
	case r.Judged == 0:
		r.Verdict, r.Note = Unknown, "no answer of a session carried a position"
	default:
		r.Note = fmt.Sprintf("each of %s was at least as new as all that its session had seen", plural(r.Judged, "answer"))
	}
	return r, nil
}
