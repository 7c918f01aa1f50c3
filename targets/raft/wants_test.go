package raft

import (
	"testing"

	"assize/machine"
)

// A follower that waits to read at an index is told of the commit index at once, but by one message. What it has may have been compacted
// meanwhile, with more on its way: a message that can tell it nothing must not be sent at every event, for its answer is an event as well, and
// each answer would breed the next message.
func TestFollowerThatCannotBeToldIsNotToldAgainAndAgain(t *testing.T) {
	s := leading(t, machine.Options{Snapshot: 4})
	for i := range uint64(8) {
		s.asks(7, i+1, write("x", int(i)))
		s.acks(s.log.last(), 2, 3)
	}
	p := s.peer(3)
	if s.log.base < 2 || s.commit != s.log.last() {
		t.Fatalf("base %d, commit %d of %d", s.log.base, s.commit, s.log.last())
	}
	// 3 has what the log has forgotten, and the rest is on its way to it.
	p.state, p.match, p.next = replicating, s.log.base-1, s.log.last()+1
	p.flights[0], p.flying = flight{s.log.last(), s.ticks}, 1
	p.told, p.wants = 0, s.commit
	sent := 0
	for range 20 {
		for _, m := range s.gets(3, encodeAppendReply(s.term, true, 0, s.round, 0, 0)) {
			if m.kind == msgAppend {
				sent++
			}
		}
	}
	if sent > 1 {
		t.Errorf("%d appends for 20 answers", sent)
	}
}
