package packets

import (
	"container/heap"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"assize/cluster"
)

// Kernels that this machine has not.
func TestWaysOfOtherKernels(t *testing.T) {
	late, slow, both := cluster.Shape{Delay: 1}, cluster.Shape{Rate: 1e6}, cluster.Shape{Jitter: 1, Rate: 1e6}
	twice, all := cluster.Shape{Duplicated: 0.1}, cluster.Shape{Delay: 1, Duplicated: 0.1, Rate: 1e6}
	for _, c := range []struct {
		name                         string
		kernel                       kernel
		late, slow, both, twice, all way
		means                        string
	}{
		{"all", kernel{compat: true, queue: queueCompat}, way{class: true, netem: true}, way{class: true}, way{class: true, netem: true},
			way{relay: true}, way{class: true, relay: true},
			"delay by netem; duplicates by a relay over NFQUEUE (iptables' target), since netem does not count them; rate by tbf, under htb"},
		{"no netem", kernel{netem: errUnthere, compat: true, queue: queueCompat}, way{relay: true}, way{class: true}, way{class: true, relay: true},
			way{relay: true}, way{class: true, relay: true},
			"delay by a relay over NFQUEUE (iptables' target), since there is no netem: not there; rate by tbf, under htb"},
		{"no htb", kernel{htb: errUnthere, queue: queueNative}, way{relay: true}, way{}, way{relay: true}, way{relay: true}, way{relay: true},
			"rate by tbf for all that is sent, at the lowest rate of all peers, since there are no classes: not there"},
		{"no priority", kernel{priority: errUnthere, queue: queueNative}, way{relay: true}, way{}, way{relay: true}, way{relay: true}, way{relay: true},
			"delay by a relay over NFQUEUE, since"},
	} {
		for _, s := range []struct {
			shape cluster.Shape
			want  way
		}{{late, c.late}, {slow, c.slow}, {both, c.both}, {twice, c.twice}, {all, c.all}} {
			if got := c.kernel.way(s.shape); got != s.want {
				t.Errorf("%s: %+v comes about by %+v, want %+v", c.name, s.shape, got, s.want)
			}
		}
		if got := c.kernel.abilities(); !strings.Contains(got.Means, c.means) || got.Drop+got.Loss+got.Rate+got.Delay+got.Duplicate != "" {
			t.Errorf("%s: %+v, want %q in its means", c.name, got, c.means)
		}
	}
	to := Peer{Address: netip.MustParseAddr("10.0.0.1")}
	netem := kernel{relay: errUnthere}
	if got := netem.abilities(); got.Delay != "" || got.Duplicate != "not there" || !strings.Contains(got.Means, "senders notice") ||
		!strings.Contains(got.Means, "delay by netem; rate by tbf") {
		t.Errorf("without a queue: %+v, want delays, by netem, and no duplicates", got)
	}
	for s, able := range map[cluster.Shape]bool{late: true, slow: true, both: true, twice: false, all: false} {
		if err := netem.can(shapeOf(to, s)); (err == nil) != able || !able && !errors.Is(err, errUnthere) {
			t.Errorf("without a queue: %+v: got %v, want that it can be: %v", s, err, able)
		}
	}
	none := kernel{drop: errUnthere, loss: errUnthere, priority: errUnthere, relay: errUnthere, tbf: errUnthere, htb: errUnthere, netem: errUnthere}
	if got, want := none.abilities(), (Abilities{"not there", "not there", "not there", "not there", "not there", "none"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, s := range []cluster.Shape{late, slow, both, twice, all, {Loss: 0.1}} {
		if err := none.can(shapeOf(to, s)); !errors.Is(err, errUnthere) {
			t.Errorf("%+v: got %v, want that it cannot be", s, err)
		}
	}
}

// With netem the rules count what is held: what is only duplicated, or goes through the relay, is not.
func TestRulesCountWhatNetemHolds(t *testing.T) {
	f := &Filter{table: "packets_test", kernel: &kernel{queue: queueNative}}
	for s, want := range map[cluster.Shape]int{{Delay: 1}: 1, {Jitter: 1}: 1, {Duplicated: 0.5}: 0, {Rate: 1e6}: 0, {Delay: 1, Duplicated: 0.5}: 0} {
		got := 0
		for _, rule := range f.rules(shapeOf(Peer{Address: netip.MustParseAddr("10.0.0.1")}, s)).to {
			for _, e := range rule {
				if o, ok := e.(*expr.Objref); ok && strings.HasPrefix(o.Name, "held") {
					got++
				}
			}
		}
		if got != want {
			t.Errorf("%+v: %d rules count what is held, want %d", s, got, want)
		}
	}
}

func TestProbeLeavesNothing(t *testing.T) {
	newWire(t)
	a := Probe()
	t.Logf("%+v", a)
	if a.Drop != "" {
		t.Errorf("cannot drop: %s", a.Drop)
	}
	if got := dump(t, probeTable()); got != "" {
		t.Errorf("left behind: %q", got)
	}
	conn, err := dial()
	must(t, err)
	conn.AddTable(inet(probeTable()))
	must(t, conn.Flush())
	if dump(t, probeTable()) == "" {
		t.Error("what is left behind would not be seen")
	}
	must(t, remove(probeTable()))
	all, err := queues(0)
	must(t, err)
	for _, q := range all {
		if q.Attrs().Handle != 0 {
			t.Errorf("left behind: %v %v", q.Type(), q.Attrs())
		}
	}
	if b, err := os.ReadFile("/proc/net/netfilter/nfnetlink_queue"); err != nil || len(b) > 0 {
		t.Errorf("queues left behind: %q, %v", b, err)
	}
	if got := discipline("assize"); got == nil {
		t.Error("there is a discipline that is none")
	}
}

// netem is not in every kernel: this much of it can be seen anywhere.
func TestNetemLeaf(t *testing.T) {
	l := lane{link: 3, class: 7, netem: true, shape: cluster.Shape{Delay: 30 * time.Millisecond, Jitter: 10 * time.Millisecond, Rate: 1e6}}
	q, ok := leaf(l, netlink.MakeHandle(0x1234, 7)).(*netlink.Netem)
	if !ok {
		t.Fatal("not netem")
	}
	tick := netlink.TickInUsec()
	if got, want := q.Latency, uint32(35000*tick); got != want {
		t.Errorf("latency %d, want %d", got, want)
	}
	if got, want := q.Jitter, uint32(5000*tick); got != want {
		t.Errorf("jitter %d, want %d", got, want)
	}
	if q.Duplicate != 0 || q.Loss != 0 || q.Limit != maxHeld || q.Rate64 != 0 {
		t.Errorf("got %v", q)
	}
	if q.LinkIndex != 3 || q.Parent != 0x12340007 || q.Handle != (netemMajors+7)<<16 {
		t.Errorf("at %v", q.Attrs())
	}
	if c := laneClass(l, 0x12340000, q.Parent); c.Rate != 1e6 || c.Ceil != 1e6 {
		t.Errorf("class %v, want the rate where netem is the leaf", c)
	}
	l.netem = false
	if q, ok := leaf(l, 0x12340007).(*netlink.Tbf); !ok || q.Rate != 1e6 || q.Handle != (tbfMajors+7)<<16 {
		t.Errorf("got %v, want tbf", q)
	}
	if c := laneClass(l, 0x12340000, 0x12340007); c.Rate != line {
		t.Errorf("class %v, want no limit where tbf is the leaf", c)
	}
}

func TestRelayIsBounded(t *testing.T) {
	to, packet := target{netip.MustParseAddr("10.0.0.2"), 7001}, join(header4, segment)
	f := &flow{key: to, shape: cluster.Shape{Delay: time.Minute, Duplicated: 1}}
	r := &relay{flows: map[target]*flow{to: f}, wake: make(chan struct{}, 1)}
	for i := range maxHeld {
		if got, want := r.take(packet), i < maxHeld/2; got != want { // each with its duplicate
			t.Fatalf("packet %d is held: %v, want %v", i, got, want)
		}
	}
	if len(r.held) != maxHeld || r.bytes != maxHeld*len(packet) {
		t.Errorf("%d packets of %d bytes held, want %d", len(r.held), r.bytes, maxHeld)
	}
	heap.Pop(&r.held)
	heap.Pop(&r.held)
	r.bytes = maxBytes
	if r.take(packet) {
		t.Error("more bytes are held than there is room for")
	}
	r.bytes = 0
	if !r.take(packet) {
		t.Error("not held although there is room")
	}
	if r.take(join(patched(header4, 19, 3), segment)) || r.take(nil) {
		t.Error("held what goes elsewhere")
	}
}

func TestRelayLearns(t *testing.T) {
	a, b := target{netip.MustParseAddr("10.0.0.2"), 1}, target{netip.MustParseAddr("10.0.0.2"), 2}
	old, other := &flow{key: a}, &flow{key: b}
	r := &relay{flows: map[target]*flow{a: old}}
	before := r.learn(map[target]*flow{a: {key: a}, b: other})
	if r.flows[a] != old || r.flows[b] != other || len(r.flows) != 2 {
		t.Errorf("knows %v, want the old and the other", r.flows)
	}
	if len(before) != 1 || before[a] != old {
		t.Errorf("knew %v, want the old one", before)
	}
}

func TestLateOrder(t *testing.T) {
	now := time.Now()
	var h late
	for _, p := range []latePacket{{due: now.Add(2), order: 1}, {due: now, order: 3}, {due: now.Add(1), order: 4}, {due: now, order: 2}} {
		heap.Push(&h, p)
	}
	for _, want := range []uint64{2, 3, 4, 1} {
		if got := heap.Pop(&h).(latePacket).order; got != want {
			t.Errorf("packet %d goes, want %d", got, want)
		}
	}
}

func TestRelayTakesAnotherQueue(t *testing.T) {
	newWire(t)
	var all []*relay
	for i := range 3 {
		r, err := newRelay(0x100, 1)
		must(t, err)
		all = append(all, r)
		if want := uint16(0x100 - 2*i); r.number != want {
			t.Errorf("queue %d, want %d", r.number, want)
		}
	}
	for _, r := range all {
		r.close()
	}
}

// Whoever removes the table behind the filter's back does not stop it.
func TestTableThatIsGone(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	apply(t, f, Set{From: []Peer{{Address: w.far}}})
	must(t, Sweep(f.table))
	if _, err := f.Counts(); err == nil {
		t.Error("counters that are gone are counted")
	}
	apply(t, f, Set{To: []Peer{{Address: w.far}}})
	send(t, near, far, 1)
	if n := count(t, f); n.Cut != 1 {
		t.Errorf("%d packets cut, want 1", n.Cut)
	}
	must(t, Sweep(f.table))
	must(t, f.Close())
}
