package checkers

import (
	"fmt"

	"assize/history"
)

var invariants = Checker{
	Name:     "invariants",
	Question: "did every invariant of the protocol hold on every step, and did no node die of itself?",
	Doc: "whatever the harness was told of broken invariants (in the simulator after every step: one leader a term, logs that match, committed " +
		"entries that stay), of nodes that died without being killed, and of a mended quorum that did not answer",
	Check: checkInvariants,
}

func checkInvariants(h []history.Op, _ Limits) (Result, error) {
	if _, err := load(h); err != nil {
		return Result{}, err
	}
	r := Result{Verdict: Valid, Note: "nothing was seen broken", Judged: len(h), Unit: "events"}
	broken := 0
	for i, op := range h {
		if op.Process != history.Harness || op.Phase != history.PhaseViolation {
			continue
		}
		if broken++; broken > mostTold {
			continue
		}
		why := []string{op.Note}
		if active := activeAt(h, i); active != "" {
			why = append(why, "at that time: "+active)
		}
		r.Evidence = append(r.Evidence, Evidence{Items: []Item{{Invoke: i, Complete: -1, Role: "broken"}}, Why: why})
	}
	r.Figures = map[string]float64{"violations": float64(broken)}
	if broken > 0 {
		r.Verdict = Invalid
		r.Note = r.Evidence[0].Why[0]
		if broken > 1 {
			r.Note = fmt.Sprintf("%s; and %d more", r.Note, broken-1)
		}
	}
	return r, nil
}
