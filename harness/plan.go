// Package harness runs a plan: set up, storm, mend, last words.
package harness

import "time"

// Plan is a whole run as pure data. It is saved as plan.json and, given again, repeats the run: to the byte in the simulator, in its
// schedule on real nodes.
type Plan struct {
	Format    int           `json:"format"` // of this file; 1
	Target    string        `json:"target"`
	Cluster   string        `json:"cluster"`             // sim, local, docker
	Nodes     int           `json:"nodes"`               // that vote
	Observers int           `json:"observers,omitempty"` // that do not: the nodes after those
	Workload  string        `json:"workload"`
	Nemesis   []string      `json:"nemesis"`
	Time      time.Duration `json:"time"` // of the storm, nanoseconds
	Rate      float64       `json:"rate"` // operations a second, of all clients
	Clients   int           `json:"clients"`
	Strategy  string        `json:"strategy"` // how clients choose a node: pinned, round-robin, random
	Carry     bool          `json:"carry"`    // clients carry the position they have seen and refuse older answers
	Read      string        `json:"read"`
	Flaw      string        `json:"flaw,omitempty"`
	Record    bool          `json:"record,omitempty"` // nodes record their input, to be replayed one by one
	Seed      uint64        `json:"seed"`
	Timeout   time.Duration `json:"timeout"` // of one operation
	// Election is the least election time-out of the system, Heartbeat its heartbeat. What the harness waits for is measured in them.
	Election  time.Duration `json:"election"`
	Heartbeat time.Duration `json:"heartbeat"`
	// Cut is by what links between containers are cut: packets, or, to compare with that, the engine's disconnect. Empty: packets.
	Cut string `json:"cut,omitempty"`
	// Grace is for how long nodes keep their faults when the controller has gone silent; then they heal by themselves, where nodes can.
	Grace   time.Duration `json:"grace"`
	Weather Weather       `json:"weather"`
	Faults  []Fault       `json:"faults"`
}

// Fault is one planned fault. Draw seeds all that its nemesis chooses, so that taking one fault out leaves the others as they were.
type Fault struct {
	ID   int           `json:"id"`
	Name string        `json:"name"`
	At   time.Duration `json:"at"`  // since the storm began
	For  time.Duration `json:"for"` // until it is mended
	Draw uint64        `json:"draw"`
}

// Weather of a run, drawn from the seed before everything else. Delay to Tear act in the simulator only.
type Weather struct {
	Every     time.Duration `json:"every"`     // mean distance between faults of one nemesis
	Hold      time.Duration `json:"hold"`      // mean length of a fault
	Delay     time.Duration `json:"delay"`     // median one-way delay between nodes
	Spread    float64       `json:"spread"`    // sigma of its logarithm: reordering comes from it
	Loss      float64       `json:"loss"`      // probability per message
	Duplicate float64       `json:"duplicate"` // probability per message
	Sync      time.Duration `json:"sync"`      // mean time of an fsync
	Tear      float64       `json:"tear"`      // probability that a crash leaves the last unsynced record torn
	Drift     float64       `json:"drift"`     // greatest natural difference of clock rates, within the bound that leases assume
	Snapshot  int           `json:"snapshot"`  // applied entries between two snapshots
}
