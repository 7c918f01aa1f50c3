package zab

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"assize/machine"
)

// imageOf a state, as a server with that history makes it.
func imageOf(zxid int64, pos uint64, state string) []byte {
	p := peer{committed: zxid, committedPos: pos, take: func() []byte { return []byte(state) }}
	return p.encodeImage()
}

// tolerate panics that name a broken invariant: a well-formed message can claim that what is committed is not. That is no rubbish but a lie, and
// going on would be worse. Anything else is a bug.
func tolerate() {
	if p := recover(); p != nil && !strings.HasPrefix(fmt.Sprint(p), "zab: ") {
		panic(p)
	}
}

// input steps a peer that has no service.
func input(p *peer, do func()) machine.Effects {
	var fx machine.Effects
	p.begin(&fx)
	do()
	for _, ok := p.next(); ok; _, ok = p.next() {
	}
	p.finish()
	return fx
}

// FuzzMessage sends bytes to servers of all states, as they are, and as the items of the frame that the receiver waits for. What cannot be read is
// ignored, and what no correct server says is no reason to panic.
func FuzzMessage(f *testing.F) {
	p := &peer{}
	tx := newTxn(zxidOf(3, 1), []byte("x"))
	image := imageOf(zxidOf(2, 9), 20, "state")
	list := []item{
		{kind: itemFollowerInfo, epoch: 9}, {kind: itemAckEpoch, epoch: 1, yes: true, current: 3, zxid: 7}, {kind: itemAckLeader, epoch: 1, zxid: 4294967297},
		{kind: itemAck, zxid: 4294967298}, {kind: itemForward, data: []byte("f")}, {kind: itemLeaderInfo, epoch: 2},
		{kind: itemSync, how: syncTrunc, zxid: 4294967297}, {kind: itemSync, how: syncSnap, data: image}, {kind: itemProposal, txn: tx},
		{kind: itemInform, txn: tx}, {kind: itemNewLeader, epoch: 1}, {kind: itemUpToDate, zxid: 4294967297}, {kind: itemCommit, zxid: zxidOf(3, 1)},
		{kind: itemTold, data: []byte("t")},
	}
	for _, i := range list {
		b := p.frameOf(1<<24|1, 2, i)
		for state := range byte(4) {
			f.Add(b, byte(2), state)
			f.Add(b[frameHead:], byte(3), state|4)
		}
	}
	for _, b := range [][]byte{
		encodeNote(note{looking, 7, vote{3, 2, 99}}), encodeNote(note{leading, 1, vote{3, 2, 99}}), encodePulse(msgPulseUp, 1<<24|1, 1, true, 1),
		encodePulse(msgPulseDown, 1<<24|1, 1, true, 1), encodeReset(msgResetUp, 1<<24|1), encodeReset(msgResetDown, 1<<24|1), {}, {msgUp}, make([]byte, frameHead+1),
	} {
		f.Add(b, byte(2), byte(0))
		f.Add(b, byte(3), byte(1))
		f.Add(b, byte(3), byte(2))
	}
	f.Fuzz(func(t *testing.T, b []byte, from, how byte) {
		w := newWorld(1, 3, 1, machine.Options{Keep: 2, Snapshot: 4}).startAll()
		if how&3 > 0 {
			w.tick(60)
			for range 3 {
				w.write()
				w.tick(3)
			}
		}
		n := w.at([]int{1, 3, 1, 4}[how&3])
		if how&4 != 0 {
			b = wrapped(n, int(from), b)
		}
		before := *n.peer
		fx := input(n.peer, func() { n.receive(&machine.Message{From: int(from), To: n.id, Body: b}) })
		if (&message{}).decode(b) != nil && (len(fx.Log) > 0 || len(fx.Send) > 0 || before.round != n.round || before.committed != n.committed || before.state != n.state) {
			t.Error("what cannot be read has changed something")
		}
		for i := range 300 {
			input(n.peer, func() { n.peer.tick() })
			input(n.peer, func() { n.receive(&machine.Message{From: 1 + i%4, To: n.id, Body: b}) })
		}
		n.status()
	})
}

// wrapped makes items of the bytes, in the frame that n expects next from there.
func wrapped(n *node, from int, b []byte) []byte {
	c, kind := n.channel, byte(msgDown)
	for _, l := range n.learners {
		if l.id == from {
			c, kind = l.channel, msgUp
		}
	}
	if c == nil {
		return b
	}
	head := make([]byte, frameHead)
	head[0] = kind
	binary.BigEndian.PutUint64(head[1:], c.session)
	binary.BigEndian.PutUint64(head[9:], c.got+1)
	binary.BigEndian.PutUint64(head[17:], c.sent)
	binary.BigEndian.PutUint32(head[25:], 1)
	return append(head, b...)
}

// FuzzDisk makes servers of bytes: a server or an error.
func FuzzDisk(f *testing.F) {
	one := newTxn(zxidOf(1, 1), []byte("a"))
	image := imageOf(zxidOf(1, 9), 9, "state")
	f.Add([]byte{}, one.record, numberRecord(recordTruncate, 0))
	f.Add(image, newTxn(zxidOf(2, 1), nil).record, numberRecord(recordCurrent, 2))
	f.Add(image, numberRecord(recordAccepted, 7), numberRecord(recordLife, 3))
	f.Fuzz(func(t *testing.T, snapshot, a, b []byte) {
		c := machine.Config{ID: 1, Voters: []int{1}, Snapshot: snapshot, Log: [][]byte{a, b}, Options: machine.Options{Snapshot: 2, Keep: 1}}
		if len(snapshot) == 0 {
			c.Snapshot = nil
		}
		p, err := newPeer(c, func() []byte { return nil })
		if err != nil {
			return
		}
		defer tolerate()
		for range 50 {
			input(p, func() { p.tick() })
			input(p, func() { p.propose([]byte("x")) })
		}
		p.status()
	})
}
