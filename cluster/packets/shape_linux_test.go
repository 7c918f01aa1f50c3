package packets

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"assize/cluster"
)

func shapeOf(p Peer, s cluster.Shape) Set { return Set{Shaped: []Shaped{{p, s}}} }

// send sends numbered datagrams, slowly enough for every buffer on the way.
func send(t testing.TB, from, to *net.UDPConn, n int) {
	t.Helper()
	for i := range n {
		if _, err := from.WriteToUDPAddrPort(binary.BigEndian.AppendUint32(nil, uint32(i)), where(to)); err != nil {
			t.Fatal(err)
		}
		if i%64 == 63 {
			runtime.Gosched()
		}
	}
}

// collect reads numbered datagrams until there are n, or, where more may be lost, until nothing has come for a while.
func collect(t testing.TB, c *net.UDPConn, n int) (got []int) {
	t.Helper()
	b := make([]byte, 64)
	for len(got) < n {
		c.SetReadDeadline(time.Now().Add(10 * silence))
		k, err := c.Read(b)
		if err != nil {
			return got
		}
		if k != 4 {
			t.Fatalf("a datagram of %d bytes", k)
		}
		got = append(got, int(binary.BigEndian.Uint32(b)))
	}
	return got
}

func TestLoss(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	for _, loss := range []float64{0.3, 1} {
		const sent = 2000
		apply(t, f, shapeOf(Peer{Address: w.far}, cluster.Shape{Loss: loss}))
		send(t, near, far, sent)
		n := count(t, f)
		got := collect(t, far, sent-int(n.Lost))
		if len(got)+int(n.Lost) != sent {
			t.Errorf("%d of %d arrive, %d are counted as lost", len(got), sent, n.Lost)
		}
		if share := float64(n.Lost) / sent; share < loss-0.06 || share > loss+0.06 { // six standard deviations
			t.Errorf("%v lost, want %v", share, loss)
		}
		if !slices.IsSorted(got) {
			t.Error("loss alone reorders")
		}
	}
	// TCP makes up for it.
	apply(t, f, Set{})
	from, to := w.tcp(false)
	apply(t, f, shapeOf(Peer{w.far, []uint16{7000}}, cluster.Shape{Loss: 0.1}))
	stream(t, from, to, 200_000)
}

// stream sends so many bytes and returns how long it took them to arrive.
func stream(t testing.TB, from, to net.Conn, n int) time.Duration {
	t.Helper()
	start := time.Now()
	go from.Write(make([]byte, n))
	to.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(to, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// median of the times that a datagram takes there and back.
func median(t testing.TB, near, far *net.UDPConn) time.Duration {
	t.Helper()
	var all []time.Duration
	b := make([]byte, 64)
	for i := range 21 {
		start := time.Now()
		send(t, near, far, 1)
		far.SetReadDeadline(start.Add(time.Minute))
		if _, err := far.Read(b); err != nil {
			t.Fatal(i, err)
		}
		far.WriteToUDPAddrPort(b[:4], where(near))
		near.SetReadDeadline(start.Add(time.Minute))
		if _, err := near.Read(b); err != nil {
			t.Fatal(i, err)
		}
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func TestDelay(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	near6, far6 := w.udpOf(w.near6, w.far6)
	for _, c := range []struct {
		near, far *net.UDPConn
	}{{near, far}, {near6, far6}} {
		const late = 40 * time.Millisecond
		apply(t, f, Set{})
		before := median(t, c.near, c.far)
		apply(t, f, shapeOf(Peer{Address: where(c.far).Addr()}, cluster.Shape{Delay: late}))
		after := median(t, c.near, c.far)
		t.Logf("%v: there and back in %v, with a delay of %v in %v", where(c.far).Addr(), before, late, after)
		if after < before/2+late { // before: at a quieter time
			t.Errorf("there and back in %v, with a delay of %v in %v", before, late, after)
		}
		if n := count(t, f); n.Held != 21 || n.Lost+n.Spilled+n.Duplicated != 0 {
			t.Errorf("counted %+v, want 21 held", n)
		}
		apply(t, f, Set{})
		if again := median(t, c.near, c.far); again >= late {
			t.Errorf("healed, there and back still takes %v", again)
		}
	}
}

// What a full queue or a failed sending loses is no chance: it must not pass for a sign that random loss acts.
func TestSpilledIsNotLost(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	apply(t, f, shapeOf(Peer{Address: w.far}, cluster.Shape{Rate: 20e3}))
	for range 50 { // several times as much as may wait
		near.WriteToUDPAddrPort(make([]byte, 1000), where(far))
	}
	if n := count(t, f); n.Spilled == 0 || n.Lost != 0 || n.Held == 0 {
		t.Errorf("counted %+v where too many wait for a rate, want some spilled and none lost", n)
	}

	r, err := newRelay(0x200, 1)
	must(t, err)
	defer r.close()
	to := target{w.far, 0}
	long := &flow{key: to}
	r.learn(map[target]*flow{to: long})
	r.send([]latePacket{{flow: long, packet: join(patched(header4, 19, 2), make([]byte, 4000))}})
	counts := map[netip.Addr]*Count{w.far: {}}
	must(t, r.tally(counts))
	if got := *counts[w.far]; got != (Count{Spilled: 1}) {
		t.Errorf("counted %+v where one cannot be sent, want it spilled", got)
	}
}

// An interface is asked how much it takes only where something may not fit, so one that has been narrowed is known by what it refuses.
func TestNarrowedInterfaceIsAskedAnew(t *testing.T) {
	w := newWire(t)
	r, err := newRelay(0x200, 1)
	must(t, err)
	defer r.close()
	link := uint32(w.link.Attrs().Index)
	if !r.fits(1500, &link) || r.fits(1501, &link) || !r.fits(1501, nil) {
		t.Error("1500 bytes do not fit, or one more does")
	}
	must(t, netlink.LinkSetMTU(w.link, 1400))
	if !r.fits(1500, &link) {
		t.Error("the interface is asked about each packet")
	}
	r.send([]latePacket{{flow: &flow{key: target{w.far, 0}}, packet: join(patched(header4, 19, 2), make([]byte, 1480))}})
	if r.fits(1500, &link) || !r.fits(1400, &link) {
		t.Error("the interface is not asked after it has refused a packet")
	}
}

// What is longer than the interface takes cannot be sent by the relay: it passes, and is not lost.
func TestDatagramsThatAreCutIntoFragmentsPass(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	near6, far6 := w.udpOf(w.near6, w.far6)
	for _, ends := range [][2]*net.UDPConn{{near, far}, {near6, far6}} {
		to := where(ends[1])
		headers := 20 + 8
		if to.Addr().Is6() {
			headers = 40 + 8
		}
		arrives := func(size int, should bool) {
			t.Helper()
			if _, err := ends[0].WriteToUDPAddrPort(make([]byte, size-headers), to); err != nil {
				t.Fatal(err)
			}
			if hears(ends[1], should) != should {
				t.Errorf("%v: a packet of %d bytes arrives: %v, want %v", to.Addr(), size, !should, should)
			}
		}
		must(t, netlink.LinkSetMTU(w.link, 1400))
		apply(t, f, shapeOf(Peer{Address: to.Addr()}, cluster.Shape{Delay: time.Minute, Duplicated: 1}))
		arrives(1400, false)
		arrives(1401, true)
		arrives(9000, true)
		must(t, netlink.LinkSetMTU(w.link, 1500)) // a wider one
		arrives(1500, false)
		arrives(1501, true)
		if n := count(t, f); n.Held != 2 || n.Duplicated != 2 || n.Lost+n.Spilled != 0 {
			t.Errorf("%v: counted %+v, want two of five held and duplicated", to.Addr(), n)
		}
		apply(t, f, Set{})
	}
}

// A port's delay concerns what its connections' openers send, and nobody else.
func TestDelayOfPorts(t *testing.T) {
	w := newWire(t)
	f := w.open()
	from, to := w.tcp(false)
	near, far := w.udp()
	apply(t, f, shapeOf(Peer{w.far, []uint16{7000}}, cluster.Shape{Delay: 50 * time.Millisecond}))
	for range 5 {
		start := time.Now()
		passes(t, from, to, true)
		if got := time.Since(start); got < 50*time.Millisecond {
			t.Errorf("a word is there after %v", got)
		}
		passes(t, to, from, true)
	}
	n := count(t, f)
	if n.Held < 5 {
		t.Errorf("%d packets held, want at least 5", n.Held)
	}
	send(t, near, far, 100)
	collect(t, far, 100)
	stream(t, from, to, 2<<20) // trains of segments
	stream(t, to, from, 2<<20)
	if m := count(t, f); m.Held < 1000 || m.Lost+m.Spilled != 0 {
		t.Errorf("counted %+v after 2 MB, want all held", m)
	}
}

func TestJitterReorders(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	const sent = 500
	apply(t, f, shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: 5 * time.Millisecond, Jitter: 50 * time.Millisecond}))
	send(t, near, far, sent)
	got := collect(t, far, sent)
	if slices.IsSorted(got) {
		t.Error("nothing is reordered")
	}
	slices.Sort(got)
	if got := slices.Compact(got); len(got) != sent {
		t.Errorf("%d of %d arrive", len(got), sent)
	}
	if n := count(t, f); n.Held < sent*9/10 || n.Lost+n.Spilled+n.Duplicated != 0 {
		t.Errorf("counted %+v, want %d held", n, sent)
	}
	apply(t, f, shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: 5 * time.Millisecond}))
	send(t, near, far, sent)
	if got := collect(t, far, sent); !slices.IsSorted(got) || len(got) != sent {
		t.Errorf("%d of %d arrive; a delay without jitter reorders: %v", len(got), sent, !slices.IsSorted(got))
	}
}

func TestDuplicates(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	near6, far6 := w.udpOf(w.near6, w.far6)
	const sent = 400
	for _, s := range []cluster.Shape{{Duplicated: 1}, {Duplicated: 0.5}, {Duplicated: 0.5, Delay: 10 * time.Millisecond}} {
		for _, ends := range [][2]*net.UDPConn{{near, far}, {near6, far6}} {
			apply(t, f, shapeOf(Peer{Address: where(ends[1]).Addr()}, s))
			send(t, ends[0], ends[1], sent)
			var got []int
			for seen := make(map[int]bool); len(seen) < sent; seen[got[len(got)-1]] = true {
				one := collect(t, ends[1], 1)
				if len(one) == 0 {
					break
				}
				got = append(got, one[0])
			}
			n := count(t, f) // of all, since the originals have been through
			got = append(got, collect(t, ends[1], sent+int(n.Duplicated)-len(got))...)
			if len(got) != sent+int(n.Duplicated) || n.Lost+n.Spilled != 0 {
				t.Errorf("%+v: %d of %d arrive, counted %+v", s, len(got), sent, n)
			}
			if share := float64(n.Duplicated) / sent; share < s.Duplicated-0.2 || share > s.Duplicated+0.2 {
				t.Errorf("%+v: %v duplicated", s, share)
			}
			if hears(ends[1], false) {
				t.Errorf("%+v: a third", s)
			}
			slices.Sort(got)
			if got := slices.Compact(got); len(got) != sent {
				t.Errorf("%+v: %d different ones of %d arrive", s, len(got), sent)
			}
		}
	}
}

func TestRate(t *testing.T) {
	w := newWire(t)
	f := w.open()
	from, to := w.tcp(false)
	near, far := w.udp()
	const size = 300_000
	free := stream(t, from, to, size)
	for _, classes := range []bool{true, false} {
		t.Run(fmt.Sprintf("classes %v", classes), func(t *testing.T) {
			if !classes { // as on a kernel without htb
				f.kernel.htb = errUnthere
				defer func() { f.kernel.htb = nil }()
			}
			const rate = 300e3
			apply(t, f, shapeOf(Peer{w.far, []uint16{7000}}, cluster.Shape{Rate: rate}))
			slow := stream(t, from, to, size)
			t.Logf("%d bytes in %v, at %v bytes a second in %v", size, free, rate, slow)
			if c := count(t, f); c.Held == 0 {
				t.Errorf("counts %+v, want packets held", c)
			}
			if want := time.Second * (size - 2*frame) / rate; slow < want*9/10 {
				t.Errorf("%d bytes in %v, want at least %v", size, slow, want)
			}

			apply(t, f, shapeOf(Peer{Address: w.far}, cluster.Shape{Rate: 20e3}))
			if c := count(t, f); c.Held != 0 {
				t.Errorf("counts %+v, want none since it was applied", c)
			}
			const some = 6
			for range some {
				near.WriteToUDPAddrPort(make([]byte, 1000), where(far))
			}
			apply(t, f, Set{})
			for i := range some {
				if !hears(far, true) {
					t.Fatalf("of what waits when the rate goes, only %d of %d arrive", i, some)
				}
			}
			for _, q := range queuesOf(t, w.link) {
				if q.Attrs().Handle != 0 {
					t.Errorf("left behind: %v %v", q.Type(), q.Attrs())
				}
			}
			stream(t, from, to, size)
		})
	}
}
