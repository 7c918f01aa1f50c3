package checkers

import "slices"

// provenByVersions replays a key in the order that the server's versions give and tells whether that is a linearization: a proof in O(n log n)
// that needs no trust in the versions, since each answer is checked against the replay and each pair of neighbours against real time. If it
// is none, nothing is proven.
func (r *register) provenByVersions() bool {
	version := make([]uint64, len(r.values)) // of each value; 0: unknown
	for _, o := range r.ops {
		v := o.shows()
		if o.ok && o.version != 0 && v != absent {
			version[v] = o.version
		}
	}
	// A write without an answer, seen only by swaps without one, stands right before them.
	before := make([]int, len(r.values))
	next, anchor := make([]int, len(r.values)), make([]int, len(r.values))
	for _, o := range r.ops {
		if o.do == swaps {
			next[o.old] = o.new
		}
	}
	for v := range version {
		if v == absent || version[v] != 0 || r.writer[v] < 0 {
			continue
		}
		to, steps := v, 0
		for version[to] == 0 && steps <= len(version) {
			to, steps = next[to], steps+1
			if to == absent {
				return false
			}
		}
		if version[to] == 0 {
			return false // a ring of swaps
		}
		before[v], anchor[v] = steps, to
	}
	type place struct {
		version uint64
		before  int
		read    bool
		op      *regOp
	}
	order := make([]place, len(r.ops))
	for i := range r.ops {
		o := &r.ops[i]
		v := o.shows()
		p := place{before: before[v], read: o.do == reads, op: o}
		if v != absent {
			p.version = version[v]
			if p.before > 0 {
				p.version = version[anchor[v]]
			}
		}
		order[i] = p
	}
	slices.SortFunc(order, func(a, b place) int {
		switch {
		case a.version != b.version:
			return compare(a.version, b.version)
		case a.before != b.before:
			return b.before - a.before
		case a.read != b.read:
			if b.read {
				return -1
			}
			return 1
		}
		return a.op.call - b.op.call
	})
	state, latest := absent, -1
	for _, p := range order {
		ok, after := p.op.step(state)
		// No operation may stand behind one that was called after it had returned.
		if !ok || p.op.ret < latest {
			return false
		}
		state, latest = after, max(latest, p.op.call)
	}
	return true
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}
