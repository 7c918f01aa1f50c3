// Package raft is a Raft server as a function from events to effects: Ongaro and Ousterhout, "In Search of an Understandable Consensus
// Algorithm (Extended Version)", 2014, and Ongaro, "Consensus: Bridging Theory and Practice", dissertation, 2014. "5.4.2" is a section of the
// paper, "dissertation 6.4" one of the dissertation.
//
// It promises: a server that has acknowledged anything has logged it before; the same events give the same effects, to the byte; what no server
// of the cluster has sent is ignored. What must never happen panics.
//
// # Divergence
//
//   - Pre-vote and check-quorum (dissertation 9.6, 6.2) are always on.
//   - Probes and first heartbeats of a leader carry no entries. Entries flow once logs are known to agree, one append at first, then several
//     at a time; an append carries entries of one term.
//   - Answers to appends name the index up to which the logs agree, so a delayed answer cannot be taken for another.
//   - Snapshots travel whole, in one message, not in chunks: links carry messages of any size, and a repeated one is recognised by its index. The last one
//     stays in memory for that: a follower that lags costs the leader a copy, and not the time to encode its state once more.
//   - A server's own snapshot is a checkpoint: nothing waits for it to be durable, and until it is, the one before and the whole log since are the same
//     state. One that is installed replaces the log before it is acknowledged.
//   - Membership changes one server at a time (dissertation 4.1), not by joint consensus (section 6). Ids of removed servers are never used again.
//   - Requests may go to any server. A follower forwards writes and asks the leader for an index to read at; it repeats them when leadership
//     changes. The table of executed requests (section 8) is kept by connection, not by registered client, and the least recently used ones
//     are forgotten: a request that may have been forgotten is answered Unknown and not executed.
//   - The leader's clock decides about leases, by readings of its monotonic clock, not by counting; followers refuse votes by theirs, and after
//     a restart as well, in lease mode. A term in which a handover was begun has no leases.
package raft
