package zk

import (
	"time"

	"assize/machine"
)

// Host is the node behind a front end. All methods may be called at any time by anyone.
type Host interface {
	// Open names a new client connection: unique over all nodes and all time, never 0. told gets what the machine says to it, one call after the
	// other, in the order in which the machine said it, until Gone; it neither blocks nor calls the host. With close the connection is over
	// once body, if not nil, has been passed on.
	Open(told func(body []byte, close bool)) (conn uint64)
	// Send passes on what the client of an open connection says; the host keeps body. The first one is introduced (jute.Introduce), and each
	// is the payload of one frame. It may block while the machine has too much to do. The error is that the connection has ended.
	Send(conn uint64, body []byte) error
	// Gone tells that the connection has ended, also where the machine has closed it.
	Gone(conn uint64)
	// Status is what the machine said after the last batch whose effects have left the node. Voters must not be changed.
	Status() machine.Status
	// Clocks are the node's own clocks, as the machine gets them.
	Clocks() (wall time.Time, mono time.Duration)
	// Counters of the host: bytes, syncs, messages, requests. The caller owns the map.
	Counters() map[string]uint64
	// Report is the machine's; ok is false if it gives none.
	Report(whole bool) (r machine.Report, ok bool)
	// Dir is where the node keeps its log and its snapshots.
	Dir() string
}
