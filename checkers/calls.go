package checkers

import (
	"fmt"
	"math"
	"time"

	"assize/history"
)

// never is the return of a call that has not returned, or returned that nobody knows: it is concurrent with everything after it.
const never = math.MaxInt

// trial is a history that has been found well formed.
type trial struct {
	h     []history.Op
	calls []history.Call // in the order of their invocations
}

func load(h []history.Op) (trial, error) {
	calls, err := history.Pair(h)
	if err != nil {
		return trial{}, err
	}
	return trial{h, calls}, validSteps(h, calls)
}

// span is the interval of a call in the order of events.
func span(c history.Call) (call, ret int) {
	if c.Kind == history.Info {
		return c.Invoke, never
	}
	return c.Invoke, c.Complete
}

// item makes the call a part of some evidence.
func item(c history.Call, role string) Item {
	return Item{Invoke: c.Invoke, Complete: c.Complete, Role: role}
}

// keyed are the calls of one key.
type keyed struct {
	key   string
	calls []int // places in trial.calls
}

// split gives the calls of each key of one type ("register", "set"), keys in the order in which they appear. single is false where a
// transaction of several steps touches such a key: keys are then not independent.
func (t trial) split(typ string) (keys []keyed, single bool) {
	single = true
	nodes := map[string]bool{}
	for _, c := range t.calls {
		for _, m := range t.steps(c) {
			s, _ := shapeOf(m.F)
			nodes[m.Key] = nodes[m.Key] || s.typ == node || s.typ == family
		}
	}
	place := map[string]int{}
	for i, c := range t.calls {
		txn := t.steps(c)
		if len(txn) == 0 {
			continue
		}
		s, _ := shapeOf(txn[0].F)
		if len(txn) > 1 {
			for _, m := range txn {
				s, _ := shapeOf(m.F)
				single = single && s.typ != typ
			}
			continue
		}
		if s.typ != typ || nodes[txn[0].Key] {
			continue
		}
		p, seen := place[txn[0].Key]
		if !seen {
			p = len(keys)
			place[txn[0].Key] = p
			keys = append(keys, keyed{key: txn[0].Key})
		}
		keys[p].calls = append(keys[p].calls, i)
	}
	return keys, single
}

// steps of a call as it was asked, without a sync before them: that only osc knows what to do with. None is left of a sync by itself.
func (t trial) steps(c history.Call) history.Txn {
	steps, _ := t.h[c.Invoke].Txn.AfterSync()
	return steps
}

// answer is the only step of a call as its completion has it; of one that was not answered, as it was asked.
func (t trial) answer(c history.Call) (history.Mop, history.Op) {
	op := t.h[c.Invoke]
	if c.Kind == history.OK {
		op = t.h[c.Complete]
	}
	steps, _ := op.Txn.AfterSync()
	return steps[0], op
}

// node that a call was sent to, and the provenance of its answer where there is one.
func (t trial) node(c history.Call) string {
	if n := t.h[c.Invoke].Node; n != "" {
		return n
	}
	return fmt.Sprintf("process %d's node", t.h[c.Invoke].Process)
}

// provenance is who answered and what it said of its answer: "n5 (term 2 index 23)".
func (t trial) provenance(c history.Call) string {
	if c.Complete >= 0 && t.h[c.Complete].Note != "" {
		return fmt.Sprintf("%s (%s)", t.node(c), t.h[c.Complete].Note)
	}
	return t.node(c)
}

// between is the time from one event to another.
func (t trial) between(from, to int) time.Duration { return t.h[to].Time - t.h[from].Time }

// entered is the place of the first event of a phase; -1 where it never began.
func entered(h []history.Op, phase string) int {
	for i, op := range h {
		if op.Phase == phase && op.Process == history.Harness {
			return i
		}
	}
	return -1
}

// left is the place at which a phase that was entered ended: the next phase's event, or the end of the history.
func left(h []history.Op, from int) int {
	for i := from + 1; i < len(h); i++ {
		if h[i].Phase != "" && h[i].Phase != history.PhaseViolation {
			return i
		}
	}
	return len(h)
}

// activeAt tells which faults were active at an event, in words; empty where there were none.
func activeAt(h []history.Op, at int) string {
	var active []*history.Fault
	for i := 0; i < at; i++ {
		f := h[i].Fault
		if f == nil {
			continue
		}
		kept := active[:0]
		for _, a := range active {
			if a.ID != f.ID {
				kept = append(kept, a)
			}
		}
		active = kept
		if !f.Mended {
			active = append(active, f)
		}
	}
	words := ""
	for i, f := range active {
		if i > 0 {
			words += ", "
		}
		what := f.What
		if what == "" {
			what = f.Name
		}
		words += fmt.Sprintf("F%d %s", f.ID, what)
	}
	return words
}

// seconds for sentences.
func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// plural gives "1 key", "2 keys".
func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
