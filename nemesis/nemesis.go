// Package nemesis holds the ways to break a cluster, one file each; Table is all of them.
package nemesis

import (
	"context"
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
	// Mend undoes whatever any Break of this nemesis may have done. Idempotent, without memory.
	Mend func(ctx context.Context, c cluster.Cluster) (history.Fault, error)
}
