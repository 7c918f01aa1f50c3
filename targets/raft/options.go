package raft

import (
	"fmt"
	"strings"
	"time"

	"assize/machine"
)

// mode of reads.
type mode uint8

const (
	readindex mode = iota
	lease
	unchecked
	local
)

// Modes of reads; the first is the default.
//
//   - readindex: the leader confirms with a round of heartbeats that it still leads (dissertation 6.4)
//   - lease: it relies on clocks instead, within Options.Drift (dissertation 6.4.1)
//   - leader: it does not confirm: whoever believes that he leads answers, the classical mistake
//   - local: every server answers from its own state
var Modes = []string{"readindex", "lease", "leader", "local"}

func modeOf(name string) mode {
	for i, m := range Modes {
		if m == name {
			return mode(i)
		}
	}
	return readindex
}

// Defaults of machine.Options. Election over heartbeat leaves room for some lost heartbeats.
const (
	defaultTick      = 10 * time.Millisecond
	defaultHeartbeat = 50 * time.Millisecond
	defaultElection  = 300 * time.Millisecond
	defaultDrift     = 0.05
	defaultSnapshot  = 10000
)

// Limits that are nobody's business to choose.
const (
	sessionLimit = 4096      // connections in the duplicates table
	window       = 4         // appends under way to one follower; what comes meanwhile travels together
	batchBytes   = 512 << 10 // entries in one append
	tailShare    = 4         // a snapshot leaves one in so many of the entries it covers in memory, for slow followers
)

func defaults(o machine.Options) machine.Options {
	either := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	either(&o.Election, defaultElection)
	either(&o.Heartbeat, min(defaultHeartbeat, o.Election/6))
	either(&o.Tick, min(defaultTick, o.Heartbeat))
	if o.Drift <= 0 {
		o.Drift = defaultDrift
	}
	if o.Snapshot <= 0 {
		o.Snapshot = defaultSnapshot
	}
	return o
}

// Check says what is wrong with options, naming the allowed values.
func Check(o machine.Options) error {
	if o.Read != "" && !contains(Modes, o.Read) {
		return fmt.Errorf("raft: no read mode %q; there are %s", o.Read, strings.Join(Modes, ", "))
	}
	if !machine.HasFlaw(Flaws, o.Flaw) {
		return fmt.Errorf("raft: no flaw %q; there are %s", o.Flaw, strings.Join(machine.FlawNames(Flaws), ", "))
	}
	if d := defaults(o); d.Heartbeat >= d.Election {
		return fmt.Errorf("raft: the heartbeat %v is not below the election time-out %v", d.Heartbeat, d.Election)
	}
	if o.Drift >= 1 {
		return fmt.Errorf("raft: the drift %v is not below 1", o.Drift)
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
