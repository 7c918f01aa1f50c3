package skew

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"assize/cluster"
)

// The clocks that are falsified, each by a line of its own: where one differs from another by a constant, such as the time that the machine was
// suspended, one line for both would make it jump when the rate changes.
const (
	wall  = iota // CLOCK_REALTIME, CLOCK_REALTIME_COARSE, gettimeofday, time
	mono         // CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE
	raw          // CLOCK_MONOTONIC_RAW
	boot         // CLOCK_BOOTTIME
	lines        // how many
)

// The data behind the code: the header, the turn and four sets. The set in force is the one whose number is the turn modulo 4; what is read
// before its lines begin is by the set before it. A thread looks at the turn before it reads the true clock and after it has read the sets,
// and begins anew where that has changed. So it never uses a set that is being written, and a change of rate holds from one moment on for
// all threads, however long they have been waiting for a processor in between: the monotonic clock cannot step back.
const (
	turnAt    = 16
	setsAt    = 32
	setSize   = 128
	sets      = 4
	dataSize  = setsAt + sets*setSize
	lineSize  = 24
	untouched = 0xff
)

// header of the data: by what they are known, and for each of the clocks 0 to 7 where in a set its line is.
func header() []byte {
	return append([]byte("assize\x00\x01"), wall*lineSize, mono*lineSize, untouched, untouched, raw*lineSize, wall*lineSize, mono*lineSize, boot*lineSize)
}

// line is what a clock reads: at the true reading since it reads reads, and then goes at rate (32 bits, point, 32 bits).
type line struct{ since, reads, rate int64 }

const one = 1 << 32

var truthful = line{rate: one}

// at the true reading t, rounded down as the code does it.
func (l line) at(t int64) int64 {
	d := t - l.since
	hi, lo := bits.Mul64(uint64(d), uint64(l.rate))
	if d < 0 {
		hi -= uint64(l.rate)
	}
	return l.reads + int64(hi<<32|lo>>32)
}

// relative rate, as cluster.Skew has it.
func (l line) relative() float64 { return float64(l.rate)/one - 1 }

// set is what all clocks read. displaced is what a strobe has added to the wall clock.
type set struct {
	lines     [lines]line
	displaced int64
}

func truthfulSet() (s set) {
	for i := range s.lines {
		s.lines[i] = truthful
	}
	return s
}

func (s set) encode() []byte {
	var b []byte
	for _, l := range s.lines {
		for _, v := range []int64{l.since, l.reads, l.rate} {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
	}
	return binary.LittleEndian.AppendUint64(b, uint64(s.displaced))
}

func decode(b []byte) (s set, err error) {
	if len(b) < lines*lineSize+8 {
		return s, errors.New("the clock's parameters are cut off")
	}
	next := func() int64 {
		v := int64(binary.LittleEndian.Uint64(b))
		b = b[8:]
		return v
	}
	for i := range s.lines {
		s.lines[i] = line{next(), next(), next()}
		if s.lines[i].rate <= 0 {
			return s, fmt.Errorf("the clock's parameters are damaged: a rate of %d", s.lines[i].rate)
		}
	}
	s.displaced = next()
	return s, nil
}

// settled is the set without what a strobe has added.
func (s set) settled() set {
	s.lines[wall].reads -= s.displaced
	s.displaced = 0
	return s
}

// displace the wall clock from the true reading t on.
func (s set) displace(t, by int64) set {
	l := s.lines[wall]
	s.lines[wall] = line{t, l.at(t) + by, l.rate}
	s.displaced = by
	return s
}

// skewed is the settled set s after k is set at the true readings t.
func (s set) skewed(t [lines]int64, k cluster.Skew) (set, error) {
	for i, l := range s.lines {
		rate, jump := k.MonoRate, k.Mono
		if i == wall {
			rate, jump = k.WallRate, k.Wall
		}
		if i == wall && k.Strobe > 0 {
			jump = 0
		}
		s.lines[i] = line{t[i], l.at(t[i]) + int64(jump), int64(math.Round((1 + rate) * one))}
		if r := s.lines[i].reads; r > furthest || r < -furthest {
			return s, fmt.Errorf("the clock would read %v", time.Unix(0, r))
		}
	}
	if k == (cluster.Skew{}) {
		s.lines[wall] = truthful
	}
	if k.Strobe > 0 {
		s = s.displace(t[wall], int64(k.Wall))
	}
	return s, nil
}

// slower tells whether a monotonic clock goes slower than it did before.
func (s set) slower(before set) bool {
	for i, l := range s.lines {
		if i != wall && l.rate < before.lines[i].rate {
			return true
		}
	}
	return false
}

// Limits within which the code does not overflow.
const (
	leastRate = 0.001
	mostRate  = 1000
	furthest  = 1 << 62 // ns from 1970
)

// Valid tells why k cannot be set on clocks of which the wall clock is ahead by so much.
func Valid(k cluster.Skew, ahead time.Duration) error {
	if err := validate(k); err != nil {
		return err
	}
	t, err := truth()
	if err != nil {
		return err
	}
	s := truthfulSet()
	s.lines[wall].reads += int64(ahead)
	_, err = s.skewed(t, k)
	return err
}

func validate(k cluster.Skew) error {
	for _, r := range []float64{1 + k.WallRate, 1 + k.MonoRate} {
		if !(r >= leastRate && r <= mostRate) {
			return fmt.Errorf("a clock's rate must be from %v to %v times the true one, not %v", leastRate, float64(mostRate), r)
		}
	}
	if k.Strobe < 0 || k.Strobe > 0 && k.Strobe < time.Millisecond {
		return fmt.Errorf("a strobe's period must be at least 1ms, not %v", k.Strobe)
	}
	return nil
}
