// Package zk is the ZooKeeper front end of a node, and the client that tests use with it and with ZooKeeper itself.
//
// The front end carries frames between clients and the machine, which alone knows what they mean; it answers four-letter words by itself, as
// Apache ZooKeeper 3.8 does, and one word of our own, assz, which asks for a node's vitals.
//
// The client speaks by github.com/go-zookeeper/zk, over one connection that is never made anew.
package zk

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"assize/machine"
)

// Bounds that keep clients from holding up others.
const (
	// maxAsked requests of all connections are without a reply, and where there are more, one of each: what comes beyond waits in its socket. It is
	// ZooKeeper's globalOutstandingLimit.
	maxAsked = 1000
	maxBytes = 16 << 20 // of replies that wait for one client to read, but for one longer reply alone
	batch    = 64 << 10 // bytes written at once, about
)

// bounds in time.
type bounds struct {
	handshake time.Duration // until a new connection has said what it wants
	write     time.Duration // of a batch of replies
	linger    time.Duration // for the client to read the last words
	pause     time.Duration // after a failure to accept
}

var usual = bounds{handshake: 10 * time.Second, write: 20 * time.Second, linger: time.Second, pause: 20 * time.Millisecond}

// keepAlive finds out within half a minute that a client's host has gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Serve answers clients until the listener is closed, and then hangs up on all of them. The error is the listener's. The whitelist is of four-letter words, as
// Settings have it.
func Serve(l net.Listener, h Host, whitelist []string) error {
	f := newFront(l.Addr(), h, usual)
	f.whitelist = whitelist
	return f.serve(l)
}

// front is what all connections share.
type front struct {
	host    Host
	address net.Addr
	bounds
	began time.Time
	traffic
	asked     atomic.Int64 // requests of all visitors without a reply
	tracing   atomic.Int64 // what stmk has set
	whitelist []string     // nil: all words

	mu       sync.Mutex
	visitors map[*visitor]bool
	closed   bool
	work     sync.WaitGroup
}

func newFront(address net.Addr, h Host, b bounds) *front {
	f := &front{host: h, address: address, bounds: b, began: time.Now(), visitors: map[*visitor]bool{}}
	f.tracing.Store(usualMask)
	return f
}

func (f *front) serve(l net.Listener) error {
	defer f.stop()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			// Out of file descriptors, most likely: some will come back.
			time.Sleep(f.pause)
			continue
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetKeepAliveConfig(keepAlive) // what this kernel cannot do it does without
		}
		v := f.admit(c)
		if v == nil {
			c.Close()
			continue
		}
		f.work.Go(func() {
			defer f.dismiss(v)
			v.visit()
		})
	}
}

func (f *front) admit(c net.Conn) *visitor {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	v := newVisitor(f, c)
	f.visitors[v] = true
	return v
}

func (f *front) dismiss(v *visitor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.visitors, v)
}

func (f *front) stop() {
	f.mu.Lock()
	f.closed = true
	for v := range f.visitors {
		v.cut()
	}
	f.mu.Unlock()
	f.work.Wait()
}

// report of the machine. One that gives none does not serve: its node is stopping, or it keeps no tree.
func (f *front) report(whole bool) machine.Report {
	if r, ok := f.host.Report(whole); ok {
		return r
	}
	return machine.Report{Mode: machine.Looking}
}

// hostOf is the address of a client without its port, as ACLs of the scheme ip know it.
func hostOf(a net.Addr) string {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ""
	}
	return p.Addr().Unmap().WithZone("").String()
}

// traffic counts frames and how long requests took. What is read together need not fit together.
type traffic struct {
	received, sent atomic.Uint64
	count          atomic.Uint64 // replies to requests
	sum            atomic.Int64  // nanoseconds
	least, most    atomic.Int64  // nanoseconds; least is one more, 0: none
}

func (t *traffic) took(d time.Duration) {
	n := int64(max(d, 0))
	t.count.Add(1)
	t.sum.Add(n)
	for old := t.most.Load(); n > old && !t.most.CompareAndSwap(old, n); old = t.most.Load() {
	}
	for old := t.least.Load(); (old == 0 || n < old-1) && !t.least.CompareAndSwap(old, n+1); old = t.least.Load() {
	}
}

func (t *traffic) reset() {
	for _, n := range []*atomic.Uint64{&t.received, &t.sent, &t.count} {
		n.Store(0)
	}
	for _, n := range []*atomic.Int64{&t.sum, &t.least, &t.most} {
		n.Store(0)
	}
}

// latency in milliseconds, as ZooKeeper tells it.
func (t *traffic) latency() (least int64, mean float64, most int64) {
	const ms = int64(time.Millisecond)
	if n := t.count.Load(); n > 0 {
		mean = float64(t.sum.Load()) / float64(n) / float64(ms)
	}
	return max(t.least.Load()-1, 0) / ms, mean, t.most.Load() / ms
}
