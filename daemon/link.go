package daemon

import (
	"bufio"
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	dialBound    = 500 * time.Millisecond
	writeBound   = 2 * time.Second // for each piece, so that a large snapshot over a slow link gets through
	writePiece   = 256 << 10
	leastBackoff = 10 * time.Millisecond
	mostBackoff  = 200 * time.Millisecond
	steady       = time.Second // a connection that has lasted so long has been a good one
	// settled is when a peer counts as reached: what stands in front of its port may take a connection only to close it.
	settled = 300 * time.Millisecond

	queueMessages = 4096
	queueBytes    = 64 << 20
)

// link carries this node's messages to one peer.
type link struct {
	transport *transport
	id        int
	wake      chan struct{} // has a token where there may be something to send

	mu    sync.Mutex
	queue [][]byte
	bytes int
	up    bool
}

// put queues a message. Where the queue is full the older half goes: what is newest is what the peer can use after a cut. A message that is larger than the
// bound travels alone.
func (l *link) put(body []byte) {
	l.mu.Lock()
	if len(l.queue) >= queueMessages || l.bytes+len(body) > queueBytes && len(l.queue) > 0 {
		n := (len(l.queue) + 1) / 2
		for _, b := range l.queue[:n] {
			l.bytes -= len(b)
		}
		left := copy(l.queue, l.queue[n:])
		clear(l.queue[left:])
		l.queue = l.queue[:left]
		l.transport.counts.dropped.Add(uint64(n))
	}
	l.queue = append(l.queue, body)
	l.bytes += len(body)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take moves the queue into the empty spare.
func (l *link) take(spare [][]byte) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.queue
	l.queue, l.bytes = spare, 0
	return out
}

// run dials, sends, and dials again, until ctx ends.
func (l *link) run(ctx context.Context) {
	backoff := leastBackoff
	for ctx.Err() == nil {
		address := l.transport.book.address(l.id)
		if address == "" {
			// Nobody knows where the peer is. The next message to it is a reason to look again, and what waits meanwhile is lost.
			select {
			case <-ctx.Done():
			case <-l.wake:
				l.lose()
			}
			pause(ctx, leastBackoff)
			continue
		}
		began := time.Now()
		err := l.connect(ctx, address)
		if ctx.Err() != nil {
			return
		}
		l.tell(false, "error", err)
		l.transport.book.suspect()
		if time.Since(began) >= steady {
			backoff = leastBackoff
		}
		pause(ctx, backoff/2+rand.N(backoff/2))
		backoff = min(2*backoff, mostBackoff)
	}
}

func (l *link) lose() {
	l.transport.counts.dropped.Add(uint64(len(l.take(nil))))
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// tell the journal of a change.
func (l *link) tell(up bool, more ...any) {
	l.mu.Lock()
	changed := l.up != up
	l.up = up
	l.mu.Unlock()
	if changed {
		event := "peer-down"
		if up {
			event = "peer-up"
		}
		l.transport.journal.line(event, append([]any{"id", l.transport.self, "peer", l.id}, more...)...)
	}
}

// connect sends over one connection until it breaks.
func (l *link) connect(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: dialBound, KeepAliveConfig: keepAlive, Control: control}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	context.AfterFunc(ctx, func() { conn.Close() })
	// The other side never says anything: whatever comes is the end, and tells us of it when there is nothing to write.
	l.transport.work.Go(func() {
		_, err := conn.Read(make([]byte, 1))
		if err == nil {
			err = errTalks
		}
		cancel(err)
	})
	w := bufio.NewWriterSize(pieces{conn, &l.transport.counts.sentBytes}, 64<<10)
	first := hello{cluster: l.transport.hash, from: uint64(l.transport.self), to: uint64(l.id)}
	if err := writeFrame(w, first.encode()); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	up := time.AfterFunc(settled, func() { l.tell(true, "address", address) })
	defer up.Stop()
	if err := l.pump(ctx, w); err != nil && ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// pump writes what is queued, and flushes when nothing is.
func (l *link) pump(ctx context.Context, w *bufio.Writer) error {
	var batch [][]byte
	for {
		clear(batch)
		batch = l.take(batch[:0])
		if len(batch) == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-l.wake:
			}
			continue
		}
		for _, body := range batch {
			if err := writeFrame(w, body); err != nil {
				return err
			}
		}
		l.transport.counts.sent.Add(uint64(len(batch)))
	}
}

func writeFrame(w *bufio.Writer, body []byte) error {
	h := frameHead(body)
	if _, err := w.Write(h[:]); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}
