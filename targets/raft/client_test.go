package raft

import (
	"strings"
	"testing"
	"time"

	"assize/machine"
)

// request gives the server a request of a connection.
func (s *one) asks(conn, seq uint64, c machine.Command) []message {
	s.t.Helper()
	return s.event(machine.Event{Request: &machine.Request{Conn: conn, Seq: seq, Body: c.Encode()}})
}

// replied returns the result that the last event gave rise to.
func (s *one) replied() (machine.Result, bool) {
	s.t.Helper()
	if len(s.fx.Reply) == 0 {
		return machine.Result{}, false
	}
	r, err := machine.DecodeResult(s.fx.Reply[0].Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r, true
}

// leading is a server that leads and has committed its first entry.
func leading(t *testing.T, o machine.Options) *one {
	s := newOne(t, o)
	s.lead()
	s.acks(1, 2, 3)
	if s.commit != 1 {
		t.Fatalf("got commit index %d, want 1", s.commit)
	}
	return s
}

// Section 8: "if a client ... retries the command with a new leader, causing it to be executed a second time. The solution is for clients to assign
// unique serial numbers to every command."
func TestRequestThatIsLoggedTwiceIsExecutedOnce(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want int64
	}{{"", 2}, {"resubmit", 3}} {
		s := leading(t, machine.Options{Flaw: c.flaw})
		o := order{conn: 77, seq: 1, body: write("x", 1).Encode()}
		for range 2 {
			s.gets(4, encodeForward(1, o.encode(kindCommand)))
		}
		s.acks(3, 2, 3)
		if got := s.store.Revision(); s.applied != 3 || got != c.want {
			t.Errorf("flaw %q: applied up to %d, revision %d; want 3 and %d", c.flaw, s.applied, got, c.want)
		}
	}
}

// A request forwarded once more after it was executed is not logged again, and its server finds the reply in its own log.
func TestExecutedRequestIsNotLoggedAgain(t *testing.T) {
	s := leading(t, machine.Options{})
	o := order{conn: 77, seq: 1, body: write("x", 1).Encode()}
	s.gets(4, encodeForward(1, o.encode(kindCommand)))
	s.acks(2, 2, 3)
	s.gets(4, encodeForward(1, o.encode(kindCommand)))
	if got := s.Raft.log.last(); got != 2 {
		t.Errorf("got a log of %d entries, want 2", got)
	}
}

// A server that has got the execution of its client's request in a snapshot answers from the table of sessions.
func TestReplyComesWithTheSnapshot(t *testing.T) {
	n := newNetwork(t, 3, machine.Options{Snapshot: 4})
	n.campaign(1)
	n.settle()
	conn := n.ask(3, write("x", 1))
	n.deliver(n.queue[0])
	n.queue = nil
	n.cut = func(m machine.Message) bool { return m.To == 3 || m.From == 3 }
	for v := range 9 {
		n.do(1, write("y", v))
	}
	n.cut = func(machine.Message) bool { return false }
	n.tick(60)
	r, ok := n.answer(conn)
	if !ok || r.Outcome != machine.Done || n.at(3).counts.SnapshotsLoaded != 1 {
		t.Errorf("got %+v, %v after %d snapshots; want done after 1", r, ok, n.at(3).counts.SnapshotsLoaded)
	}
}

// Without a leader a request waits, and is refused only where it has certainly not been passed on.
func TestRequestWithoutALeader(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.asks(7, 1, write("x", 1))
	if _, ok := s.replied(); ok {
		t.Fatal("answered at once")
	}
	answered := func() (machine.Result, bool) {
		for range 500 {
			s.idle(0, 1)
			if r, ok := s.replied(); ok {
				return r, true
			}
		}
		return machine.Result{}, false
	}
	if r, ok := answered(); !ok || r.Outcome != machine.Refused {
		t.Errorf("never passed on: got %+v, %v; want refused", r, ok)
	}
	s = newOne(t, machine.Options{})
	s.gets(2, appendOf(3, 0, 0, 0))
	if sent := s.asks(7, 1, write("x", 1)); len(sent) != 1 || sent[0].kind != msgForward {
		t.Fatalf("got %+v, want it forwarded", sent)
	}
	if r, ok := answered(); !ok || r.Outcome != machine.Unknown {
		t.Errorf("passed on: got %+v, %v; want unknown", r, ok)
	}
}

// A request is passed on again when leadership changes, and after a while.
func TestRequestIsPassedOnAgain(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.gets(2, appendOf(3, 0, 0, 0))
	s.asks(7, 1, write("x", 1))
	again := 0
	for range 25 {
		for _, m := range append(s.idle(0, 1), s.gets(2, appendOf(3, 0, 0, 0))...) {
			if m.kind == msgForward {
				again++
			}
		}
	}
	if again == 0 {
		t.Error("not passed on again to the same leader")
	}
	found := false
	for _, m := range s.gets(3, appendOf(4, 0, 0, 0)) {
		found = found || m.kind == msgForward
	}
	if !found || s.fx.Send[0].To != 3 {
		t.Error("not passed on to the new leader at once")
	}
	s.event(machine.Event{Gone: 7})
	for _, m := range s.gets(4, appendOf(5, 0, 0, 0)) {
		if m.kind == msgForward {
			t.Error("passed on although its client is gone")
		}
	}
}

// Dissertation 6.4, step 1: a new leader's commit index may be older than its predecessor's until an entry of its own term is committed.
func TestReadsWaitForAnEntryOfTheOwnTerm(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want bool
	}{{"", false}, {"read-before-own-term", true}} {
		s := newOne(t, machine.Options{Flaw: c.flaw})
		s.lead()
		s.asks(7, 1, get("x"))
		got := false
		for _, id := range []int{2, 3, 2, 3} {
			s.gets(id, encodeAppendReply(s.term, false, 0, s.round, 1, 0)) // they follow, and have nothing
			got = got || len(s.fx.Reply) > 0
		}
		if got != c.want {
			t.Errorf("flaw %q: answered without an entry of its term: %v, want %v", c.flaw, got, c.want)
		}
		if c.flaw != "" {
			continue
		}
		s.acks(1, 2, 3)
		s.acks(1, 2, 3)
		if _, ok := s.replied(); !ok {
			t.Error("not answered with an entry of its term committed")
		}
	}
}

// Dissertation 6.4: the round must begin after the read has come; an answer to an older one, however late, says nothing.
func TestReadNeedsALaterRound(t *testing.T) {
	s := leading(t, machine.Options{})
	old := s.round
	s.asks(7, 1, get("x"))
	for _, id := range []int{2, 3, 4, 5} {
		s.gets(id, encodeAppendReply(s.term, true, 1, old, 0, 0))
	}
	if _, ok := s.replied(); ok {
		t.Fatal("answered by a round that began before the read")
	}
	s.acks(1, 2)
	if _, ok := s.replied(); ok {
		t.Fatal("answered by a minority")
	}
	s.acks(1, 2)
	if _, ok := s.replied(); ok {
		t.Fatal("answered by one server twice")
	}
	s.acks(1, 3)
	if _, ok := s.replied(); !ok {
		t.Fatal("not answered by a majority")
	}
	// An answer with a number that was never given comes from nobody.
	s.asks(7, 2, get("x"))
	for _, id := range []int{2, 3} {
		s.gets(id, encodeAppendReply(s.term, true, 1, s.round+5, 0, 0))
	}
	if _, ok := s.replied(); ok {
		t.Error("answered by a round that has not begun")
	}
}

// A follower's question is named after a connection and a number: no answer to another question is taken for it. Asked again it is the same
// question, so that the answer to the first time counts.
func TestFollowerTakesNoOtherAnswer(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.gets(2, appendOf(3, 0, 0, 0))
	first := s.asks(7, 1, get("x"))[0]
	var again message
	for range 40 {
		for _, m := range append(s.gets(2, appendOf(3, 0, 0, 0)), s.idle(0, 1)...) {
			if m.kind == msgQuery {
				again = m
			}
		}
	}
	if again.kind != msgQuery || again.round != first.round || again.hint != first.hint || again.hintTerm != first.hintTerm {
		t.Fatalf("got %+v, want the question %+v again", again, first)
	}
	if asked := s.asks(7, 2, get("x")); len(asked) > 0 {
		t.Fatalf("got %+v while a question is open, want nothing", asked)
	}
	asked := s.gets(2, encodeQuery(msgIndex, 3, first.hintTerm, first.hint, first.round, 0))
	if len(s.fx.Reply) != 1 || len(asked) != 1 || asked[0].kind != msgQuery || asked[0].round == first.round {
		t.Fatalf("got %d replies and %+v, want the first read served and another question", len(s.fx.Reply), asked)
	}
	second := asked[0]
	for name, body := range map[string][]byte{
		"an older question":    encodeQuery(msgIndex, 3, first.hintTerm, first.hint, first.round, 0),
		"another's connection": encodeQuery(msgIndex, 3, first.hintTerm+1, second.hint, second.round, 0),
	} {
		if s.gets(2, body); len(s.fx.Reply) > 0 {
			t.Errorf("read by the answer to %s", name)
		}
	}
	if s.gets(2, encodeQuery(msgIndex, 3, second.hintTerm, second.hint, second.round, 0)); len(s.fx.Reply) != 1 {
		t.Error("not read by the answer")
	}
}

// leased is a leader in lease mode whose lease a majority has just renewed.
func leasing(t *testing.T, flaw string) *one {
	s := leading(t, machine.Options{Read: "lease", Flaw: flaw, Election: 300 * time.Millisecond, Tick: 10 * time.Millisecond, Heartbeat: 50 * time.Millisecond})
	s.idle(50*time.Millisecond, 5)
	s.acks(1, 2, 3)
	return s
}

// Dissertation 6.4.1: the lease runs from the sending of the round that a majority has answered.
func TestLease(t *testing.T) {
	at := func(s *one, d time.Duration) bool {
		s.now += d
		s.asks(7, s.ticks+uint64(d), get("x"))
		_, ok := s.replied()
		return ok
	}
	if s := leasing(t, ""); !at(s, 280*time.Millisecond) {
		t.Error("within the lease: asked others")
	}
	if s := leasing(t, ""); at(s, 290*time.Millisecond) {
		t.Error("after the lease (0.95 of 300 ms): answered")
	}
	// The answers come late: the lease has run since the round began.
	s := leasing(t, "")
	s.idle(200*time.Millisecond, 5)
	sent := s.round
	s.now += 200 * time.Millisecond
	for _, id := range []int{2, 3} {
		s.gets(id, encodeAppendReply(s.term, true, 1, sent, 0, 0))
	}
	if !at(s, 80*time.Millisecond) || at(s, 10*time.Millisecond) {
		t.Error("the lease did not run from the sending of the round")
	}
	// No tick was seen while it was paused.
	if s := leasing(t, "lease-keeps-ticking"); !at(s, time.Hour) {
		t.Error("the flaw does not show")
	}
	// The clock has gone backwards.
	s = leasing(t, "")
	s.now -= 40 * time.Millisecond
	if at(s, 0) {
		t.Error("answered after the clock had gone backwards")
	}
}

// Dissertation 6.4.1: with a transfer of leadership the leases of the old leader end; in this term none begins again.
func TestTransferEndsTheLease(t *testing.T) {
	for _, c := range []struct {
		flaw string
		want bool
	}{{"", false}, {"lease-survives-transfer", true}} {
		s := leasing(t, c.flaw)
		s.asks(8, 1, machine.Command{Kind: machine.CommandTransfer, Node: 2})
		if !strings.Contains(tell(s.fx.Send[len(s.fx.Send)-1]), "campaign now") {
			t.Fatalf("got %s, want the heir told", tell(s.fx.Send[len(s.fx.Send)-1]))
		}
		s.asks(7, 1, get("x"))
		if _, got := s.replied(); got != c.want {
			t.Errorf("flaw %q: answered by the lease: %v, want %v", c.flaw, got, c.want)
		}
	}
}

// Whoever restarts has forgotten whom it has heard, and a lease may rest on it.
func TestRestartedServerRefusesVotes(t *testing.T) {
	for _, c := range []struct {
		read string
		want int
	}{{"lease", 0}, {"readindex", 1}} {
		r := &Raft{term: 3}
		s := newOne(t, machine.Options{Read: c.read, Election: 300 * time.Millisecond}, r.stateRecord())
		if got := len(s.gets(2, vote(4, 0, 0))); got != c.want {
			t.Errorf("%s: got %d answers right after the restart, want %d", c.read, got, c.want)
		}
		s.now += 300 * time.Millisecond
		if sent := s.gets(2, vote(4, 0, 0)); len(sent) != 1 || !sent[0].granted {
			t.Errorf("%s: got %+v after an election time-out, want a vote", c.read, sent)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    machine.Options
		want string
	}{
		{machine.Options{}, ""},
		{machine.Options{Read: "lease", Flaw: "resubmit"}, ""},
		{machine.Options{Read: "dirty"}, `no read mode "dirty"; there are readindex, lease, leader, local`},
		{machine.Options{Flaw: "typo"}, `no flaw "typo"; there are commit-old-term, forget-vote`},
		{machine.Options{Heartbeat: time.Second, Election: time.Second}, "the heartbeat 1s is not below"},
		{machine.Options{Drift: 1.5}, "the drift 1.5 is not below 1"},
	} {
		err := Check(c.o)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.o, err, c.want)
		}
	}
}

// A server that has learned of a later term from an answer, not from a candidate, is bound by the lease that it has helped to grant as well: 3
// has been asked by 1 for a pre-vote and answers that it is a candidate of term 6; before that arrives 1 has heard 2, the leader of term 5.
func TestVoterSticksToItsLeaderInALaterTerm(t *testing.T) {
	o := machine.Options{Read: "lease", Election: 300 * time.Millisecond}
	s := newOne(t, o)
	s.gets(2, appendOf(5, 0, 0, 0))
	s.gets(3, encodeVoteReply(msgPreVoteReply, 6, false))
	disk := [][]byte{s.Raft.stateRecord()}
	s.now += 200 * time.Millisecond
	if sent := s.gets(3, vote(6, 0, 0)); s.term != 6 || len(sent) == 1 && sent[0].granted {
		t.Errorf("within the lease of term 5: term %d, got %+v, want no vote in term 6", s.term, sent)
	}
	if sent := s.gets(4, encodeVote(msgVote, 6, 0, 0, true)); len(sent) != 1 || !sent[0].granted {
		t.Errorf("the heir: got %+v, want a vote", sent)
	}
	if sent := s.gets(4, vote(6, 0, 0)); len(sent) != 1 || !sent[0].granted {
		t.Errorf("whoever has the vote asks again: got %+v, want it said again", sent)
	}
	again := newOne(t, o, disk...)
	if sent := again.gets(3, vote(6, 0, 0)); len(sent) == 1 && sent[0].granted {
		t.Error("after a restart: got a vote in term 6, want none")
	}
	again.now += 300 * time.Millisecond
	if sent := again.gets(3, vote(6, 0, 0)); len(sent) != 1 || !sent[0].granted {
		t.Errorf("after an election time-out: got %+v, want a vote", sent)
	}
}

// Rounds begin at 1 in each reign. A leader is elected again; its append of the reign before, refused in the new term and its refusal delayed, must
// not be taken for the answer to the round of the same number in this reign: here 2 has elected 3 since, and 3 has taken a write.
func TestRoundOfAnEarlierReignConfirmsNothing(t *testing.T) {
	n := newNetwork(t, 3, machine.Options{})
	n.campaign(1)
	n.settle()
	n.tick(12)
	n.now += n.o.Tick
	var late []machine.Message
	n.cut = func(m machine.Message) bool {
		if m.From == 1 && m.To == 2 && m.Body[0] == msgAppend {
			late = append(late, m)
		}
		return true
	}
	n.tick(40)
	old := late[0]
	n.cut = func(machine.Message) bool { return false }
	n.campaign(1)
	n.settle()
	if n.at(1).role != leader || n.at(2).term != 2 {
		t.Fatalf("got role %d, term %d at 2; want 1 to lead term 2", n.at(1).role, n.at(2).term)
	}
	n.deliver(old)
	refusal := n.queue
	n.queue = nil
	n.cut = func(m machine.Message) bool { return m.From == 1 || m.To == 1 }
	n.campaign(3)
	n.settle()
	if r := n.do(3, write("x", 1)); r.Outcome != machine.Done {
		t.Fatalf("write: %+v", r)
	}
	conn := n.ask(1, get("x"))
	for range 25 {
		n.tick(1)
		for _, m := range refusal {
			n.step(1, machine.Event{Message: &m})
		}
	}
	if n.at(1).role != leader || n.at(1).round < 5 {
		t.Fatalf("got role %d, round %d at 1; want a leader that has begun 5 rounds", n.at(1).role, n.at(1).round)
	}
	if r, ok := n.answer(conn); ok {
		t.Errorf("the deposed leader answered %+v", r)
	}
}
