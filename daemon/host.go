package daemon

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"assize/daemon/etcd"
	"assize/machine"
)

// batchEvents are stepped at most before their effects go on their way.
const batchEvents = 1024

// host is a node at work. Its owner alone steps the machine; its outlet makes effects durable and lets them out.
type host struct {
	config    Config
	machine   machine.Machine // the owner's
	journal   *journal
	told      machine.Status // the owner's: what the journal has told of
	recorder  *recorder      // the owner's; nil: nothing is recorded
	outlet    *outlet
	inbox     *inbox
	desk      *desk
	transport *transport
	counts    *counts
	work      sync.WaitGroup

	status   atomic.Pointer[machine.Status]
	revision revision

	reports chan question // to the owner
	ended   chan struct{} // closed when the owner steps no more

	once   sync.Once
	failed chan struct{} // closed by the first failure
	err    error
}

func newHost(c Config, m machine.Machine, d disk, j *journal) *host {
	n := new(counts)
	h := &host{config: c, machine: m, journal: j, counts: n, inbox: newInbox(), failed: make(chan struct{}), reports: make(chan question), ended: make(chan struct{})}
	h.desk = newDesk(c.Outstanding, h.inbox, n)
	h.transport = newTransport(c, h.inbox, n, j)
	h.outlet = newOutlet(d, n, h.release, h.transport.send)
	s := m.Status()
	h.status.Store(&s)
	h.revision.set(s.Revision)
	h.tell(s)
	return h
}

// own is the owner's loop: take what has arrived, read the clocks, step.
func (h *host) own(ctx context.Context) {
	ticker := time.NewTicker(h.config.Options.Tick)
	defer ticker.Stop()
	defer close(h.ended)
	var batch []machine.Event
	for {
		batch = batch[:0]
		more := false
		select {
		case <-ctx.Done():
			return
		case q := <-h.reports:
			if h.outlet.put(h.report(q)) != nil {
				return
			}
			continue
		case <-ticker.C:
			batch = append(batch, machine.Event{})
			batch, more = h.inbox.take(batch, batchEvents)
		case <-h.inbox.filled:
			batch, more = h.inbox.take(batch, batchEvents)
		}
		if more {
			h.inbox.again() // a tick that is due comes in between
		}
		if len(batch) == 0 {
			continue
		}
		if h.outlet.put(h.step(batch)) != nil {
			return // the disk has failed; writeOut tells
		}
		clear(batch)
	}
}

// step steps a batch. The clocks are read when all of it has arrived: a lease that is found valid then was valid after each request had come.
func (h *host) step(batch []machine.Event) *effects {
	wall, mono := h.config.Clock.Read()
	e := h.outlet.blank()
	for i := range batch {
		batch[i].Wall, batch[i].Mono = wall, mono
	}
	h.recorder.begin(batch)
	for i := range batch {
		x := h.machine.Step(batch[i])
		h.recorder.add(x)
		e.add(x)
		for _, a := range x.Accused {
			h.journal.seldom("accused", "node", a.Node, "why", a.Why)
		}
	}
	e.events = len(batch)
	e.status = h.machine.Status()
	h.recorder.end(e.status)
	h.tell(e.status)
	h.counts.batches.Add(1)
	h.counts.events.Add(uint64(len(batch)))
	return e
}

// release lets effects out that are durable. One goroutine at a time, in the order of the steps.
func (h *host) release(e *effects) {
	s := e.status
	h.status.Store(&s)
	for i := range e.send {
		h.transport.send(e.send[i])
	}
	h.revision.set(s.Revision)
	h.desk.answer(e.reply)
	if e.report != nil {
		e.report()
	}
}

// question for a report of the machine.
type question struct {
	whole  bool
	answer chan machine.Report
}

// report of the machine, on its way to whoever has asked: what has been logged so far, on which it may rest, goes before it.
func (h *host) report(q question) *effects {
	r := h.machine.(machine.Reporter).Report(q.whole)
	e := h.outlet.blank()
	e.status = h.machine.Status()
	e.report = func() { q.answer <- r }
	return e
}

// writeOut is the loop of the goroutine that writes to the disk.
func (h *host) writeOut() {
	if err := h.outlet.run(); err != nil {
		h.fail(err)
	}
}

// fail stops the node; the first error is the reason.
func (h *host) fail(err error) {
	h.once.Do(func() {
		h.err = err
		close(h.failed)
	})
}

// failure returns what has stopped the node, nil if nothing has.
func (h *host) failure() error {
	select {
	case <-h.failed:
		return h.err
	default:
		return nil
	}
}

var errStopping = errors.New("the connection has ended or the node is stopping")

// revision of the store, and who waits for the next.
type revision struct {
	mu    sync.Mutex
	value int64
	newer chan struct{} // nil: nobody has asked since value is what it is
}

func (r *revision) set(v int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v == r.value {
		return
	}
	r.value = v
	if r.newer != nil {
		close(r.newer)
		r.newer = nil
	}
}

func (r *revision) get() (int64, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newer == nil {
		r.newer = make(chan struct{})
	}
	return r.value, r.newer
}

// Host is the node behind a front end of either kind: one whose requests are Commands, each answered by its own Result, and one that passes on what its
// clients and the machine say to each other. All methods may be called at any time by anyone.
type Host interface {
	etcd.Host
	// Report is the machine's; ok is false where it gives none, or the node is stopping.
	Report(whole bool) (r machine.Report, ok bool)
	// Dir is where the node keeps its log and its snapshots.
	Dir() string
	// Open names a new client connection, as Connect does, to which the machine pushes: told gets what it says, one call after the other, in the
	// order in which the machine emitted it, and must neither block nor call the host: what a client is slow to read waits in the front end, which
	// bounds it. With close the connection is over once body, if not nil, has been passed on: nothing more is told, and Gone need not be called.
	// After Gone nothing is told.
	Open(told func(body []byte, close bool)) (conn uint64)
	// Send passes on what the client of an open connection says; the host keeps body. It blocks while too many bytes of requests wait for
	// the machine. The error is that the connection has ended, or the node is stopping.
	//
	// Nothing tells the host which request an answer answers: how many may be without one is for the front end to bound.
	Send(conn uint64, body []byte) error
}

var _ Host = (*host)(nil)

// Report asks the owner, between two batches, and waits until what it may rest on is durable.
func (h *host) Report(whole bool) (machine.Report, bool) {
	if _, able := h.machine.(machine.Reporter); !able {
		return machine.Report{}, false
	}
	q := question{whole, make(chan machine.Report, 1)}
	select {
	case h.reports <- q:
	case <-h.ended:
		return machine.Report{}, false
	}
	select {
	case r := <-q.answer:
		return r, true
	case <-h.ended:
		return machine.Report{}, false
	}
}

// Dir is where wal keeps its segments.
func (h *host) Dir() string { return logDir(h.config.Node) }

// Status, Clocks, Counters and Applied are etcd.Host's.

func (h *host) Status() machine.Status { return *h.status.Load() }

func (h *host) Clocks() (time.Time, time.Duration) { return h.config.Clock.Read() }

func (h *host) Counters() map[string]uint64 { return h.counts.values() }

func (h *host) Applied() (int64, <-chan struct{}) { return h.revision.get() }
