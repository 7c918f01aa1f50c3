package sim

import (
	"math"
	"time"
)

// Streams of draws. Each draw is keyed by (seed, stream, whose, which one), so that taking one message or one fault out of a run leaves the
// draws of all others as they were.
const (
	streamMachine uint64 = iota + 1
	streamLink
	streamClient
	streamSync
	streamCrash
	streamClock
	streamTick
	streamHost
	streamQuorum
	streamJitter
	streamCheckpoint
)

// mix is the finalizer of splitmix64 (Steele, Lea & Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// stream is the key of one series of draws.
func stream(seed, which uint64, whose ...uint64) uint64 {
	h := mix(mix(seed) ^ which)
	for _, w := range whose {
		h = mix(h ^ w)
	}
	return h
}

// draw is the n-th of a series: 64 bits.
func draw(key, n uint64) uint64 { return mix(key ^ n*0x9e3779b97f4a7c15) }

// fraction of the upper 32 bits, from 0 to below 1.
func fraction(h uint64) float64 { return float64(h>>32) / (1 << 32) }

// quantiles of a lognormal distribution: what a draw of 64 bits is turned into a delay by.
type quantiles [steps + 1]float64

const steps = 1024

// normal holds the standard normal distribution's quantiles at the borders of steps equal parts, the outermost half a part from the end.
var normal = func() (z quantiles) {
	for i := range z {
		p := min(max(float64(i)/steps, 0.5/steps), 1-0.5/steps)
		z[i] = math.Sqrt2 * math.Erfinv(2*p-1)
	}
	return z
}()

func lognormal(median time.Duration, sigma float64) *quantiles {
	q := new(quantiles)
	for i, z := range normal {
		q[i] = float64(median) * math.Exp(sigma*z)
	}
	return q
}

// at turns the upper 32 bits of h into nanoseconds: 10 bits choose the part, 22 the place within.
func (q *quantiles) at(h uint64) int64 {
	i := h >> 54
	within := float64(h>>32&(1<<22-1)) / (1 << 22)
	return int64(q[i] + (q[i+1]-q[i])*within)
}
