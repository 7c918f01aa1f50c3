package checkers

import (
	"fmt"
	"slices"

	"assize/history"
)

// Validate says why a history is malformed, or nil. Every judgement does it first: porcupine, given a call without a return or a return before
// its call, answers "illegal", and a test that broke would be taken for a system that broke.
//
// On top of what history.Pair demands: each micro-operation has the arguments and results of its kind; a sync is the first step of its
// transaction; a key is a register or a set, not both;
// no value is written to a key twice, since otherwise a read does not tell which write it saw.
func Validate(h []history.Op) error {
	_, err := load(h)
	return err
}

// shape of a micro-operation: how many arguments it takes, and of results at most (-1: any number).
type shape struct {
	f       string
	in, out int
	typ     string
}

var shapes = [...]shape{
	{history.Read, 0, 1, "register"},
	{history.Write, 1, 0, "register"},
	{history.CAS, 2, 0, "register"},
	{history.Add, 1, 0, "set"},
	{history.Scan, 0, -1, "set"},
	{history.Sync, 0, 0, ""},
	{history.Connect, 0, 1, ""},
	{history.Close, 0, 0, ""},
	{history.CreateEphemeral, 1, 0, node},
	{history.CreateSequential, 1, 1, "sequence"},
	{history.List, 0, -1, "sequence"},
	{history.Delete, 0, 0, node},
	{history.Watch, 0, 1, node},
	{history.Create, 1, 0, node},
	{history.Check, 0, 1, node},
	{history.Remove, 1, 0, family},
	{history.WatchSet, 0, -1, family},
}

// node is the type of a register that is deleted, goes with its owner or is watched: what judges registers alone leaves it alone.
const node = "node"

// family is the type of a set that loses elements or is watched, in the same way.
const family = "family"

// notices are what a session can be told unasked.
var notices = []string{history.Created, history.Changed, history.Deleted, history.Members}

func shapeOf(f string) (shape, bool) {
	for _, s := range shapes {
		if s.f == f {
			return s, true
		}
	}
	return shape{}, false
}

type keyValue struct {
	key   string
	value int
}

// validSteps checks what history.Pair leaves open.
func validSteps(h []history.Op, calls []history.Call) error {
	types := map[string]string{}
	written := map[keyValue]int{}
	for i, op := range h {
		if op.Kind == history.Notify && op.Process >= 0 && !slices.Contains(notices, op.Txn[0].F) {
			return fmt.Errorf("event %d: a session cannot be told %q", i, op.Txn[0].F)
		}
	}
	for _, c := range calls {
		for i, m := range h[c.Invoke].Txn {
			s, ok := shapeOf(m.F)
			if !ok {
				return fmt.Errorf("event %d: %q is no micro-operation", c.Invoke, m.F)
			}
			if len(m.In) != s.in {
				return fmt.Errorf("event %d: %s takes %d arguments, not %d", c.Invoke, m.F, s.in, len(m.In))
			}
			if c.Kind == history.OK {
				if n := len(h[c.Complete].Txn[i].Out); s.out >= 0 && n > s.out {
					return fmt.Errorf("event %d: %s has at most %d results, not %d", c.Complete, m.F, s.out, n)
				}
			}
			if m.F == history.Sync {
				if i > 0 {
					return fmt.Errorf("event %d: step %d is a sync: it may only be the first", c.Invoke, i+1)
				}
			}
			if s.typ == "" {
				continue
			}
			t, seen := types[m.Key]
			switch {
			case t == node && s.typ == "register", t == family && s.typ == "set":
				s.typ = t
			case seen && t != s.typ && !(t == "register" && s.typ == node || t == "set" && s.typ == family):
				return fmt.Errorf("event %d: key %q is a %s and a %s", c.Invoke, m.Key, t, s.typ)
			}
			types[m.Key] = s.typ
			if s.in == 0 || m.F == history.Remove {
				continue
			}
			kv := keyValue{m.Key, m.In[s.in-1]}
			if first, twice := written[kv]; twice {
				return fmt.Errorf("event %d writes %d to key %q, as event %d does: values must be unique", c.Invoke, kv.value, kv.key, first)
			}
			written[kv] = c.Invoke
		}
	}
	return nil
}
