package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"assize/cluster"
	"assize/machine"
)

// doubt is a membership change of which nobody knows yet what became of it: it was asked for, and may be committed late.
type doubt struct {
	node    *node
	present bool // what it wants
	seen    sighting
}

// sighting is a leader in whose log, up to last, a change has been seen. Once it has committed that, the change is there to stay.
type sighting struct {
	leader     *node
	life       uint32
	term, last uint64
}

func (g sighting) holds() bool {
	l := g.leader
	return l != nil && l.life == g.life && l.status.Role == machine.Leader && l.status.Term == g.term
}

func (g sighting) committed() bool { return g.holds() && g.leader.status.Commit >= g.last }

// Lack: the simulator itself can do everything.
func (s *Sim) Lack(power cluster.Power) error {
	if s.config.Lack == nil {
		return nil
	}
	return s.config.Lack(power)
}

// Choices: there is one way to do everything.
func (s *Sim) Choices() []string { return nil }

// Join starts a new node and has it made a voter. Where that could not be seen to happen the node stays, running and reachable, for a change
// that commits late must find it; the next Join takes it up again.
func (s *Sim) Join(context.Context) (string, error) {
	defer s.exclusively()()
	n := s.joining
	if n == nil {
		n = s.add()
		n.member = false
		s.joining = n
	}
	if !n.up {
		s.start(n)
	}
	if err := s.change(machine.CommandJoin, n, true); err != nil {
		return "", fmt.Errorf("join of %s: %w", n.name, err)
	}
	return n.name, nil
}

// Leave has a node removed from the voters and stops it for good. A node whose removal could not be seen to be committed stays a member: were
// it stopped, and the removal undone by a new leader that never heard of it, a vote would be lost for good.
func (s *Sim) Leave(_ context.Context, name string) error {
	defer s.exclusively()()
	n, err := s.member(name)
	if err != nil {
		return err
	}
	if err := s.change(machine.CommandLeave, n, false); err != nil {
		return fmt.Errorf("leave of %s: %w", name, err)
	}
	return nil
}

const between = 50 * time.Millisecond // two attempts

// exclusively lets one membership change happen at a time; it returns the end of it.
func (s *Sim) exclusively() func() {
	for s.changing {
		s.Sleep(between)
	}
	s.changing = true
	return func() { s.changing = false }
}

// change repeats a membership change until a leader has committed a configuration in which n is present, or not, as wanted. What the
// configuration is decides, not what a request returned: an answer may get lost.
func (s *Sim) change(kind machine.CommandKind, n *node, present bool) error {
	d := &doubt{node: n, present: present}
	s.doubts = append(slices.DeleteFunc(s.doubts, func(old *doubt) bool { return old.node == n }), d)
	var last error
	for end := s.Now() + s.bound(); s.Now() < end; s.Sleep(between / 5) {
		if s.resolve(true); !slices.Contains(s.doubts, d) {
			return nil
		}
		l := s.leader()
		switch {
		case l == nil:
			last = errNoLeader
		case slices.Contains(l.status.Voters, n.id) == present:
			last = fmt.Errorf("%s has not committed it", l.name)
		default:
			last = s.demand(machine.Command{Kind: kind, Node: n.id}, s.bound()/3)
			s.Sleep(between)
		}
	}
	return fmt.Errorf("not within %v: %w", s.bound(), last)
}

// resolve carries out the changes that have been committed meanwhile: whoever has left is stopped, and, where it is asked for, whoever has joined
// is a member. A node that has joined when nobody waited for it any more becomes one by the next Join: else a member could turn up
// between the last words of a run and the comparison of all nodes.
func (s *Sim) resolve(joins bool) {
	if len(s.doubts) == 0 {
		return
	}
	l := s.leader()
	open := s.doubts[:0]
	for _, d := range s.doubts {
		if d.seen.committed() && (joins || !d.present) {
			s.settle(d)
			continue
		}
		if !d.seen.holds() && l != nil && slices.Contains(l.status.Voters, d.node.id) == d.present {
			d.seen = sighting{leader: l, life: l.life, term: l.status.Term, last: l.status.Last}
		}
		open = append(open, d)
	}
	s.doubts = open
}

func (s *Sim) settle(d *doubt) {
	d.node.member = d.present
	if !d.present {
		s.crash(d.node)
	} else if s.joining == d.node {
		s.joining = nil
	}
}
