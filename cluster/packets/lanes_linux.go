package packets

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"assize/cluster"
)

// All queueing disciplines of a table are known by their major numbers: the root's comes from the table's name, so that a later process knows the
// root that a killed one has left. The kernel gives numbers from 8000 up by itself.
const (
	rootMajors  = 0x1000
	tbfMajors   = 0x2000
	netemMajors = 0x3000
	majors      = 0x1000 // of each kind
)

const (
	frame    = 1514            // bytes, of Ethernet
	line     = 4e9             // bytes a second, more than any interface here
	lineTime = 4 << 20         // bytes that may go at once at that rate
	backlog  = time.Second / 4 // how long a packet may wait for its turn at a rate before those after it are dropped
	draining = time.Second / 4 // how long healing waits for what is queued
)

func majorOf(table string) uint16 {
	h := fnv.New32a()
	h.Write([]byte(table))
	return uint16(rootMajors + h.Sum32()%majors)
}

// class of the i-th shape.
func class(i int) uint16 { return uint16(i + 1) }

// lane is what goes to one peer at an interface; class 0: all that goes out there.
type lane struct {
	link  int
	class uint16
	shape cluster.Shape // of which a rate, if netem is false, and nothing else
	netem bool
	peers []netip.Addr // whose packets take it
	// What the kernel had counted already when it was last applied.
	waited, dropped uint64
}

// lanes of a clean Set.
func (f *Filter) lanes(s Set) (lanes []lane, err error) {
	for i, shaped := range s.Shaped {
		way := f.kernel.way(shaped.Shape)
		if shaped.Shape.Rate == 0 && !way.class {
			continue
		}
		routes, err := netlink.RouteGet(shaped.To.Address.AsSlice())
		if err == nil && len(routes) == 0 {
			err = errors.New("none")
		}
		if err != nil {
			return nil, fmt.Errorf("route to %v: %w", shaped.To.Address, err)
		}
		l := lane{link: routes[0].LinkIndex, shape: shaped.Shape, netem: way.netem, peers: []netip.Addr{shaped.To.Address}}
		if way.class {
			l.class = class(i)
		} else if k := slices.IndexFunc(lanes, func(o lane) bool { return o.link == l.link }); k >= 0 {
			lanes[k].shape.Rate = min(lanes[k].shape.Rate, l.shape.Rate)
			lanes[k].peers = append(lanes[k].peers, l.peers...)
			continue
		}
		lanes = append(lanes, l)
	}
	return lanes, nil
}

// open makes lanes, or changes those that are there. What leaves an interface at the moment in which its root changes is lost, here and in shut.
func (f *Filter) open(lanes []lane) error {
	for _, l := range lanes {
		if err := f.openLane(l); err != nil {
			name := fmt.Sprint(l.link)
			if link, err := netlink.LinkByIndex(l.link); err == nil {
				name = link.Attrs().Name
			}
			return fmt.Errorf("queue at interface %s: %w", name, err)
		}
	}
	return nil
}

func (f *Filter) openLane(l lane) error {
	own, err := ownRoot(l.link, f.major)
	if err != nil {
		return err
	}
	root := netlink.QdiscAttrs{LinkIndex: l.link, Handle: netlink.MakeHandle(f.major, 0), Parent: netlink.HANDLE_ROOT}
	if l.class == 0 {
		return netlink.QdiscReplace(bucket(root, l.shape.Rate))
	}
	if !own {
		if err := netlink.QdiscAdd(netlink.NewHtb(root)); err != nil { // class 0, where what has no class goes, has no limit
			return err
		}
	}
	handle := netlink.MakeHandle(f.major, l.class)
	if err := netlink.ClassReplace(laneClass(l, root.Handle, handle)); err != nil {
		return fmt.Errorf("class: %w", err)
	}
	return netlink.QdiscReplace(leaf(l, handle))
}

// laneClass has no limit, if its leaf has, since that one bounds its queue by bytes. The kernel's log wonders at such a leaf, once.
func laneClass(l lane, root, handle uint32) *netlink.HtbClass {
	rate, burst := float64(line), float64(lineTime)
	if l.netem && l.shape.Rate > 0 {
		rate, burst = l.shape.Rate, burstOf(l.shape.Rate)
	}
	c := netlink.HtbClassAttrs{Rate: uint64(rate * 8), Ceil: uint64(rate * 8), Buffer: uint32(burst), Cbuffer: uint32(burst), Quantum: 60000}
	return netlink.NewHtbClass(netlink.ClassAttrs{LinkIndex: l.link, Parent: root, Handle: handle}, c)
}

// leaf of a class. That of netem was never tried, for want of a kernel that has it.
func leaf(l lane, class uint32) netlink.Qdisc {
	at := netlink.QdiscAttrs{LinkIndex: l.link, Parent: class, Handle: netlink.MakeHandle(tbfMajors+l.class, 0)}
	if !l.netem {
		return bucket(at, l.shape.Rate)
	}
	at.Handle = netlink.MakeHandle(netemMajors+l.class, 0)
	// netem draws from latency - jitter to latency + jitter, and takes no jitter without latency. Without a rate of its own it lets packets overtake.
	return netlink.NewNetem(at, netlink.NetemQdiscAttrs{
		Latency: uint32((l.shape.Delay + l.shape.Jitter/2).Microseconds()),
		Jitter:  uint32((l.shape.Jitter / 2).Microseconds()),
		Limit:   maxHeld,
	})
}

// bucket lets tokens in at the rate; 10 ms of them may be saved.
func bucket(at netlink.QdiscAttrs, rate float64) *netlink.Tbf {
	burst := burstOf(rate)
	return &netlink.Tbf{
		QdiscAttrs: at,
		Rate:       uint64(rate),
		Buffer:     netlink.Xmittime(uint64(rate), uint32(burst)),
		Limit:      uint32(min(burst+max(rate*backlog.Seconds(), 4*frame), math.MaxInt32)),
	}
}

func burstOf(rate float64) float64 { return min(max(rate/100, 2*frame), 1<<28) }

// ownRoot tells whether the interface has a root of ours; a foreign one is an error.
func ownRoot(link int, major uint16) (bool, error) {
	all, err := queues(link)
	if err != nil {
		return false, err
	}
	for _, q := range all {
		a := q.Attrs()
		if a.Parent != netlink.HANDLE_ROOT || a.Handle == 0 { // 0: the kernel's own choice, which comes back by itself
			continue
		}
		if a.Handle != netlink.MakeHandle(major, 0) {
			return false, fmt.Errorf("it has a %s %x: that somebody else has put there", q.Type(), a.Handle>>16)
		}
		return true, nil
	}
	return false, nil
}

func queues(link int) ([]netlink.Qdisc, error) {
	for {
		all, err := netlink.QdiscList(nil)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		return slices.DeleteFunc(all, func(q netlink.Qdisc) bool { return link != 0 && q.Attrs().LinkIndex != link }), err
	}
}

// measured are the lanes with what the kernel has counted at them: how often a packet has had to wait for its turn, and how many have been dropped since
// too many waited.
func (f *Filter) measured(lanes []lane) ([]lane, error) {
	lanes = slices.Clone(lanes)
	if len(lanes) == 0 {
		return lanes, nil
	}
	all, err := f.kernel.counted()
	if err != nil {
		return lanes, fmt.Errorf("count at the queues: %w", err)
	}
	for i := range lanes {
		l := &lanes[i]
		handle := netlink.MakeHandle(f.major, 0)
		if l.class != 0 {
			handle = leaf(*l, 0).Attrs().Handle
		}
		for _, q := range all {
			a := q.Attrs()
			if l.shape.Rate > 0 && a.LinkIndex == l.link && a.Handle == handle && a.Statistics != nil && a.Statistics.Queue != nil {
				l.waited, l.dropped = uint64(a.Statistics.Queue.Overlimits), uint64(a.Statistics.Queue.Drops)
			}
		}
	}
	return lanes, nil
}

// tallyLanes adds what rates have done since they were applied.
func (f *Filter) tallyLanes(counts map[netip.Addr]*Count) error {
	now, err := f.measured(f.opened)
	if err != nil {
		return err
	}
	for i, l := range now {
		for _, p := range l.peers {
			if c := counts[p]; c != nil {
				c.Held += l.waited - f.opened[i].waited
				c.Spilled += l.dropped - f.opened[i].dropped
			}
		}
	}
	return nil
}

// shut removes those of the lanes that are not wanted, once what is queued in them has gone, but does not wait for ever for that. It returns those
// that are left.
func (f *Filter) shut(lanes, wanted []lane) (left []lane, err error) {
	var errs []error
	for _, l := range lanes {
		if slices.ContainsFunc(wanted, func(w lane) bool { return w.link == l.link && w.class == l.class }) {
			continue
		}
		f.drain(l)
		root := netlink.QdiscAttrs{LinkIndex: l.link, Handle: netlink.MakeHandle(f.major, 0), Parent: netlink.HANDLE_ROOT}
		var err error
		if slices.ContainsFunc(wanted, func(w lane) bool { return w.link == l.link }) {
			handle := netlink.MakeHandle(f.major, l.class)
			err = netlink.ClassDel(laneClass(l, root.Handle, handle))
		} else {
			err = netlink.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: root})
		}
		if err != nil && !gone(err) {
			left, errs = append(left, l), append(errs, fmt.Errorf("remove the queue at interface %d: %w", l.link, err))
		}
	}
	return left, errors.Join(errs...)
}

// gone tells that there was nothing to remove, in the various words of the kernel.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL)
}

func (f *Filter) drain(l lane) {
	handle := netlink.MakeHandle(f.major, 0)
	if !l.netem && l.class == 0 {
		at := netlink.QdiscAttrs{LinkIndex: l.link, Handle: handle, Parent: netlink.HANDLE_ROOT}
		netlink.QdiscChange(bucket(at, line))
	} else if !l.netem {
		l.shape.Rate = line
		q := leaf(l, netlink.MakeHandle(f.major, l.class))
		handle = q.Attrs().Handle
		netlink.QdiscChange(q)
	}
	for end := time.Now().Add(draining); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all, err := queues(l.link)
		at := slices.IndexFunc(all, func(q netlink.Qdisc) bool { return q.Attrs().Handle == handle })
		if err != nil || at < 0 || all[at].Attrs().Statistics == nil || all[at].Attrs().Statistics.Queue.Qlen == 0 {
			return
		}
	}
}

// sweepRoots removes every root of this major number.
func sweepRoots(major uint16) error {
	all, err := queues(0)
	if err != nil {
		return err
	}
	for _, q := range all {
		a := q.Attrs()
		if a.Parent != netlink.HANDLE_ROOT || a.Handle != netlink.MakeHandle(major, 0) {
			continue
		}
		if err := netlink.QdiscDel(q); err != nil && !gone(err) {
			return fmt.Errorf("remove the queue at interface %d: %w", a.LinkIndex, err)
		}
	}
	return nil
}
