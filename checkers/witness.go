package checkers

import "slices"

// provenByVersions replays a key in the order that the server's versions give and tells whether that is a linearization: a proof in O(n log n)
// that needs no trust in the versions, since each answer is checked against the replay and each pair of neighbours against real time. If it
// is none, nothing is proven.
func (r *register) provenByVersions() bool {
	places, ok := r.places()
	if !ok {
		return false
	}
	type place struct {
		standing
		read bool
		op   *regOp
	}
	order := make([]place, len(r.ops))
	for i := range r.ops {
		o := &r.ops[i]
		order[i] = place{places[o.shows()], o.do == reads, o}
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

// standing of a value in the server's order: at a version, or so many steps before the value of that version.
type standing struct {
	version uint64
	before  int
}

// places gives each value its standing; false where that is not known of one.
func (r *register) places() ([]standing, bool) {
	places := make([]standing, len(r.values))
	next := make([]int, len(r.values)) // by the swap that found it
	for _, o := range r.ops {
		if v := o.shows(); o.ok && v != absent {
			places[v].version = max(places[v].version, o.version)
		}
		if o.do == swaps {
			next[o.old] = o.new
		}
	}
	// A write without an answer, seen by swaps alone, stands right before them.
	for v := range places {
		if v == absent || r.writer[v] < 0 {
			continue
		}
		to := v
		for steps := 0; places[to].version == 0 || places[to].before > 0; steps++ {
			if to = next[to]; to == absent || steps > len(places) {
				return nil, false // nobody says, or a ring of swaps
			}
			places[v].before = steps + 1
		}
		places[v].version = places[to].version
	}
	return places, true
}
