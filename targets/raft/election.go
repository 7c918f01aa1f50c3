package raft

import (
	"fmt"

	"assize/machine"
)

// campaign is what a candidate and a pre-candidate keep.
type campaign struct {
	votes  []int  // servers that have granted theirs, in the order of arrival
	asked  uint64 // tick of the last round of requests
	forced bool   // the leader asked for this election (dissertation 3.10)
}

// expire begins an election when no leader was heard for the time-out, but not while this server is bound by its own clock: its vote for itself
// would break a lease that it has helped to grant.
func (r *Raft) expire() {
	if r.leader != 0 {
		r.follow(r.term, 0)
	}
	r.wait()
	if r.eligible() && !r.sticky() {
		r.preCampaign()
	}
}

// eligible: voters campaign. So does a server whose removal it has in its log and does not know to be committed (dissertation 4.2.2: "a server that
// is not part of its own latest configuration should still start new elections, as it might still be needed until the C_new entry is
// committed"): its log may be the longest of all that are up, and then nobody else gets enough votes.
func (r *Raft) eligible() bool {
	n := len(r.configs)
	return r.isVoter() || n > 1 && r.configs[n-1].index > r.commit && r.configs[n-2].config.voter(r.id)
}

// preCampaign asks whether an election could be won, without disturbing anyone (dissertation 9.6).
func (r *Raft) preCampaign() {
	r.role = preCandidate
	r.poll()
}

// run for leader (5.2): increment the term, vote for oneself, ask all others.
func (r *Raft) run(forced bool) {
	r.counts.Elections++
	if r.leader != 0 {
		r.leader, r.leaderless = 0, r.ticks
	}
	r.role = candidate
	r.term++
	r.vote, r.dirty = r.id, true
	r.forced = forced
	r.wait()
	r.poll()
}

// poll opens an empty ballot box and puts one's own vote in it, if one has one.
func (r *Raft) poll() {
	r.votes = r.votes[:0]
	if r.isVoter() {
		r.votes = append(r.votes, r.id)
	}
	r.solicit()
	r.count()
}

// solicit votes of all, again and again until the election is decided (5.1: "Servers retry RPCs if they do not receive a response in a timely
// manner"). Those who have answered are asked as well: what one refused because it had heard a leader it may grant now.
func (r *Raft) solicit() {
	r.asked = r.ticks
	kind, term := msgVote, r.term
	if r.role == preCandidate {
		kind, term = msgPreVote, r.term+1
	}
	body := encodeVote(kind, term, r.log.last(), r.log.lastTerm(), r.forced && r.role == candidate)
	for _, id := range r.config.voters {
		if id != r.id {
			r.post(id, body)
		}
	}
}

func has(ids []int, id int) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// upToDate compares a candidate's log with one's own (5.4.1): "If the logs have last entries with different terms, then the log with the
// later term is more up-to-date. If the logs end with the same term, then whichever log is longer is more up-to-date."
func (r *Raft) upToDate(index, term uint64) bool {
	if term != r.log.lastTerm() {
		return term > r.log.lastTerm()
	}
	return index >= r.log.last() || r.flaw == shorterLogWins
}

// onPreVote tells whether a vote would be granted, without changing anything here.
func (r *Raft) onPreVote(from int, m *message) {
	if (m.term > r.term || m.term == r.term && r.free(from)) && !r.sticky() && r.upToDate(m.index, m.logTerm) {
		r.post(from, encodeVoteReply(msgPreVoteReply, m.term, true))
		return
	}
	r.post(from, encodeVoteReply(msgPreVoteReply, r.term, false))
}

// onVote: figure 2, RequestVote. Servers vote for whoever asks, member or not, since the candidate may know a newer configuration
// (dissertation 4.2.2).
func (r *Raft) onVote(from int, m *message) {
	if m.term > r.term {
		// Dissertation 4.2.3: "if a server receives a RequestVote request within the minimum election timeout of hearing from a
		// current leader, it does not update its term or grant its vote", unless that leader wants it so (3.10).
		if r.sticky() && !m.transfer {
			return
		}
		r.follow(m.term, 0)
	}
	// The same holds in a term that this server has learned of by an answer: a leader of an earlier one may rely on what it was promised. To say
	// again what was said before it takes nothing back.
	bound := r.sticky() && !m.transfer && r.vote != from
	granted := m.term == r.term && !bound && r.free(from) && r.upToDate(m.index, m.logTerm)
	if granted {
		r.role = follower
		r.wait()
		if r.vote == 0 {
			r.vote, r.dirty = from, true
		}
	}
	r.post(from, encodeVoteReply(msgVoteReply, r.term, granted))
}

// free to vote for a candidate of this term (figure 2, RequestVote, rule 2: "votedFor is null or candidateId").
func (r *Raft) free(from int) bool {
	return (r.role == follower || r.role == preCandidate) && r.leader == 0 && (r.vote == 0 || r.vote == from)
}

func (r *Raft) onPreVoteReply(from int, m *message) {
	if !m.granted {
		if m.term > r.term {
			r.follow(m.term, 0)
		}
	} else if m.term == r.term+1 {
		r.ballot(preCandidate, from)
	}
}

func (r *Raft) onVoteReply(from int, m *message) {
	if m.term > r.term {
		r.follow(m.term, 0)
	} else if m.term == r.term && m.granted {
		r.ballot(candidate, from)
	}
}

// ballot takes a vote in the poll of a role: one of each server, however often it comes.
func (r *Raft) ballot(polled role, from int) {
	if r.role != polled || !r.config.voter(from) {
		return
	}
	if has(r.votes, from) && r.flaw != doubleVoteCounts {
		return
	}
	r.votes = append(r.votes, from)
	r.count()
}

// count the votes: a majority of the configuration in this server's log wins (5.2).
func (r *Raft) count() {
	if 2*len(r.votes) <= len(r.config.voters) {
		return
	}
	if r.role == preCandidate {
		r.run(false)
		return
	}
	r.accede()
}

// accede to leadership (5.2, figure 2 "Leaders"): first empty appends, which tell of the new leader and find out where logs agree, then an
// entry of the own term, because only that can be committed by counting (5.4.2, dissertation 6.4).
func (r *Raft) accede() {
	r.role, r.leader, r.forced = leader, r.id, false
	r.begin()
	r.propose(entry{r.term, []byte{kindNoop}})
	r.redispatch()
}

// onTimeoutNow: the leader hands over (dissertation 3.10): "the target server should be able to start a new election immediately".
func (r *Raft) onTimeoutNow(from int) {
	if r.role == follower && r.leader == from && r.isVoter() {
		r.run(true)
	}
}

// saveState logs term and vote before anything that depends on them leaves this server.
func (r *Raft) saveState() {
	if r.dirty {
		r.dirty = false
		r.out.Log = append(r.out.Log, r.stateRecord())
	}
}

func (r *Raft) stateRecord() []byte {
	e := machine.Encoder{B: make([]byte, 0, 16)}
	e.Byte(recordState)
	e.Uint(r.term)
	e.Uint(uint64(r.vote))
	return e.B
}

// maxTerm is beyond what a cluster can reach; a term at the end of the numbers would leave no other.
const maxTerm = 1 << 62

// receive a message. What cannot be read or makes no sense is ignored: it comes from no server of this cluster.
func (r *Raft) receive(in *machine.Message) {
	var m message
	if in.From <= 0 || in.From == r.id || in.From > maxID || m.decode(in.Body) != nil || m.term > maxTerm || m.term == 0 && m.kind < msgForward {
		return
	}
	switch m.kind {
	case msgPreVote:
		r.onPreVote(in.From, &m)
	case msgPreVoteReply:
		r.onPreVoteReply(in.From, &m)
	case msgVote:
		r.onVote(in.From, &m)
	case msgVoteReply:
		r.onVoteReply(in.From, &m)
	case msgAppend, msgSnapshot:
		r.fromLeader(in.From, &m)
	case msgAppendReply:
		r.onAppendReply(in.From, &m)
	case msgTimeoutNow:
		if m.term == r.term {
			r.onTimeoutNow(in.From)
		}
	case msgForward:
		r.onForward(in.From, &m)
	case msgRefusal:
		r.onRefusal(&m)
	case msgQuery:
		r.onQuery(in.From, &m)
	case msgIndex:
		r.onIndex(&m)
	}
}

// fromLeader takes what only a leader sends (5.1, 5.2).
func (r *Raft) fromLeader(from int, m *message) {
	if m.term < r.term {
		// A deposed leader learns of it by our term; one whose followers have a newer term could otherwise keep them from ever following. It
		// learns nothing else: where it is elected again before this arrives, index and round would name others, of its new reign.
		r.post(from, encodeAppendReply(r.term, false, 0, 0, 0, 0))
		return
	}
	if m.term == r.term && (r.role == leader || r.leader != 0 && r.leader != from) {
		panic(fmt.Sprintf("raft: two leaders in term %d: %d and %d", r.term, max(r.leader, 0), from))
	}
	if m.term > r.term || r.role != follower || r.leader != from {
		r.follow(m.term, from)
	}
	r.heed()
	if m.kind == msgAppend {
		r.onAppend(from, m)
	} else {
		r.onSnapshot(from, m)
	}
}
