package zab

// flaw is a planted mistake. Each is asked for at one place.
type flaw uint8

const (
	none flaw = iota
	ackNewLeaderEarly
	epochBeforeLog
	newLeaderBeforeDiff
	diffInsteadOfTrunc
	truncateOneTooMany
	proposeOnlyToSynced
	noLogReplay
	committedLogHole
	keepHalfSnapshot
	forgetAcceptedEpoch
	voteIgnoresEpoch
	counterOverflow
	ignoreLastZxid
	silentNewSession
	replyBeforeEvent
	followerReadNoTouch
	writeNoTouch
	numberedOutlives
)

// Flaw describes a planted mistake and what exposes it best.
type Flaw struct {
	Name, Doc string
	Nemesis   []string
	Read      string
	Workload  string
	flaw      flaw
}

// Flaws that Options.Flaw can name.
var Flaws = []Flaw{
	{"ack-newleader-early", "a learner acknowledges NEWLEADER before what it was synchronized with is logged (ZOOKEEPER-3911, ZOOKEEPER-4646)",
		[]string{"kill"}, "sync", "set", ackNewLeaderEarly},
	{"epoch-before-log", "a learner makes the new currentEpoch durable before the transactions that belong to it (ZOOKEEPER-4643)",
		[]string{"kill", "partition"}, "sync", "set", epochBeforeLog},
	{"newleader-before-diff", "a leader sends NEWLEADER before the transactions that its acknowledgement vouches for",
		[]string{"kill"}, "sync", "set", newLeaderBeforeDiff},
	{"diff-instead-of-trunc", "a learner whose log has what the leader has not is only told what follows (ZOOKEEPER-1154)",
		[]string{"partition", "kill"}, "sync", "register", diffInsteadOfTrunc},
	{"truncate-one-too-many", "TRUNC takes the transaction as well that it should have stopped at",
		[]string{"partition", "kill"}, "sync", "set", truncateOneTooMany},
	{"propose-only-to-synced", "what is proposed while a learner is being synchronized is not sent to it",
		[]string{"kill", "partition"}, "sync", "set", proposeOnlyToSynced},
	{"no-log-replay", "a restarted server has its snapshot and none of the transactions that it had logged after it",
		[]string{"kill"}, "sync", "set", noLogReplay},
	{"committed-log-hole", "what a server received while it was synchronized is missing when it synchronizes others (ZOOKEEPER-4925)",
		[]string{"kill", "partition"}, "sync", "set", committedLogHole},
	{"keep-half-snapshot", "a snapshot that was received is in use, but not on the disk before the server takes one of its own (ZOOKEEPER-3642)",
		[]string{"kill", "partition"}, "sync", "set", keepHalfSnapshot},
	{"forget-accepted-epoch", "a restarted server has forgotten which epochs it has accepted: two leaders can have the same",
		[]string{"kill"}, "sync", "set", forgetAcceptedEpoch},
	{"vote-ignores-epoch", "votes and histories are compared by the counters of their zxids, whatever their epochs",
		[]string{"kill", "partition"}, "sync", "set", voteIgnoresEpoch},
	{"counter-overflow", "the counter of zxids runs over into the epoch instead of forcing a new one (here after 100 transactions; ZOOKEEPER-1277)",
		[]string{"kill"}, "sync", "set", counterOverflow},
	{"ignore-last-zxid", "a server takes clients that have seen more than it has: they go back in time",
		[]string{"pause", "partition"}, "local", "session", ignoreLastZxid},
	{"silent-new-session", "a client that comes back with a session that has expired gets another one, and is not told",
		[]string{"partition", "pause"}, "local", "session", silentNewSession},
	{"reply-before-event", "who writes has the answer before the event that the write has made",
		[]string{"kill"}, "local", "watch", replyBeforeEvent},
	{"follower-read-no-touch", "reads that a follower answers do not keep the session alive",
		[]string{"kill"}, "local", "session", followerReadNoTouch},
	{"write-no-touch", "writes do not keep the session alive",
		[]string{"kill"}, "local", "session", writeNoTouch},
	{"numbered-outlives", "ephemeral sequential nodes are made as if they were not ephemeral",
		[]string{"kill"}, "local", "session", numberedOutlives},
}

func flawOf(name string) flaw {
	for _, f := range Flaws {
		if f.Name == name {
			return f.flaw
		}
	}
	return none
}
