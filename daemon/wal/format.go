package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Segments are named by their number in hexadecimal. A segment that is not finished yet has leftover behind its name.
const (
	suffix   = ".wal"
	leftover = ".new"
)

const (
	segmentMagic = "assize\x00\x01"
	frameMagic   = 0xa551
	withSnapshot = 1 << 16 // in the field of the magic: the first record is a snapshot
	headerSize   = 64
	frameHeader  = 32
	align        = 8
	sector       = 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func segmentName(n uint64) string { return fmt.Sprintf("%016x%s", n, suffix) }

// list returns the segments' numbers in ascending order and the files that an interrupted begin has left behind.
func list(dir string) (numbers []uint64, leftovers []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, suffix+leftover) {
			leftovers = append(leftovers, name)
			continue
		}
		stem, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(stem, 16, 64)
		if err != nil || n == 0 || segmentName(n) != name || !e.Type().IsRegular() {
			return nil, nil, fmt.Errorf("%s: no name of a segment", filepath.Join(dir, name))
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, leftovers, nil
}

// header of a segment: magic, number, flags, salt, chain, checksum. The salt is the log's own, so that no segment of another directory and no
// frame of another segment can pass for one of this.
type header struct {
	number uint64
	base   bool // nothing before this segment matters
	full   bool // its first frame was synced before the segment got its name
	salt   uint64
	chain  chain // of its first frame
}

func (h header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	var flags uint32
	if h.base {
		flags |= 1
	}
	if h.full {
		flags |= 2
	}
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint32(b, h.chain.last)
	b = binary.LittleEndian.AppendUint64(b, h.salt)
	b = binary.LittleEndian.AppendUint64(b, h.chain.seq)
	b = append(b, zeros[:headerSize-4-len(b)]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeHeader(b []byte) (h header, err error) {
	if len(b) < headerSize {
		return h, fmt.Errorf("offset 0: %d bytes are too few for a segment", len(b))
	}
	b = b[:headerSize]
	if string(b[:8]) != segmentMagic {
		return h, errors.New("offset 0: no segment of a log")
	}
	if binary.LittleEndian.Uint32(b[headerSize-4:]) != crc32.Checksum(b[:headerSize-4], castagnoli) {
		return h, errors.New("offset 0: the segment's header is damaged")
	}
	flags := binary.LittleEndian.Uint32(b[16:])
	return header{
		number: binary.LittleEndian.Uint64(b[8:]),
		base:   flags&1 != 0,
		full:   flags&2 != 0,
		salt:   binary.LittleEndian.Uint64(b[24:]),
		chain:  chain{binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint32(b[20:])},
	}, nil
}

// encodeFrame appends a frame to b, its header still to be sealed. Layout of the header: magic and flag 4, length of the body 4, seq 8, checksum
// of the frame before 4, of the body 4, of the header 4, zero 4. The body is the records, each behind its length; the frame is padded to 8 bytes.
func encodeFrame(b, snapshot []byte, records [][]byte) ([]byte, error) {
	b = append(b, zeros[:frameHeader]...)
	kind := uint32(frameMagic)
	total := len(snapshot)
	for _, r := range records {
		total += len(r) + binary.MaxVarintLen32
	}
	if total > maxFrame-1024 {
		return nil, fmt.Errorf("%d bytes are too many for one frame", total)
	}
	if snapshot != nil {
		kind |= withSnapshot
		b = binary.AppendUvarint(b, uint64(len(snapshot)))
		b = append(b, snapshot...)
	}
	for _, r := range records {
		b = binary.AppendUvarint(b, uint64(len(r)))
		b = append(b, r...)
	}
	binary.LittleEndian.PutUint32(b, kind)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHeader))
	return append(b, zeros[:padding(len(b))]...), nil
}

func padding(n int) int { return -n & (align - 1) }

// sealFrame fills in what depends on the frame's place in the log and returns the checksum that the next frame repeats.
func sealFrame(frame []byte, salt, number uint64, c chain) uint32 {
	body := frame[frameHeader : frameHeader+binary.LittleEndian.Uint32(frame[4:])]
	binary.LittleEndian.PutUint64(frame[8:], c.seq)
	binary.LittleEndian.PutUint32(frame[16:], c.last)
	binary.LittleEndian.PutUint32(frame[20:], crc32.Checksum(body, castagnoli))
	sum := headerSum(frame, salt, number)
	binary.LittleEndian.PutUint32(frame[24:], sum)
	return sum
}

func headerSum(frame []byte, salt, number uint64) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], salt)
	binary.LittleEndian.PutUint64(place[8:], number)
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, frame[:24])
}

// frame as it was found. body is nil where the frame's header can be read but not what follows.
type frame struct {
	snapshot bool
	seq      uint64
	last     uint32 // checksum of the frame before it
	sum      uint32 // of its header
	length   int    // of the whole frame
	body     []byte
}

// decodeFrame reads the frame at the beginning of b. ok is false where its header cannot be trusted.
func decodeFrame(b []byte, salt, number uint64) (f frame, ok bool) {
	if len(b) < frameHeader {
		return f, false
	}
	kind := binary.LittleEndian.Uint32(b)
	f.sum = binary.LittleEndian.Uint32(b[24:])
	if kind&^withSnapshot != frameMagic || binary.LittleEndian.Uint32(b[28:]) != 0 || f.sum != headerSum(b, salt, number) {
		return f, false
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	f.snapshot = kind&withSnapshot != 0
	f.seq = binary.LittleEndian.Uint64(b[8:])
	f.last = binary.LittleEndian.Uint32(b[16:])
	f.length = frameHeader + n + padding(n)
	if f.length > len(b) {
		return f, true
	}
	body := b[frameHeader : frameHeader+n]
	if crc32.Checksum(body, castagnoli) == binary.LittleEndian.Uint32(b[20:]) && zero(b[frameHeader+n:f.length]) {
		f.body = body[:n:n]
		if f.body == nil {
			f.body = []byte{}
		}
	}
	return f, true
}

// records of a frame's body, copied: a machine may keep them, and must not keep the whole segment with them.
func decodeBody(body []byte, snapshot bool) (snap []byte, records [][]byte, err error) {
	body = slices.Clone(body)
	for first := true; len(body) > 0; first = false {
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w) {
			return nil, nil, errors.New("a record's length does not fit its frame")
		}
		r := body[w : w+int(n) : w+int(n)]
		body = body[w+int(n):]
		if first && snapshot {
			snap = r
			continue
		}
		records = append(records, r)
	}
	if snapshot && snap == nil {
		return nil, nil, errors.New("a frame that should hold a snapshot is empty")
	}
	return snap, records, nil
}

func newSalt() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}
