package checkers

import (
	"fmt"
	"slices"
	"strings"

	"assize/history"
)

var agreement = Checker{
	Name:     "agreement",
	Question: "do all nodes have one state when everything has been mended?",
	Doc: "the hash of each node's applied state at the end. Two hashes at one index are a violation; a node of which nothing is known, or one that " +
		"has not come as far as the others, leaves the question open",
	Check: checkAgreement,
}

// lastState is the last that a node said of itself.
type lastState struct {
	*history.State
	at int
}

func checkAgreement(h []history.Op, _ Limits) (Result, error) {
	if _, err := load(h); err != nil {
		return Result{}, err
	}
	final := entered(h, history.PhaseFinal)
	var states []lastState
	for i, op := range h {
		if op.State == nil || i < final {
			continue
		}
		states = slices.DeleteFunc(states, func(s lastState) bool { return s.Node == op.State.Node })
		states = append(states, lastState{op.State, i})
	}
	r := Result{Verdict: Valid, Judged: len(states), Unit: "nodes", Figures: map[string]float64{"nodes": float64(len(states))}}
	if len(states) == 0 {
		r.Verdict, r.Note = Unknown, "no node was asked for its state at the end"
		return r, nil
	}
	if e, note := differ(states); e != nil {
		r.Verdict, r.Note, r.Evidence = Invalid, note, []Evidence{*e}
		return r, nil
	}
	var silent, behind []string
	var most, hash uint64
	for _, s := range states {
		if s.Note != "" {
			silent = append(silent, s.Node+" ("+s.Note+")")
		} else {
			most = max(most, s.Applied)
		}
	}
	for _, s := range states {
		switch {
		case s.Note != "":
		case s.Applied < most:
			behind = append(behind, s.Node+" at "+numeral(s.Applied))
		default:
			hash = s.Hash
		}
	}
	switch {
	case len(silent) > 0:
		r.Verdict, r.Note = Unknown, "nothing is known of "+strings.Join(silent, ", ")
	case len(behind) > 0:
		r.Verdict = Unknown
		r.Note = fmt.Sprintf("not all had come to index %s when they were asked: %s", numeral(most), strings.Join(behind, ", "))
	default:
		r.Note = fmt.Sprintf("%s at index %s with state %016x", plural(len(states), "node"), numeral(most), hash)
	}
	return r, nil
}

// differ finds two nodes with two states at one index.
func differ(states []lastState) (*Evidence, string) {
	for i, a := range states {
		for _, b := range states[i+1:] {
			if a.Note != "" || b.Note != "" || a.Applied != b.Applied || a.Hash == b.Hash {
				continue
			}
			role := func(s lastState) string { return fmt.Sprintf("%s has %016x", s.Node, s.Hash) }
			note := fmt.Sprintf("%s and %s have both applied index %s and have two states", a.Node, b.Node, numeral(a.Applied))
			return &Evidence{
				Items: []Item{{Invoke: a.at, Complete: -1, Role: role(a)}, {Invoke: b.at, Complete: -1, Role: role(b)}},
				Edges: []Edge{{0, 1, "one index"}},
				Why:   []string{note, "replicas that apply one log from one start have one state at one index"},
			}, note
		}
	}
	return nil, ""
}

// numeral of a version or a position, places in the order of writes, as those who speak of it write it: zxids have an epoch in their upper half.
func numeral(index uint64) string {
	if index>>32 != 0 {
		return fmt.Sprintf("%#x", index)
	}
	return fmt.Sprint(index)
}
