package etcd

import (
	"context"
	"time"

	"assize/machine"
)

// Host is the node behind a front end. All methods may be called at any time by anyone.
type Host interface {
	// Connect names a new client connection: unique over all nodes and all time, never 0.
	Connect() uint64
	// Do has the machine execute c for the connection. Requests of one connection are numbered in the order in which Do takes them. An error means
	// that nobody knows what became of the request: ctx has ended, or the node is stopping.
	Do(ctx context.Context, conn uint64, c machine.Command) (machine.Result, error)
	// Gone tells that the connection has ended. Requests that are under way get an error.
	Gone(conn uint64)
	// Status is what the machine said after the last batch whose effects have left the node. Voters must not be changed.
	Status() machine.Status
	// Clocks are the node's own clocks, as the machine gets them.
	Clocks() (wall time.Time, mono time.Duration)
	// Counters of the host: bytes, syncs, messages, requests. The caller owns the map.
	Counters() map[string]uint64
	// Applied returns the store's revision and a channel that is closed when there is a newer one.
	Applied() (revision int64, newer <-chan struct{})
}
