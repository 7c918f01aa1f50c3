// Package vitals is what a node of ours tells tests of itself, whatever protocol its clients speak. It goes over the wire as JSON.
package vitals

import (
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	"assize/cluster"
	"assize/machine"
)

// Host is where it comes from.
type Host interface {
	Status() machine.Status
	Clocks() (wall time.Time, mono time.Duration)
	Counters() map[string]uint64
}

// Vitals of a node.
type Vitals struct {
	Machine machine.Status    `json:"machine"`
	Wall    time.Time         `json:"wall"`
	Mono    time.Duration     `json:"mono"`
	Process uint64            `json:"process"`
	Host    map[string]uint64 `json:"host"`
}

// process tells this process from others of the same node.
var process = uint64(time.Now().UnixNano())

// Of the node that h is.
func Of(h Host) Vitals {
	v := Vitals{Machine: h.Status(), Process: process, Host: h.Counters()}
	v.Wall, v.Mono = h.Clocks()
	return v
}

// Cluster status of the same.
func (v *Vitals) Cluster() cluster.Status {
	m := &v.Machine
	c := cluster.Status{
		Role: m.Role, Term: m.Term, Commit: m.Commit, Applied: m.Applied, Hash: m.Hash, Position: cmp.Or(m.Position, m.Applied), Wall: v.Wall, Mono: v.Mono,
		Process: v.Process, Counters: v.Host,
	}
	if m.Leader != 0 {
		c.Leader = Name(m.Leader)
	}
	for _, id := range m.Voters {
		c.Members = append(c.Members, Name(id))
	}
	if c.Counters == nil {
		c.Counters = map[string]uint64{}
	}
	for name, n := range map[string]uint64{
		"last": m.Last, "snapshot": m.Snapshot, "revision": uint64(m.Revision), "elections": m.Counters.Elections, "snapshots-taken": m.Counters.SnapshotsTaken,
		"snapshots-loaded": m.Counters.SnapshotsLoaded, "truncations": m.Counters.Truncations, "lease-reads": m.Counters.LeaseReads,
		"index-reads": m.Counters.IndexReads,
	} {
		c.Counters[name] = n
	}
	return c
}

// Name of the node with this id in a cluster.
func Name(id int) string { return "n" + strconv.Itoa(id) }

// JSON of the same. It fails if the node's wall clock shows a year that has not four digits.
func (v Vitals) JSON() ([]byte, error) { return json.Marshal(v) }

// Read is the inverse of JSON.
func Read(b []byte) (v Vitals, err error) {
	err = json.Unmarshal(b, &v)
	return v, err
}
