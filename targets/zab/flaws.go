package zab

import "assize/machine"

// The planted mistakes. Each is asked for at one place.
const (
	ackNewLeaderEarly   = "ack-newleader-early"
	epochBeforeLog      = "epoch-before-log"
	newLeaderBeforeDiff = "newleader-before-diff"
	diffInsteadOfTrunc  = "diff-instead-of-trunc"
	truncateOneTooMany  = "truncate-one-too-many"
	proposeOnlyToSynced = "propose-only-to-synced"
	noLogReplay         = "no-log-replay"
	committedLogHole    = "committed-log-hole"
	keepHalfSnapshot    = "keep-half-snapshot"
	forgetAcceptedEpoch = "forget-accepted-epoch"
	voteIgnoresEpoch    = "vote-ignores-epoch"
	counterOverflow     = "counter-overflow"
	ignoreLastZxid      = "ignore-last-zxid"
	silentNewSession    = "silent-new-session"
	replyBeforeEvent    = "reply-before-event"
	followerReadNoTouch = "follower-read-no-touch"
	writeNoTouch        = "write-no-touch"
	numberedOutlives    = "numbered-outlives"
)

// Flaws that Options.Flaw can name.
var Flaws = []machine.Flaw{
	{Name: ackNewLeaderEarly, Doc: "a learner acknowledges NEWLEADER before what it was synchronized with is logged (ZOOKEEPER-3911, ZOOKEEPER-4646)",
		Nemesis: []string{"kill"}, Read: "sync", Workload: "set"},
	{Name: epochBeforeLog, Doc: "a learner makes the new currentEpoch durable before the transactions that belong to it (ZOOKEEPER-4643)",
		Nemesis: []string{"kill", "partition"}, Read: "sync", Workload: "set"},
	{Name: newLeaderBeforeDiff, Doc: "a leader sends NEWLEADER before the transactions that its acknowledgement vouches for (ZOOKEEPER-3104)",
		Nemesis: []string{"kill"}, Read: "sync", Workload: "set"},
	{Name: diffInsteadOfTrunc, Doc: "a learner whose log has what the leader has not is only told what follows (ZOOKEEPER-1154)",
		Nemesis: []string{"partition", "kill"}, Read: "sync", Workload: "register"},
	{Name: truncateOneTooMany, Doc: "TRUNC takes the transaction as well that it should have stopped at",
		Nemesis: []string{"partition", "kill"}, Read: "sync", Workload: "set"},
	{Name: proposeOnlyToSynced, Doc: "what is proposed while a learner is being synchronized is not sent to it",
		Nemesis: []string{"kill", "partition"}, Read: "sync", Workload: "set"},
	{Name: noLogReplay, Doc: "a restarted server has its snapshot and none of the transactions that it had logged after it",
		Nemesis: []string{"kill"}, Read: "sync", Workload: "set"},
	{Name: committedLogHole, Doc: "what a server received while it was synchronized is missing when it synchronizes others (ZOOKEEPER-4925)",
		Nemesis: []string{"kill", "partition"}, Read: "sync", Workload: "set"},
	{Name: keepHalfSnapshot, Doc: "a snapshot that was received is in use, but not on the disk before the server takes one of its own (ZOOKEEPER-3642)",
		Nemesis: []string{"kill", "partition"}, Read: "sync", Workload: "set"},
	{Name: forgetAcceptedEpoch, Doc: "a restarted server has forgotten which epochs it has accepted: two leaders can have the same, or one comes to an epoch in which nobody can follow it",
		Nemesis: []string{"kill"}, Read: "sync", Workload: "set"},
	{Name: voteIgnoresEpoch, Doc: "votes and histories are compared by the counters of their zxids, whatever their epochs",
		Nemesis: []string{"kill", "partition"}, Read: "sync", Workload: "set"},
	{Name: counterOverflow, Doc: "the counter of zxids runs over into the epoch instead of forcing a new one (here after 100 transactions; ZOOKEEPER-1277)",
		Nemesis: []string{"kill"}, Read: "sync", Workload: "set"},
	{Name: ignoreLastZxid, Doc: "a server takes clients that have seen more than it has: they go back in time",
		Nemesis: []string{"pause", "partition"}, Read: "local", Workload: "session"},
	{Name: silentNewSession, Doc: "a client that comes back with a session that has expired gets another one, and is not told",
		Nemesis: []string{"partition", "pause"}, Read: "local", Workload: "session"},
	{Name: replyBeforeEvent, Doc: "who writes has the answer before the event that the write has made",
		Nemesis: []string{"kill"}, Read: "local", Workload: "watch"},
	{Name: followerReadNoTouch, Doc: "reads that a follower answers do not keep the session alive",
		Nemesis: []string{"kill"}, Read: "local", Workload: "session"},
	{Name: writeNoTouch, Doc: "writes do not keep the session alive",
		Nemesis: []string{"kill"}, Read: "local", Workload: "session"},
	{Name: numberedOutlives, Doc: "ephemeral sequential nodes are made as if they were not ephemeral",
		Nemesis: []string{"kill"}, Read: "local", Workload: "session"},
}
