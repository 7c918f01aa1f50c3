package checkers

import (
	"fmt"
	"slices"

	"assize/history"
)

// effect is what a register operation does to its key.
type effect uint8

const (
	reads effect = iota
	writes
	swaps // compare-and-set
)

// absent is the value of a key that has not been written.
const absent = 0

// regOp is one operation on a register. Values are numbered within the key: absent is 0.
type regOp struct {
	at        int // place in trial.calls
	call, ret int // events; never
	do        effect
	old       int // reads: what was returned; swaps: what was expected
	new       int // writes, swaps
	version   uint64
	ok        bool // acknowledged: its version is the server's word
}

// register is the history of one key, without what cannot matter.
type register struct {
	key    string
	ops    []regOp // effective, in the order of their calls
	values []int   // as written, by number; values[absent] is of no meaning
	writer []int   // place in ops of the operation that wrote the value; -1: none
	// orphans are reads and swaps that found what no operation can have written: places in trial.calls, each with the failed write, or -1.
	orphans [][2]int
}

// newRegister drops from a key's calls what cannot matter (CHECKING section 1, steps 1 and 2): failed operations, reads without an answer, and
// writes without one whose value nobody saw. Such a write can be put behind everything else in any order, so the others are linearizable
// without it iff they are with it.
func (t trial) newRegister(k keyed) *register {
	r := &register{key: k.key, values: []int{0}, writer: []int{-1}}
	number := map[int]int{} // value -> its number
	failed := map[int]int{} // value -> place of the call that failed to write it
	var all []regOp
	for _, at := range k.calls {
		c := t.calls[at]
		m, op := t.answer(c)
		if c.Kind == history.Fail {
			if m.F != history.Read {
				failed[m.In[len(m.In)-1]] = at
			}
			continue
		}
		o := regOp{at: at, ok: c.Kind == history.OK, version: op.Version}
		o.call, o.ret = span(c)
		switch m.F {
		case history.Read:
			if !o.ok {
				continue
			}
		case history.Write:
			o.do, o.new = writes, r.number(number, m.In[0])
		case history.CAS:
			o.do, o.old, o.new = swaps, r.number(number, m.In[0]), r.number(number, m.In[1])
		}
		if o.do == reads && len(m.Out) == 1 {
			o.old = r.number(number, m.Out[0])
		}
		all = append(all, o)
	}
	for i, o := range all {
		if o.do != reads {
			r.writer[o.new] = i
		}
	}
	observed := r.observed(all)
	for _, o := range all {
		if o.do != reads && !o.ok && !observed[o.new] {
			continue
		}
		if o.do != writes && o.old != absent && r.writer[o.old] < 0 {
			from := -1
			if f, was := failed[r.values[o.old]]; was {
				from = f
			}
			r.orphans = append(r.orphans, [2]int{o.at, from})
		}
		r.ops = append(r.ops, o)
	}
	r.index()
	return r
}

func (r *register) number(number map[int]int, value int) int {
	n, seen := number[value]
	if !seen {
		n = len(r.values)
		number[value] = n
		r.values = append(r.values, value)
		r.writer = append(r.writer, -1)
	}
	return n
}

// observed tells of each value whether it must have been there: a read returned it, or an effective swap found it. A swap without an answer is
// effective if its own value was observed, and then so is the one that it found: hence backwards along the swaps, to the end.
func (r *register) observed(all []regOp) []bool {
	seen := make([]bool, len(r.values))
	var work []int
	see := func(v int) {
		if !seen[v] {
			seen[v] = true
			work = append(work, v)
		}
	}
	for _, o := range all {
		if o.do == reads || o.do == swaps && o.ok {
			see(o.old)
		}
	}
	for len(work) > 0 {
		v := work[len(work)-1]
		work = work[:len(work)-1]
		if w := r.writer[v]; w >= 0 && all[w].do == swaps {
			see(all[w].old)
		}
	}
	return seen
}

// index finds the writers again after ops have changed.
func (r *register) index() {
	for v := range r.writer {
		r.writer[v] = -1
	}
	for i, o := range r.ops {
		if o.do != reads {
			r.writer[o.new] = i
		}
	}
}

// step is the sequential register.
func (o *regOp) step(state int) (bool, int) {
	switch o.do {
	case reads:
		return state == o.old, state
	case swaps:
		return state == o.old, o.new
	}
	return true, o.new
}

// shows is the value that is there when the operation is done.
func (o *regOp) shows() int {
	if o.do == reads {
		return o.old
	}
	return o.new
}

// without is the history of the operations that are kept. A read goes with the write that it saw, and a write without an answer with the last
// answer that saw it, for then nobody knows that it happened. A swap whose expected value goes is taken for a plain write, which demands
// less: if what is left is not linearizable, the whole is not either, because an order of the whole, restricted to what is left, would do.
func (r *register) without(keep []bool) *register {
	less := &register{key: r.key, values: r.values, writer: slices.Clone(r.writer)}
	for i, o := range r.ops {
		if !keep[i] {
			continue
		}
		if o.do != writes && o.old != absent {
			if w := r.writer[o.old]; w < 0 || !keep[w] {
				if o.do == reads {
					continue
				}
				o.do, o.old = writes, absent
			}
		}
		less.ops = append(less.ops, o)
	}
	less.index()
	observed := less.observed(less.ops)
	less.ops = slices.DeleteFunc(less.ops, func(o regOp) bool { return o.do != reads && !o.ok && !observed[o.new] })
	less.index()
	return less
}

// name of a value in sentences.
func (r *register) name(v int) string {
	if v == absent {
		return "nothing"
	}
	return fmt.Sprint(r.values[v])
}
