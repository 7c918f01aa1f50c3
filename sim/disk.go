package sim

import "slices"

// disk of a node: what is durable, and what has been written and not synced yet.
type disk struct {
	snapshot    []byte
	log         [][]byte // its tail, and the durable records since
	unsynced    [][]byte // records
	pending     []write
	written     uint64       // writes ever made
	durable     uint64       // of them
	checkpoints []checkpoint // that are not durable, oldest first
}

// write is what one step logged, or a snapshot that it installed, with its tail.
type write struct {
	snapshot []byte // nil: none
	records  int    // of unsynced
	last     uint64 // index of the machine's last entry that it makes durable
}

// checkpoint is on its way to the disk, beside all that is written meanwhile.
type checkpoint struct {
	snapshot []byte
	tail     [][]byte
	written  uint64 // writes that it stands for
	since    int    // how many records of the durable log it stands for, once all those writes are
	due      int64  // virtual time at which it is written out
}

func (d *disk) write(snapshot []byte, records [][]byte) {
	d.unsynced = append(d.unsynced, records...)
	d.pending = append(d.pending, write{snapshot: snapshot, records: len(records)})
	d.written++
}

// sync makes the oldest writes durable, up to the one of that number. last is the machine's last index then.
func (d *disk) sync(upTo uint64) (last uint64) {
	done, records := int(upTo-d.durable), 0
	for _, w := range d.pending[:done] {
		d.keep(w, d.unsynced[records:records+w.records])
		records += w.records
		last = w.last
		d.durable++
		for i := range d.checkpoints {
			if c := &d.checkpoints[i]; c.written == d.durable {
				c.since = len(d.log)
			}
		}
	}
	d.pending = d.pending[:copy(d.pending, d.pending[done:])]
	d.unsynced = d.unsynced[:copy(d.unsynced, d.unsynced[records:])]
	return last
}

func (d *disk) keep(w write, records [][]byte) {
	if w.snapshot != nil {
		d.snapshot = w.snapshot
		d.log = d.log[:0:0] // the machine that was made of it may still hold the old one
		// What was to replace the log of before would take it back.
		d.checkpoints = slices.DeleteFunc(d.checkpoints, func(c checkpoint) bool { return c.written <= d.durable })
	}
	d.log = append(d.log, records...)
}

// begin writing a checkpoint of all that has been written so far, to be there when it is due.
func (d *disk) begin(snapshot []byte, tail [][]byte, due int64) {
	d.checkpoints = append(d.checkpoints, checkpoint{snapshot, slices.Clone(tail), d.written, len(d.log), due})
}

// settle makes the newest checkpoint durable that is due, if the records that it stands for are: it takes their place, and that of older ones.
func (d *disk) settle(now int64) {
	for i := len(d.checkpoints) - 1; i >= 0; i-- {
		c := d.checkpoints[i]
		if c.due > now || c.written > d.durable {
			continue
		}
		d.snapshot = c.snapshot
		d.log = slices.Concat(c.tail, d.log[c.since:])
		d.checkpoints = slices.Delete(d.checkpoints, 0, i+1)
		for j := range d.checkpoints {
			d.checkpoints[j].since += len(c.tail) - c.since
		}
		return
	}
}

// crash loses what was not synced but for its oldest records, as many as survive: the next one was torn, and whoever reads the log cuts
// it there. An installed snapshot is there as a whole, with its tail, or not at all. A checkpoint that was on its way is lost.
func (d *disk) crash(survive int) {
	records := 0
	for _, w := range d.pending {
		n := min(w.records, survive-records)
		if n < w.records && w.snapshot != nil || n <= 0 {
			break
		}
		d.keep(w, d.unsynced[records:records+n])
		records += n
		if n < w.records {
			break
		}
	}
	d.pending, d.unsynced, d.checkpoints = d.pending[:0], d.unsynced[:0], nil
	d.durable = d.written
}
