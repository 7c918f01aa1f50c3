package zab

import "slices"

// confirmation is a question whether this server still leads, and the round of pings that answers it.
type confirmation struct {
	token uint64
	round uint64
}

// nextZxid is the one that propose would use now.
func (p *peer) nextZxid() int64 {
	last := p.log.last()
	if epochOf(last) < p.epoch {
		return zxidOf(p.epoch, 1)
	}
	if p.flaw == counterOverflow && counterOf(last) >= overflowAt {
		return zxidOf(epochOf(last)+1, 1)
	}
	return last + 1
}

// propose a transaction. ok is false where this server does not lead, or cannot any more: a counter at its end forces a new epoch.
func (p *peer) propose(body []byte) (zxid int64, ok bool) {
	if !p.leads() {
		return 0, false
	}
	if last := p.log.last(); epochOf(last) == p.epoch && counterOf(last) >= p.limit {
		p.look()
		return 0, false
	}
	t := newTxn(p.nextZxid(), body)
	p.log.append(t)
	p.record(t.record)
	p.seats[p.seat].acked = t.zxid
	for _, l := range p.learners {
		if l.seat < 0 || l.phase < syncing || l.phase != serving && p.flaw == proposeOnlyToSynced {
			continue
		}
		p.add(l.channel, item{kind: itemProposal, txn: t})
	}
	p.settle()
	return t.zxid, true
}

func (p *peer) onAck(l *learner, zxid int64) {
	if l.seat < 0 || l.phase < enrolled || zxid > p.log.last() || p.stage < established {
		return
	}
	if s := &p.seats[l.seat]; zxid > s.acked {
		s.acked = zxid
		p.settle()
	}
}

// settle: commit what more than half of the voters have logged (claim B2). A quorum has the leader's history, so what counts is of its own epoch.
func (p *peer) settle() {
	if p.stage != established {
		return
	}
	acks := make([]int64, 0, 16)
	for i := range p.seats {
		if p.seats[i].enrolled {
			acks = append(acks, p.seats[i].acked)
		}
	}
	slices.Sort(acks)
	quorum := len(p.voters)/2 + 1
	if zxid := acks[len(acks)-quorum]; zxid > p.committed {
		p.commit(zxid)
		p.announce()
	}
}

// announce what was committed: COMMIT to followers, INFORM to observers, to those as well that are still being synchronized.
func (p *peer) announce() {
	from := p.log.find(p.spread)
	p.spread = p.committed
	for _, l := range p.learners {
		if l.seat >= 0 {
			if l.phase == serving {
				p.add(l.channel, item{kind: itemCommit, zxid: p.committed})
			}
			continue
		}
		for pos := from + 1; pos <= p.committedPos && l.phase >= syncing; pos++ {
			p.add(l.channel, item{kind: itemInform, txn: *p.log.at(pos)})
		}
	}
}

// committable: a leader commits what it has proposed.
func (p *peer) committable(zxid int64) bool {
	if zxid <= p.committed || p.log.has(zxid) {
		return true
	}
	p.accuseLeader("%#x is committed, which it has not proposed", zxid)
	return false
}

// onCommit: all up to a zxid is committed.
func (p *peer) onCommit(zxid int64) {
	if p.phase == serving && p.committable(zxid) {
		p.commit(zxid)
	}
}

// onInform: a committed transaction, to an observer. None comes that the synchronization has brought.
func (p *peer) onInform(t txn) {
	if p.phase < joining || p.seat >= 0 {
		return
	}
	if t.zxid <= p.log.last() {
		p.accuseLeader("%#x is told again", t.zxid)
		return
	}
	p.append(t)
	if p.phase == serving {
		p.commit(t.zxid)
	}
}

// reignTick pings the learners, and ends what has lost its support (claim E6).
func (p *peer) reignTick() {
	if p.stage != established && p.ticks-p.since > p.initLimit {
		p.look()
		return
	}
	if p.stage == established && p.ticks%(2*p.ping) == 0 && !p.supported() {
		p.look()
		return
	}
	for i := len(p.learners) - 1; i >= 0; i-- {
		if l := p.learners[i]; p.ticks-l.heard > p.syncLimit || l.channel.full() {
			p.drop(l)
		} else {
			p.again(l.channel)
		}
	}
	if p.ticks%p.ping == 0 {
		p.pingAll()
	}
}

// supported tells whether more than half of the voters are this leader's learners, itself among them, and have been heard within the syncLimit
// (LearnerHandler.synced). As in Leader.lead it is asked at every second ping, so a leader can outlast its followers' patience by so much.
func (p *peer) supported() bool {
	n := 1
	for _, l := range p.learners {
		if l.seat >= 0 && p.ticks-l.heard <= p.syncLimit {
			n++
		}
	}
	return p.majority(n)
}

// pingAll begins a round of pings.
func (p *peer) pingAll() {
	p.pings++
	p.asking = len(p.waiting) > 0
	for _, l := range p.learners {
		p.pulse(l.channel, false, p.pings)
	}
	p.seats[p.seat].round = p.pings
	p.answer()
}

// confirm asks a quorum whether this server still leads: confirmed{token} follows when more than half of the voters have answered, as followers of
// this epoch, a ping that was sent after the question. Nothing follows if it leads no more.
func (p *peer) confirm(token uint64) {
	if !p.leads() {
		return
	}
	p.waiting = append(p.waiting, confirmation{token, p.pings + 1})
	if !p.asking {
		p.pingAll()
	}
}

// answered: a learner has answered a ping. It followed this leader when it did: a learner that leaves its leader ends the session.
func (p *peer) answered(l *learner, round uint64) {
	if l.seat < 0 || l.phase < enrolled || round > p.pings {
		return
	}
	if s := &p.seats[l.seat]; round > s.round {
		s.round = round
		p.answer()
	}
}

func (p *peer) answer() {
	n := 0
	for n < len(p.waiting) && p.tally(func(s *seat) bool { return s.enrolled && s.round >= p.waiting[n].round }) {
		p.say(news{kind: confirmed, token: p.waiting[n].token})
		n++
	}
	p.waiting = slices.Delete(p.waiting, 0, n)
	if p.asking && n > 0 {
		p.asking = false
		if len(p.waiting) > 0 {
			p.pingAll()
		}
	}
}

// forward a body to the leader's service, in order. It is false where this server does not serve as a learner.
func (p *peer) forward(body []byte) bool {
	if p.channel == nil || p.phase != serving {
		return false
	}
	p.add(p.channel, item{kind: itemForward, data: body})
	return true
}

// tell a learner's service something, in order with what is committed. It is lost if the learner has gone.
func (p *peer) tell(to int, body []byte) {
	for _, l := range p.learners {
		if l.id == to && l.phase == serving {
			p.add(l.channel, item{kind: itemTold, data: body})
		}
	}
}
