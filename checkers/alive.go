package checkers

import (
	"fmt"
	"slices"
	"strings"

	"assize/history"
)

var alive = Checker{
	Name:     "alive",
	Question: "did the system answer: every kind of operation, a mended quorum, and every node at the end?",
	Doc: "a run in which some kind of operation never succeeded says nothing of it (unknown). A quorum that was mended, and a node of a mended " +
		"cluster that had settled, must answer (else invalid); a node that was not asked, or left some of its last questions unanswered, is unknown",
	Check: checkAlive,
}

func checkAlive(h []history.Op, _ Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	r := Result{Verdict: Valid, Judged: len(t.calls), Unit: "operations", Figures: map[string]float64{}}
	var dead, open []string
	kinds := t.kinds()
	for _, k := range kinds {
		r.Figures["ok_"+k.f] = float64(k.succeeded)
		if k.succeeded == 0 {
			open = append(open, fmt.Sprintf("no %s ever succeeded (%d were asked)", k.f, k.asked))
		}
	}
	if len(kinds) == 0 {
		open = append(open, "nothing was asked")
	}
	if at := entered(h, history.PhaseQuorum); at >= 0 {
		switch end := left(h, at); {
		case t.answered(at, end):
		case end == len(h):
			open = append(open, "the history ends before the mended quorum has answered")
		default:
			dead = append(dead, "the mended quorum answered nothing: "+h[at].Note)
			r.Evidence = append(r.Evidence, Evidence{Items: []Item{{at, -1, "mended"}, {end, -1, "no answer until here"}},
				Why: []string{"a quorum of nodes was mended, and no operation succeeded: " + h[at].Note}})
		}
	}
	deadNodes, openNodes := t.lastWords()
	r.Evidence = append(r.Evidence, t.silence(deadNodes)...)
	for _, n := range deadNodes {
		dead = append(dead, n+" answered none of its last questions, though the cluster had been mended and had settled")
	}
	open = append(open, openNodes...)
	switch {
	case len(dead) > 0:
		r.Verdict, r.Note = Invalid, strings.Join(dead, "; ")
	case len(open) > 0:
		r.Verdict, r.Note = Unknown, strings.Join(open, "; ")
	default:
		r.Note = "every kind of operation succeeded, and every node had its last words"
	}
	return r, nil
}

type kindCount struct {
	f                string
	asked, succeeded int
}

// kinds of micro-operations, in the order in which they appear.
func (t trial) kinds() (kinds []kindCount) {
	for _, c := range t.calls {
		for _, m := range t.h[c.Invoke].Txn {
			i := slices.IndexFunc(kinds, func(k kindCount) bool { return k.f == m.F })
			if i < 0 {
				i = len(kinds)
				kinds = append(kinds, kindCount{f: m.F})
			}
			kinds[i].asked++
			if c.Kind == history.OK {
				kinds[i].succeeded++
			}
		}
	}
	return kinds
}

// answered tells whether an operation was asked for and succeeded between two events.
func (t trial) answered(from, to int) bool {
	return slices.ContainsFunc(t.calls, func(c history.Call) bool {
		return c.Kind == history.OK && c.Invoke > from && c.Complete < to
	})
}

// nodeWords are one node's answers to the last questions.
type nodeWords struct {
	node            string
	asked, answered int
	questions       map[string]bool // that it answered
}

// lastWords tells which nodes are silent, and of which it is open what they would have said.
func (t trial) lastWords() (dead, open []string) {
	final := entered(t.h, history.PhaseFinal)
	if final < 0 {
		return nil, []string{"the history ends before the last words"}
	}
	nodes, questions := t.questions(final)
	for _, n := range nodes {
		missing := 0
		for _, q := range questions {
			if !n.questions[q] {
				missing++
			}
		}
		switch {
		case missing == 0:
		case n.answered == 0 && n.asked > 0 && t.h[final].Note == "":
			dead = append(dead, n.node)
		case n.asked == 0:
			open = append(open, n.node+" could not be asked for its last words")
		default:
			open = append(open, fmt.Sprintf("%s left %d of its last %s without an answer", n.node, missing, plural(len(questions), "question")))
		}
	}
	if len(questions) == 0 {
		open = append(open, "no last words were asked for")
	}
	return dead, open
}

// questions are all that were asked in the final phase, and of each node which it answered. The nodes are those that were asked, and those that
// said something of their state at the end.
func (t trial) questions(final int) (nodes []nodeWords, questions []string) {
	find := func(name string) *nodeWords {
		for i := range nodes {
			if nodes[i].node == name {
				return &nodes[i]
			}
		}
		nodes = append(nodes, nodeWords{node: name, questions: map[string]bool{}})
		return &nodes[len(nodes)-1]
	}
	known := map[string]bool{}
	for _, c := range t.calls {
		if c.Invoke < final {
			continue
		}
		op := t.h[c.Invoke]
		if op.Txn[0].F == history.Connect { // is how one comes to ask
			continue
		}
		q := fmt.Sprint(op.Txn)
		if !known[q] {
			known[q] = true
			questions = append(questions, q)
		}
		n := find(op.Node)
		n.asked++
		if c.Kind == history.OK {
			n.answered++
			n.questions[q] = true
		}
	}
	for _, op := range t.h[final:] {
		if op.State != nil {
			find(op.State.Node)
		}
	}
	return nodes, questions
}

// silence is the evidence against nodes that did not answer: the last that each was asked.
func (t trial) silence(dead []string) (all []Evidence) {
	for _, node := range dead[:min(len(dead), mostTold)] {
		var last history.Call
		for _, c := range t.calls {
			if t.h[c.Invoke].Node == node {
				last = c
			}
		}
		why := node + " was asked when all had been mended and the cluster had settled, and never answered"
		if last.Complete >= 0 && t.h[last.Complete].Note != "" {
			why += "; the last that it said: " + t.h[last.Complete].Note
		}
		all = append(all, Evidence{Items: []Item{item(last, "no answer")}, Why: []string{why}})
	}
	return all
}
