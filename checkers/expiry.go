package checkers

import (
	"fmt"
	"time"

	"assize/history"
)

var expiry = Checker{
	Name:     "expiry",
	Question: "did no session end before its time, and was each that had ended told so?",
	Doc: "a session is never another one than was asked for, never the session of two, and never goes on once it was closed, nor after the rest at the " +
		"end, in which a mended cluster under one leader had several time-outs to end sessions that nobody used. It may end when the servers have not " +
		"heard of it for its negotiated time-out, and later, not earlier. A client cannot know when they have heard of it. What it can prove: whoever " +
		"leads has heard of a session that wrote, not before the write was asked for; and of one that only reads by and by, if its connection answered " +
		"all the while and nothing was broken. An end is proved early where it shows within half the time-out of the write, or nine tenths of a read " +
		"half a time-out back. Where clocks were falsified nothing is early. O(n log n)",
	Check: checkExpiry,
}

const clockFault = "clock" // the name of the nemesis that falsifies clocks

// expiryJudgement is the work of checkExpiry.
type expiryJudgement struct {
	*census
	Result
	breaks []outage
	skewed bool
}

// outage is a time in which something was broken, or may have been.
type outage struct{ from, to time.Duration }

func checkExpiry(h []history.Op, _ Limits) (Result, error) {
	c, err := takeCensus(h)
	if err != nil {
		return Result{}, err
	}
	j := &expiryJudgement{census: c, Result: Result{Verdict: Valid, Unit: "sessions", Judged: len(c.lives), Figures: map[string]float64{}}}
	j.outages()
	j.identities()
	told, ended, rest := 0, 0, c.rest()
	for _, l := range c.lives {
		j.revived(l)
		j.immortal(l, rest)
		if early := j.early(l); early != nil {
			j.accuse(*early)
		}
		for _, d := range l.deaths {
			if d.node == nil {
				told++
				break
			}
		}
		if len(l.deaths) > 0 {
			ended++
		}
	}
	j.Figures["told"], j.Figures["ended"], j.Figures["early"] = float64(told), float64(ended), float64(len(j.Evidence))
	switch {
	case len(j.Evidence) > 0:
		j.Verdict, j.Note = Invalid, j.Evidence[0].Why[0]
		j.Evidence = j.Evidence[:min(len(j.Evidence), mostTold)]
	case told == 0:
		j.Verdict, j.Note = Unknown, "no client came back with a session that had ended"
	default:
		j.Note = fmt.Sprintf("%s ended, and %d were told so when they came back", plural(ended, "session"), told)
		if j.skewed {
			j.Note += "; clocks were falsified, so that nobody can say which was early"
		}
	}
	return j.Result, nil
}

func (j *expiryJudgement) accuse(e Evidence) { j.Evidence = append(j.Evidence, e) }

// outages finds when something may have been broken: from before a fault is on record until it was mended, and from the end of the storm until
// all was mended.
func (j *expiryJudgement) outages() {
	open := map[int]int{}
	whole := -1 // the outage at the end of the storm
	for _, op := range j.h {
		switch f := op.Fault; {
		case op.Phase == history.PhaseQuorum || op.Phase == history.PhaseMend:
			if whole < 0 {
				whole = len(j.breaks)
				j.breaks = append(j.breaks, outage{op.Time, never})
			}
		case op.Phase == history.PhaseRest || op.Phase == history.PhaseFinal:
			if whole >= 0 && j.breaks[whole].to == never {
				j.breaks[whole].to = op.Time
			}
		case f == nil:
		case f.Mended:
			if i, known := open[f.ID]; known {
				j.breaks[i].to = op.Time
			}
		default:
			open[f.ID] = len(j.breaks)
			j.breaks = append(j.breaks, outage{op.Time, never})
			j.skewed = j.skewed || f.Name == clockFault
		}
	}
}

// Margins of an outage: a fault is on record when its probe has seen it, which is after it began, and what it has done lasts a little longer.
const (
	beforeBreak = 5 * time.Second
	afterMend   = time.Second
)

// calm: nothing was broken from one time to another.
func (j *expiryJudgement) calm(from, to time.Duration) bool {
	for _, b := range j.breaks {
		if b.from-beforeBreak <= to && (b.to == never || from <= b.to+afterMend) {
			return false
		}
	}
	return true
}

// identities: who asks for a session gets that one, and who asks for none one that nobody else has.
func (j *expiryJudgement) identities() {
	given := map[uint64]int{}
	for i, call := range j.calls {
		m, done, _ := j.step(i)
		if m.F != history.Connect || call.Kind != history.OK || first(m.Out) == 0 {
			continue
		}
		asked := j.h[call.Invoke].Session
		before, twice := given[done.Session]
		switch {
		case asked == 0 && twice:
			j.accuse(Evidence{
				Items: []Item{item(j.calls[before], "was given a session"), item(call, "was given the same")},
				Edges: []Edge{{0, 1, "real time"}},
				Why: []string{fmt.Sprintf("p%d asked %s for a new session and was given %s, which is that of p%d", done.Process, j.node(call), name(done.Session),
					j.h[j.calls[before].Invoke].Process)},
			})
		case asked == 0:
			given[done.Session] = i
		case asked != done.Session:
			e := Evidence{Items: []Item{item(call, "was given another session")}, Why: []string{fmt.Sprintf(
				"p%d asked %s for its session %s and was given %s instead, and nobody told it that its own had ended", done.Process, j.node(call), name(asked), name(done.Session))}}
			if birth, known := given[asked]; known {
				e.Items = append([]Item{item(j.calls[birth], "was given a session")}, e.Items...)
				e.Edges = []Edge{{0, 1, "session"}}
			}
			j.accuse(e)
		}
	}
}

func name(session uint64) string { return fmt.Sprintf("%016x", session) }

// revived: nobody goes on with a session that was closed. The client has seen the version at which it was, so that no server is excused that does not know it.
func (j *expiryJudgement) revived(l *life) {
	if l.closed < 0 {
		return
	}
	closed := j.calls[l.closed]
	for n, i := range l.calls {
		call := j.calls[i]
		m, done, _ := j.step(i)
		if call.Kind != history.OK || call.Invoke < closed.Complete || l.floors[n] < j.h[closed.Complete].Version {
			continue
		}
		if m.F == history.Connect && (first(m.Out) == 0 || done.Session != l.id) {
			continue
		}
		j.accuse(Evidence{
			Items: []Item{item(closed, "closed the session"), item(call, "went on with it")},
			Edges: []Edge{{0, 1, "real time"}},
			Why:   []string{fmt.Sprintf("p%d on %s went on with session %s, which had been closed", j.h[call.Invoke].Process, j.node(call), name(l.id))},
		})
		return
	}
}

// immortal: nobody goes on with a session that must have ended with a rest.
func (j *expiryJudgement) immortal(l *life, r rest) {
	last, found := j.lastUse(l, r)
	if !found || !j.outlasts(r, l) {
		return
	}
	for _, i := range l.calls {
		call := j.calls[i]
		m, done, _ := j.step(i)
		if call.Invoke < r.to || call.Kind != history.OK || m.F != history.Connect || first(m.Out) == 0 || done.Session != l.id {
			continue
		}
		j.accuse(Evidence{
			Items: []Item{item(last, "last used the session"), item(call, "went on with it")},
			Edges: []Edge{{0, 1, "real time"}},
			Why: []string{fmt.Sprintf("p%d on %s went on with session %s, %s after it was last used", j.h[call.Invoke].Process, j.node(call), name(l.id),
				seconds(j.between(last.Invoke, call.Invoke))), j.whyOver(l, r)},
		})
		return
	}
}

// early finds what proves that a session ended before its time.
func (j *expiryJudgement) early(l *life) *Evidence {
	if l.timeout == 0 || j.skewed {
		return nil
	}
	for _, d := range l.deaths {
		end := j.calls[d.call].Complete
		if l.closing < end {
			continue
		}
		shown := j.h[end].Time
		if i, found := j.lastWrite(l, end); found && shown-j.h[j.calls[i].Invoke].Time < l.timeout/2 {
			return j.tellEarly(l, d, i, -1)
		}
		if heard, still, found := j.heard(l, end); found && shown-j.h[j.calls[heard].Invoke].Time < l.timeout*9/10 {
			return j.tellEarly(l, d, heard, still)
		}
	}
	return nil
}

// lastWrite of the session that was answered, asked for before an event. Our leader hears of the session with the write. That of Apache ZooKeeper, of a write that a follower has
// passed on, only with the follower's next answer to a ping, half a tick later: LeaderZooKeeperServer.submitLearnerRequest touches no session.
func (j *expiryJudgement) lastWrite(l *life, end int) (call int, found bool) {
	for _, i := range l.calls {
		if j.calls[i].Invoke >= end {
			break
		}
		if _, ok := j.wrote(i); ok {
			call, found = i, true
		}
	}
	return call, found
}

// heard finds the last answer, before an event, of which whoever leads must have heard: half a time-out later the same connection still answered, a
// quarter of a time-out was the longest that it was silent, and nothing was broken. A server that has lost its leader does not serve so long.
func (j *expiryJudgement) heard(l *life, end int) (call, still int, found bool) {
	still = -1
	var next time.Duration // completion of the answer after this one
	for n := len(l.calls) - 1; n >= 0; n-- {
		i := l.calls[n]
		k := j.calls[i]
		if k.Invoke >= end || k.Complete > end {
			continue
		}
		m, _, _ := j.step(i)
		switch {
		case m.F != history.Connect && k.Kind == history.OK:
		case still < 0 || m.F != history.Connect && k.Kind == history.Fail:
			continue
		default:
			return 0, 0, false // another connection
		}
		done := j.h[k.Complete].Time
		if still < 0 {
			still, next = i, done
			continue
		}
		if next-done > l.timeout/4 {
			return 0, 0, false
		}
		next = done
		if j.h[j.calls[still].Invoke].Time-done >= l.timeout/2 {
			return i, still, j.calm(j.h[k.Invoke].Time, j.h[end].Time)
		}
	}
	return 0, 0, false
}

// tellEarly with the call after which the session should have lived, and the one that shows that its connection answered (-1: it was a write).
func (j *expiryJudgement) tellEarly(l *life, d death, heard, still int) *Evidence {
	from, shown := j.calls[heard], j.calls[d.call]
	e := &Evidence{Items: []Item{item(from, "was heard")}}
	why := "its write needs whoever leads"
	if still >= 0 {
		e.Items = append(e.Items, item(j.calls[still], "was answered by the same connection"))
		why = "its connection answered all the while, and nothing was broken"
	}
	if d.node != nil {
		e.Key = d.node.key
		if d.node.create != heard {
			e.Items = append(e.Items, item(j.calls[d.node.create], "created the node"))
		}
	}
	e.Items = append(e.Items, item(shown, "shows the end"))
	e.Edges = []Edge{{0, len(e.Items) - 1, "real time"}}
	e.Why = []string{fmt.Sprintf("session %s had ended %s after it was heard of, though its time-out is %s: %s", name(l.id),
		seconds(j.h[shown.Complete].Time-j.h[from.Invoke].Time), seconds(l.timeout), d.why), why}
	return e
}
