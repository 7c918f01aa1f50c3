package zab

import (
	"math"
	"time"

	"assize/machine/jute"
	"assize/targets/zab/tree"
)

const (
	leastTicks    = 2 // a session's time-out, in ticks of the sessions
	greatestTicks = 20
	sweepTicks    = 10 // between two looks for containers and TTL nodes that are to go
	passwordSize  = 16
	secret        = 0xB3415C00 // SessionTrackerImpl.superSecret: it is no secret
)

// timeouts that a session can have, in milliseconds.
func (s *Server) timeouts() (least, greatest int32) {
	tick := s.o.SessionTick.Milliseconds()
	return int32(min(leastTicks*tick, math.MaxInt32)), int32(min(greatestTicks*tick, math.MaxInt32))
}

// passwordOf a session: 16 bytes of java.util.Random, so that each server can tell, as in ZooKeeper.
func passwordOf(session int64) (password [passwordSize]byte) {
	const mask = 1<<48 - 1
	seed := (uint64(session) ^ secret ^ 0x5DEECE66D) & mask
	for i := 0; i < passwordSize; i += 4 {
		seed = (seed*0x5DEECE66D + 0xB) & mask
		v := uint32(seed >> 16)
		for j := range 4 {
			password[i+j] = byte(v >> (8 * j))
		}
	}
	return password
}

// newSession is a number that nobody else has: the server's, the time of the first one, and a random number, in case that the clock was set back.
// Its highest byte is never 255, which marks TTL nodes.
func (s *Server) newSession() int64 {
	if s.serial == 0 {
		time := uint64(s.wall) & (1<<40 - 1)
		s.serial = int64(uint64(s.id%255)<<56 | time<<16 | s.rand.Uint64N(1<<16))
	}
	for {
		s.serial++
		if _, taken := s.tree.Session(s.serial); !taken && s.holders[s.serial] == nil && tree.IsSession(s.serial) {
			return s.serial
		}
	}
}

// touched are the sessions that have been heard of here since the leader was told.
type touched struct {
	list []int64
	set  map[int64]bool
	told time.Duration
}

func newTouched() touched { return touched{set: map[int64]bool{}} }

// touch: whatever comes from a client keeps its session alive. The leader counts; others tell it now and then.
func (s *Server) touch(c *connection, op jute.Op) {
	if s.flaw == followerReadNoTouch && !s.peer.leads() && readable(op) && op != jute.Ping {
		return
	}
	switch {
	case s.flaw == writeNoTouch && op.Writes():
	case s.peer.leads():
		s.refresh(c.session)
	case !s.touched.set[c.session]:
		s.touched.set[c.session] = true
		s.touched.list = append(s.touched.list, c.session)
	}
}

// office is what a leader keeps for the service. It is empty while this server does not lead.
type office struct {
	ahead   *tree.Ahead
	tracked map[int64]*tracked // sessions that are neither closed nor about to be
	buckets map[int64][]int64  // sessions that may expire at a tick; those that have moved on to another one are not taken out
	next    int64              // bucket
	syncs   []synchronizing
	tokens  uint64
	swept   time.Duration
}

// tracked is a session as the leader knows it.
type tracked struct {
	timeout int32
	owner   uint64 // the connection that it was made or validated on last; 0: none under this leader
	bucket  int64
}

// takeOffice as a leader that has applied all that it will not prepare itself. Each session gets its full time-out anew.
func (s *Server) takeOffice() {
	s.office = office{
		ahead: s.tree.Ahead(), tracked: map[int64]*tracked{}, buckets: map[int64][]int64{}, next: int64(s.now / s.o.SessionTick), tokens: s.tokens,
		swept: s.now,
	}
	for _, session := range s.tree.Sessions() {
		s.track(session.ID, session.Timeout, 0)
	}
}

func (s *Server) leaveOffice() {
	s.office = office{tokens: s.tokens}
	s.touched = newTouched()
}

func (s *Server) track(session int64, timeout int32, owner uint64) {
	s.tracked[session] = &tracked{timeout: timeout, owner: owner}
	s.refresh(session)
}

// refresh a session of which something was heard. It can expire at the second tick after its time-out: so it is not early even if the news that keeps
// it alive is up to a tick late, and learners tell it every half.
func (s *Server) refresh(session int64) {
	t := s.tracked[session]
	if t == nil {
		return
	}
	end := s.now + time.Duration(t.timeout)*time.Millisecond
	if b := int64(end/s.o.SessionTick) + 2; b > t.bucket {
		t.bucket = b
		s.buckets[b] = append(s.buckets[b], session)
	}
}

// moved: the session has been validated on another connection since.
func (s *Server) moved(o *order) bool {
	t := s.tracked[o.session]
	return t != nil && o.conn != 0 && o.conn != t.owner
}

// validate a session that has come to another connection. Its time-out stays what it was when it was made.
func (s *Server) validate(from int, o *order) {
	a := answer{kind: orderValidate, conn: o.conn, session: o.session}
	if t := s.tracked[o.session]; t != nil {
		t.owner, a.timeout = o.conn, t.timeout
		s.refresh(o.session)
	}
	s.answer(from, a)
}

// tick moves what goes by time.
func (s *Server) tick() {
	if !s.stamp.serves {
		return
	}
	if s.ahead == nil {
		if len(s.touched.list) > 0 && s.now-s.touched.told >= s.o.SessionTick/2 {
			s.send(&order{kind: orderTouch, touched: s.touched.list})
			s.touched = newTouched()
			s.touched.told = s.now
		}
		return
	}
	s.expire()
	if s.now-s.swept >= sweepTicks*s.o.SessionTick {
		s.swept = s.now
		for _, q := range s.tree.Idle(s.wall) {
			s.write(&order{q: q})
		}
	}
}

// expire the sessions of which nothing was heard for long (claim Z11): a transaction closes each, with its nodes (claim Z9).
func (s *Server) expire() {
	for ; s.ahead != nil && s.next <= int64(s.now/s.o.SessionTick); s.next++ {
		for _, session := range s.buckets[s.next] {
			if t := s.tracked[session]; t != nil && t.bucket == s.next {
				s.write(&order{session: session, q: jute.Request{Op: jute.CloseSession}})
			}
		}
		delete(s.buckets, s.next)
	}
}
