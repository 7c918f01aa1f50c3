package zab

import (
	"encoding/binary"
	"fmt"
	"time"

	"assize/machine"
	"assize/targets/zab/tree"
)

// Server is one ZooKeeper server: a peer, the tree that its transactions make, and the service to this server's clients. What a client sends is one
// payload of its protocol in a machine.Request, the first one of a connection a ConnectRequest; what it is told is pushed, with Seq 0.
//
// The service promises: replies leave in the order of a connection's requests; a read sees all writes that its connection had asked for before it, and
// none that it has asked for after it; an event comes before the data that it announces and before the reply to the write that has made it; a request is
// executed once or never, and whoever is not told which has lost his connection.
//
// Divergence from ZooKeeper 3.8, all that a client of one version could tell by:
//
//   - A session belongs to the connection on which the leader has validated it last, not to that connection's server.
//   - A session's time-out is what it was made with. A client that comes back and asks for another one is told the old one.
//   - Sessions expire one tick later: in the second after their time-out. So what keeps them alive may be a tick on its way. The leader's clock does not
//     leap for them: see observe.
//   - A connection's writes behind a sync wait for it. In ZooKeeper, too, the sync's reply is sent before theirs.
//   - The reply to a sync carries the zxid that it stands for, not that of the server's last transaction.
//   - A sync whose session has moved uses up no zxid. A multi of no parts, and one whose session has moved, are refused as any other write.
//   - Watches of several modes that one connection leaves on one path stand side by side, as since ZooKeeper 3.9 (ZOOKEEPER-4466), and checkWatches asks for
//     the connection's own. In 3.8 the last mode replaces the others, and anybody's watch will do.
//   - exists asks for the permission to read, as since 3.8.4 (ZOOKEEPER-2590).
//   - TTL nodes can be had without asking for them (extendedTypesEnabled). Containers and TTL nodes are looked after every ten ticks of sessions, not every
//     minute.
//   - Text that is no UTF-8, or beyond its first three bytes, is given back as it came, and not as Java's characters of 16 bits have it.
//   - A check by itself that holds is Unimplemented: ZooKeeper does not answer it. Neither does a createTTL without a TTL's flags, and a time below 0, end the
//     server: its arguments are bad.
//   - There are no local sessions, no read-only servers, no SASL (it is answered as by a ZooKeeper without it), no reconfiguration, no quotas. What is
//     outstanding is limited by the front end.
type Server struct {
	id   int
	o    machine.Options
	mode mode
	flaw string
	peer *peer

	tree    *tree.Tree
	vetted  *tree.Tree // of a leader's snapshot that is about to be installed
	applied uint64     // position of the last transaction that the tree has
	digests []machine.DigestReport
	decoded decoded
	clock
	stamp stamp
	desk
	office

	out machine.Effects // of the present step; its slices are used again
}

// stamp of a time during which this server serves, in one role, under one leader, over one channel: what was under way in another one is lost.
type stamp struct {
	serves  bool
	leader  int
	epoch   uint64 // of a leader
	session uint64 // of a learner: its session with the leader
}

// clock is what the service knows of time.
type clock struct {
	wall int64         // milliseconds since 1970, of the present event
	mono time.Duration // last reading
	now  time.Duration // since the start, as it counts for sessions
	read bool          // mono holds
}

var (
	_ machine.Machine   = (*Server)(nil)
	_ machine.Inspector = (*Server)(nil)
	_ machine.Spoken    = (*Server)(nil)
)

// New makes a server of what its host has found on the disk. Options must have passed Check, and what comes from the disk must be what the server
// has logged: else it panics, because going on would break promises.
func New(c machine.Config) machine.Machine {
	s, err := Load(c)
	if err != nil {
		panic(err)
	}
	return s
}

// Load is New with an error in place of the panic.
func Load(c machine.Config) (*Server, error) {
	if err := Check(c.Options); err != nil {
		return nil, err
	}
	o := defaults(c.Options)
	s := &Server{id: c.ID, o: o, mode: modeOf(o.Read), flaw: o.Flaw, tree: tree.New()}
	s.desk = newDesk(c.Seed, c.ID)
	p, err := newPeer(c, s.image)
	if err != nil {
		return nil, err
	}
	s.peer = p
	p.sound, p.whole = s.decoded.sound, s.whole
	for n, ok := p.next(); ok; n, ok = p.next() {
		if n.kind == installed {
			if err := s.install(n.body); err != nil {
				return nil, fmt.Errorf("zab: node %d cannot go on from its disk: %w", c.ID, err)
			}
		}
	}
	return s, nil
}

// Step takes one event. The slices of the effects, not what they hold, are used again by the next Step.
func (s *Server) Step(e machine.Event) machine.Effects {
	s.out = machine.Effects{Log: s.out.Log[:0], Tail: s.out.Tail[:0], Send: s.out.Send[:0], Reply: s.out.Reply[:0], Applied: s.out.Applied[:0], Accused: s.out.Accused[:0]}
	s.observe(e)
	s.peer.begin(&s.out)
	switch {
	case e.Message != nil:
		s.peer.receive(e.Message)
	case e.Request != nil:
		s.request(e.Request)
	case e.Gone != 0:
		s.gone(e.Gone)
	default:
		s.peer.tick()
		s.drain()
		s.tick()
	}
	s.drain()
	s.peer.finish()
	return s.out
}

// observe the clocks. Sessions are judged by the monotonic one. It may go back, and then time stands still; and it may leap when the process was
// paused, while the clients' pings waited in its sockets, so one event moves it by one tick of the sessions at most: expiry is late, never early.
func (s *Server) observe(e machine.Event) {
	s.wall = e.Wall.UnixMilli()
	if s.read && e.Mono > s.mono {
		s.now += min(e.Mono-s.mono, s.o.SessionTick)
	}
	s.read, s.mono = true, e.Mono
}

// drain takes all news of the peer, in order.
func (s *Server) drain() {
	for {
		n, ok := s.peer.next()
		if !ok {
			return
		}
		switch n.kind {
		case delivered:
			s.deliver(n.zxid, n.body)
		case installed:
			s.tree, s.applied, s.vetted = s.vetted, binary.BigEndian.Uint64(n.body[len(n.body)-8:]), nil
		case forwarded:
			s.lead(n.from, n.body)
		case told:
			s.hear(n.body)
		case confirmed:
			s.sure(n.token)
		case changed:
			s.change(n.stamp)
		}
	}
}

// change: this server serves, or does not any more, or does so for another leader. Clients of before lose their connections, as in ZooKeeper,
// and learn nothing about what they have under way.
func (s *Server) change(now stamp) {
	if now == s.stamp {
		return
	}
	s.closeAll()
	s.leaveOffice()
	s.stamp = now
	if now.serves && now.leader == s.id {
		s.takeOffice()
	}
}

// image of the state, for the peer: the tree, and behind it the position that it has.
func (s *Server) image() []byte { return binary.BigEndian.AppendUint64(s.tree.Encode(), s.applied) }

// whole tells whether a leader's snapshot is one of these, and keeps what it holds until it is installed.
func (s *Server) whole(zxid int64, pos uint64, image []byte) bool {
	n := len(image) - 8
	if n < 0 || binary.BigEndian.Uint64(image[n:]) != pos {
		return false
	}
	t, err := tree.Decode(image[:n])
	if err != nil || t.Zxid() != zxid {
		return false
	}
	s.vetted = t
	return true
}

func (s *Server) install(image []byte) error {
	n := len(image) - 8
	if n < 0 {
		return errImage
	}
	t, err := tree.Decode(image[:n])
	if err != nil {
		return err
	}
	s.tree, s.applied = t, binary.BigEndian.Uint64(image[n:])
	return nil
}

// Status of the server. Indexes are positions: of transactions, without the gaps that zxids have. Revision is the zxid of the last one applied.
func (s *Server) Status() machine.Status {
	st := s.peer.status()
	st.Applied, st.Revision, st.Hash, st.Position = s.applied, s.tree.Zxid(), s.tree.Hash(), uint64(s.tree.Zxid())
	return st
}

// Changed is machine.Inspector's.
func (s *Server) Changed() uint64 { return s.peer.logChanged() }

// Entry is machine.Inspector's. Terms are epochs.
func (s *Server) Entry(index uint64) (term uint64, body []byte, ok bool) {
	return s.peer.logEntry(index)
}

// Words are machine.Spoken's.
func (s *Server) Words() (term, entry, revision string) { return "epoch", "transaction", "zxid" }

// Name is machine.Spoken's: the zxid of a transaction.
func (s *Server) Name(index uint64) string { return s.peer.logName(index) }
