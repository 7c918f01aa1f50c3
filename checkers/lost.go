package checkers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"assize/history"
)

var lost = Checker{
	Name:     "lost",
	Question: "is every acknowledged element there at the end, and nothing that nobody added?",
	Doc: "sets, each element by itself. An element is known from the return of its acknowledged add, or of the first scan that shows it. It is lost " +
		"if a scan asked for after that missed it and none asked for later shows it; stale if it was missed for a while; recovered if its add was " +
		"not acknowledged and it is there. Never by a scan that overlaps the add. A miss counts as a loss only in the last words of a mended " +
		"cluster, where the history has them: before, it may be staleness. Duplicated, unexpected (never added, or shown before it was) and " +
		"resurrected (its add had failed) elements are violations too",
	Check: checkLost,
}

// fate of one element.
type fate uint8

const (
	pending   fate = iota // neither acknowledged nor ever shown: nothing is claimed
	stable                // shown by all that were asked after it was known
	recovered             // shown, though its add was not acknowledged
	unread                // acknowledged, and nobody looked for it afterwards
	stale                 // missed for a while
	missing               // missed to the end, but there are no last words that would settle it
	vanished              // lost
	uneven                // some last words show it, some do not
	duplicated
	unexpected
	resurrected
	fates // how many there are
)

var fateNames = [fates]string{"pending", "stable", "recovered", "unread", "stale", "missing", "lost", "uneven", "duplicated", "unexpected", "resurrected"}

// element is what is known of one element of a set.
type element struct {
	value        int
	add          int // in trial.calls; -1: nobody added it
	shown        int // the scan that was over first of those that show it; -1: none
	seen, missed int // the scans asked for last that show it, and that miss it after it was known; -1: none
	gone         int // the scan asked for first of those that miss it to the end; -1: none
	finalSeen    bool
	finalMissed  int // the last words asked for last that miss it; -1: none
	twice        int // a scan that shows it twice; -1: none
	early        int // a scan that was over before its add was asked for; -1: none
	knownAt      int // event; never
	fate         fate
}

type lostJudgement struct {
	trial
	final   int  // the event at which the last words begin; -1
	phases  bool // the harness says what phase it is
	settled bool // the cluster had settled before the last words
	counts  [fates]int
	stales  []time.Duration
	accused []accusation
}

type accusation struct {
	at int // event, to sort by
	e  Evidence
}

func checkLost(h []history.Op, _ Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	j := lostJudgement{trial: t, final: entered(h, history.PhaseFinal), phases: entered(h, history.PhaseStorm) >= 0}
	j.settled = j.final >= 0 && h[j.final].Note == ""
	keys, single := t.split("set")
	r := Result{Verdict: Unknown, Unit: "elements", Figures: map[string]float64{}}
	if !single || len(keys) == 0 {
		r.Note = "there are no sets in this history"
		if !single {
			r.Note = "there are transactions of several steps, which this judgement does not know"
		}
		return r, nil
	}
	acknowledged := 0
	for _, k := range keys {
		scans, elements := j.gather(k)
		for i := range elements {
			e := &elements[i]
			e.fate = j.judge(e, scans)
			j.counts[e.fate]++
			r.Judged++
			if e.add >= 0 && j.calls[e.add].Kind == history.OK {
				acknowledged++
			}
			j.accuse(k.key, e)
		}
	}
	for f, n := range j.counts {
		r.Figures[fateNames[f]] = float64(n)
	}
	r.Figures["acknowledged"] = float64(acknowledged)
	if len(j.stales) > 0 {
		slices.Sort(j.stales)
		r.Figures["stale_p50_s"], r.Figures["stale_most_s"] = percentile(j.stales, 50).Seconds(), percentile(j.stales, 100).Seconds()
	}
	j.conclude(&r, acknowledged)
	return r, nil
}

func (j *lostJudgement) conclude(r *Result, acknowledged int) {
	worst := j.counts[vanished] + j.counts[uneven] + j.counts[duplicated] + j.counts[unexpected] + j.counts[resurrected]
	slices.SortStableFunc(j.accused, func(a, b accusation) int { return cmp.Compare(a.at, b.at) })
	for _, a := range j.accused[:min(len(j.accused), mostTold)] {
		r.Evidence = append(r.Evidence, a.e)
	}
	var words []string
	for _, f := range []fate{vanished, uneven, duplicated, unexpected, resurrected, missing, unread, stale, recovered} {
		if n := j.counts[f]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, fateNames[f]))
		}
	}
	detail := strings.Join(words, ", ")
	switch {
	case worst > 0:
		r.Verdict, r.Note = Invalid, fmt.Sprintf("of %d acknowledged: %s", acknowledged, detail)
	case acknowledged == 0:
		r.Note = "no add was acknowledged"
	case j.counts[missing]+j.counts[unread] > 0:
		r.Note = fmt.Sprintf("of %d acknowledged: %s; there are no last words that would tell", acknowledged, detail)
	default:
		r.Verdict, r.Note = Valid, fmt.Sprintf("none of %d acknowledged was lost", acknowledged)
		if detail != "" {
			r.Note += "; " + detail
		}
	}
}

// gather collects a set's answered scans, in the order of their calls, and its elements, in the order in which they were added and then of those
// that nobody added.
func (j *lostJudgement) gather(k keyed) (scans []int, elements []element) {
	place := map[int]int{}
	meet := func(value int) *element {
		p, seen := place[value]
		if !seen {
			p = len(elements)
			place[value] = p
			elements = append(elements, element{value: value, add: -1, shown: -1, seen: -1, missed: -1, gone: -1, finalMissed: -1, twice: -1, early: -1,
				knownAt: never})
		}
		return &elements[p]
	}
	for _, at := range k.calls {
		c := j.calls[at]
		switch m := j.steps(c)[0]; {
		case m.F == history.Add:
			e := meet(m.In[0])
			e.add = at
			if c.Kind == history.OK {
				e.knownAt = c.Complete
			}
		case c.Kind == history.OK:
			scans = append(scans, at)
		}
	}
	in := map[int]int{} // value -> the last scan that showed it
	for _, at := range scans {
		c := j.calls[at]
		m, _ := j.answer(c)
		for _, v := range m.Out {
			e := meet(v)
			if last, again := in[v]; again && last == at {
				e.twice = at
			}
			in[v] = at
			if e.shown < 0 || c.Complete < j.calls[e.shown].Complete {
				e.shown = at
			}
			e.knownAt = min(e.knownAt, c.Complete)
			e.seen = at
			if e.add >= 0 && c.Complete < j.calls[e.add].Invoke {
				e.early = at
			}
			e.finalSeen = e.finalSeen || j.final >= 0 && c.Invoke > j.final
		}
	}
	j.misses(scans, elements)
	return scans, elements
}

// misses finds for each element the scans asked for after it was known that do not show it.
func (j *lostJudgement) misses(scans []int, elements []element) {
	has := map[int]bool{}
	for _, at := range scans {
		c := j.calls[at]
		m, _ := j.answer(c)
		for _, v := range m.Out {
			has[v] = true
		}
		for i := range elements {
			e := &elements[i]
			if has[e.value] || c.Invoke < e.knownAt {
				continue
			}
			e.missed = at
			if e.gone < 0 && at > e.seen {
				e.gone = at
			}
			if j.final >= 0 && c.Invoke > j.final {
				e.finalMissed = at
			}
		}
		clear(has)
	}
}

func (j *lostJudgement) judge(e *element, scans []int) fate {
	failed := e.add >= 0 && j.calls[e.add].Kind == history.Fail
	switch {
	case e.shown >= 0 && (e.add < 0 || e.early >= 0):
		return unexpected
	case e.shown >= 0 && failed:
		return resurrected
	case e.twice >= 0:
		return duplicated
	case e.knownAt == never:
		return pending
	case e.missed > e.seen:
		switch {
		case e.finalSeen && !j.settled:
			return missing
		case e.finalSeen:
			return uneven
		case e.finalMissed >= 0 || !j.phases:
			return vanished
		}
		return missing
	case e.finalMissed >= 0 && j.settled:
		return uneven
	case e.missed >= 0:
		// From when it was known to when it was last missed.
		j.stales = append(j.stales, j.between(e.knownAt, j.calls[e.missed].Invoke))
		return stale
	case j.calls[e.add].Kind != history.OK:
		// Known only because a scan shows it: that nobody asked again takes nothing from that.
		return recovered
	case e.seen < 0 || len(scans) == 0 || j.calls[e.seen].Invoke < e.knownAt && j.calls[e.seen].Complete != e.knownAt:
		return unread
	}
	return stable
}

// accuse keeps the evidence of an element that convicts.
func (j *lostJudgement) accuse(key string, e *element) {
	if e.fate < vanished {
		return
	}
	var parts []Item
	part := func(at int, role string) {
		if at >= 0 && !slices.ContainsFunc(parts, func(p Item) bool { return p.Invoke == j.calls[at].Invoke }) {
			parts = append(parts, item(j.calls[at], role))
		}
	}
	add := "acknowledged"
	if e.add >= 0 && j.calls[e.add].Kind != history.OK {
		add = "added, " + j.calls[e.add].Kind.String()
	}
	part(e.add, add)
	ev := Evidence{Key: key}
	switch e.fate {
	case vanished, uneven:
		part(e.shown, "first shown")
		part(e.seen, "last shown")
		part(e.gone, "missed")
		part(e.missed, "missed at last")
		if e.finalMissed > e.missed {
			part(e.finalMissed, "missed")
		}
	case duplicated:
		part(e.twice, "shown twice")
	case unexpected:
		at := e.shown
		if e.early >= 0 {
			at = e.early
		}
		part(at, "shown")
	default:
		part(e.shown, "shown")
	}
	slices.SortStableFunc(parts, func(a, b Item) int { return cmp.Compare(a.Invoke, b.Invoke) })
	ev.Items = parts
	for i := 1; i < len(parts); i++ {
		if done := parts[i-1].Complete; done >= 0 && done < parts[i].Invoke {
			ev.Edges = append(ev.Edges, Edge{i - 1, i, "real time"})
		}
	}
	ev.Why = j.why(key, e)
	j.accused = append(j.accused, accusation{parts[0].Invoke, ev})
}

// nextFault is the event of the first fault behind an event; -1: none.
func (j *lostJudgement) nextFault(at int) int {
	for i := at; i < len(j.h); i++ {
		if f := j.h[i].Fault; f != nil && !f.Mended {
			return i
		}
	}
	return -1
}

// why says in at most two sentences what became of the element, and what was broken when it was acknowledged.
func (j *lostJudgement) why(key string, e *element) []string {
	origin := "nobody added it"
	if e.add >= 0 {
		c := j.calls[e.add]
		at := c.Complete
		if at < 0 {
			at = len(j.h)
		}
		origin = fmt.Sprintf("its add was sent to %s and ended %v", j.node(c), c.Kind)
		if c.Kind == history.OK {
			origin = "it was acknowledged by " + j.provenance(c)
		}
		if active := activeAt(j.h, at); active != "" {
			origin += ", during " + active
		} else if f := j.nextFault(at); e.gone >= 0 && f >= 0 && f < j.calls[e.gone].Invoke {
			origin += fmt.Sprintf(", %s before F%d %s", seconds(j.between(at, f)), j.h[f].Fault.ID, faultWords(j.h[f].Fault))
		}
	}
	switch e.fate {
	case vanished:
		c := j.calls[e.gone]
		what := fmt.Sprintf("%d of %s is lost: %s was asked %s after it was known, and neither its answer nor any later one shows it", e.value, key, j.node(c),
			seconds(j.between(e.knownAt, c.Invoke)))
		if e.missed != e.gone {
			last := j.calls[e.missed]
			what += fmt.Sprintf(", the last that of %s after %s", j.node(last), seconds(j.between(e.knownAt, last.Invoke)))
		}
		return []string{what, origin}
	case uneven:
		return []string{fmt.Sprintf("%d of %s is missing at %s after everything had been mended and had settled, and is there at %s", e.value, key,
			j.node(j.calls[e.finalMissed]), j.node(j.calls[e.seen])), origin}
	case duplicated:
		return []string{fmt.Sprintf("%s shows %d of %s twice in one scan", j.node(j.calls[e.twice]), e.value, key), origin}
	case unexpected:
		if e.early >= 0 {
			return []string{fmt.Sprintf("%s showed %d of %s before anybody asked for it to be added", j.node(j.calls[e.early]), e.value, key), origin}
		}
		return []string{fmt.Sprintf("%s shows %d of %s", j.node(j.calls[e.shown]), e.value, key), origin}
	}
	return []string{fmt.Sprintf("%s shows %d of %s, whose add had failed and never would take effect: %s", j.node(j.calls[e.shown]), e.value, key,
		j.h[j.calls[e.add].Complete].Note), origin}
}
