package raft

import (
	"testing"

	"assize/machine"
)

// A connection that was idle while more others wrote than the table holds is forgotten. What it asked for before is not executed again, now or
// later; what it asks for now, with nothing outstanding, is new beyond doubt.
func TestIdleConnectionWritesAgain(t *testing.T) {
	n := newNetwork(t, 1, machine.Options{})
	n.elect()
	ask := func(conn, seq uint64) (r machine.Result) {
		n.replies = nil
		n.step(1, machine.Event{Request: &machine.Request{Conn: conn, Seq: seq, Body: write("x", int(conn)).Encode()}})
		r, _ = n.answer(conn)
		return r
	}
	if r := ask(1, 1); r.Outcome != machine.Done {
		t.Fatalf("first write: %+v", r)
	}
	first := n.at(1).Raft.log.at(n.at(1).Raft.log.last()).data
	for conn := range uint64(sessionLimit + 1) {
		ask(conn+2, 1)
	}
	again := func() {
		t.Helper()
		before := n.at(1).store.Revision()
		n.step(1, machine.Event{Message: &machine.Message{From: 2, To: 1, Body: encodeForward(1, first)}})
		if got := n.at(1).store.Revision(); got != before {
			t.Errorf("its first write was executed again: revision %d, want %d", got, before)
		}
	}
	again()
	if r := ask(1, 2); r.Outcome != machine.Done {
		t.Errorf("second write: got %+v, want done", r)
	}
	again()
}
