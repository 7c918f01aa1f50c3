package checkers

import (
	"fmt"

	"assize/history"
)

var sessions = Checker{
	Name:     "sessions",
	Question: "does each session read what it wrote, never read an older value than before, and write after all that it knew?",
	Doc: "the four session guarantees (Terry and others 1994) by the versions in the answers; without them unknown. Read your writes and monotonic " +
		"reads of each key by itself, monotonic writes and writes that follow reads in the one order of all writes. They demand less than sequential " +
		"consistency does. A session is a process: what promises nothing to clients that go from server to server is not to be judged by this. " +
		"O(n log n)",
	Check: checkSessions,
}

func checkSessions(h []history.Op, _ Limits) (Result, error) {
	j, unknown, err := newSessionJudgement(h)
	if err != nil {
		return Result{}, err
	}
	if unknown != "" {
		return Result{Verdict: Unknown, Note: unknown, Unit: "sessions", Figures: j.figures}, nil
	}
	for _, b := range j.guarantees() {
		j.accuse(j.tellBreach(b))
	}
	count := map[int]bool{}
	for _, s := range j.sights {
		count[s.process] = true
	}
	return j.result(len(count), "none of the four guarantees was broken"), nil
}

// guarantee is one of the four, as its figure is called, with what the session had done before.
type guarantee struct{ figure, before string }

var (
	monotonicReads    = guarantee{"monotonic_reads_broken", "read"}
	readYourWrites    = guarantee{"read_your_writes_broken", "written"}
	monotonicWrites   = guarantee{"monotonic_writes_broken", "written"}
	writesFollowReads = guarantee{"writes_follow_reads_broken", "read"}
)

// breach of a guarantee: the later answer is not as new as the earlier one of its session demands. Places in sights.
type breach struct {
	of             guarantee
	earlier, later int
}

// sessionKey is what a process has seen of one key.
type sessionKey struct{ process, key int }

// guarantees finds where they were broken, and counts it.
func (j *sessionJudgement) guarantees() (breaches []breach) {
	lastRead, lastWrite := map[sessionKey]int{}, map[sessionKey]int{} // the newest: places in sights
	anyRead, anyWrite := map[int]int{}, map[int]int{}
	for _, g := range []guarantee{monotonicReads, readYourWrites, monotonicWrites, writesFollowReads} {
		j.figures[g.figure] = 0
	}
	j.figures["reads"] = 0
	for i, s := range j.sights {
		demand := func(g guarantee, newest int, known bool) {
			if !known {
				return
			}
			if n := j.sights[newest].version; s.version < n || s.version == n && s.op.do != reads {
				j.figures[g.figure]++
				breaches = append(breaches, breach{g, newest, i})
			}
		}
		k := sessionKey{s.process, s.key}
		if s.op.do == reads {
			j.figures["reads"]++
			newest, known := lastRead[k]
			demand(monotonicReads, newest, known)
			newest, known = lastWrite[k]
			demand(readYourWrites, newest, known)
			newer(j, lastRead, k, i)
			newer(j, anyRead, s.process, i)
			continue
		}
		newest, known := anyWrite[s.process]
		demand(monotonicWrites, newest, known)
		newest, known = anyRead[s.process]
		demand(writesFollowReads, newest, known)
		if !s.unknown {
			newer(j, lastWrite, k, i)
			newer(j, anyWrite, s.process, i)
		}
	}
	return breaches
}

// newer keeps the place of the sight with the greatest version.
func newer[K comparable](j *sessionJudgement, newest map[K]int, k K, i int) {
	if n, known := newest[k]; !known || j.sights[i].version > j.sights[n].version {
		newest[k] = i
	}
}

func (j *sessionJudgement) tellBreach(b breach) Evidence {
	earlier, later := j.sights[b.earlier], j.sights[b.later]
	role, place := "returned old", "at version "+numeral(later.version)
	if later.op.do != reads {
		role = "took effect before"
	}
	if later.unknown {
		place = "before version " + numeral(later.version)
	}
	return Evidence{
		Key:   later.reg.key,
		Items: []Item{item(j.calls[earlier.op.at], "saw version "+numeral(earlier.version)), item(j.calls[later.op.at], role)},
		Edges: []Edge{{0, 1, "session"}},
		Why: []string{fmt.Sprintf("p%d on %s %s %s, although the same session had already %s version %s of %s at %s", later.process,
			j.provenance(j.calls[later.op.at]), later.did(), place, b.of.before, numeral(earlier.version), earlier.reg.key, j.provenance(j.calls[earlier.op.at]))},
	}
}

// did is the operation in words: read k7 -> 5.
func (s sight) did() string {
	switch o := s.op; o.do {
	case reads:
		return fmt.Sprintf("read %s -> %s", s.reg.key, s.reg.name(o.old))
	case writes:
		return fmt.Sprintf("wrote %s to %s", s.reg.name(o.new), s.reg.key)
	default:
		return fmt.Sprintf("swapped %s of %s for %s", s.reg.name(o.old), s.reg.key, s.reg.name(o.new))
	}
}
