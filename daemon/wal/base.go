package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// defaultChunk is what of a base is written at a time, and between two looks at whether it is still wanted. So many of them are synced together: an Append's
// sync, which may wait for all that is on its way to the disk, waits for no more.
const (
	defaultChunk = 256 << 10
	syncChunks   = 4
)

// base is a snapshot on its way to the disk: a header, the state, the tail's records each behind its length, and a checksum of these two.
type base struct {
	number uint64 // of the segment that follows it
	chain  chain
	state  []byte
	tail   [][]byte
}

var errAbandoned = errors.New("the base is not wanted any more")

// Checkpoint lets state, and tail behind it, take the place of all that was appended before, at some time or never: it is written beside what is appended from
// now on, and before it is there a crash finds what it would have found without it. One that is being written is finished first; of those that wait only
// the newest is. state is not to be changed any more. Where it cannot be written, failed is told, by another goroutine, and the log takes nothing more.
func (l *Log) Checkpoint(state []byte, tail [][]byte, failed func(error)) error {
	b, err := l.cut(state, tail)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting = b; !l.busy {
		l.busy = true
		l.beside.Go(func() {
			if err := l.writeBases(); err != nil {
				failed(err)
			}
		})
	}
	return nil
}

// Install makes state and tail durable in place of all that was appended before, at once or not at all.
func (l *Log) Install(state []byte, tail [][]byte) error {
	l.abandon()
	b, err := l.cut(state, tail)
	if err != nil {
		return err
	}
	return l.fail(l.write(b))
}

// cut begins a segment: what has been appended so far is what a base of now stands for.
func (l *Log) cut(state []byte, tail [][]byte) (*base, error) {
	if err := l.failure(); err != nil {
		return nil, err
	}
	if err := l.roll(); err != nil {
		return nil, l.fail(err)
	}
	return &base{l.number, l.chain, state, tail}, nil
}

// writeBases writes what waits until nothing does.
func (l *Log) writeBases() error {
	for {
		l.mu.Lock()
		b := l.waiting
		l.waiting, l.busy = nil, b != nil
		l.mu.Unlock()
		if b == nil {
			return nil
		}
		if err := l.write(b); err != nil && !errors.Is(err, errAbandoned) {
			err = l.fail(err)
			l.mu.Lock()
			l.busy = false
			l.mu.Unlock()
			return err
		}
	}
}

// abandon what is being written beside the log, and wait until nothing is.
func (l *Log) abandon() {
	l.mu.Lock()
	l.waiting = nil
	l.mu.Unlock()
	l.unwanted.Store(true)
	l.beside.Wait()
	l.unwanted.Store(false)
}

// write a base under another name, give it its own once it is on the disk, and then remove what it stands for.
func (l *Log) write(b *base) error {
	name := filepath.Join(l.dir, baseName(b.number))
	var f *os.File
	err := l.do("create base", func() (err error) {
		f, err = os.OpenFile(name+leftover, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		return err
	})
	if err != nil {
		return err
	}
	err = errors.Join(l.fill(f, b), f.Close())
	if errors.Is(err, errAbandoned) {
		if err := l.remove(baseName(b.number) + leftover); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if err := l.do("rename base", func() error { return os.Rename(name+leftover, name) }); err != nil {
		return err
	}
	if err := l.do("sync directory of base", func() error { return syncDir(l.dir) }); err != nil {
		return err
	}
	return l.removeBefore(b.number)
}

// fill a base's file.
func (l *Log) fill(f *os.File, b *base) error {
	tail := appendRecords(nil, b.tail)
	h := header{number: b.number, base: true, salt: l.salt, chain: b.chain, state: uint64(len(b.state)), tail: uint64(len(tail))}
	head := h.encode()
	size := int64(len(head)+len(b.state)+len(tail)) + crc32.Size
	if err := l.do("preallocate base", func() error { return preallocate(f, size) }); err != nil {
		return err
	}
	at, unsynced, sum := int64(0), 0, uint32(0)
	for _, part := range [][]byte{head, b.state, tail} {
		for len(part) > 0 {
			if l.unwanted.Load() {
				return errAbandoned
			}
			chunk := part[:min(len(part), l.options.chunk)]
			part = part[len(chunk):]
			if err := l.do("write base", func() error { return writeAt(f, chunk, at) }); err != nil {
				return err
			}
			sum = crc32.Update(sum, castagnoli, chunk)
			at += int64(len(chunk))
			if unsynced++; unsynced == syncChunks {
				unsynced = 0
				if err := l.do("sync base", func() error { return datasync(f) }); err != nil {
					return err
				}
			}
		}
	}
	last := binary.LittleEndian.AppendUint32(nil, sum)
	if err := l.do("write base", func() error { return writeAt(f, last, at) }); err != nil {
		return err
	}
	return l.do("sync base", f.Sync)
}

// removeBefore removes the files that a base stands for. The oldest segment goes first: without the base the rest could not pass for a log.
func (l *Log) removeBefore(number uint64) error {
	fs, err := list(l.dir)
	if err != nil {
		return err
	}
	for _, n := range fs.segments {
		if n < number {
			if err := l.remove(segmentName(n)); err != nil {
				return err
			}
		}
	}
	for _, n := range fs.bases {
		if n < number {
			if err := l.remove(baseName(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeBase reads a whole base. What it returns as the state is part of b.
func decodeBase(b []byte) (h header, state []byte, tail [][]byte, err error) {
	if h, err = decodeHeader(b); err != nil {
		return h, nil, nil, err
	}
	body := uint64(len(b) - headerSize)
	if !h.base || body < crc32.Size || h.state > body-crc32.Size || h.tail != body-crc32.Size-h.state {
		return h, nil, nil, fmt.Errorf("offset %d: %d bytes are not what the base should hold", headerSize, body)
	}
	end := len(b) - crc32.Size
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return h, nil, nil, fmt.Errorf("offset %d: the base is damaged", headerSize)
	}
	at := headerSize + int(h.state)
	if tail, err = decodeRecords(b[at:end]); err != nil {
		return h, nil, nil, fmt.Errorf("offset %d: %w", at, err)
	}
	return h, b[headerSize:at:at], tail, nil
}
