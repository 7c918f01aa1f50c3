package raft

import (
	"testing"

	"assize/machine"
)

func TestWritesAndReadsEverywhere(t *testing.T) {
	for _, mode := range []string{"readindex", "lease"} {
		n := newNetwork(t, 3, machine.Options{Read: mode})
		n.elect()
		for v := range 20 {
			if r := n.do(v%3+1, write("x", v)); r.Outcome != machine.Done {
				t.Fatalf("write %d: %+v", v, r)
			}
			for id := 1; id <= 3; id++ {
				if r := n.do(id, get("x")); value(r) != v {
					t.Fatalf("%s: read at %d: got %d, want %d (%+v)", mode, id, value(r), v, r)
				}
			}
		}
	}
}

func TestFiveServersWithFaults(t *testing.T) {
	n := newNetwork(t, 5, machine.Options{Snapshot: 10})
	n.elect()
	for v := range 60 {
		id := v%5 + 1
		if v%7 == 3 {
			n.kill(n.leader())
			n.elect()
		}
		if n.at(id).down {
			n.start(id)
		}
		if r := n.do(id, write("x", v)); r.Outcome != machine.Done {
			t.Fatalf("write %d: %+v", v, r)
		}
		if r := n.do(id, get("x")); value(r) != v {
			t.Fatalf("read %d: %+v", v, r)
		}
	}
}

func TestJoinAndLeave(t *testing.T) {
	n := newNetwork(t, 3, machine.Options{Snapshot: 10})
	n.elect()
	for v := range 25 {
		n.do(1, write("x", v))
	}
	id := n.join()
	if r := n.do(2, machine.Command{Kind: machine.CommandJoin, Node: id}); r.Outcome != machine.Done {
		t.Fatalf("join: %+v", r)
	}
	n.tick(20)
	if s := n.at(id).Status(); len(s.Voters) != 4 || s.Role != machine.Follower {
		t.Fatalf("after join: %+v", s)
	}
	l := n.leader()
	if r := n.do(l, machine.Command{Kind: machine.CommandLeave, Node: l}); r.Outcome != machine.Done {
		t.Fatalf("leave: %+v", r)
	}
	n.tick(100)
	if l2 := n.leader(); l2 == 0 || l2 == l {
		t.Fatalf("leader after leave of %d: %d", l, l2)
	}
	to := 0
	for _, v := range n.at(n.leader()).config.voters {
		if v != n.leader() {
			to = v
		}
	}
	if r := n.do(to, machine.Command{Kind: machine.CommandTransfer, Node: to}); r.Outcome != machine.Done || n.leader() != to {
		t.Fatalf("transfer to %d: %+v, leader %d", to, r, n.leader())
	}
}
