// Package packets breaks the network of this host, or of the network namespace that this process is in, packet by packet: it drops what comes
// from a peer or goes to one, loses some of it at random, delays, reorders, duplicates and slows it.
//
// All rules live in one nftables table of their own, whose rules are replaced in one transaction and whose removal heals; what others have put into
// the namespace is never touched. A queueing discipline for a rate is made only where nobody has put another, and goes with the rate. Senders
// notice nothing but that packets are late or do not arrive. What is held when its delay ends is sent at once; if this process dies, it is lost,
// with the delay, but packets go on.
package packets

import (
	"errors"
	"net/netip"

	"assize/cluster"
)

// Peer is the other end of connections. With Ports, only TCP connections that were opened to one of these ports (of the end that listens) are meant, and
// of these only what travels from the end that opened them; without, everything that travels in the direction in question.
type Peer struct {
	Address netip.Addr `json:"address"`
	Ports   []uint16   `json:"ports,omitempty"`
}

// Shaped is what is done to that which goes to a peer.
type Shaped struct {
	To    Peer          `json:"to"`
	Shape cluster.Shape `json:"shape"`
}

// Set is all that is to be done. The zero Set leaves all packets alone.
type Set struct {
	From   []Peer   `json:"from,omitempty"`   // what comes from these is dropped as it arrives
	To     []Peer   `json:"to,omitempty"`     // what goes to these is dropped as it leaves
	Shaped []Shaped `json:"shaped,omitempty"` // what goes to these is shaped as it leaves
}

// ErrUncleared tells that all was done that was to be done, but that something from before could not be cleared up. The next try includes that.
var ErrUncleared = errors.New("not all from before could be cleared up")

// Count is what has been done to the packets to one peer since the Set was applied.
type Count struct {
	To         netip.Addr `json:"to"`
	Held       uint64     `json:"held,omitempty"`       // delayed
	Lost       uint64     `json:"lost,omitempty"`       // by chance, as the shape says, and not otherwise
	Spilled    uint64     `json:"spilled,omitempty"`    // lost where too many waited, or since it could not be sent: no sign that Loss acts
	Duplicated uint64     `json:"duplicated,omitempty"` // sent twice
	Cut        uint64     `json:"cut,omitempty"`        // dropped since the peer is cut off, whichever way they travelled
}

// Abilities of this kernel and process: why something cannot be done (empty: it can), and by what means delays come about.
type Abilities struct {
	Drop      string `json:"drop,omitempty"`
	Loss      string `json:"loss,omitempty"`
	Rate      string `json:"rate,omitempty"`
	Delay     string `json:"delay,omitempty"`     // and jitter, and reordering
	Duplicate string `json:"duplicate,omitempty"` // packets
	Means     string `json:"means"`               // such as "drop by nftables; delay by a relay over NFQUEUE, since there is no netem; rate by tbf, under htb for each peer"
}
