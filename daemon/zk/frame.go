package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// cautious is how much is allocated on a stranger's word.
const cautious = 16 << 10

// readFrame reads a length and a payload of so many bytes, at least least and at most most.
func readFrame(r io.Reader, least, most int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	return readPayload(r, head, least, most)
}

func readPayload(r io.Reader, head [4]byte, least, most int) ([]byte, error) {
	n := int(int32(binary.BigEndian.Uint32(head[:])))
	if n < least || n > most {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	if n <= cautious {
		payload := make([]byte, n)
		_, err := io.ReadFull(r, payload)
		return payload, err
	}
	var b bytes.Buffer
	b.Grow(cautious)
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
