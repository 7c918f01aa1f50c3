// Package checkers judges histories. One file per judgement; Table is all of them.
//
// A checker sees a history and nothing else. It never guesses: beyond a limit it says Unknown, with the best partial evidence.
package checkers

import (
	"time"

	"assize/history"
)

// Verdict of one judgement, or of a run. Invalid outweighs Unknown, Unknown outweighs Valid.
type Verdict string

const (
	Valid   Verdict = "valid"
	Unknown Verdict = "unknown"
	Invalid Verdict = "invalid"
)

// Limits that a checker keeps; zero means the default.
type Limits struct {
	Time   time.Duration // for the whole judgement
	Memory uint64        // bytes, for the whole judgement
}

// Result of one checker on one history.
type Result struct {
	Verdict  Verdict
	Note     string // one sentence, to be read behind the checker's name
	Judged   int    // how much was judged, in units of
	Unit     string // "reads", "keys", "writes", "nodes" ...
	Limit    string // which limit was hit; empty: none
	Evidence []Evidence
	Files    map[string][]byte // e.g. a picture of a key's history
	Figures  map[string]float64
}

// Evidence is one complete counter-example, small enough to be read.
type Evidence struct {
	Key   string
	Items []Item   // in the order of the history
	Edges []Edge   // why one must be before the other
	Why   []string // at most two sentences
}

// Item is an operation of an Evidence: the Index of its invocation and of its completion (-1: none) and the part that it plays.
type Item struct {
	Invoke, Complete int
	Role             string // wrote, overwrote, returned old, acknowledged, missed, ...
}

// Edge between two Items, by their position in Items.
type Edge struct {
	From, To int
	Why      string // real time, reads from, session, version
}

// Checker is one judgement.
type Checker struct {
	Name     string
	Question string                                         // e.g. "is every read of the newest value?"
	Doc      string                                         // what it promises, by which algorithm, from which source
	Check    func(h []history.Op, l Limits) (Result, error) // an error means that the history is malformed: no verdict
}
