// Package cluster is what a test sees of a running system and can do to it, wherever the system runs.
package cluster

import (
	"context"
	"errors"
	"time"

	"assize/history"
)

// ErrNotDone is wrapped by errors of operations that have certainly had no effect and never will.
var ErrNotDone = errors.New("not done")

// ErrNonsense is wrapped by errors of answers that no system gives that is right, such as another key's value: a violation, whatever became of the
// operation.
var ErrNonsense = errors.New("nonsense")

// ErrRefused is wrapped (with ErrNotDone) where the node did not take the connection or does not serve: the caller backs off.
var ErrRefused = errors.New("refused")

// ErrSystem is wrapped where a power came to nothing by the doing of the system or of a fault: a server has ended by itself or does not answer, or nodes
// disagree on who they are. Any other error of a power is the test's own.
var ErrSystem = errors.New("not the test's doing")

// ErrStepped is wrapped by errors of Skewer's Skew where the clocks have been set as they should be, but so late, on a machine that is busy, that a monotonic one
// that was to go slower may have stepped back.
var ErrStepped = errors.New("it is set, but this machine was so busy that its monotonic clock may have stepped back")

// World is where time passes. Harness, workloads and nemeses block in Sleep, Wait and Client.Do only, and start concurrent work with Go
// only, so that the simulator can run them as coroutines of one thread.
type World interface {
	Now() time.Duration    // since the run began
	Sleep(d time.Duration) // returns early when the run is being interrupted
	Go(func())
	Wait() // for all that Go started
}

// Cluster is a running system. Node names are n1, n2, ... in the order of their ids; ids are never used again.
//
// ctx carries interruption only (Ctrl-C); time limits are the back-end's own, in the time of the World.
type Cluster interface {
	World
	Nodes() []string // the present members, in order; a killed node is one
	Dial(ctx context.Context, node string, o Options) (Client, error)
	Start(ctx context.Context, node string) error // idempotent; returns when the node answers
	Kill(ctx context.Context, node string) error  // as SIGKILL; idempotent
	// Status fails with ErrRefused where the node is down, and with another error where it does not answer: so a probe tells a killed
	// node from a paused one.
	Status(ctx context.Context, node string) (Status, error)
	Close() error // stops everything and leaves nothing behind; idempotent
}

// Options of one client connection.
type Options struct {
	Read    string        // read mode, one of the target's; empty: its default
	Timeout time.Duration // of each operation, and of dialing, in the World's time
	Session *Session      // which the connection is for; nil: one of its own, that begins and ends with it, or none
}

// Session of a client, as it outlives connections: it has one at a time. Whoever dials with it asks for history.Connect first; Close of such
// a Client ends the connection and not the session.
type Session struct {
	Timeout time.Duration // asked for where there is none yet
	State   any           // the Clients' own: what one leaves to the next
	Forget  func()        // called when nobody will dial with it any more, frees what State holds; nil: nothing
}

// Client is one connection to one node. It never retries and never reconnects. One operation at a time.
type Client interface {
	// Do executes t and returns within Options.Timeout. An error means nobody knows, unless it wraps ErrNotDone. With an error the Answer holds
	// what the session was told, and nothing else.
	Do(ctx context.Context, t history.Txn) (Answer, error)
	Close() error
}

// Answer to an operation that took effect. Txn has its Out filled in.
type Answer struct {
	Txn      history.Txn
	Version  uint64 // see history.Op
	Position uint64 // see history.Op
	Note     string // term and index, for provenance

	Session uint64      // see history.Op
	Told    history.Txn // what the session was told unasked before this answer, in its order: each step is a history.Notify
}

// Status is a node's view of the cluster.
type Status struct {
	Role     string // leader, follower, candidate, learner
	Leader   string // node name; empty: none known
	Term     uint64
	Commit   uint64
	Applied  uint64
	Hash     uint64 // of the applied state
	Position uint64 // of the applied state: Applied, or what names the state where that is but a count, as a zxid does
	Members  []string
	Wall     time.Time     // the node's clocks, as it reads them
	Mono     time.Duration // since the node's process began
	Process  uint64        // another one after each restart; 0: not told
	Counters map[string]uint64
}

// The powers that some clusters lack. A nemesis asks for them by type assertion.
type (
	// Pauser stops a node's process without its noticing, and lets it go on, also where a Freezer has stopped it. Both idempotent.
	Pauser interface {
		Pause(ctx context.Context, node string) error
		Resume(ctx context.Context, node string) error
	}
	// Freezer stops a node's whole machine with everything on it, such as a container by its cgroup. Idempotent; Pauser's Resume undoes it.
	Freezer interface {
		Freeze(ctx context.Context, node string) error
	}
	// Crasher kills a node together with its machine: what was set there, such as a network's rules, is gone with it. Idempotent;
	// Cluster's Start brings back both.
	Crasher interface {
		Crash(ctx context.Context, node string) error
	}
	// Cutter silences links between nodes (never between clients and nodes). Cut replaces the whole set of cut links; nil heals all.
	Cutter interface {
		Cut(ctx context.Context, links []Link) error
		// Reach sends a probe over each link and returns those it did not get through, in the order of the nodes.
		Reach(ctx context.Context) (dead []Link, err error)
	}
	// Shaper slows links, loses and duplicates what they carry. It replaces the shape of all links; the zero Shape heals.
	Shaper interface {
		Shape(ctx context.Context, links []Link, s Shape) error
		// Trips sends a number of small probes over each link and returns how long each took, there and back, and what the shaper has done
		// on that link since the shape was last set. In the order of the links. Only the way there is shaped.
		Trips(ctx context.Context, links []Link, probes int) ([]Trip, error)
	}
	// Skewer falsifies a node's clocks. The zero Skew mends. It lasts through a restart.
	Skewer interface {
		Skew(ctx context.Context, node string, s Skew) error
	}
	// Quorum mends a random quorum (drawn from draw) and keeps everything else broken: the other nodes down, their links cut. The error wraps
	// ErrSystem unless it is the test's own.
	Quorum interface {
		MendQuorum(ctx context.Context, draw uint64) (nodes []string, err error)
	}
	// Watcher tells of what should never happen: a broken invariant, a node that died without being killed. Each is told once.
	Watcher interface {
		Violations() []string
	}
	// Lapser tells of faults that have ended before they were mended, so that the system has not stood what it was to stand. Each is told once.
	Lapser interface {
		Lapsed() []string
	}
	// Transferer hands leadership to another node.
	Transferer interface {
		Transfer(ctx context.Context, to string) error
	}
	// Members changes who takes part. Leave stops the node for good; Join starts a new node and returns its name.
	Members interface {
		Leave(ctx context.Context, node string) error
		Join(ctx context.Context) (node string, err error)
	}
	// Limited is a cluster of which this machine may lack a power that its type has.
	Limited interface {
		// Lack tells why the power is not there, nil where it is.
		Lack(power Power) error
		// Choices tells in words by what means powers are exercised where there is more than one.
		Choices() []string
	}
	// Observed tells which nodes have no vote: they follow what the others decide.
	Observed interface {
		Observers() []string
	}
	// Sizer tells with how many members the cluster began. Those who change the membership mend it back to this size.
	Sizer interface {
		Size() int
	}
)

// Link is one direction between two nodes.
type Link struct{ From, To string }

// Shape of a link. Probabilities from 0 to 1.
type Shape struct {
	Delay, Jitter    time.Duration // each packet is later by Delay and by up to Jitter more; those of different lateness may overtake each other
	Loss, Duplicated float64
	Rate             float64 // bytes a second, one packet after the other, the first ones too: none passes unheld; 0: unlimited
}

// Trip is what probes of a link have shown.
type Trip struct {
	Link                   Link
	Times                  []time.Duration // of each probe; negative: no answer
	Held, Lost, Duplicated uint64          // packets, pieces or messages that the shaper has delayed, lost, duplicated; probes too
}

// Power names what a cluster may be able to do.
type Power string

// Powers, most of them named after the interface that exercises them.
const (
	Pause     Power = "pause"
	Freeze    Power = "freeze"
	Crash     Power = "crash"
	Cut       Power = "cut"
	Shapes    Power = "shape"
	Duplicate Power = "duplicate" // of a Shaper
	Skews     Power = "skew"
	// What the system itself must know how to do.
	Transfers  Power = "transfer"
	Membership Power = "members"
)

// Skew of a node's clocks against true time. Rates are relative: 0 is true, 0.5 is half again as fast, -0.5 half as fast.
type Skew struct {
	Wall, Mono         time.Duration // jumps, applied once when the Skew is set
	WallRate, MonoRate float64
	Strobe             time.Duration // the wall clock jumps by Wall and back with this period; 0: no strobe
}
