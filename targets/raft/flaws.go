package raft

// flaw is a planted mistake. Each is asked for at one place.
type flaw uint8

const (
	none flaw = iota
	commitOldTerm
	forgetVote
	ackBeforeSync
	truncateAlways
	shorterLogWins
	readBeforeOwnTerm
	leaseKeepsTicking
	leaseSurvivesTransfer
	snapshotKeepsSuffix
	doubleVoteCounts
	priorTermCommitIndex
	resubmit
	fixedTimeouts
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
	{"commit-old-term", "a leader commits entries of earlier terms by counting replicas (5.4.2, figure 8)",
		[]string{"kill"}, "readindex", "register", commitOldTerm},
	{"forget-vote", "a restarted server has forgotten whom it voted for (figure 2: votedFor is persistent)",
		[]string{"kill", "partition"}, "readindex", "register", forgetVote},
	{"ack-before-sync", "acknowledgements leave before their records are logged (figure 2: updated on stable storage before responding)",
		[]string{"kill"}, "readindex", "set", ackBeforeSync},
	{"truncate-always", "an append drops what follows it even where nothing conflicts (figure 2, AppendEntries rule 3)",
		[]string{"kill", "pause"}, "readindex", "set", truncateAlways},
	{"shorter-log-wins", "votes are granted to candidates whose logs are shorter (5.4.1)",
		[]string{"kill", "partition"}, "readindex", "set", shorterLogWins},
	{"read-before-own-term", "a new leader serves reads before it has committed an entry of its term (dissertation 6.4, step 1)",
		[]string{"kill", "partition", "transfer"}, "readindex", "register", readBeforeOwnTerm},
	{"lease-keeps-ticking", "a lease is measured in ticks, which a paused process does not see (dissertation 6.4.1)",
		[]string{"pause"}, "lease", "register", leaseKeepsTicking},
	{"lease-survives-transfer", "a leader that hands over goes on serving reads by its lease (dissertation 6.4.1, 3.10)",
		[]string{"transfer", "partition", "pause"}, "lease", "register", leaseSurvivesTransfer},
	{"snapshot-keeps-suffix", "an installed snapshot leaves the old log behind it, whether it belongs to it or not (section 7, figure 13, rules 6 and 7)",
		[]string{"partition", "kill"}, "readindex", "register", snapshotKeepsSuffix},
	{"double-vote-counts", "a vote that arrives twice counts twice (5.2)",
		[]string{"partition", "kill"}, "readindex", "register", doubleVoteCounts},
	{"prior-term-commit-index", "a follower takes the leader's commit index for entries that the leader has not sent (figure 2, AppendEntries rule 5)",
		[]string{"partition"}, "readindex", "register", priorTermCommitIndex},
	{"resubmit", "the table of executed requests is not consulted (section 8): a request is applied twice",
		[]string{"kill", "partition"}, "readindex", "register", resubmit},
	{"fixed-timeouts", "all election time-outs are equal (5.2): split votes can repeat; nothing unsafe",
		[]string{"kill"}, "readindex", "register", fixedTimeouts},
}

func flawOf(name string) flaw {
	for _, f := range Flaws {
		if f.Name == name {
			return f.flaw
		}
	}
	return none
}
