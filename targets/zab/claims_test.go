package zab

import (
	"testing"
	"time"

	"assize/machine"
)

func proposes(n *node, body string) (zxid int64, ok bool) {
	n.step(func() { zxid, ok = n.propose([]byte(body)) })
	return zxid, ok
}

// settles fails the test where the world does not.
func (w *world) settles(t *testing.T) {
	t.Helper()
	if !w.settled(3000) {
		t.Fatalf("nothing settles: %s %s", w.broken, w.states())
	}
}

// cutOff loses what one server sends and is sent.
func (w *world) cutOff(id int) {
	w.cut = func(m machine.Message) bool { return m.From == id || m.To == id }
}

func (w *world) heal() { w.cut = func(machine.Message) bool { return false } }

// Claim E1.
func TestE1LookingServesNobody(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{}).startAll()
	for range 5 {
		for _, n := range w.nodes {
			if n.state == looking && (n.serves() || n.leads() || n.forward([]byte("x"))) {
				t.Fatalf("n%d serves while it is LOOKING", n.id)
			}
		}
		w.tick(1)
	}
	w.elect(t)
	w.at(1).crash()
	w.at(2).crash()
	w.tick(100)
	n := w.at(3)
	if _, ok := proposes(n, "x"); ok || n.state != looking || n.serves() {
		t.Errorf("one of three: state %d, proposed %v", n.state, ok)
	}
}

// Claim E2.
func TestE2VotesAreOrdered(t *testing.T) {
	p := &peer{}
	list := []vote{{5, 1, 0x100000001}, {1, 1, 0x100000002}, {2, 1, 0x100000002}, {1, 2, 0x100000001}, {1, 2, 0x100000009}, {3, 2, 0x100000009}}
	for i, a := range list {
		for j, b := range list {
			if got := p.above(a, b); got != (i > j) {
				t.Errorf("%+v above %+v: %v", a, b, got)
			}
		}
	}
}

// Claim E3.
func TestE3FiveStartOneByOne(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{})
	for id := 1; id <= 5; id++ {
		w.at(id).start()
		w.tick(200)
		if l := w.leader(); id < 3 && l != nil || id >= 3 && (l == nil || l.id != 3) {
			t.Fatalf("after the start of n%d: %s", id, w.states())
		}
	}
	for _, n := range w.nodes {
		if want := map[bool]state{true: leading, false: following}[n.id == 3]; n.state != want || n.leader != 3 || !n.serves() {
			t.Errorf("n%d: %s", n.id, w.states())
		}
	}
	if len(w.leaders) != 1 {
		t.Errorf("leaders: %v, want one", w.leaders)
	}
}

// alone is a server whose messages nobody gets but the test.
func alone(t *testing.T, voters int) (*node, func(from int, body []byte) []message) {
	w := newWorld(1, voters, 0, machine.Options{})
	n := w.at(1)
	n.start()
	return n, func(from int, body []byte) (sent []message) {
		w.mail = nil
		n.step(func() { n.receive(&machine.Message{From: from, To: 1, Body: body}) })
		for _, l := range w.mail {
			var m message
			if err := m.decode(l.Body); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, m)
		}
		return sent
	}
}

// Claim E4.
func TestE4Rounds(t *testing.T) {
	n, gets := alone(t, 5)
	votes := func() (c int) {
		for _, s := range n.box {
			if s.known {
				c++
			}
		}
		return c
	}
	high := vote{leader: 5, epoch: 3, zxid: 9}
	if sent := gets(2, encodeNote(note{looking, 4, high})); n.round != 4 || n.vote != high || len(sent) != 4 || votes() != 1 {
		t.Fatalf("a better vote of a newer round: round %d vote %+v, %d sent, %d votes", n.round, n.vote, len(sent), votes())
	}
	gets(3, encodeNote(note{looking, 4, vote{leader: 3}}))
	if sent := gets(4, encodeNote(note{looking, 3, vote{leader: 4, epoch: 9, zxid: 9}})); n.vote != high || votes() != 2 || len(sent) != 1 || sent[0].note.round != 4 {
		t.Fatalf("a vote of an older round: vote %+v, %d votes, sent %+v", n.vote, votes(), sent)
	}
	if gets(4, encodeNote(note{looking, 6, vote{}})); n.round != 4 {
		t.Fatal("a vote for nobody counts")
	}
	if gets(4, encodeNote(note{looking, 6, vote{leader: 4}})); n.round != 6 || votes() != 1 || n.vote.leader != 4 || n.vote.epoch != 0 {
		t.Errorf("a newer round: round %d, %d votes, vote %+v", n.round, votes(), n.vote)
	}
	if gets(3, encodeNote(note{looking, 6, vote{leader: 4}})); n.at == 0 || n.state != looking {
		t.Errorf("a quorum agrees, and better votes are not waited for")
	}
	if gets(5, encodeNote(note{looking, 6, vote{leader: 5}})); n.at != 0 || n.vote.leader != 5 {
		t.Errorf("a better vote while they are waited for: %+v", n.vote)
	}
	gets(4, encodeNote(note{looking, 6, vote{leader: 5}}))
	if gets(5, encodeNote(note{looking, 6, vote{leader: 3}})); n.at != 0 || n.vote.leader != 5 {
		t.Errorf("who agreed has come back with less, and better votes are waited for at %d: %+v", n.at, n.vote)
	}
	round := n.round
	n.step(func() { n.decide(5); n.look() })
	if n.round != round+1 || votes() != 0 {
		t.Errorf("a new election: round %d with %d votes, after round %d", n.round, votes(), round)
	}
}

// A better vote begins the wait for still better ones anew, also where it makes a quorum at once.
func TestBetterVotesAreWaitedForAnew(t *testing.T) {
	n, gets := alone(t, 3)
	gets(2, encodeNote(note{looking, 1, vote{leader: 2}}))
	first := n.at
	n.step(func() { n.tick() })
	if gets(3, encodeNote(note{looking, 1, vote{leader: 3}})); first == 0 || n.at != first+1 {
		t.Errorf("decided at %d and, with the better vote a tick later, at %d", first, n.at)
	}
}

// A server that comes to an ensemble which has a leader joins it when a quorum follows one and the same, and that one says that it leads.
func TestJoiningALeader(t *testing.T) {
	of := func(s state, round uint64, leader int, epoch uint64) note {
		return note{s, round, vote{leader: leader, epoch: epoch}}
	}
	for name, c := range map[string]struct {
		said  map[int][]note // by server
		joins int
		round uint64
	}{
		"a quorum of another round":             {map[int][]note{2: {of(following, 7, 4, 3)}, 3: {of(following, 7, 4, 3)}, 4: {of(leading, 7, 4, 3)}}, 4, 7},
		"a quorum of this round":                {map[int][]note{3: {of(looking, 1, 4, 0)}, 4: {of(leading, 1, 4, 0)}, 5: {of(following, 1, 4, 0)}}, 4, 1},
		"less than a quorum":                    {map[int][]note{2: {of(following, 7, 4, 3)}, 4: {of(leading, 7, 4, 3)}}, 0, 1},
		"of this round, without the leader":     {map[int][]note{2: {of(following, 1, 4, 0)}, 3: {of(following, 1, 4, 0)}, 5: {of(following, 1, 4, 0)}}, 0, 1},
		"of another round, without the leader":  {map[int][]note{2: {of(following, 7, 4, 3)}, 3: {of(following, 7, 4, 3)}, 5: {of(following, 7, 4, 3)}}, 0, 1},
		"whom they follow follows another":      {map[int][]note{2: {of(following, 7, 4, 3)}, 3: {of(following, 7, 4, 3)}, 5: {of(following, 7, 4, 3)}, 4: {of(following, 7, 5, 3)}}, 0, 1},
		"of two epochs":                         {map[int][]note{2: {of(following, 7, 4, 2)}, 3: {of(following, 7, 4, 3)}, 4: {of(leading, 7, 4, 3)}}, 0, 1},
		"one that has left it and looks itself": {map[int][]note{2: {of(following, 7, 4, 3), of(looking, 1, 0, 0)}, 3: {of(following, 7, 4, 3)}, 4: {of(leading, 7, 4, 3)}}, 0, 1},
	} {
		for _, order := range [][]int{{4, 2, 3, 5}, {3, 2, 5, 4}} {
			n, gets := alone(t, 5)
			for _, id := range order {
				for _, said := range c.said[id] {
					gets(id, encodeNote(said))
				}
			}
			if n.leader != c.joins || n.round != c.round || (n.state == following) != (c.joins != 0) {
				t.Errorf("%s: state %d, leader %d in round %d, want leader %d in round %d", name, n.state, n.leader, n.round, c.joins, c.round)
			}
		}
	}
}

// A learner's patience: with a leader that never answers, that answers and brings it to nothing, and that falls silent.
func TestLearnersPatience(t *testing.T) {
	for name, c := range map[string]struct {
		limit func(*node) uint64
		pings bool
		takes []item
	}{
		"no answer":    {func(n *node) uint64 { return n.contact }, false, nil},
		"only pings":   {func(n *node) uint64 { return n.initLimit }, true, nil},
		"no NEWLEADER": {func(n *node) uint64 { return n.initLimit }, true, []item{{kind: itemLeaderInfo, epoch: 1}}},
		"no UPTODATE":  {func(n *node) uint64 { return n.initLimit }, true, []item{{kind: itemLeaderInfo, epoch: 1}, {kind: itemNewLeader, epoch: 1}}},
		"silence":      {func(n *node) uint64 { return n.syncLimit }, false, []item{{kind: itemLeaderInfo, epoch: 1}}},
	} {
		n, gets := alone(t, 3)
		gets(2, encodeNote(note{looking, 1, vote{leader: 3}}))
		gets(3, encodeNote(note{looking, 1, vote{leader: 3}}))
		if len(c.takes) > 0 {
			gets(3, (&peer{}).frameOf(n.channel.session, 1, c.takes...))
		}
		ticks := uint64(0)
		for ; n.state == following && ticks < 1000; ticks++ {
			if c.pings {
				gets(3, encodePulse(msgPulseDown, n.channel.session, 0, false, 0))
			}
			n.step(func() { n.tick() })
		}
		if ticks != c.limit(n)+1 {
			t.Errorf("%s: it leaves after %d ticks, want %d", name, ticks, c.limit(n)+1)
		}
	}
}

// onlyTo makes what the leader proposes reach only some.
func (w *world) onlyTo(from int, ids ...int) {
	w.cut = func(m machine.Message) bool {
		for _, id := range ids {
			if m.To == id && m.From == from || m.From == id && m.To == from {
				return false
			}
		}
		return m.From == from || m.To == from
	}
}

// Claims E5, B6 and B12: what reached one follower is committed if that one takes part in the election, whatever its number is.
func TestE5B6B12NewestHistoryWins(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{}).startAll()
	l := w.elect(t)
	w.writes(t, 3)
	w.settles(t)
	w.onlyTo(l.id, 1)
	zxid, _ := proposes(l, "on two of five")
	w.tick(3)
	if w.at(1).log.last() != zxid || len(w.order) != 3 {
		t.Fatalf("it should be logged by n1 and not committed: %s", w.states())
	}
	l.crash()
	w.at(2).crash() // what remains is a quorum and no more
	w.heal()
	if l := w.elect(t); l.id != 1 {
		t.Errorf("n%d leads, want n1: %s", l.id, w.states())
	}
	if len(w.order) != 4 || w.order[3].body != "on two of five" {
		t.Errorf("%+v, want what was logged to be committed", w.order)
	}
}

// Claim B6, the other half: both that had it are down, and it is discarded when they come back.
func TestB6LostWithItsServers(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{}).startAll()
	l := w.elect(t)
	w.writes(t, 3)
	w.onlyTo(l.id, 1)
	proposes(l, "on two of five")
	w.tick(3)
	l.crash()
	w.at(1).crash()
	w.heal()
	w.elect(t)
	w.writes(t, 2)
	w.startAll()
	w.settles(t)
	for _, o := range w.order {
		if o.body == "on two of five" {
			t.Errorf("it was committed: %+v", w.order)
		}
	}
	if s := w.leader().syncs; s[syncTruncDiff] != 2 {
		t.Errorf("synchronized by %v, want two by TRUNC and DIFF", s)
	}
}

// Claims E6 and E7.
func TestE6E7NoQuorumNoLeader(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{}).startAll()
	l := w.elect(t)
	w.cutOff(l.id)
	w.tick(int(l.syncLimit - l.ping))
	if !l.leads() {
		t.Error("it steps down before the limit")
	}
	w.tick(3 * int(l.ping)) // it is asked at every second ping
	if _, ok := proposes(l, "x"); l.state != looking || ok {
		t.Errorf("it leads without a quorum: %s", w.states())
	}
	w.tick(300)
	if n := w.leader(); n == nil || n.id == l.id {
		t.Errorf("the others have no leader: %s", w.states())
	}
	w.heal()
	w.settles(t)
}

// A leader drops the learner that has fallen silent, or takes nothing up, and keeps the others.
func TestSilentLearnerIsDropped(t *testing.T) {
	w := newWorld(1, 5, 0, machine.Options{}).startAll()
	l := w.elect(t)
	w.at(1).crash()
	w.tick(int(l.syncLimit) - 2)
	before := len(l.learners)
	if w.tick(4); before != 4 || len(l.learners) != 3 || !l.leads() {
		t.Errorf("%d learners before the limit, %d after it: %s", before, len(l.learners), w.states())
	}
	l.learners[0].channel.flights = make([]flight, flightFrames+1)
	if l.step(func() { l.tick() }); len(l.learners) != 2 {
		t.Error("one that takes nothing up is kept")
	}
}

// Claim E6: followers that have left do not count, however lately they were heard. They find another leader only later.
func TestE6LeaderThatIsLeft(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{}).startAll()
	l := w.elect(t)
	for l.ticks%(4*l.ping) != 0 {
		w.tick(1)
	}
	for _, n := range w.nodes {
		if n != l {
			n.step(func() { n.look() })
		}
	}
	for range 2*l.ping + 3 { // the news is under way
		if w.tick(1); l.state == looking {
			if l.ticks%(2*l.ping) != 0 {
				t.Errorf("it is asked %d ticks after a second ping, and pings every %d", l.ticks%(2*l.ping), l.ping)
			}
			return
		}
	}
	t.Errorf("it leads nobody: %s", w.states())
}

// Better votes are waited for as long as in ZooKeeper, however long its syncLimit, and never for so long that its followers would give up.
func TestBetterVotesAreWaitedForSoLong(t *testing.T) {
	for _, c := range []struct{ election, want time.Duration }{{10 * time.Second, 200 * time.Millisecond}, {300 * time.Millisecond, 200 * time.Millisecond}, {90 * time.Millisecond, 60 * time.Millisecond}} {
		o := defaults(machine.Options{Election: c.election})
		if got := time.Duration(timingOf(o).finalize) * o.Tick; got != c.want {
			t.Errorf("with a syncLimit of %v: got %v, want %v", c.election, got, c.want)
		}
	}
}

// E10, measured: how many notifications an election takes.
func TestE10Notifications(t *testing.T) {
	for _, n := range []int{3, 5, 7} {
		w := newWorld(1, n, 0, machine.Options{}).startAll()
		w.elect(t)
		count := func() (c uint64) {
			for _, n := range w.nodes {
				c += n.notes
			}
			return c
		}
		first := count()
		w.leader().crash()
		w.tick(1)
		w.elect(t)
		t.Logf("%d servers: %d notifications in the first election, %d in the second", n, first, count()-first)
	}
}

// A leader whose follower's history is newer than its own gives up before anybody takes over its history (claim E5).
func TestE5LeaderGivesUp(t *testing.T) {
	for _, c := range []struct {
		theirs vote
		yes    bool
		want   state
	}{
		{vote{epoch: 1, zxid: zxidOf(1, 2)}, true, leading}, {vote{epoch: 1, zxid: zxidOf(1, 3)}, true, looking}, {vote{epoch: 2}, true, looking},
		{vote{epoch: 0, zxid: zxidOf(1, 9)}, true, leading}, {vote{epoch: 2}, false, leading},
	} {
		n, gets := alone(t, 3)
		n.crash()
		n.records = append(n.records, newTxn(zxidOf(1, 1), nil).record, newTxn(zxidOf(1, 2), nil).record, numberRecord(recordCurrent, 1), numberRecord(recordAccepted, 1))
		n.start()
		gets(2, encodeNote(note{looking, 1, vote{1, 1, zxidOf(1, 2)}}))
		gets(3, encodeNote(note{looking, 1, vote{1, 1, zxidOf(1, 2)}}))
		if n.state != leading {
			t.Fatalf("state %d", n.state)
		}
		gets(2, (&peer{}).upFrame(1, item{kind: itemFollowerInfo, epoch: 4}))
		if n.epoch != 5 || n.stage != agreeing || n.accepted != 5 || n.current != 1 {
			t.Fatalf("epoch %d at stage %d", n.epoch, n.stage)
		}
		gets(2, (&peer{}).upFrame(2, item{kind: itemAckEpoch, epoch: 5, yes: c.yes, current: c.theirs.epoch, zxid: c.theirs.zxid}))
		if n.state != c.want || n.state == leading && (n.stage == enrolling) != c.yes {
			t.Errorf("%+v: state %d, stage %d, want state %d", c, n.state, n.stage, c.want)
		}
	}
}

func (p *peer) upFrame(seq uint64, i item) []byte {
	b := p.frameOf(1<<24|1, seq, i)
	b[0] = msgUp
	return b
}

// What a server has promised: acceptedEpoch on the disk, once, before it answers.
func TestAcceptedOnce(t *testing.T) {
	for _, c := range []struct {
		accepted, epoch uint64
		state           state
		yes             bool
	}{{3, 4, following, true}, {3, 3, following, false}, {3, 2, looking, false}} {
		n, gets := alone(t, 3)
		n.crash()
		n.records = append(n.records, numberRecord(recordAccepted, c.accepted))
		n.start()
		gets(2, encodeNote(note{looking, 1, vote{leader: 3}}))
		gets(3, encodeNote(note{looking, 1, vote{leader: 3}}))
		sent := gets(3, (&peer{}).frameOf(n.channel.session, 1, item{kind: itemLeaderInfo, epoch: c.epoch}))
		if n.state != c.state || n.accepted != max(c.accepted, c.epoch) {
			t.Fatalf("%+v: state %d, accepted %d", c, n.state, n.accepted)
		}
		if c.state == looking {
			continue
		}
		if i := sent[0].items[0]; i.kind != itemAckEpoch || i.yes != c.yes || i.epoch != c.epoch {
			t.Errorf("%+v: answered %+v", c, i)
		}
		if last := n.records[len(n.records)-1]; c.yes && string(last) != string(numberRecord(recordAccepted, c.epoch)) {
			t.Errorf("%+v: logged %v last", c, last)
		}
	}
}

// What a learner said in a session of before, to this leader or to the same server when it led an older epoch, and what arrives late or again, says
// nothing about the present epoch.
func TestOldSessionsDoNotCount(t *testing.T) {
	n, gets := alone(t, 3)
	up := func(session, seq uint64, i item) []byte {
		b := (&peer{}).frameOf(session, seq, i)
		b[0] = msgUp
		return b
	}
	leads := func() {
		round := n.round
		gets(2, encodeNote(note{looking, round, vote{leader: 1, epoch: n.current, zxid: n.log.last()}}))
		gets(3, encodeNote(note{looking, round, vote{leader: 1, epoch: n.current, zxid: n.log.last()}}))
		if n.state != leading || n.stage != discovering {
			t.Fatalf("state %d, stage %d", n.state, n.stage)
		}
	}
	leads()
	hello, promise := up(7, 1, item{kind: itemFollowerInfo}), up(7, 2, item{kind: itemAckEpoch, epoch: 1, yes: true})
	gets(2, hello)
	n.step(func() { n.look() })
	leads()
	gets(2, hello)
	if gets(2, promise); n.epoch != 2 || n.stage != agreeing {
		t.Fatalf("epoch %d at stage %d: a promise for epoch 1 counts", n.epoch, n.stage)
	}
	gets(2, up(8, 1, item{kind: itemFollowerInfo, epoch: 1}))
	if gets(2, up(7, 2, item{kind: itemAckEpoch, epoch: 2, yes: true})); n.stage != agreeing || n.learners[0].channel.got != 1 {
		t.Fatalf("stage %d: a frame of the session of before counts", n.stage)
	}
	if gets(2, up(8, 2, item{kind: itemAckEpoch, epoch: 2, yes: true})); n.stage != enrolling {
		t.Errorf("stage %d: the promise does not count", n.stage)
	}
}
