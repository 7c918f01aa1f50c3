package packets

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"assize/cluster"
)

const (
	maxRules = 2000        // of a Set
	maxLate  = time.Minute // Delay and Jitter together: nobody waits longer for a packet
	minRate  = 100         // bytes a second: a packet of full size takes 15 s
	maxRate  = 1e12
)

// clean is the Set with addresses in their plain form, or why it is none.
func (s Set) clean() (Set, error) {
	c := Set{From: slices.Clone(s.From), To: slices.Clone(s.To), Shaped: slices.Clone(s.Shaped)}
	rules := 0
	for _, side := range []struct {
		what  string
		peers []Peer
	}{{"from", c.From}, {"to", c.To}} {
		for i := range side.peers {
			if err := side.peers[i].clean(); err != nil {
				return Set{}, fmt.Errorf("cut %s %v: %w", side.what, side.peers[i].Address, err)
			}
			rules += max(1, len(side.peers[i].Ports))
		}
	}
	for i := range c.Shaped {
		err := c.Shaped[i].To.clean()
		if err == nil {
			err = check(c.Shaped[i].Shape)
		}
		if err != nil {
			return Set{}, fmt.Errorf("shape %v: %w", c.Shaped[i].To.Address, err)
		}
		rules += max(1, len(c.Shaped[i].To.Ports))
	}
	if rules > maxRules {
		return Set{}, fmt.Errorf("%d rules, want at most %d", rules, maxRules)
	}
	return c, c.disjoint()
}

func (p *Peer) clean() error {
	p.Address = p.Address.Unmap()
	switch {
	case !p.Address.IsValid():
		return errors.New("no address")
	case p.Address.Zone() != "":
		return errors.New("an address with a zone cannot be matched")
	case p.Address.IsUnspecified() || p.Address.IsMulticast():
		return errors.New("not the address of a peer")
	case slices.Contains(p.Ports, 0):
		return errors.New("port 0")
	}
	return nil
}

func check(s cluster.Shape) error {
	if s.Delay < 0 || s.Jitter < 0 || s.Delay > maxLate || s.Jitter > maxLate-s.Delay {
		return fmt.Errorf("delay %v and jitter %v must not be negative nor together more than %v", s.Delay, s.Jitter, maxLate)
	}
	for _, p := range []float64{s.Loss, s.Duplicated} {
		if !(p >= 0 && p <= 1) { // neither is NaN
			return fmt.Errorf("loss %v and duplication %v must be from 0 to 1", s.Loss, s.Duplicated)
		}
	}
	if s.Rate != 0 && !(s.Rate >= minRate && s.Rate <= maxRate) {
		return fmt.Errorf("rate %v must be 0 or from %d to %g bytes a second", s.Rate, minRate, maxRate)
	}
	return nil
}

// target is what a packet that is to be shaped is known by: where it goes, and the TCP port there; 0: any protocol and port.
type target struct {
	address netip.Addr
	port    uint16
}

func (p Peer) targets() []target {
	if len(p.Ports) == 0 {
		return []target{{p.Address, 0}}
	}
	all := make([]target, len(p.Ports))
	for i, port := range p.Ports {
		all[i] = target{p.Address, port}
	}
	return all
}

// disjoint sees that no packet has two shapes.
func (s Set) disjoint() error {
	whole, ports := make(map[netip.Addr]int), make(map[target]bool)
	for _, shaped := range s.Shaped {
		a := shaped.To.Address
		if whole[a] == 2 || whole[a] == 1 && len(shaped.To.Ports) == 0 {
			return fmt.Errorf("what goes to %v has two shapes", a)
		}
		whole[a] = 1
		if len(shaped.To.Ports) == 0 {
			whole[a] = 2
		}
		for _, t := range shaped.To.targets() {
			if ports[t] {
				return fmt.Errorf("what goes to %v, port %d, has two shapes", a, t.port)
			}
			ports[t] = true
		}
	}
	return nil
}
