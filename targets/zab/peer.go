package zab

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"assize/machine"
)

// state of a server (claim E1).
type state uint8

const (
	looking state = iota
	following
	leading
	observing
)

// peer is one server's part of Zab. It knows transactions only as bytes.
//
// The service brackets each of its steps with begin and finish. Between them it hands the peer one input (tick or receive), calls what it likes, and
// takes what next returns, in order, until there is nothing more. In finish the peer may ask it for a snapshot (take), which must be of all
// that was delivered.
//
//	begin(out *machine.Effects)
//	tick() | receive(*machine.Message)
//	next() (news, bool)
//	propose(body) (zxid, bool); nextZxid() zxid; tell(to, body); confirm(token)     of a leader that serves
//	forward(body) bool                                                              of a learner that serves
//	finish()
//	serves() bool; leads() bool; leader, committed, state                           at any time
type peer struct {
	id        int
	voters    []int
	observers []int
	seat      int // of this server in voters; -1: none, it observes
	flaw      string
	rand      *rand.Rand
	timing
	limit uint64 // greatest counter
	take  func() []byte
	// What a leader says is looked at before it is logged; nil: all is well.
	sound func(zxid int64, body []byte) bool             // a transaction
	whole func(zxid int64, pos uint64, body []byte) bool // a snapshot

	// Persistent state.
	accepted uint64 // acceptedEpoch: the last epoch whose leader this server has promised to follow and no older one
	current  uint64 // currentEpoch: of the last leader whose history this server has taken over
	life     uint64
	log      log
	saved    uint64 // position of the last snapshot's last transaction
	due      uint64 // position at which the next one is taken

	// Volatile state.
	state        state
	leader       int // that this server follows, or itself; 0: none
	committed    int64
	committedPos uint64 // both as far as the service has been told
	ticks        uint64
	sessions     uint64 // begun in this life
	born         bool   // this life is in the log

	election
	reign
	allegiance

	queue   []news
	head    int // of queue
	held    [][]byte
	before  uint64 // position up to which the log is what it was before this step
	out     *machine.Effects
	scratch message
	counts  machine.Counters
	syncs   [syncKinds]uint64 // by how learners were synchronized
	notes   uint64            // notifications sent
}

// kind of news.
type newsKind uint8

const (
	delivered newsKind = iota + 1 // a transaction is committed: zxid, body
	installed                     // body replaces the whole state, which is the one at zxid
	forwarded                     // body from a learner, to its leader
	told                          // body from the leader, to a learner
	confirmed                     // a quorum has followed this leader after confirm(token)
	changed                       // state, leader, epoch, or whether this server serves: stamp
)

// news for the service.
type news struct {
	kind  newsKind
	from  int
	zxid  int64
	token uint64
	body  []byte
	stamp stamp
}

// newPeer makes a server of what its host has found on the disk. take returns the service's state. If there is a snapshot, the first news is that it is
// installed; the transactions logged after it are not delivered before a leader has confirmed them.
func newPeer(c machine.Config, take func() []byte) (*peer, error) {
	o := defaults(c.Options)
	p := &peer{
		id: c.ID, voters: slices.Sorted(slices.Values(c.Voters)), observers: slices.Sorted(slices.Values(c.Observers)), flaw: o.Flaw,
		rand: rand.New(rand.NewPCG(c.Seed, uint64(c.ID))), timing: timingOf(o), limit: maxCounter, take: take,
	}
	p.seat = slices.Index(p.voters, p.id)
	if err := p.restore(c.Snapshot, c.Log); err != nil {
		return nil, fmt.Errorf("zab: node %d cannot go on from its disk: %w", c.ID, err)
	}
	p.life++
	p.drawSnapshot()
	p.restart()
	return p, nil
}

// begin a step, whose effects are appended to out.
func (p *peer) begin(out *machine.Effects) {
	p.out = out
	p.before = p.log.lastPos()
	if !p.born {
		// Sessions are numbered within a life: this one is on the disk before anybody hears of the first.
		p.born = true
		p.record(numberRecord(recordLife, p.life))
	}
}

// tick moves the timers.
func (p *peer) tick() {
	p.ticks++
	switch p.state {
	case looking:
		p.electionTick()
	case leading:
		p.reignTick()
	default:
		p.allegianceTick()
	}
}

// receive a message. What no server of the ensemble has sent is ignored.
func (p *peer) receive(m *machine.Message) {
	in := &p.scratch
	if !p.knows(m.From) || in.decode(m.Body) != nil {
		return
	}
	switch in.kind {
	case msgNote:
		p.onNote(m.From, in.note)
	case msgUp, msgPulseUp, msgResetUp:
		p.fromLearner(m.From, in, m.Body)
	default:
		p.fromLeader(m.From, in, m.Body)
	}
}

func (p *peer) knows(id int) bool {
	return id != p.id && (slices.Contains(p.voters, id) || slices.Contains(p.observers, id))
}

// next piece of news.
func (p *peer) next() (news, bool) {
	if p.head == len(p.queue) {
		clear(p.queue)
		p.queue, p.head = p.queue[:0], 0
		return news{}, false
	}
	p.head++
	return p.queue[p.head-1], true
}

func (p *peer) say(n news) { p.queue = append(p.queue, n) }

// turn tells what this server has become. The service hears it in its place among the transactions: a server that is alone looks, leads and has its old
// log committed within one step, and has no state yet when it hears that it looks.
func (p *peer) turn() {
	n := news{kind: changed}
	if p.serves() {
		n.stamp = stamp{true, p.leader, p.epoch, p.sessions}
	}
	p.say(n)
}

// finish a step. The service has taken all news.
func (p *peer) finish() {
	if p.head < len(p.queue) {
		panic("zab: the step is finished and there is news left")
	}
	if p.state == leading {
		p.synchronizeAll()
	}
	if p.committedPos >= p.due && p.committedPos > p.saved {
		p.counts.SnapshotsTaken++
		p.save(p.encodeImage())
		p.drawSnapshot()
	}
	if p.out.Installed {
		p.out.Log = p.out.Log[:0]
	}
	p.trim()
	for _, l := range p.learners {
		p.flush(l.channel)
	}
	if p.channel != nil {
		p.flush(p.channel)
	}
}

// record something for the log. Records are in the order in which they must become durable.
func (p *peer) record(b []byte) {
	if p.flaw == ackNewLeaderEarly && p.state != leading && p.state != looking && p.phase != serving && b[0] == recordTxn {
		p.held = append(p.held, b)
		return
	}
	p.write(b)
}

func (p *peer) write(b ...[]byte) {
	p.out.Log = append(p.out.Log, b...)
	if p.out.Snapshot != nil {
		p.out.Tail = append(p.out.Tail, b...)
	}
}

// release what the flaw ackNewLeaderEarly has held back.
func (p *peer) release() {
	p.write(p.held...)
	p.held = nil
}

func (p *peer) setAccepted(epoch uint64) {
	p.accepted = epoch
	p.record(numberRecord(recordAccepted, epoch))
}

func (p *peer) setCurrent(epoch uint64) {
	p.current = epoch
	p.record(numberRecord(recordCurrent, epoch))
}

// commit all up to a zxid that the log holds: deliver it, in order and without gap.
func (p *peer) commit(zxid int64) {
	if zxid <= p.committed {
		return
	}
	for to := p.log.find(zxid); p.committedPos < to; {
		p.committedPos++
		t := p.log.at(p.committedPos)
		p.committed = t.zxid
		p.say(news{kind: delivered, zxid: t.zxid, body: t.body()})
	}
}

// serves tells whether this server is synchronized, with a quorum, and may answer clients.
func (p *peer) serves() bool {
	return p.state == leading && p.stage == established || (p.state == following || p.state == observing) && p.phase == serving
}

// leads tells whether this server is a leader that serves.
func (p *peer) leads() bool { return p.state == leading && p.stage == established }

func (p *peer) majority(n int) bool { return 2*n > len(p.voters) }

// accuse a server of what no correct one says. The link with it is for the caller to end.
func (p *peer) accuse(id int, format string, args ...any) {
	p.out.Accused = append(p.out.Accused, machine.Accusation{Node: id, Why: fmt.Sprintf(format, args...)})
}

// accuseLeader, and look for another one.
func (p *peer) accuseLeader(format string, args ...any) {
	p.accuse(p.leader, format, args...)
	p.look()
}

func (p *peer) post(to int, body []byte) {
	p.out.Send = append(p.out.Send, machine.Message{From: p.id, To: to, Body: body})
}

// status of the server but for what only the service knows. Indexes are positions of transactions, counted from the first one ever, without the
// gaps that zxids have; Revision is the last committed zxid. A leader that does not serve yet is a candidate.
func (p *peer) status() machine.Status {
	s := machine.Status{
		ID: p.id, Term: p.current, Leader: p.leader, Voters: p.voters, Commit: p.committedPos, Applied: p.committedPos, Last: p.log.lastPos(),
		Snapshot: p.saved, Revision: p.committed, Counters: p.counts,
	}
	switch {
	case p.leads():
		s.Role = machine.Leader
	case p.seat < 0:
		s.Role = machine.Learner
	case p.state == following:
		s.Role = machine.Follower
	default:
		s.Role = machine.Candidate
	}
	return s
}

// logChanged is machine.Inspector's Changed, in positions.
func (p *peer) logChanged() uint64 {
	pos := p.log.changed
	p.log.changed = 0
	return pos
}

// logEntry is machine.Inspector's Entry: the epoch and the body of the transaction at a position.
func (p *peer) logEntry(pos uint64) (epoch uint64, body []byte, ok bool) {
	if pos <= p.log.basePos || pos > p.log.lastPos() {
		return 0, nil, false
	}
	t := p.log.at(pos)
	return epochOf(t.zxid), t.body(), true
}

// logName is the zxid of the transaction at a position.
func (p *peer) logName(pos uint64) string {
	switch {
	case pos == p.log.basePos && pos > 0:
		return fmt.Sprintf("zxid %#x", p.log.base)
	case pos <= p.log.basePos || pos > p.log.lastPos():
		return ""
	}
	return fmt.Sprintf("zxid %#x", p.log.at(pos).zxid)
}
