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

// Segments and bases are named by their number in hexadecimal; a base's is that of the first segment behind it. A file that is not finished yet has
// leftover behind its name.
const (
	suffix     = ".wal"
	baseSuffix = ".base"
	leftover   = ".new"
)

const (
	magic       = "assize\x00" // and the format in one byte
	format      = 2
	frameMagic  = 0xa551
	headerSize  = 64
	frameHeader = 32
	align       = 8
	sector      = 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func segmentName(n uint64) string { return fmt.Sprintf("%016x%s", n, suffix) }

func baseName(n uint64) string { return fmt.Sprintf("%016x%s", n, baseSuffix) }

// files of a log: numbers in ascending order, and the names of those that were not finished.
type files struct {
	segments, bases []uint64
	leftovers       []string
}

func list(dir string) (fs files, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fs, err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, suffix+leftover) || strings.HasSuffix(name, baseSuffix+leftover) {
			fs.leftovers = append(fs.leftovers, name)
			continue
		}
		stem, base := strings.CutSuffix(name, baseSuffix)
		if !base {
			var segment bool
			if stem, segment = strings.CutSuffix(name, suffix); !segment {
				continue
			}
		}
		n, err := strconv.ParseUint(stem, 16, 64)
		if err != nil || n == 0 || fmt.Sprintf("%016x", n) != stem || !e.Type().IsRegular() {
			return fs, fmt.Errorf("%s: no name of a file of a log", filepath.Join(dir, name))
		}
		if base {
			fs.bases = append(fs.bases, n)
		} else {
			fs.segments = append(fs.segments, n)
		}
	}
	slices.Sort(fs.segments)
	slices.Sort(fs.bases)
	return fs, nil
}

// header of a segment or a base: magic and format 8, number 8, kind 4, checksum of the frame before 4, salt 8, number of the first frame 8, of a base also the
// lengths of its state 8 and its tail 8, zero 4, checksum 4. The salt is the log's own, so that no file of another directory and no frame of another segment
// can pass for one of this.
type header struct {
	number      uint64
	base        bool
	salt        uint64
	chain       chain // of the first frame of the segment, or of the one behind the base
	state, tail uint64
}

func (h header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, format)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	var kind uint32
	if h.base {
		kind = 1
	}
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint32(b, h.chain.last)
	b = binary.LittleEndian.AppendUint64(b, h.salt)
	b = binary.LittleEndian.AppendUint64(b, h.chain.seq)
	b = binary.LittleEndian.AppendUint64(b, h.state)
	b = binary.LittleEndian.AppendUint64(b, h.tail)
	b = append(b, zeros[:headerSize-4-len(b)]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeHeader(b []byte) (h header, err error) {
	if len(b) < headerSize {
		return h, fmt.Errorf("offset 0: %d bytes are too few for a file of a log", len(b))
	}
	b = b[:headerSize]
	if string(b[:len(magic)]) != magic {
		return h, errors.New("offset 0: no file of a log")
	}
	if binary.LittleEndian.Uint32(b[headerSize-4:]) != crc32.Checksum(b[:headerSize-4], castagnoli) {
		return h, errors.New("offset 0: the header is damaged")
	}
	if got := b[len(magic)]; got != format {
		return h, fmt.Errorf("offset 0: a log of format %d; this program reads and writes format %d only", got, format)
	}
	return header{
		number: binary.LittleEndian.Uint64(b[8:]),
		base:   binary.LittleEndian.Uint32(b[16:]) == 1,
		salt:   binary.LittleEndian.Uint64(b[24:]),
		chain:  chain{binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint32(b[20:])},
		state:  binary.LittleEndian.Uint64(b[40:]),
		tail:   binary.LittleEndian.Uint64(b[48:]),
	}, nil
}

// encodeFrame appends a frame to b, its header still to be sealed. Layout of the header: magic 4, length of the body 4, seq 8, checksum
// of the frame before 4, of the body 4, of the header 4, zero 4. The body is the records, each behind its length; the frame is padded to 8 bytes.
func encodeFrame(b []byte, records [][]byte) ([]byte, error) {
	b = append(b, zeros[:frameHeader]...)
	total := 0
	for _, r := range records {
		total += len(r) + binary.MaxVarintLen32
	}
	if total > maxFrame-1024 {
		return nil, fmt.Errorf("%d bytes are too many for one frame", total)
	}
	b = appendRecords(b, records)
	binary.LittleEndian.PutUint32(b, frameMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHeader))
	return append(b, zeros[:padding(len(b))]...), nil
}

// appendRecords appends each record behind its length.
func appendRecords(b []byte, records [][]byte) []byte {
	for _, r := range records {
		b = binary.AppendUvarint(b, uint64(len(r)))
		b = append(b, r...)
	}
	return b
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
	seq    uint64
	last   uint32 // checksum of the frame before it
	sum    uint32 // of its header
	length int    // of the whole frame
	body   []byte
}

// decodeFrame reads the frame at the beginning of b. ok is false where its header cannot be trusted.
func decodeFrame(b []byte, salt, number uint64) (f frame, ok bool) {
	if len(b) < frameHeader {
		return f, false
	}
	f.sum = binary.LittleEndian.Uint32(b[24:])
	if binary.LittleEndian.Uint32(b) != frameMagic || binary.LittleEndian.Uint32(b[28:]) != 0 || f.sum != headerSum(b, salt, number) {
		return f, false
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
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

// decodeRecords of a frame's body or a base's tail, copied: a machine may keep them, and must not keep the whole file with them.
func decodeRecords(body []byte) (records [][]byte, err error) {
	body = slices.Clone(body)
	for len(body) > 0 {
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w) {
			return nil, errors.New("a record's length does not fit")
		}
		records = append(records, body[w:w+int(n):w+int(n)])
		body = body[w+int(n):]
	}
	return records, nil
}

func newSalt() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}
