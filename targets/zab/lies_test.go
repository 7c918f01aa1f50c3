package zab

import (
	"fmt"
	"slices"
	"testing"

	"assize/machine"
)

// follower makes server 2 of three, whose history is 0x100000001 to 0x100000003, of which the first has been committed, a follower of server 1 that has been
// told these items.
func follower(t *testing.T, told ...item) (p *peer, last machine.Effects) {
	t.Helper()
	c := machine.Config{ID: 2, Voters: []int{1, 2, 3}, Snapshot: imageOf(zxidOf(1, 1), 1, "state"), Log: [][]byte{numberRecord(recordAccepted, 1), numberRecord(recordCurrent, 1)}}
	for n := range uint64(2) {
		c.Log = append(c.Log, newTxn(zxidOf(1, n+2), []byte("x")).record)
	}
	p, err := newPeer(c, func() []byte { return nil })
	if err != nil {
		t.Fatal(err)
	}
	p.sound = func(_ int64, body []byte) bool { return string(body) == "x" }
	p.whole = func(_ int64, _ uint64, body []byte) bool { return string(body) == "state" }
	input(p, func() { p.decide(1) })
	scribe := &peer{}
	for i, one := range told {
		b := scribe.frameOf(p.channel.session, uint64(i+1), one)
		last = input(p, func() { p.receive(&machine.Message{From: 1, To: 2, Body: b}) })
		if i < len(told)-1 && (len(last.Accused) > 0 || p.state != following) {
			t.Fatalf("item %d: accused %v, state %v", i, last.Accused, p.state)
		}
	}
	return p, last
}

// TestLyingLeader: what no correct leader says is told, not done, and the end of following it.
func TestLyingLeader(t *testing.T) {
	x := func(epoch, counter uint64) item {
		return item{kind: itemProposal, txn: newTxn(zxidOf(epoch, counter), []byte("x"))}
	}
	begin, diff, born, serve := item{kind: itemLeaderInfo, epoch: 2}, item{kind: itemSync, how: syncDiff}, item{kind: itemNewLeader, epoch: 2}, item{kind: itemUpToDate, zxid: zxidOf(1, 3)}
	for name, told := range map[string][]item{
		"TRUNC to what is committed":                 {begin, {kind: itemSync, how: syncTrunc, zxid: 0}},
		"TRUNC to what is not there":                 {begin, {kind: itemSync, how: syncTrunc, zxid: zxidOf(1, 4)}},
		"TRUNC to what will never be":                {begin, {kind: itemSync, how: syncTruncDiff, zxid: zxidOf(9, 9)}},
		"SNAP of nonsense":                           {begin, {kind: itemSync, how: syncSnap, data: []byte("nonsense")}},
		"SNAP of no state":                           {begin, {kind: itemSync, how: syncSnap, data: imageOf(zxidOf(1, 9), 9, "nonsense")}},
		"SNAP of before":                             {begin, {kind: itemSync, how: syncSnap, data: imageOf(zxidOf(1, 1), 1, "state")}},
		"DIFF with a hole":                           {begin, diff, x(1, 5)},
		"DIFF of what is there":                      {begin, diff, x(1, 3)},
		"DIFF of an epoch before":                    {begin, diff, {kind: itemProposal, txn: newTxn(zxidOf(2, 1), []byte("x"))}, x(1, 4)},
		"DIFF of an epoch to come":                   {begin, diff, x(3, 1)},
		"DIFF of an epoch without its first":         {begin, diff, x(2, 2)},
		"a proposal that is no transaction":          {begin, diff, {kind: itemProposal, txn: newTxn(zxidOf(1, 4), []byte("nonsense"))}},
		"NEWLEADER of an old epoch":                  {begin, diff, {kind: itemNewLeader, epoch: 1}},
		"NEWLEADER of an epoch to come":              {begin, diff, {kind: itemNewLeader, epoch: 3}},
		"UPTODATE beyond the history":                {begin, diff, born, {kind: itemUpToDate, zxid: zxidOf(1, 4)}},
		"COMMIT without a proposal":                  {begin, diff, born, serve, {kind: itemCommit, zxid: zxidOf(2, 1)}},
		"COMMIT of what is between two transactions": {begin, diff, born, serve, x(2, 1), {kind: itemCommit, zxid: zxidOf(1, 9)}},
		"an epoch that leaves none":                  {{kind: itemLeaderInfo, epoch: maxEpoch}},
	} {
		p, last := follower(t, told...)
		if len(last.Accused) != 1 || last.Accused[0].Node != 1 || p.state != looking || p.channel != nil {
			t.Errorf("%s: accused %v, state %v", name, last.Accused, p.state)
		}
		for _, b := range last.Log {
			if b[0] == recordTxn || b[0] == recordTruncate || b[0] == recordCurrent || b[0] == recordAccepted {
				t.Errorf("%s: %x is logged", name, b)
			}
		}
		if last.Snapshot != nil || p.log.zxid(p.log.find(zxidOf(1, 3))) != zxidOf(1, 3) || p.committed > zxidOf(1, 3) || p.accepted > 2 {
			t.Errorf("%s: committed %#x, last %#x, accepted %d", name, p.committed, p.log.last(), p.accepted)
		}
	}
	if p, last := follower(t, begin, diff, x(1, 4), x(2, 1), born, serve, x(2, 2), item{kind: itemCommit, zxid: zxidOf(2, 2)}); len(last.Accused) > 0 || p.committed != zxidOf(2, 2) {
		t.Errorf("the truth: accused %v, committed %#x", last.Accused, p.committed)
	}
}

// TestLyingLearnersAndVoters cannot use up what all count with.
func TestLyingLearnersAndVoters(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{}).startAll()
	lead := w.elect(t)
	from := lead.id%3 + 1
	life := uint64(1) << 40
	for name, body := range map[string][]byte{
		"an accepted epoch that leaves none": func() []byte {
			b := (&peer{}).frameOf(life, 1, item{kind: itemFollowerInfo, epoch: maxEpoch})
			b[0] = msgUp
			return b
		}(),
		"a round that leaves none": encodeNote(note{state: looking, round: 1 << 62, vote: vote{leader: from, epoch: 1, zxid: 1}}),
	} {
		epoch, round := lead.accepted, lead.round
		fx := input(lead.peer, func() { lead.receive(&machine.Message{From: from, To: lead.id, Body: body}) })
		if len(fx.Accused) != 1 || fx.Accused[0].Node != from || lead.accepted != epoch || lead.round != round || !lead.leads() {
			t.Errorf("%s: accused %v, epoch %d, round %d, state %v", name, fx.Accused, lead.accepted, lead.round, lead.state)
		}
		if slices.ContainsFunc(lead.learners, func(l *learner) bool { return l.channel.session == life }) {
			t.Errorf("%s: it is still a learner", name)
		}
	}
	if fmt.Sprint(w.broken) != "" {
		t.Error(w.broken)
	}
}
