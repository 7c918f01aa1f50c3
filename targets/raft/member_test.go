package raft

import (
	"slices"
	"testing"

	"assize/machine"
)

func join(id int) machine.Command  { return machine.Command{Kind: machine.CommandJoin, Node: id} }
func leave(id int) machine.Command { return machine.Command{Kind: machine.CommandLeave, Node: id} }

// Dissertation 4.1 and its author's correction: a leader changes the membership only after it has committed an entry of its own term, and one
// change at a time.
func TestOneChangeAtATime(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.lead()
	s.asks(7, 1, leave(5))
	if got := s.Raft.log.last(); got != 1 {
		t.Fatalf("a change was logged before an entry of the term was committed")
	}
	s.acks(1, 2, 3)
	s.asks(7, 2, leave(5))
	if got := s.Raft.log.last(); got != 2 || slices.Contains(s.config.voters, 5) {
		t.Fatalf("got a log of %d entries, voters %v; want 2 and 5 gone", got, s.config.voters)
	}
	s.asks(7, 3, leave(4))
	if got := s.Raft.log.last(); got != 2 {
		t.Errorf("a second change was logged before the first was committed")
	}
	if len(s.fx.Reply) > 0 {
		t.Error("the second change was answered")
	}
}

// Section 6: "a server always uses the latest configuration in its log, regardless of whether the entry is committed", and falls back where the
// entry is truncated.
func TestConfigurationIsInForceOnceLogged(t *testing.T) {
	s := newOne(t, machine.Options{})
	c := newConfig([]int{1, 2, 3}, nil)
	e := machine.Encoder{}
	encodeEntries(&e, 1, []entry{{5, c.data()}})
	m := machine.Encoder{}
	m.Byte(msgAppend)
	for _, v := range []uint64{5, 0, 0, 0, 1} {
		m.Uint(v)
	}
	m.Bytes(e.B)
	s.gets(2, m.B)
	if got := s.Status().Voters; !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("logged: got voters %v, want 1 2 3", got)
	}
	s.gets(3, appendOf(6, 0, 0, 0, 6))
	if got := s.Status().Voters; !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
		t.Errorf("truncated: got voters %v, want 1 to 5", got)
	}
}

// Dissertation 4.2.1: a server joins as a learner, which counts for nothing, and is promoted when it has caught up.
func TestLearnerCountsForNothing(t *testing.T) {
	n := newNetwork(t, 3, machine.Options{})
	n.campaign(1)
	n.settle()
	n.servers = append(n.servers, &server{id: 4, joined: true, down: true})
	conn := n.ask(1, join(4))
	n.tick(100)
	if got := n.at(1).Status().Voters; !slices.Equal(got, []int{1, 2, 3}) {
		t.Fatalf("got voters %v although 4 is down", got)
	}
	n.kill(3)
	if r := n.do(1, write("x", 1)); r.Outcome != machine.Done {
		t.Fatalf("two of three voters: %+v", r)
	}
	n.start(4)
	n.tick(100)
	if r, ok := n.answer(conn); !ok || r.Outcome != machine.Done || !slices.Contains(n.at(1).Status().Voters, 4) {
		t.Errorf("got %+v, %v, voters %v; want 4 promoted", r, ok, n.at(1).Status().Voters)
	}
	if r := n.do(1, join(4)); r.Outcome != machine.Done {
		t.Errorf("joined again: got %+v, want done", r)
	}
}

// Dissertation 4.2.2: "a leader that is removed from the configuration steps down once the C_new entry is committed", and does not count itself
// until then.
func TestRemovedLeader(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.lead()
	s.acks(1, 2, 3)
	s.asks(7, 1, leave(1))
	s.acks(2, 2)
	s.acks(2, 3)
	if s.commit != 1 || s.role != leader {
		t.Fatalf("two of 2 3 4 5 make no majority: commit %d, role %d", s.commit, s.role)
	}
	s.acks(2, 4)
	if s.commit != 2 || s.role != follower {
		t.Errorf("got commit %d, role %d; want 2 and a follower", s.commit, s.role)
	}
	if s.idle(0, 1000); s.role != follower {
		t.Error("the removed server campaigns")
	}
}

func TestIdsAreNotUsedAgain(t *testing.T) {
	n := newNetwork(t, 4, machine.Options{})
	n.elect()
	if r := n.do(1, leave(4)); r.Outcome != machine.Done {
		t.Fatalf("leave: %+v", r)
	}
	l := n.leader()
	if r := n.do(l, join(4)); r.Outcome != machine.Refused {
		t.Errorf("a removed server joined again: %+v", r)
	}
	if r := n.do(l, leave(4)); r.Outcome != machine.Done {
		t.Errorf("left twice: %+v", r)
	}
	if r := n.do(l, join(0)); r.Outcome != machine.Refused {
		t.Errorf("server 0 joined: %+v", r)
	}
}

func TestLastVoterStays(t *testing.T) {
	n := newNetwork(t, 1, machine.Options{})
	n.elect()
	if r := n.do(1, leave(1)); r.Outcome != machine.Refused {
		t.Errorf("got %+v, want refused", r)
	}
	if r := n.do(1, write("x", 3)); r.Outcome != machine.Done {
		t.Errorf("one server alone: write: %+v", r)
	}
	if r := n.do(1, get("x")); value(r) != 3 {
		t.Errorf("one server alone: read: %+v", r)
	}
}

// From one server to five and back to two, with traffic.
func TestGrowAndShrink(t *testing.T) {
	n := newNetwork(t, 1, machine.Options{Snapshot: 5})
	n.elect()
	v := 0
	check := func() {
		t.Helper()
		v++
		l := n.elect()
		if r := n.do(l, write("x", v)); r.Outcome != machine.Done {
			t.Fatalf("write %d: %+v", v, r)
		}
		for _, id := range n.at(l).config.voters {
			if r := n.do(id, get("x")); value(r) != v {
				t.Fatalf("read %d at %d: %+v", v, id, r)
			}
		}
	}
	for range 4 {
		id := n.join()
		if r := n.do(n.leader(), join(id)); r.Outcome != machine.Done {
			t.Fatalf("join %d: %+v", id, r)
		}
		check()
	}
	for _, id := range []int{1, 3, 4} {
		if r := n.do(5, leave(id)); r.Outcome != machine.Done {
			t.Fatalf("leave %d: %+v", id, r)
		}
		n.kill(id)
		check()
	}
	if got := n.at(n.leader()).config.voters; !slices.Equal(got, []int{2, 5}) {
		t.Errorf("got voters %v, want 2 and 5", got)
	}
}
