package sim

// disk of a node: what is durable, and what has been written and not synced yet.
type disk struct {
	snapshot []byte
	log      [][]byte
	unsynced [][]byte // records
	pending  []write
	written  uint64 // writes ever made
	durable  uint64 // of them
}

// write is what one step logged, or what a machine logged together with a snapshot.
type write struct {
	snapshot []byte // nil: none
	records  int    // of unsynced
	last     uint64 // index of the machine's last entry that it makes durable
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
	}
	d.pending = d.pending[:copy(d.pending, d.pending[done:])]
	d.unsynced = d.unsynced[:copy(d.unsynced, d.unsynced[records:])]
	d.durable = upTo
	return last
}

func (d *disk) keep(w write, records [][]byte) {
	if w.snapshot != nil {
		d.snapshot = w.snapshot
		d.log = d.log[:0:0] // the machine that was made of it may still hold the old one
	}
	d.log = append(d.log, records...)
}

// crash loses what was not synced but for its oldest records, as many as survive: the next one was torn, and whoever reads the log cuts
// it there. A snapshot is there as a whole, with its records, or not at all.
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
	d.pending, d.unsynced = d.pending[:0], d.unsynced[:0]
	d.durable = d.written
}
