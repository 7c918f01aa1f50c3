// Package workloads holds the things that clients do, one file each; Table is all of them.
package workloads

import (
	"math/rand/v2"
	"time"

	"assize/history"
)

// Table is all workloads, in the order in which they are listed.
var Table = []Workload{register, set, session, watch}

// Find returns the workload of that name.
func Find(name string) (Workload, bool) {
	for _, w := range Table {
		if w.Name == name {
			return w, true
		}
	}
	return Workload{}, false
}

// Workload is one thing that clients do.
type Workload struct {
	Name     string
	Doc      string
	Kinds    []string // the micro-operations of which each must have succeeded at least once
	Checkers []string // names of the judgements that its histories are put to
	// Session is the time-out of the sessions that clients have, through connections, processes and servers; 0: they have none. Whoever carries the
	// operations out connects, and asks for another session where one has expired.
	Session time.Duration
	Outlive bool // before the last words all sessions are left alone until they have expired
	// New makes the source of one run's operations.
	New func(seed uint64, c Config) Source
}

// Leave is no operation: the client of a session is to drop its connection, without a word, and to stay away. In: for how many ms.
const Leave = "leave"

// Config of a run's operations.
type Config struct {
	Clients int // workers
}

// Source gives out operations. Safe for concurrent use.
type Source interface {
	// Next operation of a worker (0 .. Clients-1), its n-th.
	Next(worker, n int) history.Txn
	// Final operations, to be asked of one node each, when everything has been mended.
	Final() []history.Txn
}

// draws gives each operation a stream of its own, keyed by (seed, worker, n): what one worker does must not depend on how many operations
// the others got through.
type draws struct {
	seed   uint64
	source rand.PCG
	*rand.Rand
}

func newDraws(seed uint64) *draws {
	d := &draws{seed: seed}
	d.Rand = rand.New(&d.source)
	return d
}

func (d *draws) at(worker, n int) *rand.Rand {
	d.source.Seed(d.seed, uint64(worker)<<40^uint64(n))
	return d.Rand
}

// life of the number-th key: lives are jittered so that not all keys begin at the same moment of a run, with nothing yet to overwrite.
func (d *draws) life(number, least, most int) int {
	d.source.Seed(d.seed, ^uint64(number))
	return least + d.IntN(most-least+1)
}
