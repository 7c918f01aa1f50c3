package zab

import (
	"math/rand/v2"
	"testing"

	"assize/machine"
)

// pair is both ends of a channel over messages that the test delivers.
type pair struct {
	up, down peer
	a, b     *channel
	out      [2]machine.Effects
	taken    []int64
	in       message
	fromA    []machine.Message
	fromB    []machine.Message
}

func newPair() *pair {
	x := &pair{}
	for i, p := range []*peer{&x.up, &x.down} {
		p.timing = timing{ping: 5, syncLimit: 30}
		p.out = &x.out[i]
	}
	x.a, x.b = x.up.newChannel(2, 9, true), x.down.newChannel(1, 9, false)
	return x
}

func (x *pair) put(zxid int64) {
	x.up.add(x.a, item{kind: itemAck, zxid: zxid})
	x.up.flush(x.a)
	x.collect()
}

func (x *pair) collect() {
	x.fromA, x.fromB = append(x.fromA, x.out[0].Send...), append(x.fromB, x.out[1].Send...)
	x.out = [2]machine.Effects{}
}

// arrive hands a message to an end.
func (x *pair) arrive(t *testing.T, m machine.Message) {
	if err := x.in.decode(m.Body); err != nil {
		t.Fatal(err)
	}
	switch x.in.kind {
	case msgUp:
		x.down.onFrame(x.b, &x.in, m.Body, func(i *item) { x.taken = append(x.taken, i.zxid) })
	case msgPulseUp:
		x.down.onPulse(x.b, &x.in)
	case msgPulseDown:
		x.up.onPulse(x.a, &x.in)
	}
	x.collect()
}

// What is put in comes out once and in order, whatever happens to the messages, and in the end nothing is kept.
func TestChannelIsFIFO(t *testing.T) {
	for seed := range uint64(200) {
		x, r := newPair(), rand.New(rand.NewPCG(seed, 1))
		n := int64(0)
		for tick := 0; tick < 3000 && (n < 300 || len(x.a.flights) > 0); tick++ {
			x.up.ticks++
			x.down.ticks++
			if n < 300 {
				n++
				x.put(n)
			}
			x.up.again(x.a)
			if tick%5 == 0 {
				x.down.pulse(x.b, false, 0)
			}
			x.collect()
			for range 4 {
				for _, list := range []*[]machine.Message{&x.fromA, &x.fromB} {
					if len(*list) == 0 {
						continue
					}
					i := r.IntN(len(*list))
					m := (*list)[i]
					if r.IntN(10) > 0 {
						*list = append((*list)[:i:i], (*list)[i+1:]...)
					}
					if r.IntN(10) > 0 {
						x.arrive(t, m)
					}
				}
			}
		}
		if len(x.taken) != 300 || len(x.a.flights) > 0 || x.a.bytes != 0 || len(x.b.early) > 0 {
			t.Fatalf("seed %d: %d of 300 taken, %d under way of %d bytes, %d early", seed, len(x.taken), len(x.a.flights), x.a.bytes, len(x.b.early))
		}
		for i, z := range x.taken {
			if z != int64(i+1) {
				t.Fatalf("seed %d: number %d is %d", seed, i, z)
			}
		}
	}
}

// A frame that is missed is asked for at once, and sent again once.
func TestChannelGap(t *testing.T) {
	x := newPair()
	x.up.ticks, x.down.ticks = 1, 1
	for z := range int64(4) {
		x.put(z + 1)
	}
	lost := x.fromA
	x.fromA = nil
	for _, m := range lost[1:] {
		x.arrive(t, m)
	}
	if len(x.taken) != 0 || len(x.fromB) != 1 {
		t.Fatalf("%d taken, %d asked", len(x.taken), len(x.fromB))
	}
	x.arrive(t, x.fromB[0])
	x.arrive(t, x.fromB[0])
	if len(x.fromA) != 1 {
		t.Fatalf("%d sent again, want 1", len(x.fromA))
	}
	if x.arrive(t, x.fromA[0]); len(x.taken) != 4 {
		t.Errorf("%d taken", len(x.taken))
	}
}

// What is never acknowledged is not kept without bound.
func TestChannelFull(t *testing.T) {
	x := newPair()
	x.up.add(x.a, item{kind: itemForward, data: make([]byte, flightBytes+1)})
	x.up.flush(x.a)
	if x.a.full() {
		t.Error("one frame is too long")
	}
	for !x.a.full() && len(x.a.flights) < 2*flightFrames {
		x.put(1)
	}
	if len(x.a.flights) != flightFrames+1 {
		t.Errorf("%d frames under way", len(x.a.flights))
	}
}
