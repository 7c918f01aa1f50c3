// Package nemesis holds the ways to break a cluster, one file each; Table is all of them.
package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"assize/cluster"
	"assize/history"
)

// Nemesis is one way to break a cluster.
type Nemesis struct {
	Name string
	Doc  string
	// Can tells why this cluster cannot be broken so (a power that it lacks), or nil.
	Can func(cluster.Cluster) error
	// Break does one thing chosen with r, probes whether it took hold and says what it did (ID is filled in by the caller). An error
	// means that the attempt itself failed; a fault that did not take hold is a Fault with Held false.
	Break func(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error)
	// Mend undoes whatever any Break of this nemesis may have done. Idempotent, without memory. An error that wraps ErrNothing means that it cannot be
	// done, or be seen to have been, before other faults are mended.
	Mend func(ctx context.Context, c cluster.Cluster) (history.Fault, error)
}

// Table of all nemeses. They are mended in this order: members last, since only a whole cluster changes them readily.
var Table = []Nemesis{kill, pause, partition, shape, transfer, clock, members}

// ErrNothing is wrapped by errors of Break where there was nothing to break (all nodes are down already) or where another fault overtook
// this one before its probe could see it (the node that was paused has been killed). It says nothing against the run: what else
// was broken at that time held.
var ErrNothing = errors.New("nothing to do")

func nothing(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNothing, fmt.Sprintf(format, args...))
}
