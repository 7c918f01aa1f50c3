package daemon

import (
	"slices"
	"sync"

	"assize/machine"
)

// The owner waits when more than this has been stepped and is not yet durable.
const (
	aheadBytes  = 32 << 20
	aheadEvents = 16 << 10
)

// disk is where effects become durable. One goroutine at a time.
type disk interface {
	Append(snapshot []byte, records [][]byte) error
}

// effects of a batch of steps, in their order.
type effects struct {
	snapshot []byte
	records  [][]byte
	send     []machine.Message
	reply    []machine.Reply
	status   machine.Status // after the last step
	report   func()         // tells whoever has asked; nil: nobody has
	bytes    int
	events   int
}

func (e *effects) add(x machine.Effects) {
	if x.Snapshot != nil {
		// It replaces what the steps before it have logged.
		e.snapshot = x.Snapshot
		clear(e.records)
		e.records = e.records[:0]
		e.bytes += len(x.Snapshot)
	}
	for _, r := range x.Log {
		e.bytes += len(r)
	}
	for i := range x.Send {
		e.bytes += len(x.Send[i].Body)
	}
	e.records = append(e.records, x.Log...)
	e.send = append(e.send, x.Send...)
	e.reply = append(e.reply, x.Reply...)
}

func (e *effects) durable() bool { return e.snapshot != nil || len(e.records) > 0 }

func (e *effects) reset() {
	clear(e.records)
	clear(e.send)
	clear(e.reply)
	*e = effects{records: e.records[:0], send: e.send[:0], reply: e.reply[:0]}
}

// outlet makes effects durable and releases them in the order in which they were put in. While one batch is being written the owner steps the
// next; all that has come meanwhile is written with one sync. Effects that need no disk do not wait for one, unless others before them do: a message
// that tells of a term must not overtake the record of that term. Early messages need not wait either, but for others to the same node.
type outlet struct {
	disk    disk
	counts  *counts
	release func(*effects)
	send    func(machine.Message)

	mu      sync.Mutex
	changed *sync.Cond
	queue   []*effects
	bytes   int  // of the queue
	events  int  // of the queue
	writing bool // what was in the queue before is being written or released
	closed  bool
	err     error
	free    []*effects
}

func newOutlet(d disk, n *counts, release func(*effects), send func(machine.Message)) *outlet {
	o := &outlet{disk: d, counts: n, release: release, send: send}
	o.changed = sync.NewCond(&o.mu)
	return o
}

// blank returns effects to fill.
func (o *outlet) blank() *effects {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.free); n > 0 {
		e := o.free[n-1]
		o.free = o.free[:n-1]
		return e
	}
	return new(effects)
}

// put passes on the effects of the owner's last batch. It waits where too much is on its way. The error is that of the disk.
func (o *outlet) put(e *effects) error {
	o.mu.Lock()
	for (o.bytes > aheadBytes || o.events > aheadEvents) && o.err == nil {
		o.changed.Wait()
	}
	if o.err != nil {
		o.mu.Unlock()
		return o.err
	}
	if e.durable() || o.writing || len(o.queue) > 0 {
		o.queue = append(o.queue, e)
		o.bytes += e.bytes
		o.events += e.events
		o.mu.Unlock()
		o.changed.Broadcast()
		return nil
	}
	// Only the owner puts something into the queue, so it stays empty until we return.
	o.mu.Unlock()
	o.release(e)
	o.mu.Lock()
	o.recycle(e)
	o.mu.Unlock()
	return nil
}

// recycle keeps e for later. Under mu.
func (o *outlet) recycle(e *effects) {
	const spares, most = 4, 4096
	if len(o.free) < spares && cap(e.records) <= most && cap(e.send) <= most {
		e.reset()
		o.free = append(o.free, e)
	}
}

// close ends run when what is in the queue has been written and released.
func (o *outlet) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.changed.Broadcast()
}

// run writes and releases until close, or until the disk fails: then nothing more goes out.
func (o *outlet) run() error {
	var batch []*effects
	for {
		o.mu.Lock()
		for _, e := range batch {
			o.recycle(e)
		}
		clear(batch)
		o.writing = false
		for len(o.queue) == 0 && !o.closed {
			o.changed.Wait()
		}
		if len(o.queue) == 0 {
			o.mu.Unlock()
			return nil
		}
		batch, o.queue = o.queue, batch[:0]
		o.bytes, o.events, o.writing = 0, 0, true
		o.mu.Unlock()
		o.changed.Broadcast()
		o.hasten(batch)
		if err := o.write(batch); err != nil {
			o.mu.Lock()
			o.err = err
			o.mu.Unlock()
			o.changed.Broadcast()
			return err
		}
		for _, e := range batch {
			o.release(e)
		}
	}
}

// hasten sends what is early, and takes it out of the effects. All before the batch has been released.
func (o *outlet) hasten(batch []*effects) {
	var waits []int // nodes for which an earlier message waits
	for _, e := range batch {
		e.send = slices.DeleteFunc(e.send, func(m machine.Message) bool {
			if m.Early && !slices.Contains(waits, m.To) {
				o.send(m)
				return true
			}
			if !slices.Contains(waits, m.To) {
				waits = append(waits, m.To)
			}
			return false
		})
	}
}

// write makes a sequence of effects durable with one sync.
func (o *outlet) write(batch []*effects) error {
	var snapshot []byte
	var records [][]byte
	for _, e := range batch {
		if e.snapshot != nil {
			snapshot, records = e.snapshot, nil
		}
		records = append(records, e.records...)
	}
	if snapshot == nil && len(records) == 0 {
		return nil
	}
	o.counts.syncs.Add(1)
	o.counts.records.Add(uint64(len(records)))
	if snapshot != nil {
		o.counts.snapshots.Add(1)
	}
	return o.disk.Append(snapshot, records)
}
