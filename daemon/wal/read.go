package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func (l *Log) load(name string) ([]byte, error) { return os.ReadFile(filepath.Join(l.dir, name)) }

// read takes up the log from its newest base on, or from its first segment where it has none; load returns the content of a file.
func (l *Log) read(fs files, load func(name string) ([]byte, error)) (found Recovered, err error) {
	first := uint64(1)
	var from header
	if n := len(fs.bases); n > 0 {
		first = fs.bases[n-1]
		name := baseName(first)
		b, err := load(name)
		if err != nil {
			return found, err
		}
		if from, found.Snapshot, found.Records, err = decodeBase(b); err == nil && from.number != first {
			err = errors.New("offset 0: this base is not of this log")
		}
		if err != nil {
			return found, fmt.Errorf("%s: %w", filepath.Join(l.dir, name), err)
		}
	}
	numbers := fs.segments
	for len(numbers) > 0 && numbers[0] < first {
		numbers = numbers[1:]
	}
	if len(numbers) == 0 {
		return found, fmt.Errorf("%s: this segment is missing", filepath.Join(l.dir, segmentName(first)))
	}
	for i, n := range numbers {
		name := filepath.Join(l.dir, segmentName(n))
		b, err := load(segmentName(n))
		if err != nil {
			return found, err
		}
		h, err := decodeHeader(b)
		if err != nil {
			return found, fmt.Errorf("%s: %w", name, err)
		}
		if l.number = first + uint64(i); n != l.number {
			return found, fmt.Errorf("%s: segment %d before it is missing", name, l.number)
		}
		if i == 0 {
			l.salt, l.chain = h.salt, chain{seq: 1}
			if from.base {
				l.salt, l.chain = from.salt, from.chain
			}
		}
		if h.base || h.number != n || h.salt != l.salt {
			return found, fmt.Errorf("%s: offset 0: this segment is not of this log", name)
		}
		if h.chain != l.chain {
			return found, fmt.Errorf("%s: offset 0: it begins with frame %d, but what is before it ends with frame %d", name, h.chain.seq, l.chain.seq-1)
		}
		if err := l.scan(b, i == len(numbers)-1, &found); err != nil {
			return found, fmt.Errorf("%s: %w", name, err)
		}
	}
	found.Segments = len(numbers)
	return found, nil
}

// scan takes up the frames of one segment.
func (l *Log) scan(data []byte, last bool, found *Recovered) error {
	l.offset = headerSize
	for {
		rest := data[l.offset:]
		f, ok := decodeFrame(rest, l.salt, l.number)
		if !ok || f.body == nil || f.seq != l.chain.seq || f.last != l.chain.last {
			return l.end(rest, f, ok, last, found)
		}
		records, err := decodeRecords(f.body)
		if err != nil {
			return fmt.Errorf("offset %d: %w", l.offset, err)
		}
		found.Records = append(found.Records, records...)
		l.chain = chain{l.chain.seq + 1, f.sum}
		l.offset += int64(f.length)
	}
}

// end judges what stands where the next frame should begin: nothing, a torn frame, or damage. f and ok are what decodeFrame made of it.
func (l *Log) end(rest []byte, f frame, ok, mayTear bool, found *Recovered) error {
	if zero(rest) {
		return nil
	}
	if !mayTear {
		return fmt.Errorf("offset %d: frame %d is damaged", l.offset, l.chain.seq)
	}
	if ok && f.body != nil {
		return fmt.Errorf("offset %d: frame %d stands where frame %d should", l.offset, f.seq, l.chain.seq)
	}
	if at, seq := l.later(rest); at > 0 {
		return fmt.Errorf("offset %d: frame %d is damaged: frame %d at offset %d was written after it", l.offset, l.chain.seq, seq, l.offset+at)
	}
	if !torn(rest, l.offset, f, ok) {
		return fmt.Errorf("offset %d: frame %d is damaged: no part of it is missing, but its checksum is wrong", l.offset, l.chain.seq)
	}
	n := int64(len(rest))
	for n > 0 && rest[n-1] == 0 {
		n--
	}
	found.Torn = max(n, 1)
	return nil
}

// later looks for a whole frame that was written after the unreadable one at the beginning of rest. A frame is written only when the one
// before it has been synced.
func (l *Log) later(rest []byte) (at int64, seq uint64) {
	for i := align; i+frameHeader <= len(rest); i += align {
		if f, ok := decodeFrame(rest[i:], l.salt, l.number); ok && f.seq > l.chain.seq {
			return int64(i), f.seq
		}
	}
	return 0, 0
}

// torn says whether the unreadable frame at the beginning of rest, which is at offset in its file, can be the trace of an interrupted write: some
// sector of it never reached the disk, and the segment was all zeros before. Where the frame's header is unreadable too, only the header
// can tell.
func torn(rest []byte, offset int64, f frame, ok bool) bool {
	length := frameHeader
	if ok {
		length = f.length
	}
	if length > len(rest) {
		return true
	}
	for at := 0; at < length; {
		next := min(length, at+sector-int((offset+int64(at))%sector))
		if zero(rest[at:next]) {
			return true
		}
		at = next
	}
	return false
}
