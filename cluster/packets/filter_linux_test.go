package packets

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	nl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"assize/cluster"
)

var errUnthere = errors.New("not there")

// Somebody else's table, as Docker's for names in a container: dumped, it is the same in every byte before, during and after.
func TestOthersRulesAreLeftAlone(t *testing.T) {
	w := newWire(t)
	near, far := w.udp()
	conn, err := dial()
	must(t, err)
	foreign := conn.AddTable(inet("foreign"))
	before := nftables.ChainPriority(-300)
	out := conn.AddChain(&nftables.Chain{Name: "out", Table: foreign, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: &before})
	nat := conn.AddChain(&nftables.Chain{Name: "nat", Table: foreign, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest})
	port := where(near).Port()
	for _, c := range []*nftables.Chain{out, nat} {
		for _, match := range matches(Peer{Address: w.far}, sink) {
			conn.AddRule(&nftables.Rule{Table: foreign, Chain: c, Exprs: with(match, &expr.Counter{})})
		}
	}
	must(t, conn.Flush())
	defer func() { conn.DelTable(foreign); must(t, conn.Flush()) }()
	send(t, near, far, 10)
	want := dump(t, "foreign")
	if strings.Count(want, "counter") != 2 || port == 0 {
		t.Fatalf("no counters in %q", want)
	}

	f := w.open()
	for range 2 {
		apply(t, f, Set{
			From:   []Peer{{Address: w.far6}},
			To:     []Peer{{w.far, []uint16{1}}},
			Shaped: []Shaped{{Peer{w.far, []uint16{2}}, cluster.Shape{Delay: time.Second, Loss: 0.5, Rate: 1e6}}},
		})
		if got := dump(t, "foreign"); got != want {
			t.Errorf("during a fault: %q, want %q", got, want)
		}
	}
	must(t, f.Close())
	must(t, Sweep(f.table))
	if got := dump(t, "foreign"); got != want {
		t.Errorf("after a fault: %q, want %q", got, want)
	}
	if got := dump(t, f.table); got != "" {
		t.Errorf("of our own there is left %q", got)
	}
}

// dump of all that the kernel says about a table, without the number of its latest transaction, which is in each message.
func dump(t *testing.T, table string) (all string) {
	t.Helper()
	c, err := nl.Dial(unix.NETLINK_NETFILTER, nil)
	must(t, err)
	defer c.Close()
	for _, what := range []int{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE} {
		found, err := c.Execute(nl.Message{
			Header: nl.Header{Type: nl.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | what), Flags: nl.Request | nl.Dump},
			Data:   []byte{unix.NFPROTO_INET, 0, 0, 0},
		})
		must(t, err)
		for _, m := range found {
			if strings.Contains(string(m.Data), table+"\x00") {
				all += string(m.Data[4:])
			}
		}
	}
	return all
}

// What the kernel refuses changes nothing: not the rules, not the queues, not what is counted.
func TestApplyIsOneTransaction(t *testing.T) {
	w := newWire(t)
	if try(queueNative(0, true)) == nil {
		t.Skip("needs a kernel that refuses something: this one has nftables' queue")
	}
	inFar, in := w.tcp(true)
	near, far := w.udp()
	f := w.open()
	first := Set{From: []Peer{{w.far, []uint16{7000}}}}
	second := Set{Shaped: []Shaped{
		{Peer{w.far, []uint16{1}}, cluster.Shape{Rate: 1e5}},
		{Peer{w.far, []uint16{2}}, cluster.Shape{Delay: time.Hour / 60}},
	}}
	refused := func() {
		t.Helper()
		able := f.kernel.queue
		f.kernel.queue = queueNative
		if err := f.Apply(second); err == nil {
			t.Error("the kernel takes what it cannot do")
		}
		f.kernel.queue = able
	}
	apply(t, f, first)
	passes(t, inFar, in, false)
	cut, before := count(t, f).Cut, dump(t, f.table)
	if cut == 0 {
		t.Fatal("nothing cut")
	}
	refused()
	if f.relay != nil {
		t.Error("a relay is left")
	}
	for _, q := range queuesOf(t, w.link) {
		if q.Attrs().Handle != 0 {
			t.Errorf("left behind: %v", q.Type())
		}
	}
	if hears(in, false) || count(t, f).Cut < cut || dump(t, f.table) != before {
		t.Error("the cut is not what it was")
	}

	apply(t, f, shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: time.Minute, Rate: 1e6}))
	send(t, near, far, 3)
	refused()
	send(t, near, far, 3)
	if hears(far, false) {
		t.Error("the delay is over")
	}
	own, err := ownRoot(w.link.Attrs().Index, f.major)
	if err != nil || !own || count(t, f).Held < 6 { // and TCP's attempts on the other connection
		t.Errorf("own queue: %v, %v; %d packets held", own, err, count(t, f).Held)
	}
}

// What cannot be measured is not applied.
func TestApplyMeasuresFirst(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	apply(t, f, Set{To: []Peer{{Address: w.far}}})
	send(t, near, far, 3)
	before, able := dump(t, f.table), f.kernel.counted
	f.kernel.counted = func() ([]netlink.Qdisc, error) { return nil, errUnthere }
	if err := f.Apply(shapeOf(Peer{Address: w.far6}, cluster.Shape{Rate: 1e6})); !errors.Is(err, errUnthere) || errors.Is(err, ErrUncleared) {
		t.Errorf("got %v, want that nothing is applied", err)
	}
	f.kernel.counted = able
	if own, err := ownRoot(w.link.Attrs().Index, f.major); own || err != nil {
		t.Errorf("left behind: a root, %v; %v", own, err)
	}
	if n := count(t, f); dump(t, f.table) != before || n.To != w.far || n.Cut != 3 || hears(far, false) {
		t.Errorf("counted %+v, want the cut as it was", n)
	}
}

// The relay goes on as before where a set is not applied, and what it counts is of those whom it has been told of.
func TestRelayOutlivesAnApplyThatFails(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	late := Shaped{Peer{Address: w.far}, cluster.Shape{Delay: 20 * time.Millisecond}}
	apply(t, f, Set{Shaped: []Shaped{late}})
	able := f.kernel.counted
	f.kernel.counted = func() ([]netlink.Qdisc, error) { return nil, errUnthere }
	if err := f.Apply(Set{Shaped: []Shaped{late, {Peer{Address: w.far6}, cluster.Shape{Delay: time.Second, Rate: 1e6}}}}); !errors.Is(err, errUnthere) {
		t.Errorf("got %v, want that nothing is applied", err)
	}
	f.kernel.counted = able
	send(t, near, far, 3)
	for range 3 {
		if !hears(far, true) {
			t.Error("what was delayed does not come any more")
		}
	}
	if n := count(t, f); n.To != w.far || n.Held != 3 {
		t.Errorf("counted %+v, want 3 held", n)
	}
}

// A queue that cannot be removed does not keep the new set from being in force, and is removed when it can be.
func TestWhatIsLeftIsClearedLater(t *testing.T) {
	for name, heal := range map[string]func(*Filter, Set) error{
		"apply": func(f *Filter, s Set) error { return f.Apply(s) },
		"close": func(f *Filter, _ Set) error { return f.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			f := w.open()
			near, far := w.udp()
			slow, slow6 := Shaped{Peer{Address: w.far}, cluster.Shape{Rate: 1e6}}, Shaped{Peer{Address: w.far6}, cluster.Shape{Rate: 1e6}}
			apply(t, f, Set{Shaped: []Shaped{slow, slow6}})
			// Somebody has put a class of his own under the second one, which cannot go before it.
			theirs := laneClass(lane{link: w.link.Attrs().Index}, netlink.MakeHandle(f.major, class(1)), netlink.MakeHandle(f.major, 0x999))
			must(t, netlink.ClassAdd(theirs))
			second := Set{To: []Peer{{Address: w.far}}, Shaped: []Shaped{slow}}
			if err := f.Apply(second); !errors.Is(err, ErrUncleared) {
				t.Errorf("got %v, want that a class is left", err)
			}
			send(t, near, far, 3)
			if n := count(t, f); n.Cut != 3 || hears(far, false) {
				t.Errorf("counted %+v, want three cut", n)
			}
			must(t, netlink.ClassDel(theirs))
			must(t, heal(f, second))
			classes, err := netlink.ClassList(w.link, 0)
			must(t, err)
			for _, c := range classes {
				if c.Attrs().Handle == netlink.MakeHandle(f.major, class(1)) {
					t.Error("the class is still there")
				}
			}
			if len(f.left) > 0 {
				t.Errorf("believes that %v are left", f.left)
			}
		})
	}
}

func TestHealLetsGo(t *testing.T) {
	for name, heal := range map[string]func(*Filter, *wire) error{
		"close":   func(f *Filter, _ *wire) error { return f.Close() },
		"nothing": func(f *Filter, _ *wire) error { return f.Apply(Set{}) },
		"another peer": func(f *Filter, w *wire) error {
			return f.Apply(shapeOf(Peer{Address: w.far6}, cluster.Shape{Delay: time.Minute}))
		},
		"another shape": func(f *Filter, w *wire) error {
			return f.Apply(shapeOf(Peer{Address: w.far}, cluster.Shape{Loss: 0.5}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			f := w.open()
			near, far := w.udp()
			const sent = 1000
			apply(t, f, shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: time.Minute}))
			send(t, near, far, sent)
			if hears(far, false) {
				t.Fatal("not held")
			}
			must(t, heal(f, w))
			got := collect(t, far, sent)
			if len(got) != sent {
				t.Errorf("%d of %d arrive", len(got), sent)
			}
			for i, n := range got {
				if i != n {
					t.Fatalf("%d comes as number %d", n, i)
				}
			}
		})
	}
}

// Under way at the very moment of the heal: nothing is lost either.
func TestHealUnderLoad(t *testing.T) {
	w := newWire(t)
	f := w.open()
	near, far := w.udp()
	const sent = 20_000
	go func() {
		for i := range sent {
			if _, err := near.WriteToUDPAddrPort([]byte{0, 0, byte(i >> 8), byte(i)}, where(far)); err != nil {
				t.Error(err)
			}
		}
	}()
	heals := make(chan int)
	go func() {
		n := 0
		for end := time.Now().Add(time.Second); time.Now().Before(end); n++ {
			if err := errors.Join(f.Apply(shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: time.Millisecond})), f.Apply(Set{})); err != nil {
				t.Error(err)
			}
		}
		heals <- n
	}()
	got := len(collect(t, far, sent))
	t.Logf("%d of %d arrive while the fault comes and goes %d times", got, sent, <-heals)
	if got != sent {
		t.Errorf("%d of %d arrive", got, sent)
	}
}

func TestApplyRefuses(t *testing.T) {
	w := newWire(t)
	f := w.open()
	apply(t, f, Set{From: []Peer{{Address: w.far}}})
	before := dump(t, f.table)
	shape := func(s cluster.Shape) Set { return shapeOf(Peer{Address: w.far}, s) }
	for name, s := range map[string]Set{
		"no address":        {From: []Peer{{}}},
		"unspecified":       {To: []Peer{{Address: netip.IPv4Unspecified()}}},
		"multicast":         {To: []Peer{{Address: netip.MustParseAddr("224.0.0.1")}}},
		"zone":              {From: []Peer{{Address: netip.MustParseAddr("fe80::1%lo")}}},
		"port 0":            {From: []Peer{{w.far, []uint16{1, 0}}}},
		"negative delay":    shape(cluster.Shape{Delay: -1}),
		"negative jitter":   shape(cluster.Shape{Jitter: -1}),
		"long delay":        shape(cluster.Shape{Delay: time.Hour}),
		"overflowing delay": shape(cluster.Shape{Delay: time.Second, Jitter: math.MaxInt64}),
		"loss above 1":      shape(cluster.Shape{Loss: 1.01}),
		"loss of NaN":       shape(cluster.Shape{Loss: math.NaN()}),
		"negative loss":     shape(cluster.Shape{Loss: -0.1}),
		"duplicated 2":      shape(cluster.Shape{Duplicated: 2}),
		"negative rate":     shape(cluster.Shape{Rate: -1}),
		"infinite rate":     shape(cluster.Shape{Rate: math.Inf(1)}),
		"NaN rate":          shape(cluster.Shape{Rate: math.NaN()}),
		"tiny rate":         shape(cluster.Shape{Rate: 1}),
		"two shapes":        {Shaped: []Shaped{{Peer{Address: w.far}, cluster.Shape{}}, {Peer{w.far, []uint16{1}}, cluster.Shape{}}}},
		"two of a port":     {Shaped: []Shaped{{Peer{w.far, []uint16{2, 1}}, cluster.Shape{}}, {Peer{w.far, []uint16{1}}, cluster.Shape{}}}},
		"mapped twice":      {Shaped: []Shaped{{Peer{Address: w.far}, cluster.Shape{}}, {Peer{Address: netip.AddrFrom16(w.far.As16())}, cluster.Shape{}}}},
		"no route":          shapeOf(Peer{Address: netip.MustParseAddr("192.0.2.1")}, cluster.Shape{Rate: 1e6}),
		"too many":          {From: make([]Peer, maxRules+1)},
	} {
		if err := f.Apply(s); err == nil {
			t.Errorf("%s: applied", name)
		}
		if dump(t, f.table) != before {
			t.Errorf("%s: something has changed", name)
		}
	}
	if _, err := Open("no;name"); err == nil {
		t.Error("a name that is none is taken")
	}
	if err := Sweep(""); err == nil {
		t.Error("a name that is none is swept")
	}
}

func TestForeignQueueIsLeftAlone(t *testing.T) {
	w := newWire(t)
	f := w.open()
	theirs := bucket(netlink.QdiscAttrs{LinkIndex: w.link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}, 1e9)
	must(t, netlink.QdiscAdd(theirs))
	before := fmt.Sprint(queuesOf(t, w.link)[0])
	err := f.Apply(shapeOf(Peer{Address: w.far}, cluster.Shape{Rate: 1e6}))
	if err == nil || !strings.Contains(err.Error(), w.link.Attrs().Name) || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("got %v, want an error about what somebody else has at %s", err, w.link.Attrs().Name)
	}
	must(t, f.Close())
	must(t, Sweep(f.table))
	if got := fmt.Sprint(queuesOf(t, w.link)[0]); got != before {
		t.Errorf("the queue is %v, was %v", got, before)
	}
}

func TestNothingRunsAfterClose(t *testing.T) {
	w := newWire(t)
	near, far := w.udp()
	before := runtime.NumGoroutine()
	for range 3 {
		f := w.open()
		apply(t, f, shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: time.Second * 50, Jitter: time.Second, Duplicated: 0.5}))
		send(t, near, far, 100)
		must(t, f.Close())
		must(t, f.Close())
		if err := f.Apply(Set{}); err == nil {
			t.Error("applied after Close")
		}
		if all, err := f.Counts(); len(all) > 0 || err != nil {
			t.Errorf("counts after Close: %v, %v", all, err)
		}
	}
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			b := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, b[:runtime.Stack(b, true)])
		}
	}
}
