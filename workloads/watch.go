package workloads

import (
	"slices"
	"strconv"
	"sync"
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
		names := max(2, c.Clients/watchedEach)
		return &watchers{draws: newDraws(seed), names: names, there: make([]bool, names)}
	},
}

type watchers struct {
	mu       sync.Mutex
	draws    *draws
	names    int
	value    int                // the last one given out; unique over all
	there    []bool             // of each register: what was last asked of it leaves it there
	elements [watchedSets][]int // that were added, and not taken out
}

// next value, as the argument of a step.
func (s *watchers) next() []int {
	s.value++
	return []int{s.value}
}

// Next watches about as often as it changes something, so that most changes are watched by somebody.
func (s *watchers) Next(worker, n int) history.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.draws.at(worker, n)
	which := r.IntN(s.names)
	name := watched(which)
	set := r.IntN(watchedSets)
	d, e := r.IntN(100), r.IntN(100)
	switch {
	case d < 26:
		return history.Txn{{F: history.Watch, Key: name}}
	case d < 37:
		return history.Txn{{F: history.WatchSet, Key: "s" + strconv.Itoa(1+set)}}
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
	list, key := s.elements[set], "s"+strconv.Itoa(1+set)
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

func watched(register int) string { return "w" + strconv.Itoa(1+register) }

func (s *watchers) write(f string, register int) history.Mop {
	s.there[register] = true
	return history.Mop{F: f, Key: watched(register), In: s.next()}
}

func (s *watchers) delete(register int) history.Mop {
	s.there[register] = false
	return history.Mop{F: history.Delete, Key: watched(register)}
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
		return history.Txn{{F: history.Check, Key: watched(one)}, s.write(history.Write, other)}
	case which < 68:
		return history.Txn{s.write(history.Create, one), s.write(history.Write, other)}
	case which < 90:
		return history.Txn{s.write(history.Write, other), s.write(history.Create, one)}
	}
	return history.Txn{s.write(history.Write, other), s.delete(one)}
}

// Final reads all registers and sets: whoever still has a watch is told first of what has changed.
func (s *watchers) Final() (txns []history.Txn) {
	for i := range s.names {
		txns = append(txns, history.Txn{{F: history.Read, Key: watched(i)}})
	}
	for i := range watchedSets {
		txns = append(txns, history.Txn{{F: history.WatchSet, Key: "s" + strconv.Itoa(1+i)}})
	}
	return txns
}
