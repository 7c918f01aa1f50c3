package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"assize/checkers"
	"assize/harness"
	"assize/history"
)

// Evidence is one counter-example in words.
type Evidence struct {
	Checker string           `json:"checker"`
	Verdict checkers.Verdict `json:"verdict"`
	Key     string           `json:"key,omitempty"`
	Items   []Item           `json:"items"`
	Edges   []Edge           `json:"edges,omitempty"`
	Faults  []string         `json:"faults,omitempty"` // that were active meanwhile
	Why     []string         `json:"why,omitempty"`
}

// Item is one operation of an Evidence.
type Item struct {
	Invoke    int           `json:"invoke"`   // index in the history
	Complete  int           `json:"complete"` // -1: never
	Process   string        `json:"process"`
	Node      string        `json:"node"`
	NodeRole  string        `json:"nodeRole,omitempty"` // of the node when it was asked, as it said itself
	Operation string        `json:"operation"`
	Role      string        `json:"role"` // the part that it plays
	Called    time.Duration `json:"called"`
	Returned  time.Duration `json:"returned"`
	Words     string        `json:"words"` // when, and by which provenance
}

// Edge says why one item must be before another; both count from 1.
type Edge struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Why  string `json:"why"`
}

// tell puts a checker's evidence into words.
func tell(c Case, checker string, verdict checkers.Verdict, e checkers.Evidence) Evidence {
	told := Evidence{Checker: checker, Verdict: verdict, Key: clean(e.Key)}
	for _, why := range e.Why {
		told.Why = append(told.Why, clean(why))
	}
	for _, i := range e.Items {
		if i.Invoke >= 0 && i.Invoke < len(c.Ops) && i.Complete < len(c.Ops) {
			told.Items = append(told.Items, item(c, told.Items, i))
		}
	}
	for _, d := range e.Edges {
		told.Edges = append(told.Edges, Edge{d.From + 1, d.To + 1, clean(d.Why)})
	}
	told.Faults = faultsDuring(c.Ops, e.Items)
	return told
}

func item(c Case, before []Item, i checkers.Item) Item {
	call := c.Ops[i.Invoke]
	if call.Process < 0 {
		return event(call, i)
	}
	told := Item{
		Invoke: i.Invoke, Complete: i.Complete, Process: "p" + strconv.Itoa(call.Process), Node: clean(call.Node), Role: clean(i.Role),
		NodeRole: roleAt(c.Samples, call.Node, call.Time), Operation: operation(call.Txn), Called: call.Time, Returned: -1,
	}
	if i.Complete < 0 {
		told.Words = fmt.Sprintf("called at %s, never answered", seconds(call.Time))
		return told
	}
	done := c.Ops[i.Complete]
	told.Returned = done.Time
	provenance := ""
	if done.Note != "" {
		provenance = "  " + clean(done.Note)
	}
	switch {
	case done.Kind == history.OK && !call.Txn.ReadOnly():
		told.Operation = operation(done.Txn)
		told.Words = fmt.Sprintf("acknowledged at %s", seconds(done.Time)) + provenance
	case done.Kind == history.OK:
		told.Operation = operation(done.Txn)
		told.Words = fmt.Sprintf("called at %s", seconds(call.Time)) + since(before, call) + provenance
	case done.Kind == history.Fail:
		told.Words = fmt.Sprintf("called at %s, failed at %s", seconds(call.Time), seconds(done.Time)) + provenance
	default:
		told.Words = fmt.Sprintf("called at %s, outcome unknown", seconds(call.Time)) + provenance
	}
	return told
}

// event is an item that is no client's: a fault, a phase, a node's state.
func event(op history.Op, i checkers.Item) Item {
	told := Item{
		Invoke: i.Invoke, Complete: i.Complete, Process: "harness", Node: clean(op.Node), Role: clean(i.Role), Called: op.Time, Returned: -1,
		Words: "at " + seconds(op.Time),
	}
	note := op.Note
	switch {
	case op.Fault != nil:
		told.Process, told.Node, note = "nemesis", clean(strings.Join(op.Fault.Nodes, " ")), op.Fault.Probe
		told.Operation = clean(op.Fault.Name + ": " + op.Fault.What)
		if op.Fault.ID > 0 { // else it is the end of no single fault
			told.Operation = fmt.Sprintf("F%d %s", op.Fault.ID, told.Operation)
		}
	case op.State != nil:
		told.Node, note = clean(op.State.Node), op.State.Note
		told.Operation = fmt.Sprintf("applied %d, hash %016x", op.State.Applied, op.State.Hash)
	default:
		told.Operation = clean(op.Phase)
	}
	if note != "" {
		told.Words += "  " + clean(note)
	}
	return told
}

// since says how long ago the newest of the earlier items had been answered when this one was called.
func since(before []Item, call history.Op) string {
	newest := -1
	for n, b := range before {
		if b.Returned >= 0 && b.Complete < call.Index && (newest < 0 || b.Complete > before[newest].Complete) {
			newest = n
		}
	}
	if newest < 0 {
		return ""
	}
	ago := (call.Time - before[newest].Returned).Seconds()
	what := "answered"
	if strings.HasPrefix(before[newest].Words, "acknowledged") {
		what = "acknowledged"
	}
	return fmt.Sprintf(", %.3g s after %d was %s", ago, newest+1, what)
}

// roleAt is what the node had last said of itself, if it had said so within the second before.
func roleAt(samples []harness.Sample, node string, at time.Duration) (role string) {
	for _, s := range samples {
		if s.Node == node && s.Time <= at && s.Time > at-time.Second {
			role = s.Role
		}
	}
	return clean(role)
}

// operation in words: write k6 4688, cas k6 4688 4700, read k6 -> 4688.
func operation(t history.Txn) string {
	var steps []string
	for _, m := range t {
		step := clean(m.F) + " " + clean(m.Key)
		for _, v := range m.In {
			step += " " + strconv.Itoa(v)
		}
		if m.F == history.Read || m.F == history.Scan {
			if m.Out != nil {
				step += " -> " + values(m.Out)
			}
		}
		steps = append(steps, step)
	}
	return strings.Join(steps, "; ")
}

const mostValues = 8 // of a scan that are shown

func values(out []int) string {
	if len(out) == 0 {
		return "nothing"
	}
	var s []string
	for _, v := range out[:min(len(out), mostValues)] {
		s = append(s, strconv.Itoa(v))
	}
	if more := len(out) - mostValues; more > 0 {
		s = append(s, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(s, " ")
}

// faultsDuring are the faults that were active between the first and the last event of the items.
func faultsDuring(ops []history.Op, items []checkers.Item) (list []string) {
	if len(items) == 0 {
		return nil
	}
	first, last := items[0].Invoke, items[0].Invoke
	for _, i := range items {
		first, last = min(first, i.Invoke), max(last, i.Invoke, i.Complete)
	}
	for at, op := range ops {
		if op.Fault == nil || op.Fault.Mended || at > last {
			continue
		}
		end := "the end"
		over := len(ops)
		for later := at; later < len(ops); later++ {
			if f := ops[later].Fault; f != nil && f.Mended && f.ID == op.Fault.ID {
				over, end = later, seconds3(ops[later].Time)
				break
			}
		}
		if over >= first {
			list = append(list, fmt.Sprintf("F%d %s: %s, %s to %s", op.Fault.ID, clean(op.Fault.Name), clean(op.Fault.What), seconds3(op.Time), end))
		}
	}
	return list
}

func seconds(d time.Duration) string  { return fmt.Sprintf("%.4f s", d.Seconds()) }
func seconds3(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// clean makes text of a history, which is data, fit for a terminal: nothing that is not printable gets through.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
