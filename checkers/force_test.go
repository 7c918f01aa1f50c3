package checkers

import (
	"slices"

	"assize/history"
)

// versionsOf values: a write's own word goes before what reads say of it.
func versionsOf(calls []tcall) map[keyValue]uint64 {
	version := map[keyValue]uint64{}
	for _, c := range calls {
		if c.kind != history.OK {
			continue
		}
		if c.f == history.Read && len(c.out) == 1 {
			version[keyValue{c.key, c.out[0]}] = c.version
		}
	}
	for _, c := range calls {
		if c.kind == history.OK && len(c.in) > 0 {
			version[keyValue{c.key, c.in[len(c.in)-1]}] = c.version
		}
	}
	return version
}

// step is a part of a call that takes effect at one moment: a sync and what goes behind it are two.
type step struct {
	f, key    string
	in, out   []int
	call, ret int
	version   uint64 // of a write; 0: not known
	position  uint64 // the writes so far are those up to it; 0: any
	ordered   bool   // in real time, among all such
	optional  bool
}

const look = "look" // does nothing, at a position

// stepsOf gives what each session did, in its order, and the versions of the writes, ascending.
func stepsOf(calls []tcall, byPosition bool) (sessions [][]step, writes []uint64) {
	version := versionsOf(calls)
	place := map[int]int{}
	sorted := slices.Clone(calls)
	slices.SortFunc(sorted, func(a, b tcall) int { return a.call - b.call })
	for _, c := range sorted {
		if c.kind == history.Fail || c.kind != history.OK && (c.f == history.Read || c.f == history.Sync) {
			continue
		}
		p, seen := place[c.process]
		if !seen {
			p = len(sessions)
			place[c.process] = p
			sessions = append(sessions, nil)
		}
		s := step{f: c.f, key: c.key, in: c.in, out: c.out, call: c.call, ret: c.ret}
		if c.kind != history.OK {
			s.ret = never
		} else if byPosition {
			s.position = c.position
		}
		if c.synced && c.kind == history.OK {
			sessions[p] = append(sessions[p], step{f: history.Sync, call: s.call, ret: s.ret, ordered: true})
		}
		s.ordered = c.f != history.Read
		if c.f == history.Write || c.f == history.CAS {
			s.version = version[keyValue{c.key, c.in[len(c.in)-1]}]
			if s.optional = s.version == 0; !s.optional {
				writes = append(writes, s.version)
			}
			s.position = 0
		}
		sessions[p] = append(sessions[p], s)
		if s.version != 0 && byPosition && c.kind == history.OK && c.position != 0 {
			sessions[p] = append(sessions[p], step{f: look, position: c.position})
		}
	}
	slices.Sort(writes)
	return sessions, writes
}

// waits tells whether something that is left has to be before the step.
func waits(left [][]step, s step) bool {
	for _, rest := range left {
		for _, o := range rest {
			if s.ordered && o.ordered && !o.optional && o.ret < s.call {
				return true
			}
		}
	}
	return false
}

// ordered tries every order that keeps the sessions', what the steps say of real time and of positions, and has the writes in the order of their
// versions. A write whose version nobody knows may take part anywhere.
func ordered(sessions [][]step, writes []uint64) bool {
	state := map[string]int{}
	var try func(left, written int, clock uint64) bool
	try = func(left, written int, clock uint64) bool {
		if left == 0 {
			return true
		}
		for p, rest := range sessions {
			if len(rest) == 0 || waits(sessions, rest[0]) {
				continue
			}
			s, wrote, need := rest[0], written, left-1
			was, there := state[s.key]
			if s.position != 0 && (s.position < clock || written < len(writes) && writes[written] <= s.position) {
				continue
			}
			now := max(clock, s.position, s.version)
			switch {
			case s.f == history.Sync || s.f == look:
			case s.f == history.Read:
				if there != (len(s.out) == 1) || there && was != s.out[0] {
					continue
				}
			case !s.optional && s.version != writes[written], s.f == history.CAS && (!there || was != s.in[0]):
				continue
			default:
				state[s.key] = s.in[len(s.in)-1]
				if s.optional {
					need = left
				} else {
					wrote++
				}
			}
			sessions[p] = rest[1:]
			ok := try(need, wrote, now)
			sessions[p] = rest
			if there {
				state[s.key] = was
			} else {
				delete(state, s.key)
			}
			if ok {
				return true
			}
		}
		return false
	}
	left := 0
	for _, list := range sessions {
		for _, s := range list {
			if !s.optional {
				left++
			}
		}
	}
	return try(left, 0, 0)
}
