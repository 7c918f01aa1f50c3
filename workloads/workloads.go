// Package workloads holds the things that clients do, one file each; Table is all of them.
package workloads

import (
	"assize/history"
)

// Workload is one thing that clients do.
type Workload struct {
	Name     string
	Doc      string
	Kinds    []string // the micro-operations of which each must have succeeded at least once
	Checkers []string // names of the judgements that its histories are put to
	// New makes the source of one run's operations.
	New func(seed uint64, c Config) Source
}

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
