package workloads

import (
	"strconv"
	"sync"
	"time"

	"assize/history"
)

const (
	longSession = 10 * time.Second // asked for, so that watches outlive what breaks
	shortLeave  = 1000             // ms, the longest
	watchedEach = 2                // clients
)

var watch = Workload{
	Name: "watch",
	Doc: "sessions leave watches on a few registers, which they and all others write, delete and read, and leave for a moment to go on elsewhere: what " +
		"they have missed meanwhile they must be told",
	Kinds:    []string{history.Connect, history.Watch, history.Write, history.Delete, history.Read},
	Checkers: []string{"invariants", "faults", "watch", "image", "alive", "agreement", "availability"},
	Session:  longSession,
	New: func(seed uint64, c Config) Source {
		return &watchers{draws: newDraws(seed), names: max(2, c.Clients/watchedEach)}
	},
}

type watchers struct {
	mu    sync.Mutex
	draws *draws
	names int
	value int // the last one given out; unique over all
}

// Next watches as often as it changes something, so that most changes are watched by somebody.
func (s *watchers) Next(worker, n int) history.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.draws.at(worker, n)
	name := "w" + strconv.Itoa(1+r.IntN(s.names))
	switch d := r.IntN(100); {
	case d < 38:
		return history.Txn{{F: history.Watch, Key: name}}
	case d < 63:
		s.value++
		return history.Txn{{F: history.Write, Key: name, In: []int{s.value}}}
	case d < 75:
		return history.Txn{{F: history.Delete, Key: name}}
	case d < 97:
		return history.Txn{{F: history.Read, Key: name}}
	}
	return history.Txn{{F: Leave, In: []int{r.IntN(shortLeave)}}}
}

// Final reads all registers: whoever still has a watch is told first of what has changed.
func (s *watchers) Final() (txns []history.Txn) {
	for i := range s.names {
		txns = append(txns, history.Txn{{F: history.Read, Key: "w" + strconv.Itoa(1+i)}})
	}
	return txns
}
