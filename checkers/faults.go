package checkers

import (
	"fmt"

	"assize/history"
)

var faults = Checker{
	Name:     "faults",
	Question: "did every fault take hold, and was every one of them seen mended?",
	Doc: "the probe of each fault, as recorded. A fault that did not take hold makes the run inconclusive (unknown), whatever else was found " +
		"valid: the system has not stood what it was to stand",
	Check: checkFaults,
}

func checkFaults(h []history.Op, _ Limits) (Result, error) {
	if _, err := load(h); err != nil {
		return Result{}, err
	}
	r := Result{Verdict: Valid, Unit: "faults"}
	broken, mended, missed := 0, 0, 0
	for i, op := range h {
		f := op.Fault
		switch {
		case f == nil:
			continue
		case f.Mended:
			mended++
		default:
			broken++
		}
		if f.Held {
			continue
		}
		missed++
		what := fmt.Sprintf("F%d %s did not take hold: %s", f.ID, faultWords(f), f.Probe)
		switch {
		case f.ID == 0: // the end of no single fault
			what = fmt.Sprintf("%s: %s", faultWords(f), f.Probe)
		case f.Mended:
			what = fmt.Sprintf("F%d %s was not seen mended: %s", f.ID, faultWords(f), f.Probe)
		}
		if missed <= mostTold {
			r.Evidence = append(r.Evidence, Evidence{Items: []Item{{Invoke: i, Complete: -1, Role: "missed"}}, Why: []string{what}})
		}
	}
	r.Judged = broken
	r.Figures = map[string]float64{"faults": float64(broken), "mended": float64(mended), "missed": float64(missed)}
	switch {
	case missed > 0:
		r.Verdict = Unknown
		r.Note = fmt.Sprintf("inconclusive: %s", r.Evidence[0].Why[0])
		if missed > 1 {
			r.Note = fmt.Sprintf("%s; and %d more", r.Note, missed-1)
		}
	case broken == 0:
		r.Note = "there were none"
	case broken == 1:
		r.Note = "the one fault took hold"
	default:
		r.Note = fmt.Sprintf("all %d faults took hold", broken)
	}
	return r, nil
}

func faultWords(f *history.Fault) string {
	if f.What != "" {
		return f.What
	}
	return f.Name
}
