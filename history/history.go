// Package history holds what was asked of a system, what was answered, and in which order.
//
// It is the only thing that clients, nemeses and checkers share: whoever judges a run sees its history and nothing else.
// The order of two events in real time is the order of their Index, never of their Time.
//
// A client may have a session with the system, which outlives its connections, its processes and what became of their operations. Each event of such a
// client names the session (Op.Session): operations that carry it by name are one session's, in the order of the history, whatever processes they
// are of. A connection is an operation of its own (Connect), and whatever the system tells the client unasked is an event of the kind Notify:
// no operation's, it stands where it came in the order of that connection's answers. Histories without sessions have neither.
package history

import (
	"fmt"
	"slices"
	"time"
)

// Kind says what an event means for the operation it belongs to.
type Kind uint8

const (
	Invoke Kind = iota // the operation was asked for
	OK                 // it took effect
	Fail               // it never did and never will
	Info               // nobody knows; it stays concurrent with everything after it
	Notify             // no operation's: what the session was told unasked, before the next completion of its process
)

var kindNames = [...]string{Invoke: "invoke", OK: "ok", Fail: "fail", Info: "info", Notify: "notify"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Process numbers that are no client's.
const (
	Nemesis = -1 // faults: one event when it broke, one when it was mended
	Harness = -2 // phases of the run, and the states of the nodes at its end
)

// Micro-operations that the present workloads use (Mop.F).
const (
	Read  = "read"  // Out: the value of Key, empty where there is none
	Write = "write" // In: the new value
	CAS   = "cas"   // In: the expected and the new value
	Add   = "add"   // In: an element, added to the set Key
	Scan  = "scan"  // Out: all elements of the set Key, ascending
	// Sync has the server catch up with all that the store had acknowledged when the sync was called; it changes nothing. Key is what it names, in
	// runs the key of the read behind it, though what it promises holds for all keys. No arguments, no results. It is the first step of its
	// transaction or the only one: {sync, read} is a client that sent a sync and, on the same connection, then the read. That transaction was
	// called when the sync was and answered when the read was, and its Version and Position are the read's. It does not take effect at one moment.
	Sync = "sync"

	// Connect opens a connection by which Session goes on, or where it is 0 a new one. Out: the session's time-out in ms, as it was negotiated, and
	// Op.Session of the OK is the session that the server has given; 0: the session has expired, or was closed.
	Connect = "connect"
	Close   = "close" // ends the session
	// CreateEphemeral makes the register Key with the value In, which goes with the session. It fails where the register is there.
	CreateEphemeral = "create-ephemeral"
	// CreateSequential makes a node below Key, named by a number that the system chooses, which goes with the session. In: for telling apart. Out: the number.
	CreateSequential = "create-sequential"
	List             = "list"   // Out: the numbers of the sequential nodes that are below Key, ascending
	Delete           = "delete" // removes the register Key; it fails where there is none
	// Remove takes the element In out of the set Key; it fails where it is not there.
	Remove = "remove"
	// WatchSet reads the elements of the set Key (Out), as Scan does, and leaves a watch: the next change of which there are is told, once. Version is that
	// of their last change. It fails, and leaves none, where nothing was ever added.
	WatchSet = "watch-set"
	// Create and Check are only steps of transactions of several, a multi, in which a Write is of a register that is there. Create makes the register Key with
	// the value In; the transaction fails where it is there. Check is of a register that was read before, to be of the value Out, and fails the transaction where
	// it has been changed since (as far as the number of changes since it was made tells: one that was deleted and made anew can have the same).
	Create = "create"
	Check  = "check"
	Watch  = "watch" // Out: 1 if the register Key is there, else 0. It leaves a watch: the next change is told, once
)

// What a Notify tells of the register, or the set, Key: its one step's F.
const (
	Created = "created"
	Changed = "changed" // it has another value
	Deleted = "deleted"
	Members = "members" // the set Key has other elements
)

// Mop is one step of a transaction on one key.
type Mop struct {
	F   string
	Key string
	In  []int // arguments; known from the invocation on
	Out []int // results; only in a completion of kind OK
}

// Txn is a list of steps that take effect together; most have one.
type Txn []Mop

// AfterSync gives the steps without the sync that goes before them, and whether one does.
func (t Txn) AfterSync() (steps Txn, synced bool) {
	if len(t) > 0 && t[0].F == Sync {
		return t[1:], true
	}
	return t, false
}

// ReadOnly tells whether the steps change nothing.
func (t Txn) ReadOnly() bool {
	return !slices.ContainsFunc(t, func(m Mop) bool {
		return m.F != Read && m.F != Scan && m.F != Sync && m.F != Watch && m.F != List && m.F != WatchSet
	})
}

// Op is one event of a history.
type Op struct {
	Index   int           // position in the history, from 0
	Time    time.Duration // controller's monotonic clock since the run began
	Process int           // logical client, or Nemesis, or Harness
	Kind    Kind
	Txn     Txn    // nil for events that are no client's
	Node    string // the server it was sent to
	Session uint64 // of the client; 0: none. Only where sessions outlive connections
	Version uint64 // of an OK: the store's revision of the write, or of the value read; 0 where unknown, and of a sync by itself
	// Position is the revision of the whole store that the server had reached when it answered an OK; 0 where unknown.
	Position uint64
	Note     string // why it failed; what the nemesis did; in which term and at which index it was acknowledged
	Fault    *Fault // of Nemesis events
	State    *State // of Harness events "state"
	Phase    string // of Harness events: one of the Phase constants
}

// The phases of a run, in their order.
const (
	PhaseStorm  = "storm"  // clients and faults begin
	PhaseQuorum = "quorum" // a random quorum has been mended, all else stays broken: it must answer (Note: who, within what)
	PhaseMend   = "mend"   // everything is being mended
	PhaseRest   = "rest"   // of runs with sessions: nobody connects or asks, so that all that there were expire
	PhaseFinal  = "final"  // the cluster answers; last words begin
	PhaseStop   = "stop"
	// PhaseViolation is no phase: an invariant of the protocol was seen broken, or a node died of itself. Note says what.
	PhaseViolation = "violation"
)

// Fault says what a nemesis did. Break and mend are two events with one ID.
type Fault struct {
	ID     int      // from 1, in the order of the plan
	Name   string   // of the nemesis: kill, partition, ...
	What   string   // what was really done, in words
	Nodes  []string // whom it hit
	Mended bool     // this is the event of the mending
	Held   bool     // a probe saw it take hold (or, when mended, saw it gone)
	Probe  string   // which probe, and what it saw
}

// State is what a node said of itself when everything had been mended.
type State struct {
	Node    string
	Applied uint64 // log index, or zxid, up to which it has applied
	Hash    uint64 // of the applied state
	Note    string // why nothing is known of it; empty otherwise
}
