package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"assize/history"
)

var sequence = Checker{
	Name:     "sequence",
	Question: "are the numbers of sequential nodes unique and increasing below one parent?",
	Doc: "no number is given twice below one parent; a later version has a greater number; and so has what was asked for after another one had been answered. " +
		"Numbers may be left out. O(n log n)",
	Check: checkSequence,
}

// numbered is a sequential node.
type numbered struct {
	call    history.Call
	number  int
	version uint64
}

func checkSequence(h []history.Op, _ Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	r := Result{Verdict: Valid, Unit: "nodes", Figures: map[string]float64{}}
	byParent := map[string][]numbered{}
	var parents []string
	for _, c := range t.calls {
		if steps := t.steps(c); c.Kind != history.OK || len(steps) != 1 || steps[0].F != history.CreateSequential {
			continue
		}
		m, done := t.answer(c)
		if len(m.Out) != 1 {
			continue
		}
		if byParent[m.Key] == nil {
			parents = append(parents, m.Key)
		}
		byParent[m.Key] = append(byParent[m.Key], numbered{c, m.Out[0], done.Version})
		r.Judged++
	}
	most := 0
	for _, parent := range parents {
		list := byParent[parent]
		most = max(most, len(list))
		for _, p := range outOfOrder(list) {
			r.Figures["broken"]++
			if len(r.Evidence) < mostTold {
				r.Evidence = append(r.Evidence, t.tellNumbers(parent, p))
			}
		}
	}
	switch {
	case len(r.Evidence) > 0:
		r.Verdict, r.Note = Invalid, r.Evidence[0].Why[0]
	case most < 2:
		r.Verdict, r.Note = Unknown, "no two sequential nodes were made below one parent"
	default:
		r.Note = fmt.Sprintf("%s below %s, each number greater than those before", plural(r.Judged, "node"), plural(len(parents), "parent"))
	}
	return r, nil
}

// disorder of two nodes: the first should have the lesser number.
type disorder struct {
	a, b numbered
	why  string
}

// outOfOrder finds a node for each that has a number which it cannot have beside it.
func outOfOrder(list []numbered) (found []disorder) {
	byNumber := func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.call.Complete, b.call.Complete))
	}
	slices.SortFunc(list, byNumber)
	for i := 1; i < len(list); i++ {
		if list[i-1].number == list[i].number {
			found = append(found, disorder{list[i-1], list[i], "number"})
		}
	}
	// By descending numbers: what was answered first, of those with greater ones, must not have been answered before a lesser one was asked for.
	for i, first := len(list)-1, -1; i >= 0; i-- {
		if first >= 0 && list[first].number > list[i].number && list[first].call.Complete < list[i].call.Invoke {
			found = append(found, disorder{list[first], list[i], "real time"})
		}
		if first < 0 || list[i].call.Complete < list[first].call.Complete {
			first = i
		}
	}
	for i, last := 0, -1; i < len(list); i++ {
		if list[i].version == 0 {
			continue
		}
		if last >= 0 && list[last].number < list[i].number && list[last].version > list[i].version {
			found = append(found, disorder{list[i], list[last], "version"})
		}
		if last < 0 || list[i].version > list[last].version {
			last = i
		}
	}
	return found
}

func (t trial) tellNumbers(parent string, d disorder) Evidence {
	e := Evidence{Key: parent, Items: []Item{item(d.a.call, "earlier"), item(d.b.call, "later")}, Edges: []Edge{{0, 1, d.why}}}
	who := fmt.Sprintf("p%d on %s was given number %d below %s", t.h[d.b.call.Invoke].Process, t.provenance(d.b.call), d.b.number, parent)
	other := fmt.Sprintf("p%d on %s", t.h[d.a.call.Invoke].Process, t.provenance(d.a.call))
	if d.why == "number" {
		e.Why = []string{who + ", as was " + other}
		return e
	}
	e.Why = []string{fmt.Sprintf("%s, though %s had been given %d before, by %s", who, other, d.a.number, d.why)}
	return e
}
