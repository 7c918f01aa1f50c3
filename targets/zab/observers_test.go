package zab

import (
	"testing"

	"assize/machine"
)

// Claim B9: observers neither vote nor acknowledge, and a quorum of the voters is one whether there are observers or not.
func TestB9Observers(t *testing.T) {
	w := newWorld(1, 3, 2, machine.Options{})
	acked := 0
	w.cut = func(m machine.Message) bool {
		var said message
		if err := said.decode(m.Body); m.From > 3 && (err != nil || said.note.leader != 0) {
			t.Errorf("n%d votes: %+v, %v", m.From, said.note, err)
		}
		for _, i := range said.items {
			if i.kind == itemAck && m.From > 3 {
				t.Errorf("n%d acknowledges %#x", m.From, i.zxid)
			} else if i.kind == itemAck {
				acked++
			}
			if m.To > 3 && i.kind == itemProposal && w.at(m.To).up && w.at(m.To).phase == serving {
				t.Errorf("n%d is asked about %#x", m.To, i.txn.zxid)
			}
		}
		return false
	}
	w.startAll().elect(t)
	w.writes(t, 5)
	w.settles(t)
	o := w.at(4)
	if o.state != observing || o.status().Role != machine.Learner || o.accepted != 0 || acked == 0 {
		t.Errorf("n4: %d acknowledgements, %s", acked, w.states())
	}
	w.at(4).crash()
	w.at(5).crash()
	w.at(1).crash()
	w.tick(100)
	w.writes(t, 5)
	w.startAll()
	w.settles(t)
	for _, n := range w.nodes {
		if n.state == following {
			n.crash()
		}
	}
	before := len(w.order)
	proposes(w.leader(), "with observers only")
	w.tick(200)
	if len(w.order) != before || w.leader() != nil {
		t.Errorf("observers make a quorum: %s", w.states())
	}
}

// Claim B9: whatever an observer says, it makes no quorum with the leader, at no stage.
func TestB9ObserversCountNowhere(t *testing.T) {
	w := newWorld(1, 3, 1, machine.Options{})
	w.at(1).start()
	l := w.at(1)
	says := func(from int, seq uint64, i item) {
		b := (&peer{}).frameOf(7, seq, i)
		b[0] = msgUp
		l.step(func() { l.receive(&machine.Message{From: from, To: 1, Body: b}) })
	}
	l.step(func() { l.decide(1) })
	at := func(want stage, what string) {
		t.Helper()
		if l.stage != want || w.broken != "" {
			t.Fatalf("%s: stage %d, want %d: %s", what, l.stage, want, w.broken)
		}
	}
	says(4, 1, item{kind: itemFollowerInfo, epoch: 9})
	at(discovering, "FOLLOWERINFO of an observer")
	says(2, 1, item{kind: itemFollowerInfo})
	if at(agreeing, "FOLLOWERINFO of a voter"); l.epoch != 1 {
		t.Errorf("epoch %d", l.epoch)
	}
	says(4, 2, item{kind: itemAckEpoch, epoch: 1, yes: true, current: 9})
	at(agreeing, "ACKEPOCH of an observer")
	says(2, 2, item{kind: itemAckEpoch, epoch: 1, yes: true})
	at(enrolling, "ACKEPOCH of a voter")
	says(4, 3, item{kind: itemAckLeader, epoch: 1})
	at(enrolling, "the acknowledgement of NEWLEADER by an observer")
	says(2, 3, item{kind: itemAckLeader, epoch: 1})
	at(established, "the acknowledgement of NEWLEADER by a voter")
	zxid, _ := proposes(l, "x")
	says(4, 4, item{kind: itemAck, zxid: zxid})
	l.step(func() { l.confirm(1) })
	l.step(func() {
		l.receive(&machine.Message{From: 4, To: 1, Body: encodePulse(msgPulseUp, 7, 0, false, l.pings)})
	})
	if l.committed != 0 || w.sure != 0 {
		t.Errorf("with an observer %#x is committed and %d questions are answered", l.committed, w.sure)
	}
}

// Claim B9: observers get what is committed, and nothing else.
func TestB9ObserversGetWhatIsCommitted(t *testing.T) {
	w := newWorld(1, 3, 1, machine.Options{}).startAll()
	l := w.elect(t)
	w.writes(t, 3)
	w.settles(t)
	o := w.at(4)
	o.crash()
	o.start()
	w.cut = func(m machine.Message) bool { // the leader keeps its followers, which get nothing new
		var said message
		return m.From == l.id && m.To <= 3 && said.decode(m.Body) == nil && said.kind == msgDown
	}
	zxid, _ := proposes(l, "x")
	if w.tick(20); o.phase != serving || o.log.last() != zxid-1 || l.committed != zxid-1 {
		t.Errorf("n4 has %#x of %#x committed: %s", o.log.last(), l.committed, w.states())
	}
	w.heal()
	w.settles(t)
	if o.log.last() != zxid {
		t.Errorf("n4 has %#x in the end", o.log.last())
	}
}

// An observer promises nothing, and does not go back to a leader older than the one whose history it has.
func TestObserversDoNotGoBack(t *testing.T) {
	for epoch, want := range map[uint64]state{2: looking, 3: observing, 4: observing} {
		w := newWorld(1, 3, 1, machine.Options{})
		n := w.at(4)
		n.records = append(n.records, numberRecord(recordCurrent, 3))
		n.start()
		n.step(func() { n.decide(3) })
		frame := (&peer{}).frameOf(n.channel.session, 1, item{kind: itemLeaderInfo, epoch: epoch}, item{kind: itemNewLeader, epoch: epoch})
		n.step(func() { n.receive(&machine.Message{From: 3, To: 4, Body: frame}) })
		if n.state != want || n.accepted != 0 || n.current != max(epoch, 3) {
			t.Errorf("a leader of epoch %d: state %d, accepted %d, current %d", epoch, n.state, n.accepted, n.current)
		}
	}
}
