package packets

import (
	"net"
	"testing"
)

// passes tells whether a word gets from one end to the other.
func passes(t *testing.T, from, to net.Conn, want bool) {
	t.Helper()
	if _, err := from.Write([]byte("word")); err != nil {
		t.Fatal(err)
	}
	if got := hears(to, want); got != want {
		t.Errorf("from %v to %v: a word passes: %v, want %v", from.LocalAddr(), to.LocalAddr(), got, want)
	}
}

func TestCutOfPortsIsOneWay(t *testing.T) {
	w := newWire(t)
	f := w.open()
	out, outFar := w.tcp(false)
	inFar, in := w.tcp(true)
	for _, c := range []struct {
		name    string
		set     Set
		in, out bool
	}{
		{"from", Set{From: []Peer{{w.far, []uint16{7000}}}}, false, true},
		{"to", Set{To: []Peer{{w.far, []uint16{7000}}}}, true, false},
		{"both", Set{From: []Peer{{w.far, []uint16{1, 7000}}}, To: []Peer{{w.far, []uint16{7000, 2}}}}, false, false},
		{"another port", Set{From: []Peer{{w.far, []uint16{7001}}}, To: []Peer{{w.far, []uint16{7001}}}}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			apply(t, f, c.set)
			passes(t, inFar, in, c.in)
			passes(t, out, outFar, c.out)
			if c.out { // acknowledgements and answers have no cut port as their destination
				passes(t, outFar, out, true)
			}
			if c.in {
				passes(t, in, inFar, true)
			}
			n := count(t, f)
			if got, want := n.Cut > 0, !c.in || !c.out; got != want {
				t.Errorf("%d packets cut, want some: %v", n.Cut, want)
			}
			apply(t, f, Set{})
			if !c.in && !hears(in, true) || !c.out && !hears(outFar, true) {
				t.Error("what was sent during the cut does not arrive after it")
			}
			passes(t, inFar, in, true)
			passes(t, out, outFar, true)
		})
	}
}

func TestCutOfAddress(t *testing.T) {
	w := newWire(t)
	f := w.open()
	for _, family := range []string{"IPv4", "IPv6"} {
		near, far := w.udp()
		peer := w.far
		if family == "IPv6" {
			near, far = w.udpOf(w.near6, w.far6)
			peer = w.far6
		}
		for _, c := range []struct {
			name    string
			set     Set
			in, out bool
		}{
			{"nothing", Set{}, true, true},
			{"from", Set{From: []Peer{{Address: peer}}}, false, true},
			{"to", Set{To: []Peer{{Address: peer}}}, true, false},
			{"both", Set{From: []Peer{{Address: peer}}, To: []Peer{{Address: peer}}}, false, false},
			{"TCP only", Set{From: []Peer{{peer, []uint16{where(near).Port()}}}, To: []Peer{{peer, []uint16{where(far).Port()}}}}, true, true},
			{"healed", Set{}, true, true},
		} {
			t.Run(family+" "+c.name, func(t *testing.T) {
				apply(t, f, c.set)
				for _, way := range []struct {
					from, to *net.UDPConn
					want     bool
				}{{far, near, c.in}, {near, far, c.out}} {
					if _, err := way.from.WriteToUDPAddrPort([]byte("word"), where(way.to)); err != nil {
						t.Errorf("the sender notices: %v", err)
					}
					if got := hears(way.to, way.want); got != way.want {
						t.Errorf("a word passes to %v: %v, want %v", where(way.to), got, way.want)
					}
				}
			})
		}
	}
}
