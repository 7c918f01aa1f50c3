// Package wal is a node's write-ahead log: what Append or Install was given is there after any crash once they have returned.
//
// A directory holds numbered segments. A segment is a header and then frames, one frame for each Append, so that a batch is on the disk wholly
// or not at all. Every frame has a checksum, a number, and the checksum of the frame before it; a segment's header continues that chain, so that
// neither a lost segment nor an old one's left-over tail can pass for the log. Segments are preallocated, so that a sync writes data and no new
// file size.
//
// A snapshot ends a segment, and becomes a file of its own, called a base, that has the number of the segment behind it and continues the chain up to there. The
// base is written under another name, synced, and renamed: it is there completely or not at all. What is older is removed only then; until
// then the older base and all segments since are the log. Install waits for all that. Checkpoint does not: its base is written by another goroutine
// beside what is appended meanwhile, in parts, each synced before the next is written, so that no Append's sync waits behind the whole of it.
//
// Reading promises a prefix or an error. The one frame that was being written when the node died may be torn: it is cut, since nobody was
// told of it. Anything else that cannot be read is an error naming file and offset: a frame after the unreadable one proves that the
// unreadable one had been synced, and so does an unreadable last frame that has no hole in it, for a disk writes sectors wholly or not at all.
// What cannot be told from a torn write is damage that zeroes a sector of the very last frame.
package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// DefaultSegment is the size of a segment in bytes: some seconds of a busy node.
const DefaultSegment = 16 << 20

// growth is what a segment is preallocated with at a time. Not all of it at once: a run of many short-lived nodes keeps their directories.
const growth = 1 << 20

// maxFrame bounds what one Append takes; the length of a frame has 32 bits.
const maxFrame = 1<<31 - 1

// Options of a log; a zero means the default.
type Options struct {
	Segment int64 // bytes of a segment

	// step is told the name of each thing done to the disk just before it is done. Where it returns an error the log stops there
	// and touches the disk no more, as a crash would. It is called by two goroutines.
	step func(what string) error
	// chunk is how many bytes of a base are written at a time.
	chunk int
}

// Recovered is what Open has found.
type Recovered struct {
	Snapshot []byte   // nil: none
	Records  [][]byte // its tail, and those appended after it, oldest first
	Segments int
	Torn     int64 // bytes of a torn last frame that were cut
}

// Log is an open log. One goroutine at a time; that which writes checkpoints is its own.
type Log struct {
	dir     string
	options Options
	file    *os.File // the last segment
	number  uint64   // of the last segment
	salt    uint64
	offset  int64 // where the next frame goes
	size    int64 // preallocated
	chain   chain
	buffer  []byte

	mu       sync.Mutex
	err      error // the first failure; a log that has failed stays so
	waiting  *base // to be written next; nil: none
	busy     bool  // a goroutine writes bases, and will look for one that waits
	beside   sync.WaitGroup
	unwanted atomic.Bool // the base that is being written is
}

// chain is where the sequence of frames stands.
type chain struct {
	seq  uint64 // of the next frame, from 1
	last uint32 // header checksum of the frame before it
}

// Open reads the log in dir, makes it ready for Append, and creates it where there is none. An error means that nothing has been started and
// nothing but left-overs of an interrupted Append has been removed.
func Open(dir string, o Options) (*Log, Recovered, error) {
	if o.Segment == 0 {
		o.Segment = DefaultSegment
	}
	if o.step == nil {
		o.step = func(string) error { return nil }
	}
	if o.chunk == 0 {
		o.chunk = defaultChunk
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, Recovered{}, err
	}
	l := &Log{dir: dir, options: o}
	fs, err := list(dir)
	if err != nil {
		return nil, Recovered{}, err
	}
	for _, name := range fs.leftovers {
		if err := l.remove(name); err != nil {
			return nil, Recovered{}, err
		}
	}
	var found Recovered
	if len(fs.segments)+len(fs.bases) == 0 {
		err = l.create()
	} else if found, err = l.read(fs, l.load); err == nil {
		err = l.reopen(found.Torn > 0, l.number+1-uint64(found.Segments))
	}
	if err != nil {
		if l.file != nil {
			l.file.Close()
		}
		return nil, Recovered{}, err
	}
	return l, found, nil
}

// create makes the first segment of a new log.
func (l *Log) create() error {
	salt, err := newSalt()
	if err != nil {
		return err
	}
	l.salt, l.chain = salt, chain{seq: 1}
	return l.roll()
}

// reopen makes the last segment ready to be written at l.offset, and removes what is before the first.
func (l *Log) reopen(torn bool, first uint64) error {
	name := filepath.Join(l.dir, segmentName(l.number))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	l.file = f
	if torn {
		// What is left of a torn frame must go before anything is written over a part of it: its rest would look like damage.
		if err := l.do("cut torn tail", func() error { return f.Truncate(l.offset) }); err != nil {
			return l.fail(err)
		}
	}
	if err := l.grow(f, l.offset); err != nil {
		return l.fail(err)
	}
	if err := l.do("sync", f.Sync); err != nil {
		return l.fail(err)
	}
	return l.fail(l.removeBefore(first))
}

// Append makes records durable, together or not at all. After an error the log takes nothing more: what a failed sync has left on the disk is not
// known.
func (l *Log) Append(records [][]byte) error {
	if err := l.failure(); err != nil {
		return err
	}
	if len(records) == 0 {
		return nil
	}
	frame, err := encodeFrame(l.buffer[:0], records)
	if err != nil {
		return l.fail(err)
	}
	l.buffer = frame
	if cap(l.buffer) > 8<<20 {
		l.buffer = nil
	}
	if l.offset+int64(len(frame)) > l.options.Segment && l.offset > headerSize {
		if err := l.roll(); err != nil {
			return l.fail(err)
		}
	}
	if end := l.offset + int64(len(frame)); end > l.size {
		if err := l.grow(l.file, end); err != nil {
			return l.fail(err)
		}
	}
	last := sealFrame(frame, l.salt, l.number, l.chain)
	if err := l.do("write frame", func() error { return writeAt(l.file, frame, l.offset) }); err != nil {
		return l.fail(err)
	}
	if err := l.do("sync", func() error { return datasync(l.file) }); err != nil {
		return l.fail(err)
	}
	l.offset += int64(len(frame))
	l.chain = chain{l.chain.seq + 1, last}
	return nil
}

// grow preallocates a segment that is written up to end.
func (l *Log) grow(f *os.File, end int64) error {
	l.size = max(end, min(end+growth, l.options.Segment))
	return l.do("preallocate", func() error { return preallocate(f, l.size) })
}

// roll writes a new segment under another name, gives it its own once it is on the disk, and goes on in it.
func (l *Log) roll() error {
	l.number++
	name := filepath.Join(l.dir, segmentName(l.number))
	var f *os.File
	err := l.do("create", func() (err error) {
		f, err = os.OpenFile(name+leftover, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		return err
	})
	if err != nil {
		return err
	}
	head := header{number: l.number, salt: l.salt, chain: l.chain}.encode()
	if err := l.grow(f, headerSize); err != nil {
		return errors.Join(err, f.Close())
	}
	for _, s := range []struct {
		what string
		do   func() error
	}{
		{"write segment", func() error { return writeAt(f, head, 0) }},
		{"sync segment", f.Sync},
		{"rename", func() error { return os.Rename(name+leftover, name) }},
		{"sync directory", func() error { return syncDir(l.dir) }},
	} {
		if err := l.do(s.what, s.do); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	l.file, l.offset = f, headerSize
	return nil
}

// Close ends the log and gives back what was preallocated. A checkpoint that is being written is abandoned. Idempotent.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	l.abandon()
	var err error
	if l.failure() == nil {
		err = l.do("give back", func() error { return l.file.Truncate(l.offset) })
	}
	err = errors.Join(err, l.file.Close())
	l.file = nil
	l.fail(errors.New("the log is closed"))
	return err
}

// fail remembers the first error.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("log %s: %w", l.dir, err)
		return l.err
	}
	return err
}

func (l *Log) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *Log) do(what string, f func() error) error {
	if err := l.options.step(what); err != nil {
		return err
	}
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (l *Log) remove(name string) error {
	return l.do("remove", func() error { return os.Remove(filepath.Join(l.dir, name)) })
}

func zero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

var zeros [4096]byte
