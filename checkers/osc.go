package checkers

import (
	"fmt"

	"assize/history"
)

var osc = Checker{
	Name: "osc",
	Question: "does one order of all operations explain every answer that keeps each session's own order, and the order in real time of writes " +
		"and syncs?",
	Doc: "ordered sequential consistency (Lev-Ari, Bortnikov, Keidar and Shraer 2017): what ZooKeeper promises. Registers, all keys together, one " +
		"session a process, in the server's own order of writes (the versions in the answers; without them unknown). Writes and syncs keep their " +
		"order in real time; a read may be stale, but never goes back within its session, and behind a sync it sees at least every write that had " +
		"been acknowledged before the sync was called. No version is that of two writes, and no value is read before it was asked to be written. " +
		"Greedy and exact, O(n log n). Where values are in order, each answer must also be of the state at the position that its server said it " +
		"was at, and positions must keep the same order: else the server has told the wrong position",
	Check: checkOSC,
}

// oscJudgement goes through the history twice: by the versions of what was answered, and then by the positions of the servers as well. What is
// found only then is a violation of its own.
type oscJudgement struct {
	*sessionJudgement
	byPosition bool
	sightOf    []int             // of each call: its place in sights; -1
	marks      map[int]mark      // by process
	ordered    mark              // the furthest of the writes and syncs that are over
	done       []mark            // of each write and each sync: where it stands
	owner      map[uint64]*sight // by version: the write that has it
}

func checkOSC(h []history.Op, _ Limits) (Result, error) {
	s, unknown, err := newSessionJudgement(h)
	if err != nil {
		return Result{}, err
	}
	if unknown != "" {
		return Result{Verdict: Unknown, Note: unknown, Unit: "sessions", Figures: s.figures}, nil
	}
	j := oscJudgement{sessionJudgement: s, sightOf: make([]int, len(s.calls))}
	for at := range j.sightOf {
		j.sightOf[at] = -1
	}
	for i, s := range j.sights {
		j.sightOf[s.op.at] = i
	}
	j.sweep()
	j.figures["by_position"] = 0
	if j.broken == 0 {
		j.byPosition = true
		j.sweep()
		j.figures["by_position"] = float64(j.broken)
	}
	note := fmt.Sprintf("none of %.0f reads is older than what its session had seen or its sync demanded; %s", j.figures["reads"],
		plural(int(j.figures["syncs"]), "sync"))
	return j.result(len(j.marks), note), nil
}

// accuse says so where it is by the positions.
func (j *oscJudgement) accuse(e Evidence) {
	if j.byPosition {
		e.Why = append(e.Why, "the values by themselves are in order: it is by the positions that the servers said they were at that they are not")
	}
	j.sessionJudgement.accuse(e)
}

// sweep goes through the events: what is asked for is judged by what was over then.
func (j *oscJudgement) sweep() {
	j.marks, j.ordered, j.done, j.owner = map[int]mark{}, nowhere, make([]mark, len(j.calls)), map[uint64]*sight{}
	j.figures["reads"], j.figures["syncs"] = 0, 0
	closes := make([]int, len(j.h)) // of each event: the call that it acknowledges; -1
	for i := range closes {
		closes[i] = -1
	}
	for at, c := range j.calls {
		if c.Kind == history.OK {
			closes[c.Complete] = at
		}
	}
	next := 0
	for i := range j.h {
		if next < len(j.calls) && j.calls[next].Invoke == i {
			j.ask(next)
			next++
		} else if at := closes[i]; at >= 0 {
			j.ordered = further(j.ordered, j.done[at])
		}
	}
}

// ask judges one call and moves its session on, no further than it must. Where the call is a write or a sync it has a place among all of them.
func (j *oscJudgement) ask(at int) {
	c := j.calls[at]
	process := j.h[c.Invoke].Process
	me, met := j.marks[process]
	if !met {
		me = nowhere
	}
	j.done[at] = nowhere
	synced := j.synced(at) && c.Kind == history.OK
	if synced {
		me = j.sync(at, me)
	}
	if i := j.sightOf[at]; i >= 0 {
		if s := &j.sights[i]; s.op.do == reads {
			me = j.read(s, me)
		} else {
			me = j.write(s, me)
		}
	} else if !synced {
		return
	}
	j.marks[process] = me
}

// synced tells whether the call begins with a sync.
func (j *oscJudgement) synced(at int) bool {
	_, synced := j.h[j.calls[at].Invoke].Txn.AfterSync()
	return synced
}

// sync brings a session as far as all that is ordered in real time and was over when the sync was called. Where the session has come further,
// the sync itself stands there, and whatever is called when it is over comes behind.
func (j *oscJudgement) sync(at int, me mark) mark {
	j.figures["syncs"]++
	if j.ordered.version > me.version {
		me = j.ordered
		me.sync = at
	}
	j.done[at] = mark{me.version, me.position, me.shown, at, -1}
	position := j.position(at)
	if len(j.steps(j.calls[at])) > 0 || position == 0 {
		return me
	}
	// It is the sync that was answered there, and no step behind it.
	if position < me.version {
		j.accuse(j.behind(at, "", me, position))
	} else if position > me.version {
		me = mark{position, true, at, -1, -1}
		j.done[at] = me
	}
	return me
}

// position that the server said it was at; 0 where it said none, or where it is not looked at.
func (j *oscJudgement) position(at int) uint64 {
	if c := j.calls[at]; j.byPosition && c.Kind == history.OK {
		return j.h[c.Complete].Position
	}
	return 0
}

func (j *oscJudgement) write(s *sight, me mark) mark {
	at := s.op.at
	owner, position := j.owner[s.version], j.position(at)
	switch {
	case s.version <= me.version:
		j.accuse(j.tooEarly(s, me))
	case s.version <= j.ordered.version:
		j.accuse(j.tooEarly(s, j.ordered))
	case owner != nil && !s.unknown:
		j.accuse(j.twoOwners(owner, s))
	case s.op.do == swaps && !s.unknown && j.before(*s) != nil:
		j.accuse(j.foundOther(*s, j.before(*s)))
	case position != 0 && position < s.version:
		j.accuse(j.behindItself(s, position))
	}
	if s.unknown {
		return me // a write without an answer, so the last word of its session
	}
	j.owner[s.version] = s
	own := mark{s.version, false, at, -1, -1}
	j.done[at] = own
	me = further(me, own)
	return further(me, mark{position, true, at, -1, -1})
}

func (j *oscJudgement) read(s *sight, me mark) mark {
	at := s.op.at
	j.figures["reads"]++
	position, over := j.position(at), j.next(s.key, s.version)
	w := s.reg.writer[s.op.old]
	switch {
	case w >= 0 && s.op.ret < s.reg.ops[w].call:
		j.accuse(j.foreseen(s))
	case over != nil && over.version <= me.version:
		j.accuse(j.tooStale(s, me, over))
	case position == 0:
	case position < me.version:
		j.accuse(j.behind(at, s.reg.key, me, position))
	case position < s.version || over != nil && over.version <= position:
		j.accuse(j.misplaced(s, position, over))
	}
	me = further(me, mark{s.version, false, at, -1, -1})
	return further(me, mark{position, true, at, -1, -1})
}
