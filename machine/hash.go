package machine

import (
	"encoding/binary"
	"math/bits"
)

// Odd constants with as many ones as zeros (wyhash's).
const (
	salt0 = 0xa0761d6478bd642f
	salt1 = 0xe7037ed1a0b428db
	salt2 = 0x8ebc6af09c88c6e3
)

// Mix makes one hash of two. With Sum it is for the running hashes of states, a Store's and others'.
func Mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a^salt0, b^salt1)
	return high ^ low
}

// Sum is a 64-bit hash of b that starts from seed, the same on every machine and in every process, which hash/maphash is not.
func Sum(seed uint64, b []byte) uint64 {
	h := Mix(seed, uint64(len(b))^salt2)
	for ; len(b) >= 16; b = b[16:] {
		h = Mix(binary.LittleEndian.Uint64(b)^h, binary.LittleEndian.Uint64(b[8:])^salt2)
	}
	if len(b) >= 8 {
		h = Mix(binary.LittleEndian.Uint64(b)^h, salt2)
		b = b[8:]
	}
	var last uint64
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	return Mix(h, last)
}

// digest of a pair with its counters.
func digest(p *KeyValue) uint64 {
	h := Sum(uint64(p.Mod), p.Key)
	h = Sum(h, p.Value)
	return Mix(Mix(h, uint64(p.Create)), uint64(p.Version))
}
