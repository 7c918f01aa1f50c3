package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"assize/history"
)

var sequential = Checker{
	Name:     "sequential",
	Question: "does some order that keeps each session's own order, though not real time, explain every answer?",
	Doc: "registers, all keys together, one session a process, in the server's own order of writes (the versions in the answers; without them " +
		"unknown): each session goes forward through that order and reads, at each step, what was there. Greedy and exact, O(n log n). Session " +
		"guarantees (Terry and others 1994) are counted on the way",
	Check: checkSequential,
}

// sight is an answer that a session got, with its place in the server's order of writes.
type sight struct {
	op      regOp
	reg     *register
	key     int // which register
	process int
	version uint64
	unknown bool // the version is not known: it is below this one
}

type sessionJudgement struct {
	trial
	versions [][]uint64 // of each register: the version of each value; 0: unknown
	origins  [][]int    // of each register and value: the last one before it along the swaps whose version is known, itself first; -1: none is
	order    [][]claim  // of each register: its writes by version
	sights   []sight    // of all sessions, in the order of their calls
	broken   int
	evidence []Evidence
	figures  map[string]float64
}

func checkSequential(h []history.Op, _ Limits) (Result, error) {
	j, unknown, err := newSessionJudgement(h)
	if err != nil {
		return Result{}, err
	}
	if unknown != "" {
		return Result{Verdict: Unknown, Note: unknown, Unit: "sessions", Figures: j.figures}, nil
	}
	count := j.sessions()
	j.guarantees()
	return j.result(count, ""), nil
}

// newSessionJudgement finds for each answer its place in the server's order. Where it cannot it says why: unless something has been found by
// then that no order could explain, all that is to be said is that it is unknown.
func newSessionJudgement(h []history.Op) (j *sessionJudgement, unknown string, err error) {
	t, err := load(h)
	if err != nil {
		return nil, "", err
	}
	j = &sessionJudgement{trial: t, figures: map[string]float64{}}
	keys, single := t.split("register")
	if !single {
		return j, "there are transactions of several steps, which this judgement does not know", nil
	}
	if len(keys) == 0 {
		return j, "there are no registers in this history", nil
	}
	for _, k := range keys {
		r := t.newRegister(k)
		for _, o := range r.orphans {
			l := lineJudgement{trial: t}
			j.accuse(l.orphan(&register{key: k.key, values: r.values, orphans: [][2]int{o}}))
		}
		if missing := j.place(r); missing != nil && unknown == "" {
			unknown = fmt.Sprintf("event %d, an answer of %s, carries no version", missing.ret, t.node(t.calls[missing.at]))
		}
		j.twice(r)
	}
	if j.broken > 0 {
		unknown = ""
	}
	slices.SortFunc(j.sights, func(a, b sight) int { return cmp.Compare(a.op.call, b.op.call) })
	return j, unknown, nil
}

// result of so many sessions; the note is that of a valid one.
func (j *sessionJudgement) result(sessions int, note string) Result {
	j.figures["violations"] = float64(j.broken)
	res := Result{Verdict: Valid, Note: note, Judged: sessions, Unit: "sessions", Evidence: j.evidence, Figures: j.figures}
	if j.broken > 0 {
		res.Verdict, res.Note = Invalid, j.evidence[0].Why[0]
		if j.broken > 1 {
			res.Note = fmt.Sprintf("%s; and %d more", res.Note, j.broken-1)
		}
	}
	return res
}

func (j *sessionJudgement) accuse(e Evidence) {
	if j.broken++; len(j.evidence) < mostTold {
		j.evidence = append(j.evidence, e)
	}
}

// place gives each answer on a key its version, and the key its order. It returns an answer that has none.
func (j *sessionJudgement) place(r *register) (missing *regOp) {
	version := make([]uint64, len(r.values))
	for _, o := range r.ops {
		v := o.shows()
		switch {
		case !o.ok || v == absent:
		case o.version == 0:
			missing = &o
		// A write's own word goes before what reads say of it.
		case version[v] == 0 || o.do != reads:
			version[v] = o.version
		}
	}
	var order []claim
	for v, z := range version {
		if w := r.writer[v]; z != 0 && w >= 0 {
			o := r.ops[w]
			order = append(order, claim{call: o.call, ret: o.ret, at: o.at, version: z, write: true, key: r.key, value: r.values[v]})
		}
	}
	slices.SortFunc(order, func(a, b claim) int { return cmp.Compare(a.version, b.version) })
	later := firstKnown(r.swapped(), version)
	for _, o := range r.ops {
		s := sight{op: o, reg: r, key: len(j.order), process: j.h[o.call].Process}
		if v := o.shows(); v != absent {
			if s.version = version[v]; s.version == 0 {
				// It took effect, but only a swap saw it, and nothing says at which version: some time before that swap.
				if later[v] < 0 {
					continue
				}
				s.version, s.unknown = version[later[v]], true
			}
		}
		j.sights = append(j.sights, s)
	}
	j.versions, j.order, j.origins = append(j.versions, version), append(j.order, order), append(j.origins, firstKnown(r.found(), version))
	return missing
}

// twice finds pairs of swaps that both found a value of which nothing says at which version it was. Where that is known, it stands right before
// one of the two, and the other is convicted by what stands there instead.
func (j *sessionJudgement) twice(r *register) {
	first := make([]int, len(r.values)) // 1 more than the place in calls
	for _, o := range r.ops {
		if o.do != swaps || j.versions[len(j.versions)-1][o.old] != 0 {
			continue
		}
		if first[o.old] == 0 {
			first[o.old] = o.at + 1
			continue
		}
		a, b := j.calls[first[o.old]-1], j.calls[o.at]
		j.accuse(Evidence{
			Key: r.key, Items: []Item{item(a, "swapped "+r.name(o.old)), item(b, "swapped "+r.name(o.old)+" again")}, Edges: []Edge{{0, 1, "one value"}},
			Why: []string{
				fmt.Sprintf("two compare-and-sets, at %s and at %s, both found %s", j.provenance(a), j.provenance(b), r.name(o.old)),
				"it was written once, so whichever came second can no longer have found it",
			},
		})
	}
}

// swapped gives for each value the one that the first swap which found it put into its place; -1: none did.
func (r *register) swapped() []int {
	next := slices.Repeat([]int{-1}, len(r.values))
	for _, o := range r.ops {
		if o.do == swaps && next[o.old] < 0 {
			next[o.old] = o.new
		}
	}
	return next
}

// found gives for each value the one that was there before it, if that was swapped for it; -1.
func (r *register) found() []int {
	next := slices.Repeat([]int{-1}, len(r.values))
	for v, w := range r.writer {
		if w >= 0 && r.ops[w].do == swaps {
			next[v] = r.ops[w].old
		}
	}
	return next
}

// firstKnown gives for each value the first along next, itself first, whose version is known; -1: none is.
func firstKnown(next []int, version []uint64) []int {
	first, seen := slices.Repeat([]int{-1}, len(next)), make([]bool, len(next))
	for v, z := range version {
		if z != 0 {
			first[v] = v
		}
	}
	var path []int
	for v := range next {
		path = path[:0]
		at := v
		for ; at >= 0 && first[at] < 0 && !seen[at]; at = next[at] {
			seen[at] = true
			path = append(path, at)
		}
		if at >= 0 {
			for _, p := range path {
				first[p] = first[at]
			}
		}
	}
	return first
}

// next is the first write of the key behind a version.
func (j *sessionJudgement) next(key int, version uint64) *claim {
	order := j.order[key]
	i, _ := slices.BinarySearchFunc(order, version+1, func(c claim, v uint64) int { return cmp.Compare(c.version, v) })
	if i == len(order) {
		return nil
	}
	return &order[i]
}

// before is the write that stands right before a swap where another should; nil: none does. Where nothing says at which version the value was
// that the swap found, and it was swapped in itself, then what that swap found stands there.
func (j *sessionJudgement) before(s sight) *claim {
	found := j.origins[s.key][s.op.old]
	if found < 0 {
		return nil
	}
	order := j.order[s.key]
	at, _ := slices.BinarySearchFunc(order, s.version, func(c claim, v uint64) int { return cmp.Compare(c.version, v) })
	if at > 0 && order[at-1].value == s.reg.values[found] {
		return nil
	}
	return &order[max(0, at-1)]
}

// sessions moves each session through the order of writes, no further than it must, and tells how many there were.
func (j *sessionJudgement) sessions() int {
	marks := map[int]mark{}
	for i := range j.sights {
		s := &j.sights[i]
		me, met := marks[s.process]
		if !met {
			me = nowhere
		}
		if s.op.do != reads {
			if s.version <= me.version {
				j.accuse(j.tooEarly(s, me))
			}
			if before := j.before(*s); before != nil && s.op.do == swaps && !s.unknown {
				j.accuse(j.foundOther(*s, before))
			}
		} else if over := j.next(s.key, s.version); over != nil && over.version <= me.version {
			j.accuse(j.tooStale(s, me, over))
		}
		if !s.unknown {
			me = further(me, mark{s.version, false, s.op.at, -1, -1})
		}
		marks[s.process] = me
	}
	return len(marks)
}

// foundOther tells of a swap that found what was not there.
func (j *sessionJudgement) foundOther(s sight, before *claim) Evidence {
	e := Evidence{Key: s.reg.key, Items: []Item{item(j.calls[before.at], "version "+numeral(before.version)),
		item(j.calls[s.op.at], "swapped "+s.reg.name(s.op.old))}}
	slices.SortFunc(e.Items, func(a, b Item) int { return cmp.Compare(a.Invoke, b.Invoke) })
	e.Edges = []Edge{{0, 1, "version"}}
	e.Why = []string{fmt.Sprintf("the swap of %s of %s has version %s at %s, but %d was next to it there, at version %s", s.reg.name(s.op.old), s.reg.key,
		numeral(s.version), j.node(j.calls[s.op.at]), before.value, numeral(before.version))}
	return e
}
