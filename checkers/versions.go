package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"assize/history"
)

var versions = Checker{
	Name:     "versions",
	Question: "does the order of writes that the server claims agree with its own answers and with real time?",
	Doc: "versions are evidence, not truth. One value has one version; two writes never have the same; a write is newer than all that anyone had " +
		"been told before it was asked for, on any key; an operation on a key is not older than what had been answered of that key before it was " +
		"asked for; a swap's value stands right behind the one that it found; a value was not overwritten at the position at which it was read. " +
		"More is demanded than that the values are linearizable: these answers must be, versions and all. O(n log n)",
	Check: checkVersions,
}

// claim is one operation with the version that it has by the server's word.
type claim struct {
	call, ret int
	at        int    // in trial.calls
	version   uint64 // 0 of a read that found nothing
	position  uint64
	write     bool
	key       string
	value     int
}

type versionJudgement struct {
	trial
	broken   int
	evidence []Evidence
}

func checkVersions(h []history.Op, _ Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	r := Result{Verdict: Valid, Unit: "answers", Figures: map[string]float64{}}
	j := versionJudgement{trial: t}
	var all []claim
	unversioned := 0
	keys, _ := t.split("register")
	for _, k := range keys {
		claims, without := j.register(t.newRegister(k))
		all = append(all, claims...)
		unversioned += without
	}
	sets, _ := t.split("set")
	for _, k := range sets {
		claims, without := j.adds(k)
		all = append(all, claims...)
		unversioned += without
	}
	j.store(all)
	r.Judged = len(all)
	r.Figures["violations"], r.Figures["without_version"] = float64(j.broken), float64(unversioned)
	switch {
	case j.broken > 0:
		r.Verdict, r.Evidence, r.Note = Invalid, j.evidence, j.evidence[0].Why[0]
		if j.broken > 1 {
			r.Note = fmt.Sprintf("%s; and %d more", r.Note, j.broken-1)
		}
	case len(all) == 0:
		r.Verdict, r.Note = Unknown, "no answer carries a version"
	default:
		r.Note = "one order explains all versions"
	}
	return r, nil
}

func (j *versionJudgement) accuse(key string, why []string, edge string, items ...Item) {
	if j.broken++; len(j.evidence) >= mostTold {
		return
	}
	e := Evidence{Key: key, Items: items, Why: why}
	slices.SortStableFunc(e.Items, func(a, b Item) int { return cmp.Compare(a.Invoke, b.Invoke) })
	for i := 1; i < len(items); i++ {
		e.Edges = append(e.Edges, Edge{i - 1, i, edge})
	}
	j.evidence = append(j.evidence, e)
}

// register gives the claims of one key and judges them by themselves.
func (j *versionJudgement) register(r *register) (claims []claim, unversioned int) {
	first := make([]*claim, len(r.values)) // to say which version a value has
	for _, o := range r.ops {
		if !o.ok {
			continue
		}
		v := o.shows()
		if o.version == 0 && v != absent {
			unversioned++
			continue
		}
		c := claim{o.call, o.ret, o.at, o.version, j.h[o.ret].Position, o.do != reads, r.key, r.values[v]}
		claims = append(claims, c)
		if v == absent {
			continue
		}
		if first[v] == nil {
			first[v] = &c
		} else if first[v].version != c.version {
			j.accuse(r.key, []string{
				fmt.Sprintf("%d of %s has version %s by the word of %s and %s by that of %s", c.value, r.key, numeral(first[v].version), j.provenance(j.calls[first[v].at]),
					numeral(c.version), j.provenance(j.calls[c.at])),
				"it was written once, so it has one version",
			}, "one value", item(j.calls[first[v].at], "version "+numeral(first[v].version)), item(j.calls[c.at], "version "+numeral(c.version)))
		}
	}
	j.backwards(r.key, claims)
	j.neighbours(r, first)
	return claims, unversioned
}

// backwards finds operations on a key that are older than one that was over before they were asked for.
func (j *versionJudgement) backwards(key string, claims []claim) {
	j.sweep(claims, func(c claim) uint64 { return c.version }, func(newest, c claim) {
		if c.version > newest.version || c.version == newest.version && !c.write {
			return
		}
		role := "returned old"
		if c.write {
			role = "took effect before"
		}
		j.accuse(key, []string{
			fmt.Sprintf("%s answered with version %s of %s, asked %s after version %s had been answered by %s", j.provenance(j.calls[c.at]), numeral(c.version), key,
				seconds(j.between(newest.ret, c.call)), numeral(newest.version), j.provenance(j.calls[newest.at])),
		}, "real time", item(j.calls[newest.at], "version "+numeral(newest.version)), item(j.calls[c.at], role))
	})
}

// sweep calls judge for each claim with the one that told of the most among those that were over before it was asked for.
func (j *versionJudgement) sweep(claims []claim, told func(claim) uint64, judge func(newest, c claim)) {
	byCall, byRet := slices.Clone(claims), slices.Clone(claims)
	slices.SortFunc(byCall, func(a, b claim) int { return cmp.Compare(a.call, b.call) })
	slices.SortFunc(byRet, func(a, b claim) int { return cmp.Compare(a.ret, b.ret) })
	var newest *claim
	over := 0
	for _, c := range byCall {
		for ; byRet[over].ret < c.call; over++ {
			if newest == nil || told(byRet[over]) > told(*newest) {
				newest = &byRet[over]
			}
		}
		if newest != nil {
			judge(*newest, c)
		}
	}
}

// neighbours judges by the order of a key's versions: what a swap found is right before it, and what was read at a position had not been
// overwritten by then.
func (j *versionJudgement) neighbours(r *register, first []*claim) {
	var order []int // values by version
	for v, c := range first {
		if c != nil {
			order = append(order, v)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(first[a].version, first[b].version) })
	place := make([]int, len(r.values))
	for i, v := range order {
		place[v] = i
	}
	for _, o := range r.ops {
		if o.do == swaps && first[o.old] != nil && first[o.new] != nil && place[o.new] != place[o.old]+1 {
			between := first[order[max(0, place[o.new]-1)]]
			j.accuse(r.key, []string{
				fmt.Sprintf("the swap of %s for %s at %s has version %s, but %d was there then, at version %s", r.name(o.old), r.name(o.new),
					j.node(j.calls[o.at]), numeral(first[o.new].version), between.value, numeral(between.version)),
			}, "version", item(j.calls[between.at], "version "+numeral(between.version)), item(j.calls[o.at], "swapped "+r.name(o.old)))
		}
		if o.do != reads || !o.ok {
			continue
		}
		next := 0
		if o.old != absent {
			if first[o.old] == nil {
				continue
			}
			next = place[o.old] + 1
		}
		position := j.h[o.ret].Position
		if next < len(order) && position != 0 && first[order[next]].version <= position {
			over := first[order[next]]
			j.accuse(r.key, []string{
				fmt.Sprintf("%s returned %s of %s at position %s, but %d had overwritten it at %s", j.provenance(j.calls[o.at]), r.name(o.old), r.key, numeral(position),
					over.value, numeral(over.version)),
			}, "version", item(j.calls[over.at], "version "+numeral(over.version)), item(j.calls[o.at], "returned old"))
		}
	}
}

// adds to a set are writes too.
func (j *versionJudgement) adds(k keyed) (claims []claim, unversioned int) {
	for _, at := range k.calls {
		c := j.calls[at]
		if c.Kind != history.OK || j.steps(c)[0].F != history.Add {
			continue
		}
		m, op := j.answer(c)
		if op.Version == 0 {
			unversioned++
			continue
		}
		claims = append(claims, claim{c.Invoke, c.Complete, at, op.Version, op.Position, true, k.key, m.In[0]})
	}
	return claims, unversioned
}

// store judges what holds across keys: a revision belongs to one write, and a write comes after all that anyone had been told before it.
func (j *versionJudgement) store(claims []claim) {
	owner := map[uint64]claim{}
	for _, c := range claims {
		if !c.write {
			continue
		}
		if o, twice := owner[c.version]; twice {
			j.accuse(c.key, []string{
				fmt.Sprintf("version %s was given to %d of %s by %s and to %d of %s by %s", numeral(c.version), o.value, o.key, j.provenance(j.calls[o.at]), c.value, c.key,
					j.provenance(j.calls[c.at])),
				"a revision of the store belongs to one write: one of the two has been lost",
			}, "one version", item(j.calls[o.at], "acknowledged"), item(j.calls[c.at], "acknowledged"))
		}
		owner[c.version] = c
	}
	reached := func(c claim) uint64 { return max(c.version, c.position) }
	j.sweep(claims, reached, func(newest, c claim) {
		if !c.write || c.version > reached(newest) {
			return
		}
		j.accuse(c.key, []string{
			fmt.Sprintf("%s gave version %s to the write of %d to %s, asked %s after %s had answered at %s", j.provenance(j.calls[c.at]), numeral(c.version), c.value, c.key,
				seconds(j.between(newest.ret, c.call)), j.provenance(j.calls[newest.at]), numeral(reached(newest))),
		}, "real time", item(j.calls[newest.at], "answered at "+numeral(reached(newest))), item(j.calls[c.at], "took effect before"))
	})
}
