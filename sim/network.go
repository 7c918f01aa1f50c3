package sim

import (
	"context"
	"fmt"
	"time"

	"assize/cluster"
	"assize/machine"
)

// link is one direction between two nodes, kept by the sender.
type link struct {
	key    uint64
	count  uint64 // messages ever sent
	cut    bool
	shaped bool
	shape  cluster.Shape
	lose   uint32 // of 1<<16, weather and shape together
	double uint32
	free   int64  // when a link of limited rate has sent all that it was given
	probes uint64 // ever sent
	done   doings // of the shape
}

// doings of a shape since it was set: messages and probes.
type doings struct{ held, lost, doubled uint64 }

// mail is a message under way.
type mail struct {
	machine.Message
	doomed bool // lost should the link be cut before it arrives
	slowed bool // by a shape
}

// mostMail is far beyond what any sound protocol has under way. One whose messages breed more messages
// would never end, so the process that sends one too many dies of it.
const mostMail = 1 << 14

const (
	// mostSlowed is what all shaped links together keep under way; they lose what is more. The time that it is under way is theirs, so that
	// it is so much is no protocol's fault.
	mostSlowed = mostMail / 2
	// backlog is how long a message waits at most for a link of limited rate; the link loses those that would wait longer.
	backlog    = int64(time.Second)
	header     = 52 // bytes of a packet besides its message
	probeBytes = 64 // of a probe's message
)

// send puts a message on its link. One draw decides all: upper half the delay, lower half loss and duplication. It is drawn for messages on
// a cut link too, so that a cut changes no other message's fate.
func (s *Sim) send(n *node, m machine.Message) {
	if m.To < 1 || m.To > len(s.nodes) || m.To == n.id {
		return
	}
	l := &n.links[m.To-1]
	l.count++
	h := draw(l.key, l.count)
	if len(s.mail)-len(s.freeMail) >= mostMail {
		s.court.violate(s, n, "flood", fmt.Sprintf("%d messages are under way", mostMail))
		if n.burst != n.life {
			n.burst = n.life
			s.plan(s.now, burst, n.index, n.life)
		}
		return
	}
	if l.cut || s.loses(l, h) {
		return
	}
	s.post(l, m, h)
	if s.doubles(l, h) {
		s.post(l, m, mix(h))
	}
}

// loses tells whether weather or shape lose what was drawn h. What both would lose is the weather's: so the shape's count is its own.
func (s *Sim) loses(l *link, h uint64) bool {
	v := uint32(h & 0xffff)
	if v >= s.lose && v < l.lose {
		l.done.lost++
	}
	return v < l.lose
}

func (s *Sim) doubles(l *link, h uint64) bool {
	v := uint32(h >> 16 & 0xffff)
	if v >= s.double && v < l.double {
		l.done.doubled++
	}
	return v < l.double
}

// slow is by how much a shaped link makes a message later that is put on it at a time. A link of limited rate sends one after the other, and
// loses (false) what would have to wait too long. free is when it has sent all.
func (l *link) slow(at int64, size int, h uint64, free *int64) (late int64, ok bool) {
	late = int64(l.shape.Delay) + int64(float64(l.shape.Jitter)*fraction(mix(h)))
	if l.shape.Rate > 0 {
		begin := max(at, *free)
		if begin-at > backlog {
			l.done.lost++
			return 0, false
		}
		*free = begin + int64(float64(size+header)/l.shape.Rate*1e9)
		late += *free - at
	}
	if late > 0 {
		l.done.held++
	}
	return late, true
}

func (s *Sim) post(l *link, m machine.Message, h uint64) {
	delay := max(s.delays.at(h), leastDelay)
	if l.shaped {
		if s.slowed >= mostSlowed {
			l.done.lost++
			return
		}
		late, ok := l.slow(s.now, len(m.Body), h, &l.free)
		if !ok {
			return
		}
		delay += late
		s.slowed++
	}
	var at uint32
	if free := len(s.freeMail) - 1; free >= 0 {
		at = s.freeMail[free]
		s.freeMail = s.freeMail[:free]
	} else {
		at = uint32(len(s.mail))
		s.mail = append(s.mail, mail{})
	}
	s.mail[at] = mail{m, h>>33&1 == 0, l.shaped}
	s.plan(s.now+delay, message, at, 0)
}

// arrive hands a message over. What is under way when its link is cut gets lost or arrives nevertheless, as was drawn.
func (s *Sim) arrive(at uint32) {
	m := s.mail[at]
	s.mail[at].Body = nil
	s.freeMail = append(s.freeMail, at)
	if m.slowed {
		s.slowed--
	}
	if m.doomed && s.nodes[m.From-1].links[m.To-1].cut {
		return
	}
	s.deliver(s.nodes[m.To-1], input{kind: message, message: m.Message})
}

// connect gives each node the links that it lacks.
func (s *Sim) connect() {
	for _, other := range s.nodes {
		for len(other.links) < len(s.nodes) {
			to := len(other.links)
			other.links = append(other.links, link{
				key: stream(s.config.Seed, streamLink, uint64(other.id), uint64(to+1)), lose: s.lose, double: s.double,
			})
		}
	}
}

// Cut silences exactly these links from now on. Links of nodes that are no members (any more) are ignored.
func (s *Sim) Cut(_ context.Context, links []cluster.Link) error {
	for _, n := range s.nodes {
		for i := range n.links {
			n.links[i].cut = false
		}
	}
	for _, l := range links {
		if at := s.link(l); at != nil {
			at.cut = true
		}
	}
	return nil
}

func (s *Sim) link(l cluster.Link) *link {
	from, err := s.member(l.From)
	if err != nil {
		return nil
	}
	to, err := s.member(l.To)
	if err != nil || from == to {
		return nil
	}
	return &from.links[to.index]
}

// Shape slows exactly these links from now on, beyond what the weather does to all; all others run free.
func (s *Sim) Shape(_ context.Context, links []cluster.Link, shape cluster.Shape) error {
	if shape.Delay < 0 || shape.Jitter < 0 || !(shape.Loss >= 0 && shape.Loss <= 1) || !(shape.Duplicated >= 0 && shape.Duplicated <= 1) ||
		!(shape.Rate == 0 || shape.Rate >= 1) {
		return fmt.Errorf("shape %+v: delay and jitter must not be negative, probabilities must be from 0 to 1, a rate at least 1", shape)
	}
	for _, n := range s.nodes {
		for i := range n.links {
			l := &n.links[i]
			l.shaped, l.shape, l.lose, l.double, l.free, l.done = false, cluster.Shape{}, s.lose, s.double, 0, doings{}
		}
	}
	for _, name := range links {
		if l := s.link(name); l != nil {
			l.shaped, l.shape = shape != cluster.Shape{}, shape
			l.lose, l.double = s.lose+share(shape.Loss), s.double+share(shape.Duplicated)
		}
	}
	return nil
}
