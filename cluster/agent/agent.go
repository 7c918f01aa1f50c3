// Package agent is what stands in a node's container in the controller's stead: its first process, whose child is the server, so that a kill of
// the server leaves the container's network and what was done to it as they are.
//
// It promises:
//   - The server's output passes through unchanged; lines of its own begin with "agent: ".
//   - Faults are an active set that outlives the server: a server that is started again finds the packets dropped and the clocks false as before.
//   - Faults expire. When the controller has been silent for the grace period the agent heals by itself: packets pass, clocks are mended, a
//     stopped server goes on, a killed one is started again. Time in which the agent itself stood still is no silence.
//   - An end of the server is told to a controller once, also to one that attaches later.
//   - A controller that was silent and is there after all is told, before anything else that it asks for, that its faults have lapsed.
//   - Nobody commands it from the network: it listens at a Unix socket in the node's directory, to which the engine's exec of Attach leads. Rubbish
//     there ends the session, never the agent.
//
// The controller's side is Remote. The agent itself runs on Linux only.
package agent

import (
	"fmt"
	"io"
	"time"

	"assize/cluster"
	"assize/cluster/packets"
)

// ErrDown is wrapped where the server would have to run for what is asked. It wraps cluster.ErrRefused.
var ErrDown = fmt.Errorf("the server is down: %w", cluster.ErrRefused)

// Config of an agent.
type Config struct {
	Binary string        // of the server; empty: this executable
	Args   []string      // the server's, without the program's name
	Dir    string        // where Write writes and where the socket is
	Table  string        // name of the packet filter's table; empty: links are left alone
	Grace  time.Duration // how long a controller may be silent; 0: for ever
	Hold   bool          // do not start the server before a controller says so, and stay when it ends
	Output io.Writer     // the server's lines and our own
}

// Event is what a controller is told without having asked. One of its fields is set.
type Event struct {
	Ended *End   `json:"ended,omitempty"`
	Lapse *Lapse `json:"lapse,omitempty"`
}

// Lapse of faults: the agent has healed by itself, and what the controller believes to be in force is so no more.
type Lapse struct {
	Count int    `json:"count"` // from 1; the agent's count begins anew with its container
	What  string `json:"what"`  // of its controller's doing was undone by the last one
}

// End of one life of the server.
type End struct {
	Life   uint64 `json:"life"`             // from 1; the agent's count begins anew with its container
	Status string `json:"status"`           // as "exit status 3" or "signal: killed"
	Killed bool   `json:"killed,omitempty"` // by SIGKILL
	Asked  bool   `json:"asked,omitempty"`  // we had been asked for it before it was seen
}

// Target of a probe.
type Target struct {
	Address string        `json:"address"` // host:port
	Wait    time.Duration `json:"wait"`    // for each connection, from dialing to the answer
	Times   int           `json:"times"`
	Bytes   int           `json:"bytes,omitempty"` // of the rubbish that greets it; 0: a few
}

// State of an agent and its server.
type State struct {
	Running   bool              `json:"running"`
	Pid       int               `json:"pid,omitempty"` // as the container counts
	Paused    bool              `json:"paused,omitempty"`
	Life      uint64            `json:"life"` // of the server that runs or ran last; 0: none has been started
	Args      []string          `json:"args,omitempty"`
	Packets   packets.Set       `json:"packets"`
	Skew      cluster.Skew      `json:"skew"` // as it was last asked for
	Abilities packets.Abilities `json:"abilities"`
	SkewLack  string            `json:"skewLack,omitempty"` // why clocks cannot be falsified here; empty: they can
	Grace     time.Duration     `json:"grace"`
	Healed    int               `json:"healed,omitempty"` // how often it has healed by itself
	HealedAt  time.Time         `json:"healedAt,omitzero"`
}
