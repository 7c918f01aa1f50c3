package daemon

import (
	"context"
	"net"
	"sync"

	"assize/machine"
)

// maxPeers bounds the links of a node: a machine that sends to more has gone mad.
const maxPeers = 1024

// transport carries messages between nodes. Each node dials every peer for what it sends itself; a connection carries messages one way, from the dialer,
// so that what stands in front of a peer's port can cut a single direction.
type transport struct {
	self    int
	hash    uint64
	inbox   *inbox
	counts  *counts
	journal *journal
	book    *book
	work    sync.WaitGroup
	ctx     context.Context // of the links; nil before start
	cancel  context.CancelFunc

	mu       sync.Mutex
	links    map[int]*link
	incoming map[net.Conn]*incoming
	accepted uint64
	stopped  bool
}

func newTransport(c Config, b *inbox, n *counts, j *journal) *transport {
	t := &transport{
		self: c.Node.ID, hash: clusterHash(c.Node.Cluster, c.Node.Target), inbox: b, counts: n, journal: j,
		book: newBook(c.Node.Dir, c.Node.Peers, j), links: map[int]*link{}, incoming: map[net.Conn]*incoming{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// start dials the peers that are known, so that the first messages need not wait.
func (t *transport) start() {
	for _, id := range t.book.known() {
		t.link(id)
	}
}

// send queues a message or drops it. It never waits.
func (t *transport) send(m machine.Message) {
	l := t.link(m.To)
	if l == nil || len(m.Body) > maxFrame {
		t.counts.dropped.Add(1)
		return
	}
	l.put(m.Body)
}

// link returns the link to a peer and makes it where there is none; nil where there can be none.
func (t *transport) link(id int) *link {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.links[id]
	if l == nil && id > 0 && id != t.self && len(t.links) < maxPeers && !t.stopped {
		l = &link{transport: t, id: id, wake: make(chan struct{}, 1)}
		t.links[id] = l
		t.work.Go(func() { l.run(t.ctx) })
	}
	return l
}

// stop ends all connections and waits for their goroutines. The inbox must be closed before.
func (t *transport) stop() {
	t.mu.Lock()
	t.stopped = true
	for c := range t.incoming {
		c.Close()
	}
	t.mu.Unlock()
	t.cancel()
	t.work.Wait()
}
