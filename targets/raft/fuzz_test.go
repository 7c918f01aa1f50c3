package raft

import (
	"fmt"
	"strings"
	"testing"

	"assize/machine"
)

// tolerate panics that name a broken invariant: a well-formed message can claim that two servers lead one term, or take back what is committed.
// That is no rubbish but a lie, and going on would be worse. Anything else is a bug.
func tolerate(t *testing.T) {
	if p := recover(); p != nil && !strings.HasPrefix(fmt.Sprint(p), "raft: ") {
		panic(p)
	}
}

// FuzzMessage sends bytes to servers of all roles. What cannot be read is ignored.
func FuzzMessage(f *testing.F) {
	for _, b := range [][]byte{
		appendOf(3, 0, 0, 0, 1, 2, 3), appendOf(3, 1, 1, 9), vote(3, 1, 1), encodeVote(msgPreVote, 3, 1, 1, false),
		encodeVoteReply(msgVoteReply, 3, true), encodeVoteReply(msgPreVoteReply, 3, true), encodeAppendReply(1, true, 1, 1, 0, 0),
		encodeAppendReply(1, false, 2, 1, 1, 1), encodeAppendReply(1, false, 48, 1, 48, 0), encodeSnapshot(3, 1, snapshotOf(4, 2, 2)), encodeTimeoutNow(1),
		encodeForward(1, (&order{conn: 1, seq: 1, body: write("x", 1).Encode()}).encode(kindCommand)),
		encodeForward(1, (&order{conn: 1, seq: 1, body: join(9).Encode()}).encode(kindAdmin)),
		encodeRefusal(1, 7, 1, machine.Result{Outcome: machine.Refused}.Encode()), encodeQuery(msgQuery, 1, 7, 1, 1, 0), encodeQuery(msgIndex, 1, 7, 1, 1, 3),
		{}, {msgAppend, 1, 0, 0, 0, 0, 200}, {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
	} {
		f.Add(b, byte(2), byte(0))
		f.Add(b, byte(3), byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, from, kind byte) {
		defer tolerate(t)
		s := newOne(t, machine.Options{Snapshot: 3})
		switch kind % 3 {
		case 1:
			s.lead()
			s.acks(1, 2, 3)
		case 2:
			s.gets(2, appendOf(2, 0, 0, 1, 1, 2, 2))
			s.asks(7, 1, get("x"))
			s.asks(7, 2, write("x", 1))
		}
		before := *s.Raft
		s.event(machine.Event{Message: &machine.Message{From: int(from), To: 1, Body: b}})
		var m message
		if m.decode(b) != nil && (s.term != before.term || s.commit != before.commit || s.Raft.log.last() != before.log.last() || len(s.fx.Send) > 0) {
			t.Error("what cannot be read has changed something")
		}
		s.idle(0, 100)
		for id := 2; id < 4; id++ {
			s.event(machine.Event{Message: &machine.Message{From: id, To: 1, Body: b}})
		}
		s.Status()
	})
}

// FuzzDisk makes servers of bytes: a server or an error.
func FuzzDisk(f *testing.F) {
	s := (&Raft{term: 5, vote: 2}).stateRecord()
	e := machine.Encoder{}
	encodeEntries(&e, 10, []entry{{5, []byte{kindNoop}}, {5, newConfigData()}})
	f.Add(snapshotOf(9, 5, 2), s, e.B)
	f.Add([]byte{}, s, e.B)
	f.Add([]byte{imageFormat, 9, 5}, e.B, s)
	f.Fuzz(func(t *testing.T, snapshot, a, b []byte) {
		c := machine.Config{ID: 1, Voters: []int{1, 2, 3}, Snapshot: snapshot, Log: [][]byte{a, b}}
		if len(snapshot) == 0 {
			c.Snapshot = nil
		}
		r, err := Load(c)
		if err != nil {
			return
		}
		for range 200 {
			r.Step(machine.Event{})
		}
		r.Status()
	})
}

func newConfigData() []byte {
	c := newConfig([]int{1, 2, 3}, []int{4})
	return c.data()
}

// FuzzRequest asks anything.
func FuzzRequest(f *testing.F) {
	f.Add(write("x", 1).Encode())
	f.Add(get("x").Encode())
	f.Add(join(3).Encode())
	f.Add(leave(1).Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Load(machine.Config{ID: 1, Voters: []int{1}, Options: machine.Options{Snapshot: 2}})
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			r.Step(machine.Event{})
		}
		for seq := range 3 {
			fx := r.Step(machine.Event{Request: &machine.Request{Conn: 7, Seq: uint64(seq + 1), Body: b}})
			for _, reply := range fx.Reply {
				if _, err := machine.DecodeResult(reply.Body); err != nil {
					t.Error(err)
				}
			}
		}
		for range 300 {
			r.Step(machine.Event{})
		}
	})
}
