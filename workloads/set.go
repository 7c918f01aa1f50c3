package workloads

import (
	"strconv"
	"sync"

	"assize/history"
)

// A scan returns the whole set: sets are given up before scans grow long.
const (
	liveSets    = 3
	leastElems  = 50
	mostElems   = 150
	scanPercent = 25
)

var set = Workload{
	Name: "set",
	Doc: "adds of unique elements to a few sets and scans of whole sets; at the end every node is asked for every set: an acknowledged element " +
		"that is missing then has been lost",
	Kinds:    []string{history.Add, history.Scan},
	Checkers: []string{"invariants", "faults", "lost", "versions", "alive", "agreement", "availability"},
	New: func(seed uint64, _ Config) Source {
		s := &sets{draws: newDraws(seed), live: make([]liveSet, liveSets)}
		for i := range s.live {
			s.renew(&s.live[i])
		}
		return s
	},
}

type sets struct {
	mu      sync.Mutex
	draws   *draws
	live    []liveSet
	names   []string // of all sets that ever were
	element int      // the last one given out; unique over all sets
}

type liveSet struct {
	name string
	left int // adds to come
}

func (s *sets) renew(l *liveSet) {
	number := len(s.names) + 1
	*l = liveSet{name: "s" + strconv.Itoa(number), left: s.draws.life(number, leastElems, mostElems)}
	s.names = append(s.names, l.name)
}

// Next adds three times of four.
func (s *sets) Next(worker, n int) history.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.draws.at(worker, n)
	l := &s.live[r.IntN(len(s.live))]
	if r.IntN(100) < scanPercent {
		return history.Txn{{F: history.Scan, Key: l.name}}
	}
	s.element++
	t := history.Txn{{F: history.Add, Key: l.name, In: []int{s.element}}}
	if l.left--; l.left == 0 {
		s.renew(l)
	}
	return t
}

// Final scans every set.
func (s *sets) Final() []history.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	txns := make([]history.Txn, len(s.names))
	for i, name := range s.names {
		txns[i] = history.Txn{{F: history.Scan, Key: name}}
	}
	return txns
}
