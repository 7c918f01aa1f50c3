package checkers

import (
	"fmt"
	"slices"

	"assize/history"
)

var multi = Checker{
	Name:     "multi",
	Question: "is all that was asked for together done together, at one version, or not at all?",
	Doc: "by versions and positions, which order all changes of registers that are deleted and watched. What a read has found was asked for, and not refused; its " +
		"writer was answered the same version, and so was every other read of what that writer wrote. A read has found the last change up to its position, and " +
		"where it has found nothing that was a delete. What a multi has checked was as it was found until its version, unless it was deleted and made anew meanwhile; what was created was not " +
		"there, and what was written in a multi, or deleted, was. Where nobody knows of a change that can explain it, nothing is said. O(n log n)",
	Check: checkMulti,
}

// multiJudgement is the work of checkMulti.
type multiJudgement struct {
	*ledger
	Result
	several int // multis that were answered
}

func checkMulti(h []history.Op, _ Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	j := &multiJudgement{openLedger(t), Result{Verdict: Valid, Unit: "steps", Figures: map[string]float64{}}, 0}
	refused := 0
	for i, c := range j.calls {
		steps := j.steps(c)
		if len(steps) > 1 {
			switch c.Kind {
			case history.OK:
				j.several++
			case history.Fail:
				refused++
			}
		}
		for n, m := range j.results(i) {
			j.step(i, n, m, len(steps) > 1)
		}
	}
	j.Figures["multis"], j.Figures["refused"], j.Figures["broken"] = float64(j.several), float64(refused), float64(len(j.Evidence))
	switch {
	case len(j.Evidence) > 0:
		j.Verdict, j.Note = Invalid, j.Evidence[0].Why[0]
		j.Evidence = j.Evidence[:min(len(j.Evidence), mostTold)]
	case j.several == 0 || refused == 0:
		j.Verdict, j.Note = Unknown, "no multi was done, or none was refused"
	default:
		j.Note = fmt.Sprintf("%d were done as a whole, and %d not at all", j.several, refused)
	}
	return j.Result, nil
}

// step of an answer; several: it is one of a multi.
func (j *multiJudgement) step(call, n int, m history.Mop, several bool) {
	done := j.done(call)
	j.Judged++
	switch {
	case m.F == history.Read && len(m.Out) > 0:
		if w, ok := j.wrote(call, m); ok && done.Version > 0 {
			if at := j.at[w]; at > 0 && at != done.Version {
				j.accuse(m.Key, w, call, "wrote it", "saw it at another version", "saw it at version %s, and it was written at %s", numeral(done.Version), numeral(at))
				return
			}
			j.unchanged(call, m, done.Version, done.Position+1)
		}
	case m.F == history.Read || m.F == history.Watch && first(m.Out) == 0:
		j.absent(call, m, done.Position+1)
	case m.F == history.Check && len(m.Out) > 0:
		if w, ok := j.wrote(call, m); ok && j.at[w] > 0 {
			if !j.renewed(m.Key, j.at[w], done) { // versions of nodes count from 0 anew
				j.unchanged(call, m, j.at[w], done.Version)
			}
		}
	case m.F == history.Create:
		j.absent(call, m, done.Version)
	case m.F == history.Delete || m.F == history.Write && several:
		j.present(call, m, done.Version)
	}
}

// wrote is the writer of the value that a step has found. It must have been asked for before, and not refused.
func (j *multiJudgement) wrote(call int, m history.Mop) (writer int, ok bool) {
	w, known := j.writers[keyValue{m.Key, m.Out[0]}]
	switch {
	case !known:
		j.accuse(m.Key, -1, call, "", "saw it", "saw what nobody has asked for")
		return w, false
	case j.calls[w].Kind == history.Fail:
		j.accuse(m.Key, w, call, "was refused", "saw it", "saw what had been refused: %s", j.h[j.calls[w].Complete].Note)
		return w, false
	case j.calls[w].Invoke > j.done(call).Index:
		j.accuse(m.Key, w, call, "asked for it", "saw it", "saw what had not been asked for yet")
		return w, false
	}
	return w, true
}

// unchanged: nothing may have changed a key behind the version of what a step has found, and before another version.
func (j *multiJudgement) unchanged(call int, m history.Mop, from, to uint64) {
	if a, known := j.next(m.Key, from); known && a.version < to {
		j.accuse(m.Key, a.call, call, did(a), "missed it", "has found %d at version %s, and missed the change at %s", m.Out[0], numeral(from), numeral(a.version))
	}
}

// renewed: a key was deleted, or may have been, between a version and an answer.
func (j *multiJudgement) renewed(key string, from uint64, done history.Op) bool {
	for n := j.place(key, from); n < len(j.changes[key]) && j.changes[key][n].version < done.Version; n++ {
		if j.changes[key][n].deleted {
			return true
		}
	}
	_, can := j.possible(key, true, from, done.Version, done.Index)
	return can
}

// absent: the last change of a key before a version must have been a delete, if there was one.
func (j *multiJudgement) absent(call int, m history.Mop, to uint64) {
	if to <= 1 {
		return
	}
	a, known := j.last(m.Key, to-1)
	if !known || a.deleted {
		return
	}
	if _, gone := j.possible(m.Key, true, a.version, to, j.done(call).Index); !gone {
		j.accuse(m.Key, a.call, call, did(a), "did not find it", "has found nothing, though it was there at version %s and nobody has deleted it since", numeral(a.version))
	}
}

// present: the last change of a key before a version must not have been a delete.
func (j *multiJudgement) present(call int, m history.Mop, to uint64) {
	if to <= 1 {
		return
	}
	a, known := j.last(m.Key, to-1)
	if !known || !a.deleted {
		return
	}
	if _, there := j.possible(m.Key, false, a.version, to, j.done(call).Index); !there {
		j.accuse(m.Key, a.call, call, "deleted it", "found it", "has found it there, though it was deleted at version %s and nobody has made it anew since", numeral(a.version))
	}
}

// did is what the call of a change did.
func did(a alteration) string {
	switch {
	case !a.write:
		return "shows the change"
	case a.deleted:
		return "deleted it"
	}
	return "changed it"
}

// accuse a call because of another one; -1: of none.
func (j *multiJudgement) accuse(key string, other, call int, did, role, format string, args ...any) {
	e := Evidence{Key: key}
	if other >= 0 && other != call {
		e.Items = append(e.Items, item(j.calls[other], did))
		e.Edges = []Edge{{0, 1, "version"}}
	}
	e.Items = append(e.Items, item(j.calls[call], role))
	if len(e.Items) > 1 && e.Items[1].Invoke < e.Items[0].Invoke {
		slices.Reverse(e.Items)
		e.Edges[0] = Edge{1, 0, "version"}
	}
	done := j.done(call)
	e.Why = []string{fmt.Sprintf("p%d on %s, %s of %s at %s: it %s", done.Process, j.node(j.calls[call]), j.steps(j.calls[call])[0].F, key, numeral(max(done.Version, done.Position)),
		fmt.Sprintf(format, args...))}
	j.Evidence = append(j.Evidence, e)
}
