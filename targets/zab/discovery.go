package zab

import "slices"

// stage of a leader.
type stage uint8

const (
	discovering stage = iota // waits for FOLLOWERINFO of a quorum, to choose its epoch
	agreeing                 // waits for ACKEPOCH of a quorum: nobody in it follows an older leader any more
	enrolling                // synchronizes learners, waits for a quorum that has taken over its history
	established              // serves
)

// reign is what a leader keeps.
type reign struct {
	stage    stage
	epoch    uint64
	since    uint64 // tick of the election
	seats    []seat // by voter
	learners []*learner
	pings    uint64 // rounds of them
	asking   bool   // somebody waits for the answers to the present round
	waiting  []confirmation
	spread   int64 // all up to it has been sent as COMMIT or INFORM
}

// seat is what a leader knows of a voter. It outlives connections: what was promised or logged stays so.
type seat struct {
	informed bool
	accepted uint64
	agreed   bool
	enrolled bool   // it has acknowledged NEWLEADER
	acked    int64  // it has logged all up to it
	round    uint64 // the greatest of the pings that it has answered
}

// learner is a connection of a leader.
type learner struct {
	id      int
	seat    int // -1: an observer
	channel *channel
	phase   phase
	heard   uint64
	last    int64 // its last zxid when it came
}

// phase of a connection, at both ends.
type phase uint8

const (
	greeting phase = iota // FOLLOWERINFO is sent, LEADERINFO not taken up
	joining               // ACKEPOCH is sent, NEWLEADER not acknowledged
	syncing               // only of a leader's end: NEWLEADER is sent
	enrolled              // NEWLEADER is acknowledged
	serving               // UPTODATE
)

// lead: this server was elected.
func (p *peer) lead() {
	p.reign = reign{since: p.ticks, seats: make([]seat, len(p.voters)), learners: p.learners[:0]}
	p.seats[p.seat] = seat{informed: true, accepted: p.accepted}
	p.chooseEpoch()
}

func (p *peer) tally(has func(*seat) bool) bool {
	n := 0
	for i := range p.seats {
		if has(&p.seats[i]) {
			n++
		}
	}
	return p.majority(n)
}

// fromLearner takes what is meant for a leader.
func (p *peer) fromLearner(from int, m *message, body []byte) {
	i := slices.IndexFunc(p.learners, func(l *learner) bool { return l.id == from })
	if p.state != leading {
		// Whoever looks for a leader may be about to lead. Else the sender is wrong.
		if p.state != looking && m.kind != msgResetUp {
			p.post(from, encodeReset(msgResetDown, m.session))
		}
		return
	}
	if i >= 0 && m.session < p.learners[i].channel.session {
		return
	}
	if i < 0 || m.session > p.learners[i].channel.session {
		if m.kind == msgResetUp {
			return
		}
		if m.kind != msgUp || m.seq != 1 || m.items[0].kind != itemFollowerInfo {
			if i < 0 {
				p.post(from, encodeReset(msgResetDown, m.session))
			}
			return
		}
		i = p.welcome(from, m.session)
	}
	l := p.learners[i]
	l.heard = p.ticks
	switch m.kind {
	case msgResetUp:
		p.drop(l)
	case msgPulseUp:
		p.onPulse(l.channel, m)
		p.answered(l, m.round)
	default:
		p.onFrame(l.channel, m, body, func(i *item) { p.onUp(l, i) })
	}
}

// welcome a learner's new connection in place of its old one.
func (p *peer) welcome(id int, session uint64) int {
	l := &learner{id: id, seat: p.seatOf(id), channel: p.newChannel(id, session, false)}
	i, found := slices.BinarySearchFunc(p.learners, id, func(l *learner, id int) int { return l.id - id })
	if found {
		p.learners[i].channel.closed = true
		p.learners[i] = l
	} else {
		p.learners = slices.Insert(p.learners, i, l)
	}
	l.heard = p.ticks
	p.pulse(l.channel, false, 0)
	return i
}

// drop a learner. It has to come again.
func (p *peer) drop(l *learner) {
	p.close(l.channel)
	if i := slices.Index(p.learners, l); i >= 0 {
		p.learners = slices.Delete(p.learners, i, i+1)
	}
}

// resign from leading: what was not committed is for the next leader to decide about.
func (p *peer) resign() {
	for _, l := range p.learners {
		p.close(l.channel)
	}
	p.reign = reign{}
}

// onUp takes one item of a learner.
func (p *peer) onUp(l *learner, i *item) {
	switch i.kind {
	case itemFollowerInfo:
		p.onFollowerInfo(l, i.epoch)
	case itemAckEpoch:
		p.onAckEpoch(l, i)
	case itemAckLeader:
		p.onAckLeader(l, i)
	case itemAck:
		p.onAck(l, i.zxid)
	case itemForward:
		if p.leads() && l.phase == serving {
			p.say(news{kind: forwarded, from: l.id, body: i.data})
		}
	}
}

// onFollowerInfo: a learner says which epochs it has promised not to fall behind.
func (p *peer) onFollowerInfo(l *learner, accepted uint64) {
	if accepted > p.accepted+maxLeap {
		p.accuse(l.id, "epoch %d is accepted, and here %d", accepted, p.accepted)
		p.drop(l)
		return
	}
	if l.seat >= 0 {
		p.seats[l.seat].informed, p.seats[l.seat].accepted = true, accepted
	}
	switch {
	case p.stage == discovering:
		p.chooseEpoch()
	case l.seat >= 0 && accepted > p.epoch:
		// It could never follow this leader. The next epoch will be one that it can accept.
		p.setAccepted(max(p.accepted, accepted))
		p.look()
	default:
		p.add(l.channel, item{kind: itemLeaderInfo, epoch: p.epoch})
	}
}

// chooseEpoch: greater than all that a quorum has accepted (DSN 2011, section 4.1, phase 1: "e' such that it is later than any e received in a
// CEPOCH(e) message").
func (p *peer) chooseEpoch() {
	if !p.tally(func(s *seat) bool { return s.informed }) {
		return
	}
	p.stage = agreeing
	p.epoch = p.accepted
	for i := range p.seats {
		p.epoch = max(p.epoch, p.seats[i].accepted)
	}
	if p.epoch++; p.epoch > maxEpoch {
		panic("zab: there is no epoch left")
	}
	p.setAccepted(p.epoch)
	p.seats[p.seat].agreed = true
	for _, l := range p.learners {
		p.add(l.channel, item{kind: itemLeaderInfo, epoch: p.epoch})
	}
	p.agree()
}

// onAckEpoch: a learner has left all older leaders. One in the quorum whose history is newer than this leader's would be lost with what it has
// that is committed, so this server gives up ("Follower is ahead of the leader").
func (p *peer) onAckEpoch(l *learner, i *item) {
	if i.epoch != p.epoch || p.stage == discovering || l.phase != greeting {
		return
	}
	l.phase, l.last = joining, i.zxid
	if p.stage != agreeing || !i.yes || l.seat < 0 {
		return
	}
	if theirs, own := (vote{epoch: i.current, zxid: i.zxid}), (vote{epoch: p.current, zxid: p.log.last()}); p.above(theirs, own) {
		p.look()
		return
	}
	p.seats[l.seat].agreed = true
	p.agree()
}

// agree: as soon as a quorum has accepted the epoch, this leader's history is the one of the epoch. It is logged, so it may say so.
func (p *peer) agree() {
	if !p.tally(func(s *seat) bool { return s.agreed }) {
		return
	}
	p.stage = enrolling
	p.setCurrent(p.epoch)
	p.vote.epoch, p.vote.zxid = p.epoch, p.log.last()
	own := &p.seats[p.seat]
	own.enrolled, own.acked = true, p.log.last()
	p.establish()
}

// allegiance is what a learner keeps of its leader.
type allegiance struct {
	channel   *channel // nil: none
	phase     phase
	under     uint64 // the leader's epoch
	begun     uint64 // tick
	lastHeard uint64 // tick at which the leader was heard last
	reached   bool   // it has answered
	unacked   bool   // something was logged in this step that the leader waits for
}

// follow a leader: begin a session with it.
func (p *peer) follow() {
	p.sessions++
	c := p.newChannel(p.leader, p.life<<24|p.sessions, true)
	p.allegiance = allegiance{channel: c, begun: p.ticks, lastHeard: p.ticks}
	p.add(c, item{kind: itemFollowerInfo, epoch: p.accepted})
}

// desert the leader.
func (p *peer) desert() {
	if p.channel != nil {
		p.close(p.channel)
	}
	p.allegiance = allegiance{}
}

// fromLeader takes what is meant for a learner.
func (p *peer) fromLeader(from int, m *message, body []byte) {
	c := p.channel
	if c == nil || from != p.leader || m.session != c.session {
		if m.kind != msgResetDown {
			p.post(from, encodeReset(msgResetUp, m.session))
		}
		return
	}
	p.lastHeard, p.reached = p.ticks, true
	switch m.kind {
	case msgResetDown:
		p.look()
	case msgPulseDown:
		p.onPulse(c, m)
		p.pulse(c, false, m.round)
	default:
		p.onFrame(c, m, body, p.onDown)
		if p.unacked && !c.closed {
			p.unacked = false
			p.add(c, item{kind: itemAck, zxid: p.log.last()})
		}
	}
}

// allegianceTick: a learner without its leader looks for another one.
func (p *peer) allegianceTick() {
	switch {
	case p.ticks-p.lastHeard > p.syncLimit && p.reached, !p.reached && p.ticks-p.begun > p.contact,
		p.phase != serving && p.ticks-p.begun > p.initLimit, p.channel.full():
		p.look()
	default:
		p.again(p.channel)
	}
}

// onDown takes one item of the leader.
func (p *peer) onDown(i *item) {
	switch i.kind {
	case itemLeaderInfo:
		p.onLeaderInfo(i.epoch)
	case itemSync:
		p.onSync(i)
	case itemProposal:
		p.onProposal(i.txn)
	case itemInform:
		p.onInform(i.txn)
	case itemNewLeader:
		p.onNewLeader(i.epoch)
	case itemUpToDate:
		p.onUpToDate(i.zxid)
	case itemCommit:
		p.onCommit(i.zxid)
	case itemTold:
		if p.phase == serving {
			p.say(news{kind: told, from: p.leader, body: i.data})
		}
	}
}

// onLeaderInfo: "If e' is later than f.p, then f.p <- e'" (DSN 2011, phase 1), on the disk before it says so. An epoch that was accepted before, be it
// from this leader, does not count: it may have been another's. Observers promise nothing.
func (p *peer) onLeaderInfo(epoch uint64) {
	if p.phase != greeting || epoch == 0 {
		return
	}
	if p.seat >= 0 && epoch < p.accepted || epoch < p.current {
		p.look()
		return
	}
	if epoch > p.accepted+maxLeap && epoch > p.current+maxLeap {
		p.accuseLeader("epoch %d begins, and here %d is accepted", epoch, p.accepted)
		return
	}
	counts := p.seat >= 0 && epoch > p.accepted
	if counts {
		p.setAccepted(epoch)
	}
	p.phase, p.under = joining, epoch
	p.add(p.channel, item{kind: itemAckEpoch, epoch: epoch, yes: counts, current: p.current, zxid: p.log.last()})
	if p.flaw == epochBeforeLog {
		p.setCurrent(epoch)
	}
}
