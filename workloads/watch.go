package workloads

import (
	"slices"
	"time"

	"assize/history"
)

const (
	longSession = 10 * time.Second // asked for, so that watches outlive what breaks
	shortLeave  = 1000             // ms, the longest
	watchedEach = 2                // clients
	watchedSets = 2
	fewElems    = 3 // of a set, before elements are taken out again
)

var watch = Workload{
	Name: "watch",
	Doc: "sessions leave watches on a few registers and on the elements of sets, which they and all others change, also several registers at once, and read, " +
		"and leave for a moment to go on elsewhere: what they have missed meanwhile they must be told",
	Kinds: []string{history.Connect, history.Watch, history.WatchSet, history.Write, history.Create, history.Check, history.Delete, history.Add, history.Remove,
		history.Read},
	Checkers: []string{"invariants", "faults", "watch", "multi", "image", "alive", "agreement", "availability"},
	Session:  longSession,
	New: func(seed uint64, c Config) Source {
		w := &watchers{crowd: newCrowd(seed, c, "w", watchedEach)}
		w.there = make([]bool, w.names)
		return w
	},
}

type watchers struct {
	crowd
	there    []bool             // of each register: what was last asked of it leaves it there
	elements [watchedSets][]int // that were added, and not taken out
}

// Next watches about as often as it changes something, so that most changes are watched by somebody.
func (s *watchers) Next(worker, n int) history.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.draws.at(worker, n)
	which := r.IntN(s.names)
	name := s.name(which)
	set := r.IntN(watchedSets)
	d, e := r.IntN(100), r.IntN(100)
	switch {
	case d < 26:
		return history.Txn{{F: history.Watch, Key: name}}
	case d < 37:
		return history.Txn{{F: history.WatchSet, Key: numbered("s", set)}}
	case d < 49:
		return history.Txn{s.write(history.Write, which)}
	case d < 58:
		return history.Txn{s.delete(which)}
	case d < 67:
		return history.Txn{s.alter(set, e)}
	case d < 84:
		return s.several(which, r.IntN(s.names-1), e)
	case d < 97:
		return history.Txn{{F: history.Read, Key: name}}
	}
	return history.Txn{{F: Leave, In: []int{r.IntN(shortLeave)}}}
}

// alter a set: elements that were added are taken out again, so that there are a few.
func (s *watchers) alter(set, which int) history.Mop {
	list, key := s.elements[set], numbered("s", set)
	if len(list) < fewElems || which < 50 {
		in := s.next()
		s.elements[set] = append(list, in...)
		return history.Mop{F: history.Add, Key: key, In: in}
	}
	i := which % len(list)
	m := history.Mop{F: history.Remove, Key: key, In: []int{list[i]}}
	s.elements[set] = slices.Delete(list, i, i+1)
	return m
}

func (s *watchers) write(f string, register int) history.Mop {
	s.there[register] = true
	return history.Mop{F: f, Key: s.name(register), In: s.next()}
}

func (s *watchers) delete(register int) history.Mop {
	s.there[register] = false
	return history.Mop{F: history.Delete, Key: s.name(register)}
}

// several registers at once: one, and one of the others. What is asked of the one often cannot be, and then nothing may become of what is asked of the other,
// before it or behind it. Half of what is to be created is not there, as far as anybody can know.
func (s *watchers) several(one, other, which int) history.Txn {
	if gone := slices.Index(s.there, false); which >= 45 && which < 90 && which%2 == 0 && gone >= 0 {
		one = gone
	}
	other = (one + 1 + other) % s.names
	switch {
	case which < 45:
		return history.Txn{{F: history.Check, Key: s.name(one)}, s.write(history.Write, other)}
	case which < 68:
		return history.Txn{s.write(history.Create, one), s.write(history.Write, other)}
	case which < 90:
		return history.Txn{s.write(history.Write, other), s.write(history.Create, one)}
	}
	return history.Txn{s.write(history.Write, other), s.delete(one)}
}

// Final reads all registers and sets: whoever still has a watch is told first of what has changed.
func (s *watchers) Final() []history.Txn {
	txns := s.all()
	for i := range watchedSets {
		txns = append(txns, history.Txn{{F: history.WatchSet, Key: numbered("s", i)}})
	}
	return txns
}
