package zab

// vote for a server with that history.
type vote struct {
	leader int
	epoch  uint64 // its currentEpoch
	zxid   int64  // its last
}

// above orders votes by epoch, then by zxid, then by server (claim E2).
func (p *peer) above(a, b vote) bool {
	if p.flaw == voteIgnoresEpoch {
		a.epoch, a.zxid, b.epoch, b.zxid = 0, int64(counterOf(a.zxid)), 0, int64(counterOf(b.zxid))
	}
	if a.epoch != b.epoch {
		return a.epoch > b.epoch
	}
	if a.zxid != b.zxid {
		return a.zxid > b.zxid
	}
	return a.leader > b.leader
}

// election is what a server keeps of fast leader election.
type election struct {
	round   uint64 // ZooKeeper's logical clock
	vote    vote   // the proposed one; while FOLLOWING or LEADING the one that was elected
	box     []slip // votes of this round, by seat
	outside []slip // what servers say that are not LOOKING, by seat
	asked   uint64 // tick of the last notifications
	at      uint64 // tick at which the election is decided unless a better vote comes; 0: a quorum does not agree yet
}

// slip is the last word of one voter.
type slip struct {
	note
	known bool
}

// restart begins with an election.
func (p *peer) restart() {
	p.state, p.leader = looking, 0
	p.round++
	p.box, p.outside = make([]slip, len(p.voters)), make([]slip, len(p.voters))
	p.vote, p.at = p.own(), 0
	p.asked = p.ticks
	if p.seat >= 0 {
		p.counts.Elections++
	}
	p.turn()
}

// look ends whatever this server was, and looks for a leader.
func (p *peer) look() {
	if p.state == looking {
		return
	}
	p.resign()
	p.desert()
	p.release()
	p.restart()
	p.notifyAll()
	p.count()
}

// own vote for oneself. An observer has none.
func (p *peer) own() vote {
	if p.seat < 0 {
		return vote{}
	}
	return vote{leader: p.id, epoch: p.current, zxid: p.log.last()}
}

// electionTick repeats notifications, since they may be lost, and decides.
func (p *peer) electionTick() {
	if p.at != 0 && p.ticks >= p.at {
		p.decide(p.vote.leader)
		return
	}
	if p.ticks-p.asked >= p.ping || p.ticks == 1 {
		p.notifyAll()
		p.count()
	}
}

func (p *peer) notifyAll() {
	p.asked = p.ticks
	for _, id := range p.voters {
		if id != p.id {
			p.notify(id)
		}
	}
}

func (p *peer) notify(id int) {
	p.notes++
	p.post(id, encodeNote(note{p.state, p.round, p.vote}))
}

// onNote: FastLeaderElection.lookForLeader, and what its receiver answers by itself.
func (p *peer) onNote(from int, n note) {
	seat := p.seatOf(from)
	if n.round > p.round+maxRounds {
		p.accuse(from, "a vote in round %d, and here it is %d", n.round, p.round)
		return
	}
	if p.state != looking {
		if n.state == looking {
			p.notify(from)
		}
		return
	}
	if seat < 0 || n.leader != 0 && p.seatOf(n.leader) < 0 {
		if n.state == looking {
			p.notify(from)
		}
		return
	}
	if n.state == looking {
		p.outside[seat] = slip{}
		p.onVote(from, seat, n)
		return
	}
	p.onOutside(seat, n)
}

// onVote of a server that is LOOKING, too. Observers do not vote.
func (p *peer) onVote(from, seat int, n note) {
	if p.seat < 0 || n.leader == 0 {
		return
	}
	switch {
	case n.round < p.round:
		// It is ignored, and answered, so that its sender joins this round (claim E4).
		p.notify(from)
		return
	case n.round > p.round:
		p.round = n.round
		clear(p.box)
		p.vote, p.at = p.own(), 0
		if p.above(n.vote, p.vote) {
			p.vote = n.vote
		}
		p.notifyAll()
	case p.above(n.vote, p.vote):
		p.vote, p.at = n.vote, 0
		p.notifyAll()
	}
	p.box[seat] = slip{n, true}
	p.count()
}

// count the votes for the proposed one. A quorum decides after a while in which better ones may come; all together decide at once.
func (p *peer) count() {
	if p.seat < 0 || p.state != looking {
		return
	}
	n := 1
	for i := range p.box {
		if p.box[i].known && i != p.seat && p.box[i].vote == p.vote {
			n++
		}
	}
	switch {
	case !p.majority(n):
		p.at = 0
	case n == len(p.voters):
		p.decide(p.vote.leader)
	case p.at == 0:
		p.at = p.ticks + p.finalize
	}
}

// onOutside: a server that follows or leads. If a quorum says that it follows one and the same, and that one says that it leads, this server joins, be
// it by votes of this round or by those of an election that it has not seen.
func (p *peer) onOutside(seat int, n note) {
	p.outside[seat] = slip{n, true}
	lead := p.seatOf(n.leader)
	if lead < 0 {
		return
	}
	if n.round == p.round {
		p.box[seat] = slip{n, true}
		votes := 0
		for i := range p.box {
			if s := &p.box[i]; s.known && s.leader == n.leader && (i != p.seat) {
				votes++
			}
		}
		if p.vote.leader == n.leader && p.seat >= 0 {
			votes++
		}
		if p.majority(votes) && (n.leader == p.id || p.outside[lead].known && p.outside[lead].state == leading) {
			p.decide(n.leader)
			return
		}
	}
	same := 0
	for i := range p.outside {
		if s := &p.outside[i]; s.known && s.leader == n.leader && s.epoch == n.epoch {
			same++
		}
	}
	if s := &p.outside[lead]; p.majority(same) && n.leader != p.id && s.known && s.state == leading && s.leader == n.leader {
		p.round, p.vote = n.round, n.vote
		p.decide(n.leader)
	}
}

// decide whom to follow.
func (p *peer) decide(leader int) {
	p.at, p.leader = 0, leader
	switch {
	case leader == p.id:
		p.state, p.vote = leading, p.own()
		p.turn()
		p.lead()
		return
	case p.seat < 0:
		p.state = observing
	default:
		p.state = following
	}
	if p.vote.leader != leader {
		p.vote = vote{leader: leader}
	}
	p.turn()
	p.follow()
}

func (p *peer) seatOf(id int) int {
	for i, v := range p.voters {
		if v == id {
			return i
		}
	}
	return -1
}
