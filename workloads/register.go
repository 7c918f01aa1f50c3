package workloads

import (
	"strconv"
	"sync"

	"assize/history"
)

// A key lives for a few hundred operations: the search for a linearization grows with the square of a key's history.
const (
	leastLife = 100
	mostLife  = 300
	// lastKeys are read when everything has been mended: those that live, and some that have just been given up.
	lastKeys = 12
)

var register = Workload{
	Name: "register",
	Doc: "reads, writes and compare-and-sets of a few registers; the values of a key are unique, a key lives for a few hundred operations, and at " +
		"the end the last keys are read at every node",
	Kinds:    []string{history.Read, history.Write, history.CAS},
	Checkers: []string{"invariants", "faults", "linearizable", "versions", "sequential", "alive", "agreement", "availability"},
	New: func(seed uint64, c Config) Source {
		s := &registers{draws: newDraws(seed), keys: make([]registerKey, max(2, (c.Clients+1)/2))}
		for i := range s.keys {
			s.renew(&s.keys[i])
		}
		return s
	},
}

type registers struct {
	mu    sync.Mutex
	draws *draws
	keys  []registerKey // that live
	past  []string      // that were given up last
	made  int
}

type registerKey struct {
	name          string
	left          int // operations to live
	next          int // value
	newest, older int // values that were written last; 0: none
}

// renew gives the place of a key that has lived to a new one.
func (s *registers) renew(k *registerKey) {
	if k.name != "" {
		s.past = append(s.past, k.name)
	}
	s.made++
	*k = registerKey{name: "k" + strconv.Itoa(s.made), left: s.draws.life(s.made, leastLife, mostLife), next: 1}
}

func (k *registerKey) value() int {
	v := k.next
	k.next++
	k.newest, k.older = v, k.newest
	return v
}

// Next reads half of the time. A compare-and-set expects a value that was asked to be written not long ago: mostly the newest, which
// succeeds unless that write is still under way, sometimes the one before, which fails unless something is wrong.
func (s *registers) Next(worker, n int) history.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.draws.at(worker, n)
	k := &s.keys[r.IntN(len(s.keys))]
	if k.left == 0 {
		s.renew(k)
		r = s.draws.at(worker, n)
		r.Uint64()
	}
	k.left--
	switch d := r.IntN(100); {
	case d < 50:
		return history.Txn{{F: history.Read, Key: k.name}}
	case d < 80 || k.newest == 0:
		return history.Txn{{F: history.Write, Key: k.name, In: []int{k.value()}}}
	default:
		expected := k.newest
		if d >= 97 && k.older != 0 {
			expected = k.older
		}
		return history.Txn{{F: history.CAS, Key: k.name, In: []int{expected, k.value()}}}
	}
}

// Final reads the last keys.
func (s *registers) Final() []history.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, k := range s.keys {
		names = append(names, k.name)
	}
	if more := lastKeys - len(names); more > 0 {
		names = append(names, s.past[max(0, len(s.past)-more):]...)
	}
	txns := make([]history.Txn, len(names))
	for i, name := range names {
		txns[i] = history.Txn{{F: history.Read, Key: name}}
	}
	return txns
}
