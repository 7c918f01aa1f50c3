package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// snapshotFormat is the first byte of a snapshot.
const snapshotFormat = 1

// Snapshot of the state and the kept history. Equal stores give equal bytes.
func (s *Store) Snapshot() []byte { return s.AppendSnapshot(nil) }

// AppendSnapshot appends a Snapshot to b.
//
// An event is stored as what was there before it; what it put follows from the pairs of today, walking backwards.
func (s *Store) AppendSnapshot(b []byte) []byte {
	kept := s.past.kept()
	from := len(b)
	e := Encoder{B: slices.Grow(b, s.size(kept))}
	e.Byte(snapshotFormat)
	e.Int(s.revision)
	e.Int(s.past.oldest)
	e.Uint(uint64(len(s.live)))
	for it := range s.order.All() {
		e.pair(&it.KeyValue)
	}
	e.Uint(uint64(len(kept)))
	at := s.past.oldest
	for i := range kept {
		ev := &kept[i]
		e.Int(ev.now.Mod - at)
		at = ev.now.Mod
		e.Bytes(ev.now.Key)
		e.Bool(ev.before != nil)
		if b := ev.before; b != nil {
			e.Bytes(b.Value)
			e.Int(b.Create)
			e.Int(b.Mod)
			e.Int(b.Version)
		}
	}
	b = binary.LittleEndian.AppendUint64(e.B, Sum(0, e.B[from:]))
	s.written = len(b) - from
	return b
}

// size of a snapshot, so that it is allocated once: that of the last and some more, since to look at all pairs takes nearly as long as to write them.
func (s *Store) size(kept []event) int {
	if s.written > 0 {
		return s.written + s.written/8
	}
	size := 64
	for it := range s.order.All() {
		size += pairSize + len(it.Key) + len(it.Value)
	}
	for i := range kept {
		size += 8 + len(kept[i].now.Key)
		if before := kept[i].before; before != nil {
			size += pairSize + len(before.Value)
		}
	}
	return size
}

// RestoreStore makes a store from a snapshot. It keeps none of b. Bytes that no store has written give an error, and no store.
func RestoreStore(b []byte, keep int) (*Store, error) {
	body := len(b) - 8
	if body < 0 {
		return nil, fmt.Errorf("restore a store: %w", errShort)
	}
	if binary.LittleEndian.Uint64(b[body:]) != Sum(0, b[:body]) {
		return nil, errors.New("restore a store: the checksum does not match")
	}
	s := NewStore(keep)
	d := Decoder{rest: b[:body]}
	if d.Byte() != snapshotFormat {
		d.fail(errValue)
	}
	s.revision, s.past.oldest = d.Int(), d.Int()
	if s.past.oldest < 1 || s.revision < s.past.oldest {
		d.fail(errValue)
	}
	s.restoreLive(&d)
	s.restorePast(&d)
	err := d.Done()
	if err == nil {
		err = s.rewind()
	}
	if err != nil {
		return nil, fmt.Errorf("restore a store: %w", err)
	}
	s.past.forget(s.revision)
	return s, nil
}

func (s *Store) restoreLive(d *Decoder) {
	n := d.Count(5)
	s.live = make(map[string]*item, n)
	items := make([]item, n)
	var last []byte
	for i := range items {
		r := new(record)
		d.pair(&r.KeyValue)
		if len(r.Key) == 0 || bytes.Compare(r.Key, last) <= 0 || r.Create < 2 || r.Mod < r.Create || r.Mod > s.revision || r.Version < 1 {
			d.fail(errValue)
			return
		}
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		r.hash = digest(&r.KeyValue)
		s.hash += r.hash
		items[i] = item{r}
		s.live[string(r.Key)] = &items[i]
		s.order.Insert(&items[i])
		last = r.Key
	}
}

// restorePast reads the events. Their keys, revisions and predecessors only: rewind finds out what they put.
func (s *Store) restorePast(d *Decoder) {
	n := d.Count(3)
	s.past.events = make([]event, n)
	at := s.past.oldest
	for i := range s.past.events {
		at += d.Int()
		now := &record{KeyValue: KeyValue{Key: bytes.Clone(d.Bytes()), Mod: at}}
		e := event{now: now}
		if d.Bool() {
			b := KeyValue{Key: now.Key, Value: bytes.Clone(d.Bytes()), Create: d.Int(), Mod: d.Int(), Version: d.Int()}
			if b.Create < 2 || b.Mod < b.Create || b.Mod >= at || b.Version < 1 {
				d.fail(errValue)
			}
			e.before = &record{b, digest(&b)}
		}
		if len(now.Key) == 0 || at < s.past.oldest || at > s.revision || i > 0 && at < s.past.events[i-1].now.Mod {
			d.fail(errValue)
		}
		s.past.events[i] = e
		if d.err != nil {
			return
		}
	}
}

var errPast = errors.New("the history does not lead to the state")

// rewind walks from the live pairs back through the events, completes these, and checks that each follows from the one before.
func (s *Store) rewind() error {
	then := make(map[string]*record, len(s.past.events)) // what a key held at the revision reached; missing: what it holds today
	for i := len(s.past.events) - 1; i >= 0; i-- {
		e := &s.past.events[i]
		key := string(e.now.Key)
		r, known := then[key]
		if it := s.live[key]; !known && it != nil {
			r = it.record
		}
		then[key] = e.before
		switch {
		case r == nil && e.before == nil: // a delete of nothing makes no event
			return errPast
		case r == nil:
			e.deleted = true
			continue
		case r.Mod != e.now.Mod:
			return errPast
		case e.before == nil && (r.Create != r.Mod || r.Version != 1):
			return errPast
		case e.before != nil && (r.Create != e.before.Create || r.Version != e.before.Version+1):
			return errPast
		}
		e.now = r
	}
	return nil
}
