package checkers

import (
	"fmt"
	"slices"
)

// mark is how far a session, or all that is ordered in real time, has come in the server's order of writes, and by what.
type mark struct {
	version  uint64
	position bool // it is not the version of an answer but the position of its server
	shown    int  // the answer that shows it, in trial.calls; -1: none
	// via is the sync by which the session that got this answer, a read, made it count for others; -1: none.
	via int
	// sync is the sync by which the mark came from others to this session; -1: it is the session's own.
	sync int
}

var nowhere = mark{shown: -1, via: -1, sync: -1}

func further(a, b mark) mark {
	if b.version > a.version {
		return b
	}
	return a
}

const mostItems = 4 // operations of one evidence

// role that a call plays in some evidence.
type role struct {
	at   int // in trial.calls; -1: nobody
	role string
}

// link between two calls, by their places in trial.calls.
type link struct {
	from, to int
	why      string
}

// tell makes evidence of the most important roles, given in that order, and of the links between these.
func (j *sessionJudgement) tell(key string, roles []role, links []link, why ...string) Evidence {
	var kept []role
	for _, r := range roles {
		if r.at >= 0 && len(kept) < mostItems && !slices.ContainsFunc(kept, func(k role) bool { return k.at == r.at }) {
			kept = append(kept, r)
		}
	}
	slices.SortFunc(kept, func(a, b role) int { return a.at - b.at })
	e := Evidence{Key: key, Why: why}
	place := func(at int) int { return slices.IndexFunc(kept, func(k role) bool { return k.at == at }) }
	for _, r := range kept {
		e.Items = append(e.Items, item(j.calls[r.at], r.role))
	}
	for _, l := range links {
		if from, to := place(l.from), place(l.to); from >= 0 && to >= 0 && from != to {
			e.Edges = append(e.Edges, Edge{from, to, l.why})
		}
	}
	return e
}

// who asked whom: p3 on n2.
func (j *sessionJudgement) who(at int) string {
	c := j.calls[at]
	return fmt.Sprintf("p%d on %s", j.h[c.Invoke].Process, j.provenance(c))
}

// until says why the operation at has to come behind a mark, in words that go on from "although", and who takes part in that: the answer that shows
// the mark, the sync of its session, the sync of this one, and at.
func (j *sessionJudgement) until(at int, m mark) (words string, roles []role, links []link) {
	what := "version " + numeral(m.version)
	if m.position {
		what = "position " + numeral(m.version)
	}
	roles = []role{{m.shown, "saw " + what}}
	own := j.h[j.calls[at].Invoke].Process == j.h[j.calls[m.shown].Invoke].Process
	if own && m.sync < 0 && m.via < 0 {
		return fmt.Sprintf("the same session had already seen %s at %s", what, j.provenance(j.calls[m.shown])), roles, []link{{m.shown, at, "session"}}
	}
	// From the answer by way of the syncs, as far as there are any, to the operation.
	over, said := m.shown, fmt.Sprintf("%s had answered at %s", j.provenance(j.calls[m.shown]), what)
	if m.via >= 0 {
		roles = append(roles, role{m.via, "synced"})
		links = append(links, link{m.shown, m.via, "session"})
		over, said = m.via, fmt.Sprintf("p%d, which had seen %s at %s, was done with a sync", j.h[j.calls[m.via].Invoke].Process, what, j.provenance(j.calls[m.shown]))
	}
	asked := "it was asked"
	to := at
	if m.sync >= 0 {
		asked, to = "its sync was asked for", m.sync
		roles = append(roles, role{m.sync, "synced"})
		links = append(links, link{m.sync, at, "session"})
	}
	links = append(links, link{over, to, "real time"})
	return fmt.Sprintf("%s %s after %s", asked, seconds(j.between(j.calls[over].Complete, j.calls[to].Invoke)), said), roles, links
}

// tooStale tells of a read of what had been overwritten where its session had come to.
func (j *sessionJudgement) tooStale(s *sight, m mark, over *claim) Evidence {
	at, wrote := s.op.at, -1
	if w := s.reg.writer[s.op.old]; w >= 0 {
		wrote = s.reg.ops[w].at
	}
	overwrote := role{over.at, "overwrote"}
	if m.sync >= 0 && over.ret < j.calls[m.sync].Invoke {
		// The write that is missed was itself acknowledged before the sync: it takes nobody else.
		m = mark{over.version, false, over.at, -1, m.sync}
	}
	words, roles, links := j.until(at, m)
	mine := role{at, "returned old"}
	if m.sync == at {
		mine.role = "synced, returned old"
	}
	roles = append([]role{mine}, roles...)
	if over.at == m.shown {
		roles[1] = overwrote
	}
	links = append(links, link{wrote, at, "reads from"}, link{wrote, over.at, "version"}, link{over.at, m.shown, "version"})
	return j.tell(s.reg.key, append(roles, overwrote, role{wrote, "wrote"}), links,
		fmt.Sprintf("%s %s, which version %s had overwritten, although %s", j.who(at), s.did(), numeral(over.version), words))
}

// tooEarly tells of a write that stands before what it has to come behind.
func (j *sessionJudgement) tooEarly(s *sight, m mark) Evidence {
	at, place := s.op.at, "at version "+numeral(s.version)
	if s.unknown {
		place = "before version " + numeral(s.version) + ", of the swap that found it"
	}
	words, roles, links := j.until(at, m)
	return j.tell(s.reg.key, append([]role{{at, "took effect before"}}, roles...), links, fmt.Sprintf("%s %s %s, although %s", j.who(at), s.did(), place, words))
}
