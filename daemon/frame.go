package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
)

// A frame is the length of its body, a checksum of length and body, and the body. The first of a connection is the hello.
const (
	frameHeader = 8
	maxFrame    = 256 << 20
	maxHello    = 256
	helloMagic  = "assize peer 1\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameHead returns the header of a frame with this body.
func frameHead(body []byte) (h [frameHeader]byte) {
	binary.LittleEndian.PutUint32(h[:], uint32(len(body)))
	binary.LittleEndian.PutUint32(h[4:], frameSum(h[:4], body))
	return h
}

func frameSum(length, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, body)
}

// readFrame returns the next body, of at most limit bytes. io.EOF only between two frames.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(h[:]))
	if n > limit {
		return nil, fmt.Errorf("a frame of %d bytes, %d are allowed", n, limit)
	}
	body, err := readBody(r, n)
	if err != nil {
		return nil, err
	}
	if frameSum(h[:4], body) != binary.LittleEndian.Uint32(h[4:]) {
		return nil, errors.New("the checksum of a frame is wrong")
	}
	return body, nil
}

// readBody takes memory as bytes come, not as the length claims.
func readBody(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	body := make([]byte, min(n, step))
	for done := 0; ; {
		m, err := io.ReadFull(r, body[done:])
		done += m
		switch {
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case done == n:
			return body, nil
		}
		grown := make([]byte, min(n, 2*len(body)))
		copy(grown, body)
		body = grown
	}
}

// hello says who speaks to whom.
type hello struct {
	cluster  uint64 // hash of its name
	from, to uint64
}

func (h hello) encode() []byte {
	b := append([]byte(nil), helloMagic...)
	b = binary.LittleEndian.AppendUint64(b, h.cluster)
	b = binary.LittleEndian.AppendUint64(b, h.from)
	return binary.LittleEndian.AppendUint64(b, h.to)
}

func decodeHello(b []byte) (h hello, err error) {
	if len(b) != len(helloMagic)+24 || string(b[:len(helloMagic)]) != helloMagic {
		return h, errors.New("no peer of ours: its first frame is not a hello")
	}
	b = b[len(helloMagic):]
	return hello{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}, nil
}

// clusterHash tells clusters apart that use the same ports one after the other.
func clusterHash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return h.Sum64()
}
