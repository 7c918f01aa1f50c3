// Package report turns a finished run into a verdict, and a verdict into files and text.
//
// It computes everything from the plan, the history and what nodes said of themselves, so that a run can be judged again on any later day.
package report

import (
	"fmt"
	"strings"
	"time"

	"assize/checkers"
	"assize/harness"
	"assize/history"
)

// The first words of a verdict.
const (
	Valid        = "VALID"
	Invalid      = "INVALID"
	Unknown      = "UNKNOWN"
	Inconclusive = "INCONCLUSIVE" // a fault did not take hold: the run has not stood what it was to stand
	Broken       = "BROKEN"       // the test itself failed
)

// Case is what is judged.
type Case struct {
	Plan     harness.Plan
	Ops      []history.Op
	Samples  []harness.Sample // may be nil
	Checkers []checkers.Checker
	Kinds    []string // of micro-operations, each of which must have succeeded
	Limits   checkers.Limits
	Expect   Expectation
	Broken   string // how the test itself failed; empty: it did not
}

// Expectation is what a claim says that the run must show. The zero value expects nothing.
type Expectation struct {
	Claim    string `json:"claim"`    // the id of one of Claims
	Violated bool   `json:"violated"` // else it holds
}

// Verdict is verdict.json. Times are nanoseconds since the run began.
type Verdict struct {
	Format     int               `json:"format"`
	Verdict    string            `json:"verdict"`
	Headline   string            `json:"headline"`           // one sentence with the operation in it
	Short      string            `json:"short"`              // what it comes to, in a few words
	Broken     string            `json:"broken,omitempty"`   // how the test itself failed
	Recorded   string            `json:"recorded,omitempty"` // then: the verdict on what was recorded, which the headline tells
	Expect     *Expectation      `json:"expect,omitempty"`
	AsExpected bool              `json:"asExpected,omitempty"`
	Complete   bool              `json:"complete"` // the record goes to the end of the run
	Counts     Counts            `json:"counts"`
	Model      string            `json:"model,omitempty"` // the strongest consistency model that held
	Stale      *Stale            `json:"stale,omitempty"`
	Judgements []Judgement       `json:"judgements"`
	Evidence   []Evidence        `json:"evidence,omitempty"`
	Agreement  []Node            `json:"agreement,omitempty"`
	Files      map[string][]byte `json:"-"` // of checkers, by name
	Plan       harness.Plan      `json:"-"`
}

// Counts of what happened.
type Counts struct {
	Operations int           `json:"operations"`
	OK         int           `json:"ok"`
	Fail       int           `json:"fail"`
	Info       int           `json:"info"`
	Faults     int           `json:"faults"`
	Held       int           `json:"held"`  // faults that were seen to take hold
	Time       time.Duration `json:"time"`  // of the last event
	Storm      time.Duration `json:"storm"` // how long it lasted; shorter than planned where the run was interrupted or its controller killed
}

// Judgement is what one checker found.
type Judgement struct {
	Checker  string             `json:"checker"`
	Question string             `json:"question"`
	Verdict  checkers.Verdict   `json:"verdict"`
	Words    string             `json:"words"`
	Judged   int                `json:"judged"`
	Unit     string             `json:"unit"`
	Took     time.Duration      `json:"took"`
	Limit    string             `json:"limit,omitempty"`
	Figures  map[string]float64 `json:"figures,omitempty"`
}

// Node is a node's last word on its state.
type Node struct {
	Node    string `json:"node"`
	Applied uint64 `json:"applied"`
	Hash    string `json:"hash"`
	Note    string `json:"note,omitempty"`
}

// Judge puts the history to all checkers. An error means that the history is malformed: there is no verdict on it.
func Judge(c Case) (Verdict, error) {
	v := Verdict{Format: 1, Plan: c.Plan, Counts: count(c.Ops), Files: map[string][]byte{}}
	calls, err := history.Pair(c.Ops)
	if err != nil {
		return v, fmt.Errorf("the history is malformed: %w", err)
	}
	v.Counts.Operations, v.Stale = len(calls), staleness(c.Ops, calls)
	for _, op := range c.Ops {
		v.Complete = v.Complete || op.Phase == history.PhaseStop
		if op.State != nil {
			v.Agreement = append(v.Agreement, Node{op.State.Node, op.State.Applied, fmt.Sprintf("%016x", op.State.Hash), op.State.Note})
		}
	}
	for _, checker := range c.Checkers {
		began := time.Now()
		r, err := checker.Check(c.Ops, c.Limits)
		if err != nil {
			return v, fmt.Errorf("%s: the history is malformed: %w", checker.Name, err)
		}
		v.Judgements = append(v.Judgements, Judgement{
			Checker: checker.Name, Question: checker.Question, Verdict: r.Verdict, Words: r.Note, Judged: r.Judged, Unit: r.Unit,
			Took: time.Since(began), Limit: r.Limit, Figures: r.Figures,
		})
		for _, e := range r.Evidence {
			v.Evidence = append(v.Evidence, tell(c, checker.Name, r.Verdict, e))
		}
		for name, b := range r.Files {
			v.Files[name] = b
		}
	}
	v.exercised(c, calls)
	v.conclude()
	if c.Broken != "" {
		v.Recorded, v.Verdict, v.Broken = v.Verdict, Broken, c.Broken
	}
	if c.Expect != (Expectation{}) {
		v.Expect = &c.Expect
		v.AsExpected = v.asExpected(c.Expect)
	}
	return v, nil
}

// exercised adds to the judgements what a history cannot tell by itself, since only the plan and the workload know that it was to be there: a run
// that passes must have put the system to each kind of operation, and to some fault where faults were planned. A storm may end (an
// interruption) before either.
func (v *Verdict) exercised(c Case, calls []history.Call) {
	for i := range v.Judgements {
		j := &v.Judgements[i]
		var missing string
		switch {
		case j.Verdict != checkers.Valid:
		case j.Checker == "alive":
			missing = neverSucceeded(c, calls)
		case j.Checker == "faults" && v.Complete && len(c.Plan.Faults) > 0 && v.Counts.Faults == 0:
			missing = fmt.Sprintf("inconclusive: none of the planned faults came about (%d)", len(c.Plan.Faults))
		}
		if missing != "" {
			j.Verdict, j.Words = checkers.Unknown, missing
		}
	}
}

// neverSucceeded names the kinds of which no operation succeeded; empty: none.
func neverSucceeded(c Case, calls []history.Call) string {
	done := map[string]bool{}
	for _, call := range calls {
		for _, m := range c.Ops[call.Invoke].Txn {
			done[m.F] = done[m.F] || call.Kind == history.OK
		}
	}
	var never []string
	for _, kind := range c.Kinds {
		if !done[kind] {
			never = append(never, fmt.Sprintf("no %s ever succeeded", kind))
		}
	}
	return strings.Join(never, "; ")
}

func count(ops []history.Op) (c Counts) {
	began, storm := time.Duration(0), false
	for _, op := range ops {
		c.Time = max(c.Time, op.Time)
		if storm {
			c.Storm = op.Time - began
		}
		switch op.Phase {
		case history.PhaseStorm:
			began, storm = op.Time, true
		case history.PhaseQuorum, history.PhaseMend:
			storm = false
		}
		switch {
		case op.Fault != nil && !op.Fault.Mended:
			c.Faults++
			if op.Fault.Held {
				c.Held++
			}
		case op.Process < 0:
		case op.Kind == history.OK:
			c.OK++
		case op.Kind == history.Fail:
			c.Fail++
		case op.Kind == history.Info:
			c.Info++
		}
	}
	return c
}

// words of a judgement that was violated, and of one that holds, as far as they are not the checker's name itself.
var words = map[string]struct{ label, violated, holds string }{
	"linearizable": {"linearizable", "not linearizable", "linearizable"},
	"versions":     {"versions", "the server's versions contradict its answers", ""},
	"sequential":   {"sequential", "not sequentially consistent", "sequentially consistent"},
	"lost":         {"acknowledged writes", "acknowledged writes lost", "no acknowledged write lost"},
	"agreement":    {"replica agreement", "replicas disagree", ""},
	"invariants":   {"invariants", "an invariant is broken", ""},
	"alive":        {"alive", "not alive", ""},
	"availability": {"availability", "not available", ""},
	"expiry":       {"expiry", "a session ended too early or untold", ""},
	"ephemeral":    {"ephemeral", "an ephemeral node is not where its session is", "ephemeral nodes are there while their sessions live"},
	"sequence":     {"sequence", "sequential numbers out of order", ""},
	"watch":        {"watch", "a change was not told as it should", "every change was told in time"},
	"multi":        {"multi", "what was asked for together is not done together", ""},
	"image":        {"image", "a session goes back in time", ""},
	"faults":       {"faults", "faults did not take hold", ""},
}

// conclude computes verdict, model and headline from the judgements.
func (v *Verdict) conclude() {
	var invalid, unknown, inconclusive *Judgement
	for i := range v.Judgements {
		j := &v.Judgements[i]
		switch {
		case j.Verdict == checkers.Invalid && j.Checker != "faults" && invalid == nil:
			invalid = j
		case j.Verdict != checkers.Valid && j.Checker == "faults":
			inconclusive = j
		case j.Verdict == checkers.Unknown && unknown == nil:
			unknown = j
		case j.Verdict == checkers.Valid && v.Model == "" && (j.Checker == "linearizable" || j.Checker == "sequential"):
			v.Model = words[j.Checker].holds
		}
	}
	switch {
	case invalid != nil:
		v.Verdict, v.Short = Invalid, violated(invalid.Checker)
		v.Headline = v.Short + ": " + v.sentence(*invalid)
	case inconclusive != nil:
		v.Verdict, v.Short = Inconclusive, violated(inconclusive.Checker)
		v.Headline = v.Short + ": " + inconclusive.Words
	case unknown != nil:
		v.Verdict, v.Short = Unknown, unknown.Checker+" is not known"
		v.Headline = v.Short + ": " + unknown.Words
	case len(v.Judgements) == 0:
		v.Verdict, v.Short = Unknown, "nothing was judged"
		v.Headline = v.Short
	case !v.Complete:
		v.Verdict, v.Short = Unknown, "the record ends before the run did"
		v.Headline = v.Short + "; nothing is wrong with what there is"
	default:
		v.Verdict, v.Short = Valid, v.best()
		v.Headline = fmt.Sprintf("%s: %s operations under %d faults", v.Short, thousands(v.Counts.Operations), v.Counts.Faults)
	}
	if v.Verdict == Invalid && v.Model == "" && v.judged("linearizable") && v.judged("sequential") {
		v.Model = "none"
	}
}

func violated(checker string) string {
	if w, known := words[checker]; known {
		return w.violated
	}
	return checker + " violated"
}

// best is the strongest thing that held.
func (v *Verdict) best() string {
	for _, j := range v.Judgements {
		if w := words[j.Checker]; w.holds != "" {
			return w.holds
		}
	}
	return "nothing wrong found"
}

// judged tells whether the checker came to a verdict.
func (v *Verdict) judged(checker string) bool {
	for _, j := range v.Judgements {
		if j.Checker == checker {
			return j.Verdict != checkers.Unknown
		}
	}
	return false
}

// sentence of what a judgement found: by its last operation if there is evidence, for that is the one that convicts.
func (v *Verdict) sentence(j Judgement) string {
	for _, e := range v.Evidence {
		if e.Checker != j.Checker || len(e.Items) == 0 {
			continue
		}
		if i := e.Items[len(e.Items)-1]; i.Process[0] == 'p' && len(e.Why) > 0 {
			// Not the item's own words: they number other items, and a headline stands alone.
			return fmt.Sprintf("%s on %s %s: %s", i.Process, i.Node, i.Operation, e.Why[0])
		}
	}
	return j.Words
}
