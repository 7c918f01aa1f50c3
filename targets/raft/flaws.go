package raft

import "assize/machine"

// The planted mistakes. Each is asked for at one place.
const (
	commitOldTerm         = "commit-old-term"
	forgetVote            = "forget-vote"
	ackBeforeSync         = "ack-before-sync"
	truncateAlways        = "truncate-always"
	shorterLogWins        = "shorter-log-wins"
	readBeforeOwnTerm     = "read-before-own-term"
	leaseKeepsTicking     = "lease-keeps-ticking"
	leaseSurvivesTransfer = "lease-survives-transfer"
	snapshotKeepsSuffix   = "snapshot-keeps-suffix"
	doubleVoteCounts      = "double-vote-counts"
	priorTermCommitIndex  = "prior-term-commit-index"
	resubmit              = "resubmit"
	fixedTimeouts         = "fixed-timeouts"
)

// Flaws that Options.Flaw can name.
var Flaws = []machine.Flaw{
	{Name: commitOldTerm, Doc: "a leader commits entries of earlier terms by counting replicas (5.4.2, figure 8)",
		Nemesis: []string{"kill"}, Read: "readindex", Workload: "register"},
	{Name: forgetVote, Doc: "a restarted server has forgotten whom it voted for (figure 2: votedFor is persistent)",
		Nemesis: []string{"kill", "partition"}, Read: "readindex", Workload: "register"},
	{Name: ackBeforeSync, Doc: "acknowledgements leave before their records are logged (figure 2: updated on stable storage before responding)",
		Nemesis: []string{"kill"}, Read: "readindex", Workload: "set"},
	{Name: truncateAlways, Doc: "an append drops what follows it even where nothing conflicts (figure 2, AppendEntries rule 3)",
		Nemesis: []string{"kill", "pause"}, Read: "readindex", Workload: "set"},
	{Name: shorterLogWins, Doc: "votes are granted to candidates whose logs are shorter (5.4.1)",
		Nemesis: []string{"kill", "partition"}, Read: "readindex", Workload: "set"},
	{Name: readBeforeOwnTerm, Doc: "a new leader serves reads before it has committed an entry of its term (dissertation 6.4, step 1)",
		Nemesis: []string{"kill", "partition", "transfer"}, Read: "readindex", Workload: "register"},
	{Name: leaseKeepsTicking, Doc: "a lease is measured in ticks, which a paused process does not see (dissertation 6.4.1)",
		Nemesis: []string{"pause"}, Read: "lease", Workload: "register"},
	{Name: leaseSurvivesTransfer, Doc: "a leader that hands over goes on serving reads by its lease (dissertation 6.4.1, 3.10)",
		Nemesis: []string{"transfer", "partition", "pause"}, Read: "lease", Workload: "register"},
	{Name: snapshotKeepsSuffix, Doc: "an installed snapshot leaves the old log behind it, whether it belongs to it or not (section 7, figure 13, rules 6 and 7)",
		Nemesis: []string{"partition", "kill"}, Read: "readindex", Workload: "register"},
	{Name: doubleVoteCounts, Doc: "a vote that arrives twice counts twice (5.2)",
		Nemesis: []string{"partition", "kill"}, Read: "readindex", Workload: "register"},
	{Name: priorTermCommitIndex, Doc: "a follower takes the leader's commit index for entries that the leader has not sent (figure 2, AppendEntries rule 5)",
		Nemesis: []string{"partition"}, Read: "readindex", Workload: "register"},
	{Name: resubmit, Doc: "the table of executed requests is not consulted (section 8): a request is applied twice",
		Nemesis: []string{"kill", "partition"}, Read: "readindex", Workload: "register"},
	{Name: fixedTimeouts, Doc: "all election time-outs are equal (5.2): split votes can repeat; nothing unsafe",
		Nemesis: []string{"kill"}, Read: "readindex", Workload: "register"},
}
