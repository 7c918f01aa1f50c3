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

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a^salt0, b^salt1)
	return high ^ low
}

// sum is a 64-bit hash of b, the same on every machine and in every process, which hash/maphash is not.
func sum(seed uint64, b []byte) uint64 {
	h := mix(seed, uint64(len(b))^salt2)
	for ; len(b) >= 16; b = b[16:] {
		h = mix(binary.LittleEndian.Uint64(b)^h, binary.LittleEndian.Uint64(b[8:])^salt2)
	}
	if len(b) >= 8 {
		h = mix(binary.LittleEndian.Uint64(b)^h, salt2)
		b = b[8:]
	}
	var last uint64
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	return mix(h, last)
}

// Mix makes one hash of two. With Sum it is for the running hashes of states that are no Store.
func Mix(a, b uint64) uint64 { return mix(a, b) }

// Sum is a 64-bit hash of b that starts from seed, the same on every machine.
func Sum(seed uint64, b []byte) uint64 { return sum(seed, b) }

// digest of a pair with its counters.
func digest(p *KeyValue) uint64 {
	h := sum(uint64(p.Mod), p.Key)
	h = sum(h, p.Value)
	return mix(mix(h, uint64(p.Create)), uint64(p.Version))
}
