package checkers

import (
	"cmp"
	"slices"
)

// cluster of a value: its write, the reads that returned it and the swaps that found it. In any linearization nothing else stands between
// these, so of two clusters one is wholly before the other.
type cluster struct {
	value   int
	members []int // places in register.ops
	first   int   // the member that returned first
	last    int   // the member that was called last
}

func (r *register) clusters() []cluster {
	all := make([]cluster, len(r.values))
	for v := range all {
		all[v] = cluster{value: v, first: -1, last: -1}
	}
	add := func(v, i int) {
		c := &all[v]
		c.members = append(c.members, i)
		if c.first < 0 || r.ops[i].ret < r.ops[c.first].ret {
			c.first = i
		}
		if c.last < 0 || r.ops[i].call > r.ops[c.last].call {
			c.last = i
		}
	}
	for i, o := range r.ops {
		if o.do != writes {
			add(o.old, i)
		}
		if o.do != reads {
			add(o.new, i)
		}
	}
	return slices.DeleteFunc(all, func(c cluster) bool { return len(c.members) == 0 })
}

// mostPairs bounds the pairs of clusters that are looked at, mostSuspects the parts of a key that are tried before the whole is.
const (
	mostPairs    = 2_000_000
	mostSuspects = 8
)

// suspect is a small part of a history: places in register.ops, ascending.
type suspect []int

// suspects are small parts of the history that look as if they could not be put in order, the smallest first: two clusters each of which has a
// member that was over before a member of the other began (Gibbons and Korach 1997); a read that was over before its write began; two swaps
// that found the same value. Whether a suspect is guilty is left to porcupine.
func (r *register) suspects() []*register {
	var found []suspect
	clusters := r.clusters()
	propose := func(places ...int) {
		s := suspect(slices.DeleteFunc(places, func(i int) bool { return i < 0 }))
		for i := 0; i < len(s); i++ {
			if by := r.observer(s[i]); by >= 0 && !slices.Contains(s, by) {
				s = append(s, by)
			}
		}
		slices.Sort(s)
		s = slices.Compact(s)
		at, _ := slices.BinarySearchFunc(found, s, r.compareSuspects)
		if at < mostSuspects {
			found = slices.Insert(found, at, s)
			found = found[:min(len(found), mostSuspects)]
		}
	}
	pairs := 0
	for i, a := range clusters {
		r.alone(a, propose)
		for _, b := range clusters[i+1:] {
			if pairs++; pairs > mostPairs {
				break
			}
			if r.precedes(a, b) && r.precedes(b, a) {
				propose(a.first, a.last, b.first, b.last, r.writer[a.value], r.writer[b.value])
			}
		}
	}
	parts := make([]*register, len(found))
	for i, s := range found {
		keep := make([]bool, len(r.ops))
		for _, place := range s {
			keep[place] = true
		}
		parts[i] = r.without(keep)
	}
	return parts
}

// observer of a write without an answer: whatever first saw it, and without which nobody knows that it happened. -1: it was answered.
func (r *register) observer(i int) int {
	if o := r.ops[i]; o.do == reads || o.ok {
		return -1
	}
	return slices.IndexFunc(r.ops, func(o regOp) bool { return o.do != writes && o.old == r.ops[i].new })
}

// compareSuspects by length and then by when the last operation was called: the earlier of two equals is nearer to the cause.
func (r *register) compareSuspects(a, b suspect) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a[len(a)-1], b[len(b)-1]), slices.Compare(a, b))
}

// precedes tells whether real time, or that nothing was there at first, or a swap that found one and wrote the other, puts cluster a before b.
func (r *register) precedes(a, b cluster) bool {
	return a.value == absent || r.inTime(a, b) || r.fromSwap(a, b)
}

func (r *register) inTime(a, b cluster) bool { return r.ops[a.first].ret < r.ops[b.last].call }

// fromSwap tells whether the value of b was written by a swap that found the value of a.
func (r *register) fromSwap(a, b cluster) bool {
	w := r.writer[b.value]
	return w >= 0 && r.ops[w].do == swaps && r.ops[w].old == a.value
}

// alone proposes parts of one cluster that cannot be put in order by themselves.
func (r *register) alone(c cluster, propose func(...int)) {
	w := r.writer[c.value]
	if w >= 0 && r.ops[c.first].ret < r.ops[w].call {
		propose(w, c.first)
	}
	one := -1
	for _, i := range c.members {
		if o := r.ops[i]; o.do != swaps || o.old != c.value {
			continue
		}
		if one >= 0 {
			propose(one, i, w)
		}
		one = i
	}
}

// shrink removes operations from a history that is not linearizable as long as it stays so: first writes with all their reads, many at once,
// then single reads. In what is left no single one can be spared, unless the budget ended first: then least is false.
func (b *budget) shrink(r *register) (_ *register, least bool) {
	for {
		before := len(r.ops)
		for size := max(1, before/2); size > 0; size /= 2 {
			for from := 0; from < len(r.ops) && !b.spent(); {
				keep := make([]bool, len(r.ops))
				for i := range keep {
					keep[i] = i < from || i >= from+size
				}
				less := r.without(keep)
				if v, _ := b.search(less); v == Invalid {
					r = less
				} else {
					from += size
				}
			}
		}
		if len(r.ops) == before || b.spent() {
			return r, !b.spent()
		}
	}
}
