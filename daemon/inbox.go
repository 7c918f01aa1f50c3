package daemon

import (
	"sync"

	"assize/machine"
)

// Peers' messages that wait for the owner; a reader waits where there are more.
const (
	inboxEvents = 8192
	inboxBytes  = 64 << 20
)

// inbox holds what has arrived and was not yet stepped.
type inbox struct {
	filled chan struct{} // has a token where there may be something

	mu     sync.Mutex
	space  *sync.Cond
	events []machine.Event
	bytes  int // of messages
	asked  int // bytes of requests
	closed bool
}

func newInbox() *inbox {
	b := &inbox{filled: make(chan struct{}, 1)}
	b.space = sync.NewCond(&b.mu)
	return b
}

// put never waits: requests are bounded where they come from.
func (b *inbox) put(e machine.Event) {
	b.mu.Lock()
	b.events = append(b.events, e)
	if e.Request != nil {
		b.asked += len(e.Request.Body)
	}
	b.mu.Unlock()
	b.again()
}

// putMessage waits for space. False: the node is stopping.
func (b *inbox) putMessage(m *machine.Message) bool {
	b.mu.Lock()
	for (len(b.events) >= inboxEvents || b.bytes >= inboxBytes) && !b.closed {
		b.space.Wait()
	}
	closed := b.closed
	if !closed {
		b.events = append(b.events, machine.Event{Message: m})
		b.bytes += len(m.Body)
	}
	b.mu.Unlock()
	b.again()
	return !closed
}

// await space for a request. False: the node is stopping.
func (b *inbox) await() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.asked >= inboxBytes && !b.closed {
		b.space.Wait()
	}
	return !b.closed
}

// again makes the owner look once more.
func (b *inbox) again() {
	select {
	case b.filled <- struct{}{}:
	default:
	}
}

// take appends at most n events to batch, in the order of their arrival; more tells that some are left.
func (b *inbox) take(batch []machine.Event, n int) (_ []machine.Event, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.events))
	for _, e := range b.events[:n] {
		if e.Message != nil {
			b.bytes -= len(e.Message.Body)
		}
		if e.Request != nil {
			b.asked -= len(e.Request.Body)
		}
	}
	batch = append(batch, b.events[:n]...)
	left := copy(b.events, b.events[n:])
	clear(b.events[left:])
	b.events = b.events[:left]
	b.space.Broadcast()
	return batch, left > 0
}

// close lets go of whoever waits for space.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.space.Broadcast()
}
