// Package machine is the contract between a protocol and its host, and the replicated store that protocols share.
//
// A protocol is a function from events to effects: it reads no clock, opens no socket and starts nothing. The daemon hosts
// it on a real node, the simulator in virtual time; both drive the same bytes through it.
package machine

import "time"

// Config is what a machine is made of. Snapshot and Log are what the host found on its disk: the last durable snapshot (nil:
// none), and its tail and the records logged after it, oldest first.
type Config struct {
	ID        int   // of this node, from 1
	Voters    []int // the first configuration; nil on a node that joins a running cluster and learns it from there
	Observers []int
	Seed      uint64 // all randomness comes from it
	Snapshot  []byte
	Log       [][]byte
	Options   Options
}

// Options of all protocols; a zero means the protocol's default.
type Options struct {
	Read      string        // what a linearizable read rests on, e.g. readindex, lease, leader
	Flaw      string        // the planted flaw; empty: none
	Tick      time.Duration // distance between the host's ticks
	Heartbeat time.Duration
	Election  time.Duration // least election time-out; the greatest is twice it
	Drift     float64       // bound on the relative rate of two nodes' monotonic clocks that a lease assumes, e.g. 0.05
	Snapshot  int           // applied entries between two snapshots
	Keep      int           // revisions of history that the store keeps for reads at a revision and watches

	// Of ZAB alone.
	SessionTick time.Duration // ZooKeeper's tickTime as sessions count it: their time-outs are between 2 and 20 of it
	Super       string        // digest of the superuser: a name, ":", and the base64 of the SHA-1 of "name:password"; empty: there is none
}

// Machine is one node's protocol state. One goroutine at a time. Step and Status never block. A broken invariant panics.
type Machine interface {
	Step(Event) Effects
	Status() Status
}

// Event is one thing that happens to a machine. With neither Message nor Request nor Gone it is a tick.
//
// Wall and Mono are readings of the node's own, possibly skewed, clocks, taken after the message or request had arrived.
// Mono restarts with the process. Neither is promised to increase.
type Event struct {
	Wall    time.Time
	Mono    time.Duration
	Message *Message
	Request *Request
	Gone    uint64 // a client connection that has ended; 0: none
}

// Message travels from node to node. It may be lost, duplicated, delayed and reordered. Step may keep Body; nobody changes it.
type Message struct {
	From, To int
	Body     []byte
	// Early, of a message in Effects, tells that nothing in it rests on what its sender has logged and may not be durable yet: the host may let it out before
	// it is, but not before what it was given earlier for the same node.
	Early bool
}

// Request comes from a client connection. Conn is unique over all nodes and all time (never 0), Seq increases by one within it from 1.
// A connection may have many requests outstanding. Body is in the target's language: an encoded Command, or one frame of what its clients speak.
type Request struct {
	Conn uint64
	Seq  uint64
	Body []byte
}

// Reply answers one request; each request is answered at most once. Body is in the target's language, an encoded Result where requests are Commands.
//
// With Seq 0 it answers no one request but is pushed: the host hands a connection's pushed replies over in the order in which the machine emitted
// them, those of one Step and those of many, and what they belong to is the body's affair. A push may come unasked.
//
// With Close the host ends the connection after Body has been handed over; a nil Body is nothing to hand over. The machine emits no more for that
// connection. It hears Gone of it, as of every other; until then requests that were on their way may still come.
type Reply struct {
	Conn  uint64
	Seq   uint64
	Body  []byte
	Close bool
}

// Effects of one Step. The host makes what they log durable, steps in their order, BEFORE Send and Reply leave the node, but for messages that are Early.
// It may step many events, make all their effects durable at once, and then let them out.
//
// Log records are appended to the node's log; truncation of a protocol's own log is a record too.
//
// A Snapshot, with the records of Tail behind it, stands for all that was logged up to this step, its own Log included: whatever the machine still needs
// beside its state it repeats in Tail. On a restart Config has the last durable Snapshot, and as its Log that Tail and what was logged in later steps.
// There are two kinds:
//
//   - A checkpoint (Installed is false) says nothing that the log does not. It becomes durable, wholly, at some time after the Log of its step, or never. Nothing
//     waits for it. A crash before finds the older snapshot and all that was logged since, this step's Log included: the machine must come to the same
//     from either. A newer snapshot of either kind may take its place at any time.
//   - An installed snapshot comes from elsewhere, and the log it replaces does not lead to it. It becomes durable at once and as a whole, before Send
//     and Reply of this and of later steps leave. A crash finds all before it, or it. Log is empty: all that the step has logged is in Tail.
//
// A machine may use the slices, not what they hold, again in its next Step: whoever keeps effects longer copies the slices.
type Effects struct {
	Log       [][]byte
	Snapshot  []byte   // nil: none
	Tail      [][]byte // of the Snapshot, oldest first
	Installed bool     // the Snapshot is
	Send      []Message
	Reply     []Reply
	Applied   []Applied
	Accused   []Accusation
}

// Accusation is of a node that has said what no correct one says. What it has said is not done, and the machine has left it. In the simulator, whose nodes are all
// of one kind, it is a broken invariant.
type Accusation struct {
	Node int
	Why  string
}

// Applied tells that the store has taken up one log entry.
type Applied struct {
	Index    uint64
	Revision int64  // the store's, after it
	Hash     uint64 // running hash of the store's state, after it
}

// Roles in Status.Role.
const (
	Follower  = "follower"
	Candidate = "candidate" // also a pre-candidate
	Leader    = "leader"
	Learner   = "learner" // no voter: joining, or observing, or removed
)

// Status is a machine's view of the cluster.
type Status struct {
	ID       int
	Role     string
	Term     uint64 // or epoch, or ballot
	Leader   int    // 0: none known
	Voters   []int
	Commit   uint64
	Applied  uint64
	Last     uint64 // index of the last log entry
	Snapshot uint64 // index of the last entry in the snapshot
	Revision int64  // of the store
	Hash     uint64 // of the applied state
	Position uint64 // of the applied state in the order of writes, where Applied is but a count and would not tell that one is missing, as a zxid does; 0: Applied
	Counters Counters
}

// Counters of rare things, for tests and reports.
type Counters struct {
	Elections       uint64 // campaigns begun
	SnapshotsTaken  uint64
	SnapshotsLoaded uint64 // received from another node and installed
	Truncations     uint64 // of the tail of the log
	LeaseReads      uint64
	IndexReads      uint64
}

// Inspector is implemented by machines that keep a replicated log. The simulator checks log invariants with it after every step.
type Inspector interface {
	// Changed returns the least index at which the log has been changed (appended to, truncated, replaced) since Changed was last
	// called, or 0.
	Changed() uint64
	// Entry returns term and body of the entry at index; ok is false where the log does not hold it (compacted or beyond the end). What was
	// logged in a step can be read after it, also where that step has taken a snapshot of it.
	Entry(index uint64) (term uint64, body []byte, ok bool)
}
