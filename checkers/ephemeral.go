package checkers

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"assize/history"
)

var ephemeral = Checker{
	Name:     "ephemeral",
	Question: "is every ephemeral node there while its session lives, and gone with it?",
	Doc: "by versions and positions, which order all changes: a session ends at one version for all its nodes, after each of its own writes and after each " +
		"state in which one of its nodes was seen, and not after one in which a node was missing, another session had made it anew, or the session was " +
		"closed. A node that is seen was asked for, and not refused. Sequential nodes are seen in " +
		"lists. After the rest at the end, in which a mended cluster under one leader had several time-outs to end sessions that nobody used, no node of theirs may be left. O(n log n)",
	Check: checkEphemeral,
}

type ephemeralJudgement struct {
	*census
	Result
}

func checkEphemeral(h []history.Op, _ Limits) (Result, error) {
	c, err := takeCensus(h)
	if err != nil {
		return Result{}, err
	}
	j := &ephemeralJudgement{c, Result{Verdict: Valid, Unit: "nodes", Judged: len(c.flies), Figures: map[string]float64{}}}
	j.unasked()
	for _, l := range c.lives {
		j.span(l)
	}
	open := j.left()
	j.Figures["sights"], j.Figures["broken"] = float64(len(c.sights)), float64(len(j.Evidence))
	switch {
	case len(j.Evidence) > 0:
		j.Verdict, j.Note = Invalid, j.Evidence[0].Why[0]
		j.Evidence = j.Evidence[:min(len(j.Evidence), mostTold)]
	case open != "":
		j.Verdict, j.Note = Unknown, open
	case len(c.flies) == 0 || len(c.sights) == 0:
		j.Verdict, j.Note = Unknown, "no ephemeral node was made, or none was looked for"
	default:
		j.Note = fmt.Sprintf("%s found each node while its session lived, and none after it", plural(len(c.sights), "read"))
	}
	return j.Result, nil
}

// unasked: what is seen was asked for before, and has not been refused.
func (j *ephemeralJudgement) unasked() {
	numbers := map[string]map[int]bool{}
	answered := slices.Clone(j.sights)
	slices.SortStableFunc(answered, func(a, b seen) int { return cmp.Compare(j.calls[a.call].Complete, j.calls[b.call].Complete) })
	for _, s := range answered {
		if !s.found {
			continue
		}
		read := j.calls[s.call]
		e := Evidence{Key: j.key(s.call), Items: []Item{item(read, "saw it")}}
		who := fmt.Sprintf("p%d on %s saw %s -> %d", j.h[read.Invoke].Process, j.node(read), e.Key, s.value)
		if s.fly == nil {
			if j.numberable(s, numbers) {
				continue
			}
			e.Why = []string{who + ", which nobody has asked for"}
			j.Evidence = append(j.Evidence, e)
			continue
		}
		create := j.calls[s.fly.create]
		switch {
		case create.Kind == history.Fail:
			e.Why = []string{who + ", whose creation was refused"}
		case create.Invoke > read.Complete:
			e.Why = []string{who + " before it was asked for"}
		default:
			continue
		}
		e.Items = append([]Item{item(create, "asked for it")}, e.Items...)
		j.Evidence = append(j.Evidence, e)
	}
}

// numberable: what was seen is a sequential node that may be one of those of which nobody knows: each of these is one at most. numbers are those seen
// until now, in answers.
func (j *ephemeralJudgement) numberable(s seen, numbers map[string]map[int]bool) bool {
	m, done, _ := j.step(s.call)
	if m.F != history.List {
		return false
	}
	asked, _ := slices.BinarySearchFunc(j.unnumbered[m.Key], done.Index, func(i, index int) int { return cmp.Compare(j.calls[i].Invoke, index) })
	if numbers[m.Key] == nil {
		numbers[m.Key] = map[int]bool{}
	}
	numbers[m.Key][s.value] = true
	return len(numbers[m.Key]) <= asked
}

// sign that a session was alive in the state of a version, and after it.
type sign struct {
	at   uint64
	call int
	fly  *mayfly
	why  string
}

// span holds all that shows a session alive against all that shows it ended: the last of the ones must be before the first of the others.
func (j *ephemeralJudgement) span(l *life) {
	alive, any := sign{}, false
	later := func(s sign) {
		if !any || s.at > alive.at {
			alive, any = s, true
		}
	}
	for _, i := range l.calls {
		if w, ok := j.wrote(i); ok {
			later(sign{at: w, call: i, why: "wrote"})
		}
	}
	for _, s := range l.sights {
		later(sign{at: max(s.floor, s.fly.version), call: s.call, fly: s.fly, why: "still had the node"})
	}
	end := death{at: math.MaxUint64}
	if l.closed >= 0 && j.h[j.calls[l.closed].Complete].Version > 0 {
		end = death{call: l.closed, at: j.h[j.calls[l.closed].Complete].Version, why: "the session was closed"}
	}
	for _, d := range l.deaths {
		if d.at < end.at {
			end = d
		}
	}
	if !any || alive.at < end.at {
		return
	}
	e := Evidence{Edges: []Edge{{0, 1, "version"}}}
	e.Items = []Item{item(j.calls[end.call], "the session had ended: "+end.why), item(j.calls[alive.call], "the session "+alive.why)}
	for _, f := range []*mayfly{end.node, alive.fly} {
		if f != nil {
			e.Key = f.key
			if f.create != alive.call && (end.node != f || e.Items[0].Invoke != j.calls[f.create].Invoke) {
				e.Items = append([]Item{item(j.calls[f.create], fmt.Sprintf("created %s -> %d", f.key, f.value))}, e.Items...)
				e.Edges = []Edge{{len(e.Items) - 2, len(e.Items) - 1, "version"}}
			}
			break
		}
	}
	e.Why = []string{fmt.Sprintf("session %s %s at version %s or later, though it had ended by version %s: %s", name(l.id), alive.why, numeral(alive.at), numeral(end.at), end.why)}
	j.Evidence = append(j.Evidence, e)
}

// left: nodes that were still there when all sessions that nobody used must have ended. open says why it is not known whether one should have.
func (j *ephemeralJudgement) left() (open string) {
	r := j.rest()
	if r.from < 0 {
		return "the history ends before sessions were left alone until they end"
	}
	for _, s := range j.sights {
		read := j.calls[s.call]
		if !s.found || read.Invoke < r.to {
			continue
		}
		create, l := j.owner(s, r)
		if l == nil {
			continue
		}
		last, found := j.lastUse(l, r)
		if !found {
			continue
		}
		key := j.key(s.call)
		what := fmt.Sprintf("%s -> %d is still there, %s after its session %s was last used", key, s.value, seconds(j.between(last.Invoke, read.Complete)), name(l.id))
		if !j.outlasts(r, l) {
			open = what + ", and nobody knows whether it should: " + j.h[r.to].Note
			continue
		}
		j.Evidence = append(j.Evidence, Evidence{
			Key:   key,
			Items: []Item{item(j.calls[create], "created it"), item(last, "last used the session"), item(read, "still saw it")},
			Edges: []Edge{{1, 2, "real time"}},
			Why:   []string{what, j.whyOver(l, r)},
		})
	}
	return open
}

// owner of what was seen after a rest, and the call that has created it, or may have. Of a sequential node of which nobody knows whose it is that is the
// session of all those that it can be that need not have ended, if there is one.
func (j *ephemeralJudgement) owner(s seen, r rest) (create int, l *life) {
	if s.fly != nil {
		return s.fly.create, s.fly.owner
	}
	m, done, _ := j.step(s.call)
	for _, i := range j.unnumbered[m.Key] {
		if j.calls[i].Invoke > done.Index || m.F != history.List {
			break
		}
		create, l = i, j.byID[j.h[j.calls[i].Invoke].Session]
		if _, before := j.lastUse(l, r); !before || !j.outlasts(r, l) {
			return create, l
		}
	}
	return create, l
}
