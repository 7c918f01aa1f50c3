package zab

import (
	"fmt"
	"slices"
	"testing"

	"assize/machine"
)

// Claim B1: the counter begins anew with each epoch, and its end forces a new one.
func TestB1Zxids(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{})
	w.limit = 5
	w.startAll()
	w.elect(t)
	w.writes(t, 12)
	w.settles(t)
	want := []int64{}
	for epoch := uint64(1); epoch <= 3; epoch++ {
		for counter := uint64(1); counter <= 5 && len(want) < 12; counter++ {
			want = append(want, zxidOf(epoch, counter))
		}
	}
	for i, o := range w.order[:12] {
		if o.zxid != want[i] {
			t.Errorf("number %d has zxid %#x, want %#x", i, o.zxid, want[i])
		}
	}
}

// One server alone is a quorum; the end of its counter is one step.
func TestB1Alone(t *testing.T) {
	w := newWorld(1, 1, 0, machine.Options{Snapshot: 4, Keep: 3})
	w.limit = 5
	w.startAll()
	w.elect(t)
	w.writes(t, 23)
	w.at(1).crash()
	w.startAll()
	w.elect(t)
	if len(w.order) != 23 {
		t.Errorf("%d transactions after the restart", len(w.order))
	}
}

// A proposal need not wait for the leader's own disk, and the commit must: it counts the leader.
func TestOnlyProposalsLeaveEarly(t *testing.T) {
	w := newWorld(1, 3, 1, machine.Options{}).startAll()
	l := w.elect(t)
	w.settles(t)
	early := func(do func()) (yes, no int) {
		var fx machine.Effects
		l.begin(&fx)
		do()
		for news, ok := l.next(); ok; news, ok = l.next() {
			l.take(news)
		}
		l.finish()
		l.sync(fx)
		for _, m := range fx.Send {
			if m.Early {
				yes++
			} else {
				no++
			}
		}
		return yes, no
	}
	var zxid int64
	if yes, no := early(func() { zxid, _ = l.propose([]byte("x")) }); yes != 2 || no != 0 {
		t.Errorf("of the proposal %d messages are early and %d are not, want one for each follower", yes, no)
	}
	if yes, no := early(func() { l.onAck(l.learners[0], zxid) }); yes != 0 || no != 3 {
		t.Errorf("of the commit %d messages are early and %d are not, want one for each learner that waits", yes, no)
	}
}

// Claim B2: an acknowledgement is sent in the step that logs the proposal, so it leaves after it is durable; less than a quorum commits nothing.
func TestB2QuorumCommits(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{}).startAll()
	l := w.elect(t)
	w.onlyTo(l.id, 1)
	zxid, ok := proposes(l, "x")
	w.tick(5)
	if !ok || len(w.order) != 0 || !l.outstanding() || !w.at(1).has(zxid) {
		t.Fatalf("two of five: %s", w.states())
	}
	w.onlyTo(l.id, 1, 2)
	w.tick(25)
	if len(w.order) != 1 || l.outstanding() || w.broken != "" {
		t.Fatalf("three of five: %s %s", w.broken, w.states())
	}
	follower := w.at(1)
	var fx machine.Effects
	follower.begin(&fx)
	c := follower.channel
	frame := (&peer{}).frameOf(c.session, c.got+1, item{kind: itemProposal, txn: newTxn(zxid+1, []byte("y"))})
	follower.receive(&machine.Message{From: l.id, To: 1, Body: frame})
	follower.finish()
	var m message
	if len(fx.Log) != 1 || len(fx.Send) != 1 || m.decode(fx.Send[0].Body) != nil || m.items[0].kind != itemAck || m.items[0].zxid != zxid+1 {
		t.Errorf("logged %q, sent %+v", fx.Log, fx.Send)
	}
}

// Claim B2: more than half of the voters, be their number even or odd; whoever else acknowledges does not count.
func TestB2QuorumSizes(t *testing.T) {
	for voters := 2; voters <= 7; voters++ {
		w := newWorld(1, voters, 2, machine.Options{}).startAll()
		l := w.elect(t)
		w.cutOff(l.id)
		zxid, _ := proposes(l, "x")
		acks := 1
		committed := func() bool { return l.committed == zxid }
		for _, learner := range l.learners {
			if learner.seat < 0 {
				l.step(func() { l.onAck(learner, zxid) })
			}
		}
		for _, learner := range l.learners {
			if committed() != (2*acks > voters) {
				t.Errorf("%d of %d voters have it, committed: %v", acks, voters, committed())
			}
			if learner.seat >= 0 {
				acks++
				l.w.at(learner.id).sync(machine.Effects{Log: [][]byte{newTxn(zxid, []byte("x")).record}})
				l.step(func() { l.onAck(learner, zxid) })
			}
		}
		if !committed() || w.broken != "" {
			t.Errorf("%d voters have it, and it is not committed: %s", voters, w.broken)
		}
	}
}

// frameOf a leader's items.
func (p *peer) frameOf(session, seq uint64, items ...item) []byte {
	var fx machine.Effects
	p.out = &fx
	c := p.newChannel(1, session, false)
	c.sent = seq - 1
	for _, i := range items {
		p.add(c, i)
	}
	p.flush(c)
	return fx.Send[0].Body
}

// Claim B3: whatever the network does to the messages. world.deliver looks for gaps.
func TestB3OrderAndNoGap(t *testing.T) {
	w := newWorld(1, 3, 1, machine.Options{Snapshot: 1000, Keep: 1000})
	w.delay, w.repeat, w.loss = 8, 0.3, 0.05
	w.startAll()
	w.elect(t)
	for i := range 200 {
		w.write()
		w.write()
		w.tick(i % 2)
	}
	w.settles(t)
	if len(w.order) < 300 {
		t.Errorf("%d transactions", len(w.order))
	}
}

// Claim B4: the leader has committed, answered its clients and died; nobody else has heard of it.
func TestB4CommittedByADeadLeader(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{}).startAll()
	l := w.elect(t)
	w.writes(t, 2)
	w.settles(t)
	proposes(l, "last words")
	w.tick(1) // the others log it
	w.cut = func(m machine.Message) bool { return m.From == l.id }
	w.tick(1) // it hears of it, and commits
	if len(w.order) != 3 || w.at(1).applied != 2 {
		t.Fatalf("only the leader should have committed it: %s", w.states())
	}
	l.crash()
	w.at(1).crash() // what remains is a quorum and no more: nobody comes later and brings it up again
	w.tick(1)       // what the leader still had to say is lost
	w.heal()
	w.elect(t)
	for _, n := range w.nodes {
		if n.up && n.applied != 3 {
			t.Errorf("n%d has applied %d of 3", n.id, n.applied)
		}
	}
	w.startAll()
	w.settles(t)
}

// Claims B5 and B7, TRUNC: what only the dead leader had logged is discarded when it comes back, at once and for good.
func TestB5B7Trunc(t *testing.T) {
	for _, crash := range []bool{true, false} {
		w := newWorld(1, 3, 0, machine.Options{}).startAll()
		l := w.elect(t)
		w.writes(t, 3)
		w.settles(t)
		w.cutOff(l.id)
		zxid, _ := proposes(l, "alone")
		w.tick(1)
		if !l.has(zxid) {
			t.Fatal("it is not logged")
		}
		if crash {
			l.crash()
		}
		w.tick(200)
		w.heal()
		w.startAll()
		w.settles(t)
		if s := w.leader().syncs; s[syncTrunc] != 1 {
			t.Errorf("synchronized by %v, want one by TRUNC", s)
		}
		if l.has(zxid) || len(w.order) != 3 {
			t.Errorf("it is still there: %s", w.states())
		}
		l.crash()
		l.start()
		w.settles(t)
	}
}

// Claim B7: DIFF from within the window, SNAP from before it, and equal states in the end.
func TestB7DiffAndSnap(t *testing.T) {
	for _, c := range []struct {
		behind int
		how    syncKind
	}{{0, syncDiff}, {10, syncDiff}, {11, syncSnap}, {50, syncSnap}} {
		w := newWorld(1, 3, 1, machine.Options{Keep: 10, Snapshot: 1000}).startAll()
		w.elect(t)
		w.writes(t, 30)
		w.settles(t)
		for _, id := range []int{1, 4} {
			w.at(id).crash()
		}
		w.writes(t, c.behind)
		before := w.leader().syncs
		w.startAll()
		w.settles(t)
		after := w.leader().syncs
		for k := range after {
			if got, want := after[k]-before[k], map[bool]uint64{true: 2}[syncKind(k) == c.how]; got != want {
				t.Errorf("%d behind: %d synchronized in way %d, want %d", c.behind, got, k, want)
			}
		}
		w.writes(t, 3)
		w.settles(t)
		for _, id := range []int{1, 4} { // what they were brought to is on their disks
			w.at(id).crash()
			w.at(id).start()
		}
		w.settles(t)
	}
}

// What is proposed while a learner is being synchronized reaches it.
func TestB7ProposalsUnderWay(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{}).startAll()
	l := w.elect(t)
	w.writes(t, 3)
	w.at(1).crash()
	w.onlyTo(l.id, 1)
	proposes(l, "before it came")
	w.tick(1)
	w.at(1).start()
	for i := 0; w.at(1).phase != serving && i < 25; i++ {
		w.tick(1)
		proposes(l, fmt.Sprint("meanwhile ", i))
	}
	w.heal()
	w.settles(t)
	if len(w.order) < 10 {
		t.Errorf("%d transactions: %s", len(w.order), w.states())
	}
}

// Of what a learner was sent before it served all counts that it has logged: what came with the synchronization, by the acknowledgement of NEWLEADER, and
// what was proposed behind NEWLEADER, by its own. Nothing else need be proposed for it to be committed.
func TestB7WhatCameBeforeUpToDateCounts(t *testing.T) {
	for name, c := range map[string]struct{ before, behind bool }{"with the synchronization": {true, false}, "behind NEWLEADER": {false, true}} {
		w := newWorld(1, 3, 0, machine.Options{}).startAll()
		l := w.elect(t)
		w.writes(t, 3)
		w.settles(t)
		w.at(1).crash()
		w.at(1).start()
		w.cut = func(m machine.Message) bool { // the leader keeps its other follower, which gets nothing new
			var said message
			return m.From == l.id && m.To == 2 && said.decode(m.Body) == nil && said.kind == msgDown
		}
		if c.before {
			proposes(l, "x")
		}
		for i := 0; w.at(1).phase != serving && i < 50; i++ {
			w.tick(1)
			k := slices.IndexFunc(l.learners, func(l *learner) bool { return l.id == 1 })
			if c.behind && k >= 0 && l.learners[k].phase == syncing && !l.outstanding() {
				proposes(l, "x")
			}
		}
		if w.tick(4); len(w.order) != 4 || !l.leads() || w.broken != "" {
			t.Errorf("%s: %d of 4 committed: %s %s", name, len(w.order), w.broken, w.states())
		}
	}
}

// Claim B8: what a leader of an old epoch proposes when it comes back is accepted by nobody.
func TestB8OldLeader(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{}).startAll()
	old := w.elect(t)
	w.writes(t, 2)
	w.cutOff(old.id)
	// It is paused: it sees no ticks, and does not know that time passes.
	frozen := old.peer
	old.up = false
	w.tick(300)
	l := w.leader()
	if l == nil || l.id == old.id || l.epoch <= frozen.epoch {
		t.Fatalf("no new leader: %s", w.states())
	}
	old.up = true
	w.heal()
	zxid, ok := proposes(old, "of an old epoch")
	if !ok {
		t.Fatal("it does not believe that it leads")
	}
	asked := w.sure
	old.step(func() { old.confirm(1) })
	w.tick(int(old.syncLimit) + 5)
	if len(w.order) != 2 || old.leads() || w.sure != asked {
		t.Errorf("%d transactions, it leads: %v, confirmed: %d: %s", len(w.order), old.leads(), w.sure-asked, w.states())
	}
	w.settles(t)
	for _, n := range w.nodes {
		if n.has(zxid) {
			t.Errorf("n%d has it", n.id)
		}
	}
	// Not even where it comes with the number that a follower waits for.
	for _, n := range w.nodes {
		if n.state != following {
			continue
		}
		frame := (&peer{}).frameOf(n.channel.session-1, n.channel.got+1, item{kind: itemProposal, txn: newTxn(zxid+1, nil)})
		if n.step(func() { n.receive(&machine.Message{From: n.leader, To: n.id, Body: frame}) }); n.has(zxid + 1) {
			t.Errorf("n%d takes it up in another session", n.id)
		}
		frame = (&peer{}).frameOf(n.channel.session, n.channel.got+1, item{kind: itemProposal, txn: newTxn(zxid+1, nil)})
		if n.step(func() { n.receive(&machine.Message{From: w.stranger(n), To: n.id, Body: frame}) }); n.has(zxid + 1) {
			t.Errorf("n%d takes it up from who is not its leader", n.id)
		}
	}
}

// stranger is a voter that n does not follow, and not n.
func (w *world) stranger(n *node) int {
	for _, id := range w.voters {
		if id != n.id && id != n.leader {
			return id
		}
	}
	return 0
}

// A quorum that has answered after the question: confirmed. None: nothing.
func TestConfirm(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{}).startAll()
	l := w.elect(t)
	l.step(func() { l.confirm(1); l.confirm(2) })
	w.tick(4)
	if w.sure != 2 {
		t.Fatalf("%d of 2 confirmed", w.sure)
	}
	w.onlyTo(l.id, 1)
	w.tick(2)
	l.step(func() { l.confirm(3) })
	w.tick(10)
	if w.sure != 2 {
		t.Fatal("two of five have confirmed")
	}
	w.onlyTo(l.id, 1, 2)
	w.tick(10)
	if w.sure != 3 {
		t.Fatal("three of five have not")
	}
	// Who has only just come back may have promised to follow another leader meanwhile.
	w.onlyTo(l.id, 1)
	l.step(func() { l.confirm(4) })
	back := l.learners[1].channel.session + 1
	hello := (&peer{}).frameOf(back, 1, item{kind: itemFollowerInfo, epoch: l.epoch})
	hello[0] = msgUp
	for _, body := range [][]byte{hello, encodePulse(msgPulseUp, back, 0, false, l.pings)} {
		l.step(func() { l.receive(&machine.Message{From: 2, To: l.id, Body: body}) })
	}
	if w.tick(4); w.sure != 3 || l.learners[1].phase != greeting {
		t.Fatalf("who has not heard of the epoch has confirmed it: phase %d", l.learners[1].phase)
	}
}

// A server that has accepted a newer epoch than the leader's, in which nobody came to lead, comes back.
func TestAcceptedEpochAhead(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{}).startAll()
	w.elect(t)
	w.at(1).crash()
	w.at(1).records = append(w.at(1).records, numberRecord(recordAccepted, 9))
	w.at(1).start()
	w.settles(t)
	if l := w.leader(); l.epoch <= 9 {
		t.Errorf("epoch %d", l.epoch)
	}
	l := w.leader()
	w.onlyTo(l.id) // nobody else has heard of it
	info := (&peer{}).frameOf(l.learners[0].channel.session+1, 1, item{kind: itemFollowerInfo, epoch: 20})
	info[0] = msgUp
	l.step(func() { l.receive(&machine.Message{From: l.learners[0].id, To: l.id, Body: info}) })
	if l.state != looking || l.accepted != 20 {
		t.Errorf("a leader heard of an epoch above its own, has accepted %d and is in state %d", l.accepted, l.state)
	}
}
