package checkers

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"assize/history"
)

var watch = Checker{
	Name:     "watch",
	Question: "is every change of a watched register told, once, in order, before the session can see it?",
	Doc: "by versions and positions, which order all changes. A watch that was left in the state of a position is owed the next change after it. A session " +
		"must have been told by the time that it gets any answer from a state that has the change: so before it reads it, before its own write is " +
		"answered, and whether it has changed servers meanwhile or not. It is told no more often than it has, or may have, left watches, of what can have " +
		"happened up to the state of its next answer, and on one connection in the order of the changes. What was missed between two connections may be told as one, and where a register " +
		"is not there before and after, that it was there meanwhile need not be told. Writes of which nobody knows excuse what they can. O(n log n)",
	Check: checkWatch,
}

// left is a watch.
type leftWatch struct {
	key         string
	call        int    // that left it; place in trial.calls
	at          uint64 // the last state in which the register is known to have been as it was
	there       bool   // the register was there
	set         bool   // it is a watch on the elements of a set
	connections int    // of the session until then
}

// watchJudgement is the work of checkWatch.
type watchJudgement struct {
	*ledger
	Result
}

func checkWatch(h []history.Op, _ Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	j := &watchJudgement{openLedger(t), Result{Verdict: Valid, Unit: "notices", Figures: map[string]float64{}}}
	for _, s := range j.sessions() {
		s.walk()
	}
	j.Figures["told"], j.Figures["broken"] = float64(j.Judged), float64(len(j.Evidence))
	switch {
	case len(j.Evidence) > 0:
		j.Verdict, j.Note = Invalid, j.Evidence[0].Why[0]
		j.Evidence = j.Evidence[:min(len(j.Evidence), mostTold)]
	case j.Judged == 0:
		j.Verdict, j.Note = Unknown, "no session was told anything"
	default:
		j.Note = fmt.Sprintf("%s of changes, each owed, in order, and before the change could be seen", plural(j.Judged, "notice"))
	}
	return j.Result, nil
}

// happened tells whether a key is known to have been deleted, or changed otherwise, since a watch was left, before a version and before an event.
func (j *watchJudgement) happened(w leftWatch, deleted bool, to uint64, event int) bool {
	from := j.place(w.key, w.at)
	return slices.ContainsFunc(j.changes[w.key][from:max(from, j.place(w.key, to-1))], func(a alteration) bool {
		return a.deleted == deleted && (!a.write || j.calls[a.call].Invoke < event)
	})
}

// watches tells whether a step leaves a watch.
func watches(m history.Mop) bool { return m.F == history.Watch || m.F == history.WatchSet }

// watchingSession is one session, event by event.
type watchingSession struct {
	*watchJudgement
	id          uint64
	events      []watchEvent
	left        []leftWatch
	unsureLeft  map[string]bool // keys: a watch was asked for, and nobody knows whether it was left; nothing was told of the key since
	connections int
	told        notice // on this connection, the one of the latest change
	any         bool
}

// watchEvent is what happened to a session at an event of the history.
type watchEvent struct {
	at   int
	call int // completed, or a connect, or a watch of which nobody knows, that was asked for; -1: the session was told something
}

// notice is what a session was told.
type notice struct {
	event    int // of the history
	watch    leftWatch
	earliest uint64 // version of the change
}

// sessions of the history, in the order in which they appear.
func (j *watchJudgement) sessions() (all []*watchingSession) {
	byID := map[uint64]*watchingSession{}
	add := func(id uint64, e watchEvent) {
		if id == 0 {
			return
		}
		s, known := byID[id]
		if !known {
			s = &watchingSession{watchJudgement: j, id: id, unsureLeft: map[string]bool{}}
			byID[id] = s
			all = append(all, s)
		}
		s.events = append(s.events, e)
	}
	for i, c := range j.calls {
		if c.Kind == history.OK {
			add(j.h[c.Complete].Session, watchEvent{c.Complete, i})
		}
		if steps := j.steps(c); len(steps) == 1 && (steps[0].F == history.Connect || watches(steps[0]) && c.Kind != history.OK) {
			add(j.h[c.Invoke].Session, watchEvent{c.Invoke, i})
		}
	}
	for i, op := range j.h {
		if op.Kind == history.Notify && op.Process >= 0 {
			add(op.Session, watchEvent{i, -1})
		}
	}
	for _, s := range all {
		slices.SortFunc(s.events, func(a, b watchEvent) int { return cmp.Compare(a.at, b.at) })
	}
	return all
}

func (s *watchingSession) walk() {
	for _, e := range s.events {
		switch {
		case e.call < 0:
			s.notice(e.at)
		case s.calls[e.call].Complete == e.at:
			s.answered(e.call)
		case watches(s.steps(s.calls[e.call])[0]):
			s.unsureLeft[s.steps(s.calls[e.call])[0].Key] = true
		default: // it connects: what it is told from here on may be what it has missed
			s.connections++
			s.any = false
		}
	}
}

// answered: the session has an answer from a state. It must have been told of all that has happened to what it watches until then.
func (s *watchingSession) answered(call int) {
	if len(s.steps(s.calls[call])) == 0 {
		return
	}
	m, done := s.answer(s.calls[call])
	state := max(done.Version, done.Position)
	if state > 0 { // not of a connect
		s.owed(call, state)
	}
	if !watches(m) || len(s.steps(s.calls[call])) > 1 {
		return
	}
	w := leftWatch{m.Key, call, state, m.F == history.WatchSet || first(m.Out) > 0, m.F == history.WatchSet, s.connections}
	if i := slices.IndexFunc(s.left, func(w leftWatch) bool { return w.key == m.Key }); i >= 0 {
		s.left[i] = w
	} else {
		s.left = append(s.left, w)
	}
}

// owed: what has happened until a state to what the session watches it must have been told.
func (s *watchingSession) owed(call int, state uint64) {
	kept := s.left[:0]
	for _, w := range s.left {
		if c, known := s.next(w.key, w.at); known && c.version <= state && !s.excused(w, state, s.calls[call].Complete) {
			s.tellMissed(w, c, call)
			continue
		}
		// It has not fired, and so the register is as it was, and watched by this connection.
		w.at, w.connections = max(w.at, state), s.connections
		kept = append(kept, w)
	}
	s.left = kept
}

// excused: it has connected anew since, and the register, which was not there before, need not be there in this state: then nothing tells that it was
// there meanwhile.
func (s *watchingSession) excused(w leftWatch, state uint64, event int) bool {
	if w.there || w.connections == s.connections {
		return false
	}
	a, _ := s.last(w.key, state)
	_, gone := s.possible(w.key, true, a.version, state+1, event)
	return a.deleted || gone
}

// notice: the session is told of a change.
func (s *watchingSession) notice(event int) {
	s.Judged++
	m := s.h[event].Txn[0]
	i := slices.IndexFunc(s.left, func(w leftWatch) bool { return w.key == m.Key })
	maybe := s.unsureLeft[m.Key]
	delete(s.unsureLeft, m.Key)
	if i < 0 {
		if maybe {
			return
		}
		s.accuse(event, nil, "was told %s of %s, and had no watch on it that was left", m.F, m.Key)
		return
	}
	w := s.left[i]
	s.left = slices.Delete(s.left, i, i+1)
	if w.there == (m.F == history.Created) || w.set != (m.F == history.Members) {
		s.accuse(event, &w, "was told %s of %s, and its watch had found it in another state", m.F, m.Key)
		return
	}
	deleted, reached := m.F == history.Deleted, s.reached(event)
	c, known := s.next(m.Key, w.at)
	known = known && c.version < reached && (!c.write || s.calls[c.call].Invoke < event)
	if w.connections != s.connections { // the change may be any, or several
		_, possible := s.possible(m.Key, deleted, w.at, reached, event)
		if !possible && !s.happened(w, deleted, reached, event) {
			s.accuse(event, &w, "was told %s of %s, and nothing of the kind had happened to it", m.F, m.Key)
		}
		return
	}
	least, possible := s.possible(m.Key, deleted, w.at, min(c.version, reached), event)
	switch {
	case possible:
	case !known:
		s.accuse(event, &w, "was told %s of %s, and nobody had changed it", m.F, m.Key)
		return
	case c.deleted != deleted:
		s.accuse(event, &w, "was told %s of %s, which is not what had happened to it first", m.F, m.Key)
		return
	}
	n := notice{event, w, c.version}
	if possible {
		n.earliest = least
	}
	if s.any && c.version < s.told.earliest {
		s.accuse(event, &w, "was told %s of %s after what came later", m.F, m.Key)
		e := &s.Evidence[len(s.Evidence)-1]
		e.Items = slices.Insert(e.Items, len(e.Items)-1, Item{Invoke: s.told.event, Complete: -1, Role: "was told before"})
		e.Items = append(e.Items, item(s.calls[c.call], "shows the change"))
	}
	if !s.any || n.earliest > s.told.earliest {
		s.told, s.any = n, true
	}
}

// reached is a version after the last change that a session can have been told of at an event: it has an answer from the state before. math.MaxUint64 where
// it has none on the same connection.
func (s *watchingSession) reached(event int) uint64 {
	n, _ := slices.BinarySearchFunc(s.events, event, func(e watchEvent, at int) int { return cmp.Compare(e.at, at) })
	for _, e := range s.events[n:] {
		if e.call < 0 {
			continue
		}
		if s.calls[e.call].Complete != e.at {
			if s.steps(s.calls[e.call])[0].F == history.Connect {
				break
			}
			continue
		}
		if done := s.done(e.call); max(done.Version, done.Position) > 0 {
			return max(done.Version, done.Position) + 1
		}
	}
	return math.MaxUint64
}

// accuse a notice.
func (s *watchingSession) accuse(event int, w *leftWatch, format string, args ...any) {
	op := s.h[event]
	e := Evidence{Key: op.Txn[0].Key}
	if w != nil {
		e.Items = append(e.Items, item(s.calls[w.call], "left a watch"))
	}
	e.Items = append(e.Items, Item{Invoke: event, Complete: -1, Role: "was told"})
	e.Why = []string{fmt.Sprintf("p%d on %s, session %s, %s", op.Process, op.Node, name(s.id), fmt.Sprintf(format, args...))}
	s.Evidence = append(s.Evidence, e)
}

// tellMissed: an answer came from a state that has a change of which the session should have been told.
func (s *watchingSession) tellMissed(w leftWatch, c alteration, call int) {
	left, change, answer := s.calls[w.call], s.calls[c.call], s.calls[call]
	did := "shows the change"
	if c.write {
		did = "changed it"
	}
	e := Evidence{Key: w.key, Items: []Item{item(left, "left a watch")}}
	if c.call != call {
		e.Items = append(e.Items, item(change, did))
	}
	e.Items = append(e.Items, item(answer, "was answered, and had not been told"))
	last := len(e.Items) - 1
	e.Edges = []Edge{{0, last, "session"}}
	late := s.toldLater(w.key, answer.Complete)
	if late >= 0 {
		e.Items = append(e.Items, Item{Invoke: late, Complete: -1, Role: "was told only then"})
	}
	m, done := s.answer(answer)
	e.Why = []string{fmt.Sprintf("p%d on %s had the answer to %s, from the state of version %s, before its session %s was told that %s, which it watched, had changed at %s",
		done.Process, s.node(answer), m.F, numeral(max(done.Version, done.Position)), name(s.id), w.key, numeral(c.version))}
	if w.connections != s.connections {
		e.Why = append(e.Why, "it had connected anew since it left the watch")
	}
	s.Evidence = append(s.Evidence, e)
}

// toldLater is the event at which the session is told of a key after another event; -1: it is not.
func (s *watchingSession) toldLater(key string, event int) int {
	for _, e := range s.events {
		if e.at > event && e.call < 0 && s.h[e.at].Txn[0].Key == key {
			return e.at
		}
	}
	return -1
}
