package harness

import "math/rand/v2"

// Stream is the source of all draws of one kind: keyed by the seed, by who draws and by what for, so that taking one operation or one fault
// out of a plan leaves the draws of the others as they were.
func Stream(seed uint64, who string, n ...uint64) *rand.Rand {
	h := mix(seed)
	for i := range len(who) {
		h = mix(h ^ uint64(who[i]))
	}
	for _, x := range n {
		h = mix(h ^ mix(x))
	}
	return rand.New(rand.NewPCG(h, mix(h)))
}

// mix is the finalizer of splitmix64 (Steele, Lea & Flood 2014): each bit of x changes each bit of the result with probability one half.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
