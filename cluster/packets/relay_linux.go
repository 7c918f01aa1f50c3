package packets

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/florianl/go-nfqueue/v2"
	nl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"assize/cluster"
)

const (
	maxHeld  = 16384    // packets that the relay holds at most; those that come then are not delayed
	maxBytes = 64 << 20 // of them
	maxQueue = 4096     // packets that the kernel keeps for the relay; those that come then are not delayed
	numbers  = 32       // of queues that are tried
)

// relay delays and duplicates the packets that the kernel puts into its queue. Without the GSO flag the kernel hands over a train of segments one by
// one, as they would go over the wire, with their checksums. A datagram that is longer than the interface takes comes whole, since the kernel cuts
// it into fragments only later, and a raw socket would refuse it: it passes, neither late nor twice.
//
// A packet that is to be late is taken from the kernel and sent again when it is due, past the rules, by its mark. It is not kept waiting for a
// verdict: it would still count as in the sender's hands, and TCP, which keeps no more than two segments there (small queues), would send no third
// before the delay is over. A network with a delay holds any number.
type relay struct {
	number uint16
	queue  *nfqueue.Nfqueue
	cancel context.CancelFunc
	raw    [2]int // sockets for IPv4 and IPv6, -1: none
	wake   chan struct{}
	stop   chan struct{}
	done   sync.WaitGroup

	out    sync.Mutex // held from taking packets until they are sent, so that none overtakes; before mu
	mu     sync.Mutex
	flows  map[target]*flow
	held   late
	bytes  int
	last   uint32         // number of a packet in the queue
	rooms  map[uint32]int // by interface: the length of the longest packet that it takes
	order  uint64
	failed error
}

// flow is what goes to one target.
type flow struct {
	key                       target
	shape                     cluster.Shape
	held, spilled, duplicated atomic.Uint64
}

func (f *flow) delays() bool { return f.shape.Delay > 0 || f.shape.Jitter > 0 }

func (f *flow) draw() time.Duration {
	d := f.shape.Delay
	if f.shape.Jitter > 0 {
		d += rand.N(f.shape.Jitter + 1)
	}
	return d
}

type latePacket struct {
	due    time.Time
	order  uint64 // of those due at one time
	flow   *flow
	packet []byte
}

// late is a heap, the packet due next on top.
type late []latePacket

func (h late) Len() int      { return len(h) }
func (h late) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *late) Push(p any)   { *h = append(*h, p.(latePacket)) }
func (h late) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].order < h[j].order
	}
	return h[i].due.Before(h[j].due)
}
func (h *late) Pop() any {
	n := len(*h) - 1
	p := (*h)[n]
	(*h)[n] = latePacket{}
	*h = (*h)[:n]
	return p
}

// tryRelay says why there can be no relay.
func tryRelay() error {
	r, err := newRelay(0xfffe, 0)
	if err != nil {
		return err
	}
	r.close()
	return nil
}

// newRelay takes the queue of this number, or one of the next even ones if others have it. No rule may send packets there yet: the queue
// would mistake them for answers to what it asks the kernel.
func newRelay(number uint16, mark uint32) (*relay, error) {
	r := &relay{raw: [2]int{-1, -1}, rooms: make(map[uint32]int), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	for i, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := rawSocket(family, mark)
		if errors.Is(err, unix.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			r.closeRaw()
			return nil, fmt.Errorf("raw socket: %w", err)
		}
		r.raw[i] = fd
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	var err error
	for i := range uint16(numbers) {
		r.number = number - 2*i
		if err = r.listen(ctx); !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EPERM) {
			break
		}
	}
	if err != nil {
		cancel()
		r.closeRaw()
		return nil, fmt.Errorf("queue %d: %w", r.number, err)
	}
	r.done.Go(r.run)
	return r, nil
}

func rawSocket(family int, mark uint32) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	// What waits for its turn at a rate is charged to this socket. A smaller buffer is no reason to fail: what finds it full is spilled.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, maxBytes)
	return fd, nil
}

func (r *relay) closeRaw() {
	for _, fd := range r.raw {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (r *relay) listen(ctx context.Context) error {
	q, err := nfqueue.Open(&nfqueue.Config{
		NfQueue:      r.number,
		MaxPacketLen: 0xffff,
		MaxQueueLen:  maxQueue,
		Copymode:     nfqueue.NfQnlCopyPacket,
		Flags:        nfqueue.NfQaCfgFlagFailOpen, // what finds the queue full passes
		AfFamily:     unix.AF_INET,                // both: the kernel does not look at it
	})
	if err != nil {
		return err
	}
	q.Con.SetReadBuffer(16 << 20) // the more, the longer this process may sleep before packets pass by
	if err := q.SetOption(nl.NoENOBUFS, true); err != nil {
		return errors.Join(err, q.Con.Close())
	}
	r.queue = q
	fail := func(err error) int {
		if ctx.Err() != nil {
			return 1
		}
		var op *nl.OpError
		switch {
		case errors.As(err, &op) && (op.Timeout() || op.Temporary()), errors.Is(err, unix.ENOBUFS):
			return 0
		case errors.Is(err, unix.ENOENT): // somebody has removed a chain, and the kernel has dropped what waited for a verdict
			return 0
		}
		r.mu.Lock()
		r.failed = fmt.Errorf("relay: %w", err)
		r.mu.Unlock()
		return 1 // the queue is given up, and packets pass by it
	}
	if err := q.RegisterWithErrorFunc(ctx, r.receive, fail); err != nil {
		return errors.Join(err, q.Con.Close())
	}
	return nil
}

// receive decides about a packet in the queue.
func (r *relay) receive(a nfqueue.Attribute) int {
	if a.PacketID == nil {
		return 0
	}
	verdict := nfqueue.NfAccept
	if a.Payload != nil && (a.CapLen == nil || int(*a.CapLen) <= len(*a.Payload)) && r.fits(len(*a.Payload), a.OutDev) && r.take(*a.Payload) {
		verdict = nfqueue.NfDrop
	}
	r.mu.Lock()
	r.last = *a.PacketID
	r.mu.Unlock()
	if err := r.queue.SetVerdict(*a.PacketID, verdict); err != nil {
		r.mu.Lock()
		r.failed = fmt.Errorf("relay: verdict: %w", err)
		r.mu.Unlock()
	}
	return 0
}

// fits tells whether a raw socket sends so many bytes out of an interface. If the kernel does not say which one it is, that is seen when they are sent.
func (r *relay) fits(length int, link *uint32) bool {
	if link == nil {
		return true
	}
	r.mu.Lock()
	room := r.rooms[*link]
	r.mu.Unlock()
	if length <= room {
		return true
	}
	found, err := netlink.LinkByIndex(int(*link)) // it may have more room than when it was last asked
	if err != nil {
		return true
	}
	room = found.Attrs().MTU
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rooms[*link] = room
	return length <= room
}

// take holds a packet and its duplicate, or tells that the packet need not be held.
func (r *relay) take(packet []byte) (taken bool) {
	to, ok := destination(packet)
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.flows[to]
	if f == nil {
		f = r.flows[target{to.address, 0}]
	}
	if f == nil || len(r.held)+2 > maxHeld || r.bytes+2*len(packet) > maxBytes {
		return false
	}
	packet = slices.Clone(packet)
	now := time.Now()
	if d := f.draw(); d > 0 {
		r.hold(f, now.Add(d), packet)
		f.held.Add(1)
		taken = true
	}
	if f.shape.Duplicated > 0 && rand.Float64() < f.shape.Duplicated {
		r.hold(f, now.Add(f.draw()), packet)
		f.duplicated.Add(1)
	}
	return taken
}

// hold needs the lock.
func (r *relay) hold(f *flow, due time.Time, packet []byte) {
	r.order++
	heap.Push(&r.held, latePacket{due, r.order, f, packet})
	r.bytes += len(packet)
	if r.held[0].order == r.order {
		r.rouse()
	}
}

func (r *relay) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run sends what is due.
func (r *relay) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, some := r.sendDue()
		if some {
			timer.Reset(time.Until(next))
		}
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.stop:
			return
		}
	}
}

// sendDue returns when the next packet is due, if there is one.
func (r *relay) sendDue() (next time.Time, some bool) {
	r.out.Lock()
	defer r.out.Unlock()
	for {
		due, next, some := r.due()
		if len(due) == 0 {
			return next, some
		}
		r.send(due)
	}
}

// due takes what is due out of what is held.
func (r *relay) due() (due []latePacket, next time.Time, some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for now := time.Now(); len(r.held) > 0; {
		if r.held[0].due.After(now) {
			return due, r.held[0].due, true
		}
		due = append(due, r.drop())
	}
	return due, time.Time{}, false
}

// drop takes the packet on top. It needs the lock.
func (r *relay) drop() latePacket {
	p := heap.Pop(&r.held).(latePacket)
	r.bytes -= len(p.packet)
	return p
}

// send needs the lock of what goes out, not the other: a packet's way through this host to the other end is part of the call.
func (r *relay) send(packets []latePacket) {
	for _, p := range packets {
		var err error
		if to := p.flow.key.address; to.Is4() {
			err = unix.Sendto(r.raw[0], p.packet, 0, &unix.SockaddrInet4{Addr: to.As4()})
		} else {
			err = unix.Sendto(r.raw[1], p.packet, 0, &unix.SockaddrInet6{Addr: to.As16()})
		}
		if err != nil {
			p.flow.spilled.Add(1)
		}
		if errors.Is(err, unix.EMSGSIZE) { // somebody has narrowed an interface: it is asked anew
			r.mu.Lock()
			clear(r.rooms)
			r.mu.Unlock()
		}
	}
}

// learn makes these flows known, beside those that are, which it returns. Until new rules are in force, what the old ones send here is shaped as it was.
func (r *relay) learn(flows map[target]*flow) (before map[target]*flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.flows
	r.flows = maps.Clone(flows)
	maps.Copy(r.flows, before)
	return before
}

// swap makes these the flows. What is held stays.
func (r *relay) swap(flows map[target]*flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flows = flows
}

// release lets go what is held for targets that have no delay any more, in the order in which it would have gone.
func (r *relay) release() {
	r.out.Lock()
	defer r.out.Unlock()
	r.send(r.free())
}

func (r *relay) free() (free []latePacket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kept late
	for len(r.held) > 0 {
		p := r.drop()
		if f := r.flows[p.flow.key]; f != nil && f.delays() {
			kept = append(kept, p) // in order, which makes a heap
			r.bytes += len(p.packet)
		} else {
			free = append(free, p)
		}
	}
	r.held = kept
	return free
}

// close lets everything go. No rule may send packets here any more.
func (r *relay) close() {
	r.swap(nil) // from here on nothing is taken
	r.release()
	// A packet may be on its way through the old rules at this moment. After all processors have been out of them once it is in the queue,
	// and a verdict about the whole queue, read or not, reaches it; the queue's end would drop it.
	const global = 1
	unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
	r.mu.Lock()
	all := r.last + 1<<30
	r.mu.Unlock()
	r.queue.SetVerdictBatch(all, nfqueue.NfAccept)
	r.cancel()
	r.queue.Close()
	close(r.stop)
	r.done.Wait()
	r.closeRaw()
}

// tally adds what the relay has done.
func (r *relay) tally(counts map[netip.Addr]*Count) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.flows {
		c := counts[f.key.address]
		c.Held += f.held.Load()
		c.Spilled += f.spilled.Load()
		c.Duplicated += f.duplicated.Load()
	}
	return r.failed
}
