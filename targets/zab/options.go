package zab

import (
	"time"

	"assize/machine"
)

// Defaults of machine.Options. ZooKeeper counts in ticks of 2 s: a ping every half tick, syncLimit 5, initLimit 10; it waits 200 ms for better
// votes. Here Heartbeat is the distance of pings and Election the syncLimit; the others follow from them.
const (
	defaultTick      = 10 * time.Millisecond
	defaultHeartbeat = 50 * time.Millisecond
	defaultElection  = 300 * time.Millisecond
	defaultSnapshot  = 100000 // snapCount
	defaultWindow    = 500    // ZooKeeper's commitLogCount; less where snapshots are frequent

	// A session's tick is twice Election within these bounds. So the shortest session outlives an election, as a rule, and ZooKeeper's 2 s are the most.
	leastSessionTick    = 500 * time.Millisecond
	greatestSessionTick = 2 * time.Second
)

// Limits that are nobody's business to choose.
const (
	initFactor   = 4                      // initLimit over syncLimit
	windowShare  = 4                      // the window's default is one in so many of snapCount, at most
	finalizeWait = 200 * time.Millisecond // ZooKeeper's; less where the syncLimit is short
	frameBytes   = 256 << 10              // items in one frame, but for the last
	flightFrames = 1 << 14                // frames under way to one server
	flightBytes  = 64 << 20
	resendFrames = 64   // at once
	earlyFrames  = 1024 // kept that have overtaken others
	maxCounter   = 1<<32 - 1
	maxEpoch     = 1<<31 - 1
	maxLeap      = 1 << 20 // epochs that a server can have missed: whoever says more would use them all up
	maxRounds    = 1 << 32 // rounds of elections, likewise
	overflowAt   = 100     // of the flaw counterOverflow
)

// timing in ticks, and sizes in transactions.
type timing struct {
	ping      uint64 // between two pings of a leader, and between two notifications of a server that is LOOKING
	syncLimit uint64 // silence that ends a connection; a leader without a quorum for so long steps down, at every second ping
	initLimit uint64 // from the election to a leader that serves
	contact   uint64 // from FOLLOWERINFO to the first answer
	finalize  uint64 // a quorum agrees: so long a better vote is waited for
	snapCount uint64
	window    uint64 // committed transactions kept for DIFF
}

func defaults(o machine.Options) machine.Options {
	either := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	either(&o.Election, defaultElection)
	either(&o.Heartbeat, min(defaultHeartbeat, o.Election/6))
	either(&o.Tick, min(defaultTick, o.Heartbeat))
	either(&o.SessionTick, min(max(2*o.Election, leastSessionTick), greatestSessionTick))
	if o.Snapshot <= 0 {
		o.Snapshot = defaultSnapshot
	}
	if o.Keep <= 0 {
		o.Keep = min(defaultWindow, max(o.Snapshot/windowShare, 1))
	}
	return o
}

// timingOf options with their defaults: Snapshot is ZooKeeper's snapCount, Keep its commitLogCount.
func timingOf(o machine.Options) timing {
	ticks := func(d time.Duration) uint64 { return uint64(max(1, (d+o.Tick-1)/o.Tick)) }
	limit := max(ticks(o.Election), 3)
	return timing{
		ping: ticks(o.Heartbeat), syncLimit: limit, initLimit: initFactor * limit, contact: 2 * limit, finalize: max(min(ticks(finalizeWait), 2*limit/3), 1),
		snapCount: uint64(o.Snapshot), window: uint64(o.Keep),
	}
}
