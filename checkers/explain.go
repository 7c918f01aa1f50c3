package checkers

import (
	"fmt"
	"slices"

	"assize/history"
)

// orphan tells of a value that was found though nobody can have written it.
func (j *lineJudgement) orphan(r *register) Evidence {
	found, failed := r.orphans[0][0], r.orphans[0][1]
	c := j.calls[found]
	m, _ := j.answer(c)
	value, verb := 0, "returned"
	if m.F == history.Read {
		value = m.Out[0]
	} else {
		value, verb = m.In[0], "found"
	}
	e := Evidence{Key: r.key}
	if failed < 0 {
		e.Items = []Item{item(c, verb+" what nobody wrote")}
		e.Why = []string{fmt.Sprintf("%s %s %d, which nobody had asked to be written to %s", j.provenance(c), verb, value, r.key)}
		return e
	}
	w := j.calls[failed]
	e.Items = []Item{item(w, "failed"), item(c, verb+" it")}
	e.Edges = []Edge{{0, 1, "reads from"}}
	if w.Invoke > c.Invoke {
		slices.Reverse(e.Items)
		e.Edges = []Edge{{1, 0, "reads from"}}
	}
	e.Why = []string{
		fmt.Sprintf("%s %s %d", j.provenance(c), verb, value),
		fmt.Sprintf("%s had said that the write of %d failed and never would take effect: %s", j.node(w), value, j.h[w.Complete].Note),
	}
	return e
}

// explain gives the parts that the operations of a smallest counter-example play, and why they convict.
func (j *lineJudgement) explain(r *register, least bool) Evidence {
	e := Evidence{Key: r.key}
	roles := make([]string, len(r.ops))
	for i, o := range r.ops {
		switch o.do {
		case reads:
			roles[i] = "returned " + r.name(o.old)
		case writes:
			roles[i] = "wrote"
		case swaps:
			roles[i] = "swapped " + r.name(o.old)
		}
		if w := r.writer[o.old]; o.do != writes && w >= 0 {
			e.Edges = append(e.Edges, Edge{w, i, "reads from"})
		}
	}
	if !j.early(r, &e, roles) && !j.twice(r, &e, roles) && !j.stale(r, &e, roles) {
		e.Edges = append(e.Edges, r.realTime()...)
		e.Why = []string{
			fmt.Sprintf("no order of these %d operations that keeps their order in real time explains every answer", len(r.ops)),
			"leave out any one of them, and there is such an order",
		}
		if !least {
			e.Why[1] = "there may be fewer that show it: the search for them ended at the limit of time"
		}
	}
	for i, o := range r.ops {
		e.Items = append(e.Items, item(j.calls[o.at], roles[i]))
	}
	return e
}

// early: an answer that was there before its value had been asked to be written.
func (j *lineJudgement) early(r *register, e *Evidence, roles []string) bool {
	for i, o := range r.ops {
		w := r.writer[o.old]
		if o.do == writes || w < 0 || o.ret > r.ops[w].call {
			continue
		}
		roles[i], roles[w] = "returned early", "wrote later"
		e.Edges = append(e.Edges, Edge{i, w, "real time"})
		e.Why = []string{fmt.Sprintf("%s returned %s %s before anybody asked for it to be written", j.provenance(j.calls[o.at]), r.name(o.old),
			seconds(j.between(o.ret, r.ops[w].call)))}
		return true
	}
	return false
}

// twice: two swaps that both found a value which was written once.
func (j *lineJudgement) twice(r *register, e *Evidence, roles []string) bool {
	for i, a := range r.ops {
		for k, b := range r.ops[i+1:] {
			k += i + 1
			if a.do != swaps || b.do != swaps || a.old != b.old || len(r.ops) > 3 {
				continue
			}
			roles[i], roles[k] = "swapped "+r.name(a.old), "swapped "+r.name(a.old)+" again"
			e.Edges = append(e.Edges, r.realTime()...)
			e.Why = []string{
				fmt.Sprintf("two compare-and-sets, at %s and at %s, both found %s", j.provenance(j.calls[a.at]), j.provenance(j.calls[b.at]), r.name(a.old)),
				"it was written once, so whichever came second can no longer have found it",
			}
			return true
		}
	}
	return false
}

// stale: two clusters of which each is before the other. Old is called the one of nothing, or that a swap found,
// or else the one that was seen last.
func (j *lineJudgement) stale(r *register, e *Evidence, roles []string) bool {
	all := r.clusters()
	for i, a := range all {
		for _, b := range all[i+1:] {
			if !r.precedes(a, b) || !r.precedes(b, a) {
				continue
			}
			older, newer := a, b
			if a.value != absent && (r.fromSwap(b, a) || !r.fromSwap(a, b) && r.ops[b.last].call > r.ops[a.last].call) {
				older, newer = b, a
			}
			late := r.ops[older.last]
			if !r.inTime(newer, older) || late.do == writes || late.do == swaps && late.old != older.value {
				continue
			}
			for _, k := range newer.members {
				if r.ops[k].do == reads {
					roles[k] = "returned new"
				}
			}
			e.Edges = append(e.Edges, Edge{newer.first, older.last, "real time"})
			if older.value != absent {
				roles[older.last] = "returned old"
				if late.do == swaps {
					roles[older.last] = "swapped old"
				}
				if w := r.writer[newer.value]; w >= 0 {
					roles[w] = "overwrote"
				}
				if r.inTime(older, newer) {
					e.Edges = append(e.Edges, Edge{older.first, newer.last, "real time"})
				}
			}
			e.Why = j.whyStale(r, older, newer)
			return true
		}
	}
	return false
}

func (j *lineJudgement) whyStale(r *register, older, newer cluster) []string {
	late, known := r.ops[older.last], r.ops[newer.first]
	oldName, newName := r.name(older.value), r.name(newer.value)
	verb := "returned"
	if late.do == swaps {
		verb = "still found"
	}
	first := fmt.Sprintf("%s %s %s, asked %s after %s had %s", j.provenance(j.calls[late.at]), verb, oldName, seconds(j.between(known.ret, late.call)), newName,
		j.shown(known, newer.value))
	if older.value == absent {
		return []string{first, "nothing deletes " + r.key + ", so it cannot be empty again"}
	}
	if !r.inTime(older, newer) {
		return []string{first, fmt.Sprintf("%s was the older of the two: %s found it where it wrote %s", oldName, j.node(j.calls[r.ops[r.writer[newer.value]].at]), newName)}
	}
	begun, next := r.ops[older.first], r.ops[newer.last]
	what := newName + " was asked to be written"
	if next.do == reads || next.do == swaps && next.new != newer.value {
		what = fmt.Sprintf("%s was asked and found %s", j.node(j.calls[next.at]), newName)
	}
	return []string{first, fmt.Sprintf("%s was the older of the two: it had %s before %s", oldName, j.shown(begun, older.value), what)}
}

// shown says how an operation makes known that a value was there.
func (j *lineJudgement) shown(o regOp, value int) string {
	if o.do == reads || o.do == swaps && o.new != value {
		return "been seen at " + j.node(j.calls[o.at])
	}
	return "been acknowledged by " + j.provenance(j.calls[o.at])
}

// mostEdged operations have their order in real time shown: it takes the cube of their number, and nobody could read more.
const mostEdged = 50

// realTime gives the pairs of operations of which one was over before the other began, but for those that follow from others.
func (r *register) realTime() (edges []Edge) {
	if len(r.ops) > mostEdged {
		return nil
	}
	before := func(a, b int) bool { return r.ops[a].ret < r.ops[b].call }
	for a := range r.ops {
		for b := range r.ops {
			if !before(a, b) {
				continue
			}
			direct := true
			for c := range r.ops {
				direct = direct && !(before(a, c) && before(c, b))
			}
			if direct {
				edges = append(edges, Edge{a, b, "real time"})
			}
		}
	}
	return edges
}
