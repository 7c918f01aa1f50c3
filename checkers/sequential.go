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
		"guarantees (Terry and others 1994) and the staleness of reads are counted on the way",
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
	j.staleness()
	return j.result(count, fmt.Sprintf("%d of %.0f reads were stale", int(j.figures["stale_reads"]), j.figures["reads"])), nil
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
	for _, o := range r.ops {
		s := sight{op: o, reg: r, key: len(j.order), process: j.h[o.call].Process}
		if v := o.shows(); v != absent {
			if s.version = version[v]; s.version == 0 {
				// It took effect, but only a swap saw it, and nothing says at which version: some time before that swap.
				if s.version = r.swappedAt(v, version); s.version == 0 {
					continue
				}
				s.unknown = true
			}
		}
		j.sights = append(j.sights, s)
	}
	j.versions, j.order = append(j.versions, version), append(j.order, order)
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

// swappedAt is the version of the first swap with a known one that, directly or through others, found a value; 0: nothing says.
func (r *register) swappedAt(v int, version []uint64) uint64 {
	for range r.ops {
		i := slices.IndexFunc(r.ops, func(o regOp) bool { return o.do == swaps && o.old == v })
		if i < 0 {
			return 0
		}
		if v = r.ops[i].new; version[v] != 0 {
			return version[v]
		}
	}
	return 0
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
	found := s.op.old
	for steps := 0; j.versions[s.key][found] == 0; steps++ {
		w := s.reg.writer[found]
		if w < 0 || s.reg.ops[w].do != swaps || steps > len(s.reg.ops) {
			return nil
		}
		found = s.reg.ops[w].old
	}
	order := j.order[s.key]
	at, _ := slices.BinarySearchFunc(order, s.version, func(c claim, v uint64) int { return cmp.Compare(c.version, v) })
	if at > 0 && order[at-1].value == s.reg.values[found] {
		return nil
	}
	return &order[max(0, at-1)]
}

// session is how far a process has come in the server's order.
type session struct {
	at  uint64
	how sight // the answer that brought it there
}

// sessions moves each session through the order of writes, no further than it must, and tells how many there were.
func (j *sessionJudgement) sessions() int {
	place := map[int]int{}
	var all []session
	for _, s := range j.sights {
		p, seen := place[s.process]
		if !seen {
			p = len(all)
			place[s.process] = p
			all = append(all, session{})
		}
		me := &all[p]
		if s.op.do != reads {
			if s.version <= me.at {
				j.accuse(j.tooOld(s, *me, nil))
			}
			if before := j.before(s); before != nil && s.op.do == swaps && !s.unknown {
				j.accuse(j.foundOther(s, before))
			}
		} else if over := j.next(s.key, s.version); over != nil && over.version <= me.at {
			j.accuse(j.tooOld(s, *me, over))
		}
		if s.version > me.at && !s.unknown {
			*me = session{s.version, s}
		}
	}
	return len(all)
}

// foundOther tells of a swap that found what was not there.
func (j *sessionJudgement) foundOther(s sight, before *claim) Evidence {
	e := Evidence{Key: s.reg.key, Items: []Item{item(j.calls[before.at], fmt.Sprintf("version %d", before.version)),
		item(j.calls[s.op.at], "swapped "+s.reg.name(s.op.old))}}
	slices.SortFunc(e.Items, func(a, b Item) int { return cmp.Compare(a.Invoke, b.Invoke) })
	e.Edges = []Edge{{0, 1, "version"}}
	e.Why = []string{fmt.Sprintf("the swap of %s of %s has version %d at %s, but %d was next to it there, at version %d", s.reg.name(s.op.old), s.reg.key,
		s.version, j.node(j.calls[s.op.at]), before.value, before.version)}
	return e
}

// tooOld tells of an answer that is older than what its session had seen before.
func (j *sessionJudgement) tooOld(s sight, me session, over *claim) Evidence {
	m, _ := j.answer(j.calls[s.op.at])
	seen := fmt.Sprintf("p%d had been answered at version %d by %s", s.process, me.at, j.provenance(j.calls[me.how.op.at]))
	e := Evidence{Key: s.reg.key}
	if over == nil {
		e.Items = []Item{item(j.calls[me.how.op.at], fmt.Sprintf("saw version %d", me.at)), item(j.calls[s.op.at], fmt.Sprintf("version %d", s.version))}
		e.Edges = []Edge{{0, 1, "session"}}
		if s.unknown {
			e.Items[1].Role = fmt.Sprintf("before version %d", s.version)
			e.Why = []string{fmt.Sprintf("%s, and its later %s of %s was found by a swap at version %d", seen, m.F, s.reg.key, s.version)}
			return e
		}
		e.Why = []string{fmt.Sprintf("%s, and its later %s of %s has version %d", seen, m.F, s.reg.key, s.version)}
		return e
	}
	type part struct {
		at   int
		role string
	}
	parts := []part{{over.at, "overwrote"}, {me.how.op.at, fmt.Sprintf("saw version %d", me.at)}, {s.op.at, "returned old"}}
	if over.at == me.how.op.at {
		parts = []part{{over.at, "overwrote"}, {s.op.at, "returned old"}}
	}
	if w := s.reg.writer[s.op.old]; w >= 0 && s.reg.ops[w].at != me.how.op.at {
		parts = append([]part{{s.reg.ops[w].at, "wrote"}}, parts...)
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(a.at, b.at) })
	where := map[int]int{}
	for i, p := range parts {
		e.Items = append(e.Items, item(j.calls[p.at], p.role))
		where[p.at] = i
	}
	e.Edges = []Edge{{where[me.how.op.at], where[s.op.at], "session"}}
	if over.at != me.how.op.at {
		e.Edges = append(e.Edges, Edge{where[over.at], where[me.how.op.at], "version"})
	}
	if w := s.reg.writer[s.op.old]; w >= 0 {
		e.Edges = append(e.Edges, Edge{where[s.reg.ops[w].at], where[over.at], "version"}, Edge{where[s.reg.ops[w].at], where[s.op.at], "reads from"})
	}
	e.Why = []string{
		fmt.Sprintf("%s, and was then answered by %s with %s of %s, which version %d had overwritten", seen, j.provenance(j.calls[s.op.at]), s.reg.name(s.op.old),
			s.reg.key, over.version),
	}
	return e
}
