package packets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	nl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lossy is one in how many: the resolution of a probability.
const lossy = 1_000_000_000

// ruleset is the content of a table: two chains, and counters that its rules refer to by name.
type ruleset struct {
	table      *nftables.Table
	generation int // makes the counters' names new ones
	from, to   [][]expr.Any
	counters   []counter
}

type counter struct {
	name string
	peer netip.Addr
	what func(*Count) *uint64
}

func inet(table string) *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: table}
}

// rules of a clean Set for what this kernel can do. Packets of the relay's own bear the mark.
func (f *Filter) rules(s Set) *ruleset {
	f.generation++
	r := &ruleset{table: inet(f.table), generation: f.generation}
	for i, p := range s.From {
		count := r.count(fmt.Sprintf("from%d", i), p.Address, func(c *Count) *uint64 { return &c.Cut })
		for _, match := range matches(p, source) {
			r.from = append(r.from, append(match, count, &expr.Verdict{Kind: expr.VerdictDrop}))
		}
	}
	for i, p := range s.To {
		count := r.count(fmt.Sprintf("to%d", i), p.Address, func(c *Count) *uint64 { return &c.Cut })
		for _, match := range matches(p, sink) {
			r.to = append(r.to, append(match, count, f.discard()))
		}
	}
	var lose, wait [][]expr.Any
	for i, shaped := range s.Shaped {
		way := f.kernel.way(shaped.Shape)
		lost := r.count(fmt.Sprintf("lost%d", i), shaped.To.Address, func(c *Count) *uint64 { return &c.Lost })
		held := r.count(fmt.Sprintf("held%d", i), shaped.To.Address, func(c *Count) *uint64 { return &c.Held })
		for _, match := range matches(shaped.To, sink) {
			if way.class {
				r.to = append(r.to, with(match, prioritize(netlink.MakeHandle(f.major, class(i)))...))
			}
			if shaped.Shape.Loss > 0 {
				lose = append(lose, with(match, append(chance(shaped.Shape.Loss), lost, f.discard())...))
			}
			switch {
			case way.netem:
				wait = append(wait, with(match, held))
			case way.relay:
				wait = append(wait, with(match, f.kernel.queue(f.number, true)))
			}
		}
	}
	// What the relay sends has met the rules below as the packet that it stands for.
	r.to = append(r.to, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(f.mark)},
		&expr.Verdict{Kind: expr.VerdictAccept},
	})
	r.to = append(r.to, append(lose, wait...)...)
	return r
}

func with(match []expr.Any, more ...expr.Any) []expr.Any {
	return append(append([]expr.Any(nil), match...), more...)
}

func (r *ruleset) count(name string, peer netip.Addr, what func(*Count) *uint64) expr.Any {
	name = fmt.Sprintf("%s_%d", name, r.generation)
	r.counters = append(r.counters, counter{name, peer, what})
	return &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: name}
}

// commit puts the ruleset in the place of the one before, which is nil if all that may be in the table shall go, in one transaction.
//
// The chains stay, with their hooks: when a hook goes, the kernel drops all that waits in queues, whoever put it there.
func (r *ruleset) commit(before *ruleset) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	conn.AddTable(r.table)
	if before == nil {
		conn.DelTable(r.table)
		conn.AddTable(r.table)
	} else {
		conn.FlushTable(r.table)
		for _, c := range before.counters {
			conn.DeleteObject(&nftables.CounterObj{Table: r.table, Name: c.name})
		}
	}
	for _, c := range r.counters {
		conn.AddObj(&nftables.CounterObj{Table: r.table, Name: c.name})
	}
	first := *nftables.ChainPriorityRaw
	for _, side := range []struct {
		name  string
		hook  *nftables.ChainHook
		rules [][]expr.Any
	}{{"from", nftables.ChainHookInput, r.from}, {"to", nftables.ChainHookOutput, r.to}} {
		c := conn.AddChain(&nftables.Chain{Name: side.name, Table: r.table, Type: nftables.ChainTypeFilter, Hooknum: side.hook, Priority: &first})
		for _, e := range side.rules {
			conn.AddRule(&nftables.Rule{Table: r.table, Chain: c, Exprs: e})
		}
	}
	return conn.Flush()
}

// remove removes a table, also where there is none.
func remove(table string) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	t := inet(table)
	conn.AddTable(t) // or its removal would fail
	conn.DelTable(t)
	return conn.Flush()
}

// dial connects to nftables, with room for the acknowledgements of a large transaction: those that are lost look like its failure.
func dial() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *nl.Conn) error {
		if err := c.SetReadBuffer(8 << 20); err != nil {
			return err
		}
		return c.SetWriteBuffer(8 << 20)
	}))
}

type end int

const (
	source end = iota // of a packet
	sink
)

// matches of a peer: each packet that is meant meets exactly one.
func matches(p Peer, e end) [][]expr.Any {
	proto, offset, address := byte(unix.NFPROTO_IPV4), [...]uint32{12, 16}[e], p.Address.AsSlice()
	if p.Address.Is6() {
		proto, offset = unix.NFPROTO_IPV6, [...]uint32{8, 24}[e]
	}
	match := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(address))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address},
	}
	if len(p.Ports) == 0 {
		return [][]expr.Any{match}
	}
	var all [][]expr.Any
	for _, port := range p.Ports {
		all = append(all, with(match,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocolTCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
		))
	}
	return all
}

// chance goes on with this probability.
func chance(p float64) []expr.Any {
	if p >= 1 {
		return nil
	}
	below := uint32(max(1, math.Round(p*lossy)))
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: lossy, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4}, // comparisons are of bytes
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, below)},
	}
}

// prioritize sends packets to a class: htb takes a priority that is the handle of a class for that.
func prioritize(class uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(class)},
		&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: 1},
	}
}

// discard drops a packet that leaves this host without telling its sender. A drop would be reported to it: UDP's sender gets EPERM, and TCP takes
// the segment for one not sent yet, which no lost acknowledgement and no congestion control will ever hear of. A queue where nobody waits is
// as silent as a network.
func (f *Filter) discard() expr.Any {
	if f.kernel.queue == nil {
		return &expr.Verdict{Kind: expr.VerdictDrop}
	}
	return f.kernel.queue(f.number+1, false)
}

// queuer makes the statement that hands a packet to a queue; where nobody listens to it, bypass lets it pass.
type queuer func(number uint16, bypass bool) expr.Any

func queueNative(number uint16, bypass bool) expr.Any {
	q := &expr.Queue{Num: number, Total: 1}
	if bypass {
		q.Flag = expr.QueueFlagBypass
	}
	return q
}

// queueCompat is iptables' target, for kernels that lack the statement. Its struct xt_NFQ_info_v3 is number, count, flags, padded to 8 bytes.
func queueCompat(number uint16, bypass bool) expr.Any {
	info := make(xt.Unknown, 8)
	binary.NativeEndian.PutUint16(info, number)
	binary.NativeEndian.PutUint16(info[2:], 1)
	if bypass {
		binary.NativeEndian.PutUint16(info[4:], 1)
	}
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
}

// tally adds up the table's counters.
func (r *ruleset) tally(counts map[netip.Addr]*Count) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	found, err := conn.GetObjects(r.table)
	if err != nil {
		return err
	}
	values := make(map[string]uint64)
	for _, o := range found {
		if c, ok := o.(*nftables.CounterObj); ok {
			values[c.Name] = c.Packets
		}
	}
	for _, c := range r.counters {
		n, ok := values[c.name]
		if !ok {
			return errors.New("the table is not as it was left: somebody else has changed it")
		}
		*c.what(counts[c.peer]) += n
	}
	return nil
}
