package checkers

import (
	"cmp"
	"math"
	"slices"

	"assize/history"
)

// alteration is a change of a register, or of which elements a set has, that is known to have happened.
type alteration struct {
	version uint64
	call    int  // the write itself, or, where nobody knows which it was, what saw it; place in trial.calls
	write   bool // call is the write itself
	deleted bool // it was a delete
	value   int  // that was written; of a register, where call is the write
}

// doubt is a change that was asked for, and nobody knows whether it happened.
type doubt struct {
	asked   int    // event
	after   uint64 // it has a greater version than this, if any: that had been answered to somebody before it was asked for
	deleted bool
}

// stretch of versions, without its from and with its to.
type stretch struct{ from, to uint64 }

// ledger is what a history tells of the changes of each key, by versions and positions, which order all changes.
type ledger struct {
	trial
	writers map[keyValue]int // places in trial.calls
	at      map[int]uint64   // of writes that are known to have happened, their versions: by their answers, or else by those who have read what they wrote
	changes map[string][]alteration
	doubts  map[string][]doubt   // in the order of their events
	quiet   map[string][]stretch // in which the key is known not to have changed: ascending, apart
	taken   []uint64             // versions of writes of which it is known which they were: ascending
}

// changing tells what a step does to its key, if it changes it: writes a value, or deletes, or other elements.
func changing(m history.Mop) (deleted, is bool) {
	switch m.F {
	case history.Write, history.Create, history.CreateEphemeral, history.Add, history.Remove:
		return false, true
	case history.Delete:
		return true, true
	}
	return false, false
}

// sets a register to a value.
func sets(m history.Mop) bool {
	return m.F == history.Write || m.F == history.Create || m.F == history.CreateEphemeral
}

func openLedger(t trial) *ledger {
	l := &ledger{trial: t, writers: map[keyValue]int{}, at: map[int]uint64{}, changes: map[string][]alteration{}, doubts: map[string][]doubt{}, quiet: map[string][]stretch{}}
	for i, c := range l.calls {
		for _, m := range l.steps(c) {
			if sets(m) {
				l.writers[keyValue{m.Key, m.In[0]}] = i
			}
		}
		if done := l.done(i); done.Version > 0 && !l.steps(c).ReadOnly() {
			l.at[i] = done.Version
		}
	}
	keys := l.learn()
	l.doubt()
	l.settle()
	for _, key := range keys {
		l.quiet[key] = merged(l.quiet[key])
	}
	return l
}

// done is the completion of a call that succeeded; empty where it did not.
func (l *ledger) done(call int) history.Op {
	if c := l.calls[call]; c.Kind == history.OK {
		return l.h[c.Complete]
	}
	return history.Op{}
}

// results are the steps of a call as its answer has them; none where it did not succeed.
func (l *ledger) results(call int) history.Txn {
	steps, _ := l.done(call).Txn.AfterSync()
	return steps
}

// learn which changes happened. It returns all keys, in the order in which they appear.
func (l *ledger) learn() (keys []string) {
	for i := range l.calls {
		done := l.done(i)
		for _, m := range l.results(i) {
			if m.F != history.Read || len(m.Out) == 0 || done.Version == 0 {
				continue
			}
			if w, known := l.writers[keyValue{m.Key, m.Out[0]}]; known && l.at[w] == 0 && l.calls[w].Kind == history.Info {
				l.at[w] = done.Version
			}
		}
	}
	seen := map[string]bool{}
	for i, c := range l.calls {
		done := l.done(i)
		for _, m := range l.steps(c) {
			if !seen[m.Key] {
				seen[m.Key], keys = true, append(keys, m.Key)
			}
			if deleted, is := changing(m); is && l.at[i] > 0 {
				a := alteration{version: l.at[i], call: i, write: true, deleted: deleted}
				if sets(m) {
					a.value = m.In[0]
				}
				l.changes[m.Key] = append(l.changes[m.Key], a)
			} else if (m.F == history.Watch || m.F == history.WatchSet || m.F == history.Read) && done.Version > 0 {
				l.changes[m.Key] = append(l.changes[m.Key], alteration{version: done.Version, call: i})
			}
		}
	}
	for _, key := range keys {
		list := l.changes[key]
		slices.SortStableFunc(list, func(a, b alteration) int {
			switch {
			case a.version != b.version || a.write == b.write:
				return cmp.Compare(a.version, b.version)
			case a.write:
				return -1
			}
			return 1
		})
		l.changes[key] = slices.CompactFunc(list, func(a, b alteration) bool { return a.version == b.version })
		for _, a := range l.changes[key] {
			if a.write { // else it may be that of a multi that changed other keys, too
				l.taken = append(l.taken, a.version)
			}
		}
	}
	slices.Sort(l.taken)
	l.taken = slices.Compact(l.taken)
	return keys
}

// doubt finds what nobody knows of. It has a greater version than all that was answered before it was asked for: writes are in the order of real time.
// A register that goes with its owner can have gone at any version.
func (l *ledger) doubt() {
	byEvent := map[int]int{}
	for i, c := range l.calls {
		byEvent[c.Invoke] = i
		for _, m := range l.steps(c) {
			if m.F == history.CreateEphemeral && len(l.doubts[m.Key]) == 0 {
				l.doubts[m.Key] = []doubt{{asked: -1, deleted: true}}
			}
		}
	}
	var reached uint64
	for at, op := range l.h {
		switch {
		case op.Kind == history.OK:
			reached = max(reached, op.Version, op.Position)
		case op.Kind == history.Invoke:
			i := byEvent[at]
			if l.calls[i].Kind != history.Info || l.at[i] > 0 {
				continue
			}
			for _, m := range l.steps(l.calls[i]) {
				if deleted, is := changing(m); is {
					l.doubts[m.Key] = append(l.doubts[m.Key], doubt{at, reached, deleted})
				}
			}
		}
	}
}

// settle in which stretches keys did not change: from what an answer was the last change in its state until that state; and from a delete until a state
// without the register, if nothing that nobody knows of can have deleted it again.
func (l *ledger) settle() {
	again := map[string]bool{}
	for i := range l.calls {
		for _, m := range l.steps(l.calls[i]) {
			again[m.Key] = again[m.Key] || m.F == history.CreateEphemeral || m.F == history.Delete && l.calls[i].Kind == history.Info && l.at[i] == 0
		}
	}
	for i := range l.calls {
		results, done := l.results(i), l.done(i)
		if len(results) != 1 {
			continue
		}
		switch m := results[0]; {
		case m.F != history.Read && !watches(m):
		case done.Version > 0:
			l.quiet[m.Key] = append(l.quiet[m.Key], stretch{done.Version, done.Position})
		case m.F != history.WatchSet && !again[m.Key]:
			if a, known := l.last(m.Key, done.Position); known && a.deleted {
				l.quiet[m.Key] = append(l.quiet[m.Key], stretch{a.version, done.Position})
			}
		}
	}
}

// merged stretches are ascending and apart.
func merged(list []stretch) []stretch {
	slices.SortFunc(list, func(a, b stretch) int { return cmp.Compare(a.from, b.from) })
	kept := list[:0]
	for _, s := range list {
		switch n := len(kept); {
		case s.to <= s.from:
		case n > 0 && s.from <= kept[n-1].to:
			kept[n-1].to = max(kept[n-1].to, s.to)
		default:
			kept = append(kept, s)
		}
	}
	return kept
}

// place of the first known change of a key after a version.
func (l *ledger) place(key string, version uint64) int {
	n, exact := slices.BinarySearchFunc(l.changes[key], version, func(a alteration, v uint64) int { return cmp.Compare(a.version, v) })
	if exact {
		n++
	}
	return n
}

// next known change of a key after a version; of version math.MaxUint64 where there is none.
func (l *ledger) next(key string, version uint64) (alteration, bool) {
	if n := l.place(key, version); n < len(l.changes[key]) {
		return l.changes[key][n], true
	}
	return alteration{version: math.MaxUint64}, false
}

// last known change of a key up to a version.
func (l *ledger) last(key string, version uint64) (alteration, bool) {
	if n := l.place(key, version); n > 0 {
		return l.changes[key][n-1], true
	}
	return alteration{}, false
}

// possible tells whether something that nobody knows of, and was asked for before an event, can have deleted the key, or changed it otherwise, at a version
// after one and before another: there no stretch may be quiet, and no transaction known. least is the first such version.
func (l *ledger) possible(key string, deleted bool, from, to uint64, event int) (least uint64, can bool) {
	n := slices.IndexFunc(l.doubts[key], func(d doubt) bool { return d.deleted == deleted })
	if n < 0 || l.doubts[key][n].asked >= event {
		return 0, false
	}
	from = max(from, l.doubts[key][n].after) // of the others it is not less
	quiet := l.quiet[key]
	q, _ := slices.BinarySearchFunc(quiet, from, func(s stretch, v uint64) int { return cmp.Compare(s.to, v) })
	k, _ := slices.BinarySearch(l.taken, from+1)
	for v := from + 1; v < to; {
		switch {
		case q < len(quiet) && quiet[q].to < v:
			q++
		case q < len(quiet) && quiet[q].from < v:
			v = quiet[q].to + 1
		case k < len(l.taken) && l.taken[k] < v:
			k++
		case k < len(l.taken) && l.taken[k] == v:
			v++
		default:
			return v, true
		}
	}
	return 0, false
}
