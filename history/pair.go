package history

import (
	"fmt"
	"slices"
)

// Call is one operation of a client: its invocation and what came of it.
type Call struct {
	Invoke   int  // place of the invocation in the history
	Complete int  // place of the completion; -1 where the history ends before it
	Kind     Kind // of the completion; Info where there is none: nobody knows
}

// Pair matches the completions of a history with their invocations and returns the clients' operations in the order in which they were asked
// for. An error means that the history is malformed, and names the event:
//
//   - an event stands where its index does not belong;
//   - a process has two open calls, or a completion completes nothing, or not what was asked for (another micro-operation, key, argument
//     or node);
//   - a process goes on after an Info, which ends it: its operation may still take effect;
//   - results come before they can be known: in anything but an OK;
//   - a session is told something by an event of other than one step, or there is no session;
//   - an event is neither a client's nor of Nemesis or Harness.
func Pair(ops []Op) ([]Call, error) {
	const ended = -1
	var calls []Call
	state := map[int]int{} // by process: its open call, 1 more than its place in calls; or ended
	for i, op := range ops {
		if op.Index != i {
			return nil, fmt.Errorf("event %d stands where event %d belongs", op.Index, i)
		}
		if op.Process < 0 {
			if op.Process < Harness || len(op.Txn) > 0 {
				return nil, fmt.Errorf("event %d of process %d is no client's and has an operation, or is nobody's", i, op.Process)
			}
			continue
		}
		if err := wellFormed(op); err != nil {
			return nil, fmt.Errorf("event %d of process %d: %w", i, op.Process, err)
		}
		open := state[op.Process]
		switch {
		case op.Kind == Notify && (op.Session == 0 || len(op.Txn) != 1):
			return nil, fmt.Errorf("event %d tells of %d things to session %x: want one, and a session", i, len(op.Txn), op.Session)
		case open == ended:
			return nil, fmt.Errorf("event %d: process %d goes on after an info has ended it", i, op.Process)
		case op.Kind == Notify:
			continue
		case op.Kind == Invoke && open != 0:
			return nil, fmt.Errorf("event %d: process %d asks while its event %d is open", i, op.Process, calls[open-1].Invoke)
		case op.Kind == Invoke:
			calls = append(calls, Call{Invoke: i, Complete: -1, Kind: Info})
			state[op.Process] = len(calls)
			continue
		case open == 0:
			return nil, fmt.Errorf("event %d: process %d has asked for nothing that this completes", i, op.Process)
		}
		c := &calls[open-1]
		if err := matches(ops[c.Invoke], op); err != nil {
			return nil, fmt.Errorf("event %d does not complete event %d: %w", i, c.Invoke, err)
		}
		c.Complete, c.Kind = i, op.Kind
		state[op.Process] = 0
		if op.Kind == Info {
			state[op.Process] = ended
		}
	}
	return calls, nil
}

func wellFormed(op Op) error {
	switch {
	case op.Kind > Notify:
		return fmt.Errorf("%v is no kind", op.Kind)
	case len(op.Txn) == 0:
		return fmt.Errorf("it has no operation")
	case op.Fault != nil || op.State != nil || op.Phase != "":
		return fmt.Errorf("a client's event has a fault, a state or a phase")
	}
	if op.Kind == OK {
		return nil
	}
	for _, m := range op.Txn {
		if len(m.Out) > 0 {
			return fmt.Errorf("%v has results", op.Kind)
		}
	}
	return nil
}

func matches(asked, done Op) error {
	if len(asked.Txn) != len(done.Txn) {
		return fmt.Errorf("it has %d steps, not %d", len(done.Txn), len(asked.Txn))
	}
	if done.Node != "" && asked.Node != done.Node {
		return fmt.Errorf("it is of node %q, not %q", done.Node, asked.Node)
	}
	for i, a := range asked.Txn {
		if d := done.Txn[i]; a.F != d.F || a.Key != d.Key || !slices.Equal(a.In, d.In) {
			return fmt.Errorf("step %d is %s %s %v, not %s %s %v", i+1, d.F, d.Key, d.In, a.F, a.Key, a.In)
		}
	}
	return nil
}
