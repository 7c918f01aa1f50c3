package zab

// syncKind is how a learner is brought to its leader's history (claim B7).
type syncKind uint8

const (
	syncDiff      syncKind = iota // what it lacks
	syncTrunc                     // it has more, and lacks nothing
	syncTruncDiff                 // it has other transactions than the leader, and lacks some
	syncSnap                      // it lacks more than the leader's window holds
	syncKinds
)

// synchronizeAll learners that have come in this step.
func (p *peer) synchronizeAll() {
	if p.stage < enrolling {
		return
	}
	var image []byte
	for _, l := range p.learners {
		if l.phase == joining {
			image = p.synchronize(l, image)
		}
	}
}

// low is the position before the first transaction that a learner can be sent. The window holds so many of the committed ones and all that are not:
// so a snapshot, which is of what is committed, never takes a learner back.
func (p *peer) low() uint64 {
	low := p.log.basePos
	if p.committedPos > p.window {
		low = max(low, p.committedPos-p.window)
	}
	return low
}

// plan how to synchronize a learner with that last zxid, and from which position on it lacks transactions.
func (p *peer) plan(last int64) (how syncKind, from uint64) {
	if last < p.log.zxid(p.low()) {
		return syncSnap, p.committedPos
	}
	from = p.log.find(last)
	switch {
	case p.log.zxid(from) == last || p.flaw == diffInsteadOfTrunc:
		return syncDiff, from
	case from == p.log.lastPos():
		return syncTrunc, from
	}
	return syncTruncDiff, from
}

// synchronize one learner, and propose all further transactions to it. The snapshot of this step, if one was needed, is used again.
func (p *peer) synchronize(l *learner, image []byte) []byte {
	how, from := p.plan(l.last)
	p.syncs[how]++
	first := item{kind: itemSync, how: how, zxid: p.log.zxid(from)}
	if how == syncSnap {
		if image == nil {
			image = p.encodeImage()
		}
		first.data = image
	}
	if p.flaw == newLeaderBeforeDiff {
		p.add(l.channel, item{kind: itemNewLeader, epoch: p.epoch})
		p.flush(l.channel)
	}
	p.add(l.channel, first)
	if how == syncSnap {
		p.flush(l.channel) // it is long enough without what follows
	}
	to := p.log.lastPos()
	if l.seat < 0 && p.stage == established {
		to = p.committedPos
	}
	for pos := from + 1; pos <= to; pos++ {
		t := p.log.at(pos)
		if t.quiet && p.flaw == committedLogHole {
			continue
		}
		p.add(l.channel, item{kind: itemProposal, txn: *t})
	}
	l.phase = syncing
	if p.flaw == newLeaderBeforeDiff {
		p.flush(l.channel)
		p.out.Send = p.out.Send[:len(p.out.Send)-1] // it is still being read from the disk: it goes when the learner misses it
	} else {
		p.add(l.channel, item{kind: itemNewLeader, epoch: p.epoch})
	}
	return image
}

// onSync: what the leader has not goes, at once and for good. No older leader can commit it any more, since a quorum has accepted this one's epoch;
// had one committed it, this one would have it.
func (p *peer) onSync(i *item) {
	if p.phase != joining && p.phase != enrolled {
		return
	}
	switch i.how {
	case syncTrunc, syncTruncDiff:
		p.truncate(i.zxid)
	case syncSnap:
		p.install(i.data)
	}
}

func (p *peer) truncate(zxid int64) {
	switch {
	case zxid < p.committed:
		p.accuseLeader("to be truncated is %#x, and %#x is committed", zxid, p.committed)
		return
	case !p.log.has(zxid):
		p.accuseLeader("to be truncated is %#x, which is not in the log", zxid)
		return
	}
	pos := p.log.find(zxid)
	if p.flaw == truncateOneTooMany && pos > p.committedPos {
		pos--
	}
	p.counts.Truncations++
	p.log.truncate(pos)
	p.before = min(p.before, pos)
	p.record(numberRecord(recordTruncate, uint64(p.log.last())))
}

// append a transaction of the leader's to the log. It must be the next one, of no epoch after the leader's.
func (p *peer) append(t txn) {
	if last := p.log.last(); t.zxid != last+1 && (epochOf(t.zxid) <= epochOf(last) || counterOf(t.zxid) != 1) || epochOf(t.zxid) > p.under {
		p.accuseLeader("%#x is proposed in epoch %d after %#x", t.zxid, p.under, last)
		return
	}
	if p.sound != nil && !p.sound(t.zxid, t.body()) {
		p.accuseLeader("%#x is no transaction", t.zxid)
		return
	}
	t.quiet = p.phase != serving
	p.log.append(t)
	p.record(t.record)
}

// onProposal: while this server is synchronized a part of the leader's history, thereafter a proposal, which is acknowledged (claim B2: when this
// step's records are on the disk).
func (p *peer) onProposal(t txn) {
	if p.phase < joining {
		return
	}
	p.append(t)
	p.unacked = p.unacked || p.phase >= enrolled && p.seat >= 0
}

// onNewLeader: the history is taken over. All of it was logged in this step or before, and currentEpoch is logged after it: a crash that leaves only
// the beginning of these records leaves no epoch without its history (ZOOKEEPER-4643). The acknowledgement leaves when all of them are durable
// (ZOOKEEPER-4646), and before that of any proposal (ZOOKEEPER-4685).
func (p *peer) onNewLeader(epoch uint64) {
	if p.phase != joining {
		return
	}
	if epoch != p.under {
		p.accuseLeader("epoch %d is new, and it leads epoch %d", epoch, p.under)
		return
	}
	if p.current != epoch {
		p.setCurrent(epoch)
	}
	p.vote = vote{leader: p.leader, epoch: epoch, zxid: p.log.last()}
	p.phase = enrolled
	p.add(p.channel, item{kind: itemAckLeader, epoch: epoch, zxid: p.log.last()})
}

// onAckLeader: a learner has taken over this leader's history.
func (p *peer) onAckLeader(l *learner, i *item) {
	if i.epoch != p.epoch || l.phase != syncing {
		return
	}
	l.phase = enrolled
	if l.seat >= 0 {
		s := &p.seats[l.seat]
		s.enrolled = true
		if i.zxid <= p.log.last() {
			s.acked = max(s.acked, i.zxid)
		}
	}
	if p.stage == established {
		p.upToDate(l)
		p.settle()
		return
	}
	p.establish()
}

// establish the leader when a quorum has its history: that is committed now, with all that older leaders have not brought to an end (claim B12).
func (p *peer) establish() {
	if p.stage != enrolling || !p.tally(func(s *seat) bool { return s.enrolled }) {
		return
	}
	p.stage = established
	p.commit(p.log.last())
	p.spread = p.committed
	for _, l := range p.learners {
		if l.phase == enrolled {
			p.upToDate(l)
		}
	}
	p.turn()
}

// upToDate: a learner may serve, from the state that is committed now.
func (p *peer) upToDate(l *learner) {
	l.phase = serving
	p.add(l.channel, item{kind: itemUpToDate, zxid: p.spread})
}

func (p *peer) onUpToDate(zxid int64) {
	if p.phase != enrolled {
		return
	}
	if !p.committable(zxid) {
		return
	}
	p.release()
	p.phase = serving
	p.commit(zxid)
	p.turn()
}
