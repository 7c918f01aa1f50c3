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

// disk is where effects become durable, as a wal.Log has it. One goroutine at a time.
type disk interface {
	Append(records [][]byte) error
	Checkpoint(state []byte, tail [][]byte, failed func(error)) error
	Install(state []byte, tail [][]byte) error
}

// writes are what steps have logged.
type writes struct {
	records   [][]byte // to be appended, if the snapshot is not installed
	snapshot  []byte   // the newest; nil: none
	tail      [][]byte // of it, and all that was logged after it
	installed bool     // it is, or stands for one that was
}

func (w *writes) add(records [][]byte, snapshot []byte, tail [][]byte, installed bool) {
	switch {
	case snapshot != nil:
		clear(w.tail)
		w.snapshot, w.tail = snapshot, append(w.tail[:0], tail...)
		w.installed = w.installed || installed
	case w.snapshot != nil:
		w.tail = append(w.tail, records...)
	}
	if w.installed {
		clear(w.records)
		w.records = w.records[:0]
		return
	}
	w.records = append(w.records, records...)
}

func (w *writes) none() bool { return w.snapshot == nil && len(w.records) == 0 }

func (w *writes) reset() {
	clear(w.records)
	clear(w.tail)
	*w = writes{records: w.records[:0], tail: w.tail[:0]}
}

// effects of a batch of steps, in their order.
type effects struct {
	writes
	send   []machine.Message
	reply  []machine.Reply
	status machine.Status // after the last step
	report func()         // tells whoever has asked; nil: nobody has
	bytes  int            // that wait for the disk
	events int
}

func (e *effects) add(x machine.Effects) {
	e.writes.add(x.Log, x.Snapshot, x.Tail, x.Installed)
	if x.Installed {
		e.bytes += len(x.Snapshot)
	}
	for _, r := range x.Log {
		e.bytes += len(r)
	}
	for i := range x.Send {
		e.bytes += len(x.Send[i].Body)
	}
	e.send = append(e.send, x.Send...)
	e.reply = append(e.reply, x.Reply...)
}

func (e *effects) reset() {
	e.writes.reset()
	clear(e.send)
	clear(e.reply)
	*e = effects{writes: e.writes, send: e.send[:0], reply: e.reply[:0]}
}

// outlet makes effects durable and releases them in the order in which they were put in. While one batch is being written the owner steps the
// next; all that has come meanwhile is written with one sync. Effects that need no disk do not wait for one, unless others before them do: a message
// that tells of a term must not overtake the record of that term. Early messages need not wait either, but for others to the same node. A checkpoint
// is begun when what was logged with it is durable and released, and nothing waits for it.
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
	pending writes // run's: what is being written
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
	if !e.none() || o.writing || len(o.queue) > 0 {
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
	if len(o.free) < spares && cap(e.records) <= most && cap(e.tail) <= most && cap(e.send) <= most {
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

// fail tells of an error of the disk: nothing more goes out.
func (o *outlet) fail(err error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	o.mu.Unlock()
	o.changed.Broadcast()
}

// run writes and releases until close, or until the disk fails.
func (o *outlet) run() error {
	var batch []*effects
	for {
		o.mu.Lock()
		for _, e := range batch {
			o.recycle(e)
		}
		clear(batch)
		o.writing = false
		for len(o.queue) == 0 && !o.closed && o.err == nil {
			o.changed.Wait()
		}
		if err := o.err; err != nil {
			o.mu.Unlock()
			return err
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
			o.fail(err)
			continue
		}
		for _, e := range batch {
			o.release(e)
		}
		if err := o.checkpoint(); err != nil {
			o.fail(err)
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

// write makes a sequence of effects durable with one sync, all but a checkpoint.
func (o *outlet) write(batch []*effects) error {
	w := &o.pending
	w.reset()
	for _, e := range batch {
		w.add(e.records, e.snapshot, e.tail, e.installed)
	}
	if w.none() {
		return nil
	}
	if w.installed {
		o.counts.syncs.Add(1)
		o.counts.snapshots.Add(1)
		o.counts.records.Add(uint64(len(w.tail)))
		return o.disk.Install(w.snapshot, w.tail)
	}
	if len(w.records) == 0 {
		return nil
	}
	o.counts.syncs.Add(1)
	o.counts.records.Add(uint64(len(w.records)))
	return o.disk.Append(w.records)
}

// checkpoint begins the one of what has been written and released, if there is one. Whoever writes it keeps what is handed over.
func (o *outlet) checkpoint() error {
	w := &o.pending
	defer w.reset()
	if w.snapshot == nil || w.installed {
		return nil
	}
	o.counts.snapshots.Add(1)
	return o.disk.Checkpoint(w.snapshot, slices.Clone(w.tail), o.fail)
}
