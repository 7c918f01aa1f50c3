// Package zab is a ZooKeeper server as a function from events to effects: fast leader election, discovery, synchronization and broadcast after
// Junqueira, Reed and Serafini, "Zab: High-performance broadcast for primary-backup systems", DSN 2011 ("phase 1" is one of its section 4.1), and after
// Apache ZooKeeper, whose classes and issues are cited by name.
//
// The protocol is type peer, which knows transactions as bytes only. It promises: whatever a server has acknowledged or promised is logged in the
// same step or before; the same events give the same effects, to the byte; what no server of the ensemble can have sent is ignored; what none that is
// correct says is accused, not done, and ends the link with whoever has said it, and a leader's followers look for another one. What must never happen
// in one server panics: also that a transaction, committed by a leader, does not fit the state, since to go on would be to diverge.
//
// # How a transaction becomes durable
//
// A host makes the records of a step durable, in their order, before the step's messages leave. Of a crash's unsynced records the first ones may
// remain. So what is required of the order of writes is required of the order of records:
//
//   - acceptedEpoch is logged before LEADERINFO is answered
//   - a learner's transactions are logged as they come, its currentEpoch behind them when NEWLEADER comes, and only then NEWLEADER is acknowledged.
//     In ZooKeeper each other order has lost committed transactions: acknowledged before they were logged (ZOOKEEPER-3911, then ZOOKEEPER-4646, as
//     the log was written by another thread), currentEpoch before them (ZOOKEEPER-4643: the server is elected for its epoch and truncates the
//     others); proposals acknowledged before NEWLEADER made leaders give up (ZOOKEEPER-4685)
//   - a leader's proposal may leave before its own disk has it, as in ZooKeeper, so that both disks work at once; the commit, which counts the leader, waits
//   - TRUNC and SNAP are durable at once, and the truncated log or the snapshot alone is a sound state, whatever becomes of the synchronization; a
//     snapshot that was in use and not on the disk lost its transactions later (ZOOKEEPER-3642)
//   - a server's own snapshot is a checkpoint: nothing waits for it, and until it is durable the one before and all that was logged since are the same state
//   - what a server received while it was synchronized is in its log as everything else, and it synchronizes others with it (ZOOKEEPER-4925)
//
// All transactions in a log, be they known to be committed or not, are a server's history. A leader takes the whole of its own for committed as soon
// as a quorum has it. The service gets only what is committed: what was logged behind the snapshot is delivered once a leader has
// said so, never on a restart alone. So nothing that was delivered is ever taken back, but with its memory by the crash of a leader whose own disk does not
// have it yet, and then nobody has heard of it.
//
// # Divergence
//
// From the paper, as ZooKeeper does: a leader is elected that has the newest history of a quorum, instead of fetching it in phase 1; a leader whose
// follower's history is newer gives up. Followers acknowledge NEWLEADER after they were brought to the leader's history by what they lack.
//
// From ZooKeeper:
//
//   - Channels are made here. A session of a learner with its leader has a number of its own, frames are numbered in both directions, lost ones sent
//     again, early ones kept; a session that breaks sends the learner back to the election, as a broken TCP connection does.
//   - A voter that has accepted a newer epoch than that of a leader, without one that came to lead, can never follow it. In ZooKeeper it tries in vain
//     until there is another election; here the leader accepts that epoch, too, and steps down, so that the next epoch is above it.
//   - If all voters agree the election is decided at once, without the wait for better votes.
//   - A server keeps one log. The committed-log window is its committed end, so many transactions long, and all that is not committed belongs to it as
//     well; the transaction log on the disk is not read for learners.
//   - A snapshot for a learner is the state at the leader's last committed transaction, whole, in one frame. It is exact, not fuzzy.
//   - TRUNC+DIFF is said by name. The transactions of DIFF are not committed one by one: UPTODATE says up to where the leader has committed.
//   - ACK and COMMIT name the last zxid of a prefix. Several transactions can travel in one frame, with one ACK.
//   - NEWLEADER has no zxid. The first transaction of an epoch has counter 1, and a server that has seen none keeps its last zxid.
//   - Observers log what they get and do not promise epochs.
//   - Majority quorums only, and the ensemble is fixed: no weights, no groups, no reconfiguration.
//
// As in ZooKeeper, votes are passed on by those who hear them: while a link is cut between a follower and the server with the newest history, and others
// hear both, elections can repeat without end.
package zab
