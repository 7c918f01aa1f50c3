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
}

// mail is a message under way.
type mail struct {
	machine.Message
	doomed bool // lost should the link be cut before it arrives
}

// mostMail is far beyond what any sound protocol has under way. One whose messages breed more messages
// would never end, so the process that sends one too many dies of it.
const mostMail = 1 << 14

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
	if l.cut || uint32(h&0xffff) < l.lose {
		return
	}
	s.post(l, m, h)
	if uint32(h>>16&0xffff) < l.double {
		s.post(l, m, mix(h))
	}
}

func (s *Sim) post(l *link, m machine.Message, h uint64) {
	delay := max(s.delays.at(h), leastDelay)
	if l.shaped {
		delay += int64(l.shape.Delay) + int64(float64(l.shape.Jitter)*fraction(mix(h)))
	}
	var at uint32
	if free := len(s.freeMail) - 1; free >= 0 {
		at = s.freeMail[free]
		s.freeMail = s.freeMail[:free]
	} else {
		at = uint32(len(s.mail))
		s.mail = append(s.mail, mail{})
	}
	s.mail[at] = mail{m, h>>33&1 == 0}
	s.plan(s.now+delay, message, at, 0)
}

// arrive hands a message over. What is under way when its link is cut gets lost or arrives nevertheless, as was drawn.
func (s *Sim) arrive(at uint32) {
	m := s.mail[at]
	s.mail[at].Body = nil
	s.freeMail = append(s.freeMail, at)
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
	if shape.Delay < 0 || shape.Jitter < 0 || !(shape.Loss >= 0 && shape.Loss <= 1) || !(shape.Duplicated >= 0 && shape.Duplicated <= 1) {
		return fmt.Errorf("shape %+v: delay and jitter must not be negative, probabilities must be from 0 to 1", shape)
	}
	for _, n := range s.nodes {
		for i := range n.links {
			l := &n.links[i]
			l.shaped, l.shape, l.lose, l.double = false, cluster.Shape{}, s.lose, s.double
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

const (
	silence  = 50 * time.Millisecond // how long a probe of a link listens to silence
	attempts = 3                     // of a probe on a link that loses messages
)

// Reach sends a probe over each link between members at once. A probe gets through where the link carries it, in one of a few attempts, and
// the target is up and not paused. It takes a round trip, or as long as it listens to silence.
func (s *Sim) Reach(context.Context) ([]cluster.Link, error) {
	wait := s.anyDelay() + s.anyDelay()
	var dead []cluster.Link
	for _, from := range s.nodes {
		for _, to := range s.nodes {
			if from == to || !from.member || !to.member {
				continue
			}
			l := &from.links[to.index]
			carries := !l.cut && to.up && !to.paused
			for attempt := 0; carries; attempt++ {
				l.count++
				if uint32(draw(l.key, l.count)&0xffff) >= l.lose {
					break
				}
				carries = attempt+1 < attempts
			}
			wait = max(wait, int64(l.shape.Delay+l.shape.Jitter))
			if !carries {
				dead = append(dead, cluster.Link{From: from.name, To: to.name})
			}
		}
	}
	if len(dead) > 0 {
		wait = max(wait, int64(silence))
	}
	s.Sleep(time.Duration(wait))
	return dead, nil
}
