package raft

import (
	"slices"
	"testing"
	"time"

	"assize/machine"
)

// one is a single server whose messages a test writes itself.
type one struct {
	*Raft
	t   *testing.T
	now time.Duration
	fx  machine.Effects
}

func newOne(t *testing.T, o machine.Options, records ...[]byte) *one {
	t.Helper()
	r, err := Load(machine.Config{ID: 1, Voters: []int{1, 2, 3, 4, 5}, Seed: 7, Options: o, Log: records})
	if err != nil {
		t.Fatal(err)
	}
	s := &one{Raft: r, t: t, now: time.Second}
	return s
}

// gets a message and returns what it sends.
func (s *one) gets(from int, body []byte) []message {
	s.t.Helper()
	return s.event(machine.Event{Message: &machine.Message{From: from, To: 1, Body: body}})
}

func (s *one) event(e machine.Event) (sent []message) {
	s.t.Helper()
	e.Mono = s.now
	s.fx = s.Step(e)
	for _, m := range s.fx.Send {
		var d message
		if err := d.decode(m.Body); err != nil {
			s.t.Fatal(err)
		}
		sent = append(sent, d)
	}
	return sent
}

// idle lets the clock go on by d and n ticks pass.
func (s *one) idle(d time.Duration, n int) (sent []message) {
	s.now += d
	for range n {
		sent = append(sent, s.event(machine.Event{})...)
	}
	return sent
}

// lead makes it leader of the next term by the votes of 2 and 3.
func (s *one) lead() {
	s.t.Helper()
	s.idle(time.Minute, 0)
	s.deadline = s.ticks + 1
	s.idle(0, 1)
	for _, id := range []int{2, 3} {
		s.gets(id, encodeVoteReply(msgPreVoteReply, s.term+1, true))
	}
	for _, id := range []int{2, 3} {
		s.gets(id, encodeVoteReply(msgVoteReply, s.term, true))
	}
	if s.role != leader {
		s.t.Fatalf("got role %d, want leader", s.role)
	}
}

// acks what 2 and 3 are asked to have.
func (s *one) acks(index uint64, from ...int) {
	for _, id := range from {
		s.gets(id, encodeAppendReply(s.term, true, index, s.round, 0, 0))
	}
}

// appendOf is an append message with entries of the given terms.
func appendOf(term, prev, prevTerm, commit uint64, terms ...uint64) []byte {
	var record []byte
	if len(terms) > 0 {
		var list []entry
		for i, t := range terms {
			o := order{conn: t, seq: prev + uint64(i) + 1, body: write("x", int(t)).Encode()}
			list = append(list, entry{t, o.encode(kindCommand)})
		}
		e := machine.Encoder{}
		encodeEntries(&e, prev+1, list)
		record = e.B
	}
	e := machine.Encoder{}
	e.Byte(msgAppend)
	for _, v := range []uint64{term, prev, prevTerm, commit, 1} {
		e.Uint(v)
	}
	e.Bytes(record)
	return e.B
}

func vote(term, index, logTerm uint64) []byte {
	return encodeVote(msgVote, term, index, logTerm, false)
}

// 5.1: "If a candidate or leader discovers that its term is out of date, it immediately reverts to follower state."
func TestOutOfDateLeaderReverts(t *testing.T) {
	for name, body := range map[string][]byte{
		"append reply": encodeAppendReply(9, false, 0, 0, 0, 0),
		"vote reply":   encodeVoteReply(msgVoteReply, 9, false),
		"append":       appendOf(9, 0, 0, 0),
	} {
		s := newOne(t, machine.Options{})
		s.lead()
		s.gets(2, body)
		if s.role != follower || s.term != 9 {
			t.Errorf("%s: got role %d term %d, want follower of term 9", name, s.role, s.term)
		}
	}
}

// 5.1: "If a server receives a request with a stale term number, it rejects the request."
func TestStaleTermIsRejected(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.gets(2, appendOf(5, 0, 0, 0, 5))
	s.idle(time.Minute, 0)
	for name, body := range map[string][]byte{"append": appendOf(4, 1, 4, 0, 4), "vote": vote(4, 9, 5)} {
		sent := s.gets(3, body)
		if len(sent) != 1 || sent[0].granted || sent[0].term != 5 {
			t.Errorf("%s: got %+v, want a refusal in term 5", name, sent)
		}
	}
	if s.Raft.log.last() != 1 {
		t.Errorf("got a log of %d entries, want 1", s.Raft.log.last())
	}
}

// 5.2: "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis", also after a restart: figure 2
// lists votedFor under persistent state.
func TestOneVoteATerm(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want bool
	}{{"", false}, {"forget-vote", true}} {
		s := newOne(t, machine.Options{Flaw: c.flaw})
		if sent := s.gets(2, vote(3, 0, 0)); len(sent) != 1 || !sent[0].granted {
			t.Fatalf("first candidate: got %+v, want a vote", sent)
		}
		disk := slices.Clone(s.fx.Log)
		if len(disk) != 1 {
			t.Fatalf("got %d records with the vote, want 1", len(disk))
		}
		if sent := s.gets(3, vote(3, 0, 0)); sent[0].granted {
			t.Errorf("second candidate got a vote")
		}
		if sent := s.gets(2, vote(3, 0, 0)); !sent[0].granted {
			t.Errorf("the first candidate asked again and got none")
		}
		again := newOne(t, machine.Options{Flaw: c.flaw}, disk...)
		if sent := again.gets(3, vote(3, 0, 0)); sent[0].granted != c.want {
			t.Errorf("flaw %q: second candidate after a restart: got %v, want %v", c.flaw, sent[0].granted, c.want)
		}
	}
}

// 5.2: "A candidate wins an election if it receives votes from a majority of the servers": of servers, not of messages.
func TestVotesAreCountedByServer(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want role
	}{{"", candidate}, {"double-vote-counts", leader}} {
		s := newOne(t, machine.Options{Flaw: c.flaw})
		s.idle(time.Minute, 0)
		s.deadline = 1
		s.idle(0, 1)
		s.gets(2, encodeVoteReply(msgPreVoteReply, 1, true))
		s.gets(3, encodeVoteReply(msgPreVoteReply, 1, true))
		for range 3 {
			s.gets(2, encodeVoteReply(msgVoteReply, 1, true))
		}
		if s.role != c.want {
			t.Errorf("flaw %q: one vote thrice: got role %d, want %d", c.flaw, s.role, c.want)
		}
	}
}

// 5.4.1: "the voter denies its vote if its own log is more up-to-date than that of the candidate."
func TestVoterDeniesLessUpToDate(t *testing.T) {
	for _, c := range []struct {
		flaw        string
		index, term uint64
		want        bool
	}{
		{"", 3, 5, true}, {"", 2, 5, false}, {"", 9, 4, false}, {"", 1, 6, true}, {"", 4, 5, true},
		{"shorter-log-wins", 2, 5, true}, {"shorter-log-wins", 9, 4, false},
	} {
		s := newOne(t, machine.Options{Flaw: c.flaw})
		s.gets(2, appendOf(5, 0, 0, 0, 1, 5, 5))
		s.idle(time.Minute, 0)
		if sent := s.gets(3, vote(7, c.index, c.term)); sent[0].granted != c.want {
			t.Errorf("flaw %q, last entry %d of term %d: got %v, want %v", c.flaw, c.index, c.term, sent[0].granted, c.want)
		}
	}
}

// Dissertation 4.2.3: "if a server receives a RequestVote request within the minimum election timeout of hearing from a current leader, it does
// not update its term or grant its vote", but for one that the leader has asked for (3.10).
func TestVotersStickToTheirLeader(t *testing.T) {
	s := newOne(t, machine.Options{Election: 300 * time.Millisecond})
	s.gets(2, appendOf(5, 0, 0, 0))
	s.now += 299 * time.Millisecond
	if sent := s.gets(3, vote(9, 9, 5)); len(sent) != 0 || s.term != 5 {
		t.Errorf("got %+v and term %d, want silence in term 5", sent, s.term)
	}
	if sent := s.gets(3, encodeVote(msgPreVote, 9, 9, 5, false)); sent[0].granted {
		t.Error("a pre-vote was granted")
	}
	if sent := s.gets(3, encodeVote(msgVote, 6, 9, 5, true)); !sent[0].granted {
		t.Error("the heir got no vote")
	}
	s = newOne(t, machine.Options{Election: 300 * time.Millisecond})
	s.gets(2, appendOf(5, 0, 0, 0))
	s.now += 300 * time.Millisecond
	if sent := s.gets(3, vote(9, 9, 5)); len(sent) != 1 || !sent[0].granted {
		t.Errorf("after the election time-out: got %+v, want a vote", sent)
	}
}

// Figure 2, AppendEntries, rule 3: "If an existing entry conflicts with a new one ... delete the existing entry and all that follow it", and only
// then: a delayed append must not take back what a later one has brought and the leader counts on.
func TestOnlyConflictsTruncate(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want uint64
	}{{"", 3}, {"truncate-always", 2}} {
		s := newOne(t, machine.Options{Flaw: c.flaw})
		s.gets(2, appendOf(5, 0, 0, 0, 5, 5))
		s.gets(2, appendOf(5, 2, 5, 0, 5))
		if sent := s.gets(2, appendOf(5, 0, 0, 0, 5, 5)); !sent[0].granted || sent[0].index != 2 {
			t.Errorf("flaw %q: got %+v, want an acknowledgement up to 2", c.flaw, sent)
		}
		if got := s.Raft.log.last(); got != c.want {
			t.Errorf("flaw %q: the delayed append left %d entries, want %d", c.flaw, got, c.want)
		}
	}
	s := newOne(t, machine.Options{})
	s.gets(2, appendOf(5, 0, 0, 0, 5, 5, 5))
	s.gets(3, appendOf(6, 1, 5, 0, 6))
	if s.Raft.log.last() != 2 || s.Raft.log.term(2) != 6 {
		t.Errorf("after a conflict at 2: last %d, term %d; want 2 and 6", s.Raft.log.last(), s.Raft.log.lastTerm())
	}
}

// Figure 2, AppendEntries, rule 5: "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)": what stands
// behind the last new entry may be a deposed leader's.
func TestCommitIndexEndsAtTheLastNewEntry(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want uint64
	}{{"", 1}, {"prior-term-commit-index", 3}} {
		s := newOne(t, machine.Options{Flaw: c.flaw})
		s.gets(2, appendOf(5, 0, 0, 0, 5, 5, 5))
		s.gets(3, appendOf(6, 1, 5, 3))
		if s.commit != c.want {
			t.Errorf("flaw %q: got commit index %d, want %d", c.flaw, s.commit, c.want)
		}
	}
}

// Figure 2: "Persistent state on all servers (Updated on stable storage before responding to RPCs)": what is acknowledged is handed to the
// host's disk in the same effects.
func TestAcknowledgementsFollowTheirRecords(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want int
	}{{"", 2}, {"ack-before-sync", 0}} {
		s := newOne(t, machine.Options{Flaw: c.flaw})
		if sent := s.gets(2, appendOf(5, 0, 0, 0, 5)); len(sent) != 1 || !sent[0].granted {
			t.Fatalf("got %+v, want an acknowledgement", sent)
		}
		if len(s.fx.Log) != c.want {
			t.Errorf("flaw %q: got %d records with it, want %d", c.flaw, len(s.fx.Log), c.want)
		}
		if s.idle(0, 1); c.flaw != "" && len(s.fx.Log) != 2 {
			t.Errorf("flaw %q: got %d records with the next tick, want 2", c.flaw, len(s.fx.Log))
		}
	}
}

// 5.2: "a candidate ... to begin an election, a follower increments its current term", but a pre-vote (dissertation 9.6) increments nothing: a
// server that comes back from a partition disturbs nobody.
func TestPreVoteLeavesTheTerm(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.idle(time.Minute, 500)
	if s.term != 0 || s.vote != 0 || s.role != preCandidate {
		t.Errorf("after 500 ticks alone: term %d vote %d role %d, want 0, 0, pre-candidate", s.term, s.vote, s.role)
	}
}

// Dissertation 6.2: "a leader ... steps down if an election timeout elapses without a successful round of heartbeats to a majority".
func TestLeaderWithoutQuorumStepsDown(t *testing.T) {
	s := newOne(t, machine.Options{Election: 300 * time.Millisecond, Tick: 10 * time.Millisecond})
	s.lead()
	for range 10 {
		s.idle(0, 15)
		s.acks(0, 2, 3)
	}
	if s.role != leader {
		t.Fatal("a leader that a majority answers has stepped down")
	}
	for range 10 {
		s.idle(0, 15)
		s.acks(0, 2)
	}
	if s.role == leader {
		t.Error("a leader that a minority answers still leads")
	}
}

// 5.2: "Raft uses randomized election timeouts to ensure that split votes are rare": drawn anew for each election, from one election time-out up
// to two; equal ones are flaw fixed-timeouts.
func TestElectionTimeoutsAreRandom(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want bool
	}{{"", true}, {"fixed-timeouts", false}} {
		s := newOne(t, machine.Options{Election: 300 * time.Millisecond, Tick: 10 * time.Millisecond, Flaw: c.flaw})
		various := false
		first := s.timeout
		for range 50 {
			s.wait()
			various = various || s.timeout != first
			if s.timeout < 30 || s.timeout > 60 {
				t.Fatalf("got %d ticks, want 30 to 60", s.timeout)
			}
		}
		if various != c.want {
			t.Errorf("flaw %q: time-outs vary: %v, want %v", c.flaw, various, c.want)
		}
	}
}
