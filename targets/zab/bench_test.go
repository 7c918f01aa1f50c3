package zab

import (
	"testing"

	"assize/machine"
)

// BenchmarkBroadcast: one transaction through three servers, each message in a step of its own.
func BenchmarkBroadcast(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(map[int]string{100: "100B", 1000: "1kB"}[size], func(b *testing.B) {
			var nodes [4]*peer
			var fx machine.Effects
			var mail []machine.Message
			step := func(p *peer, do func()) {
				fx = machine.Effects{Log: fx.Log[:0], Send: fx.Send[:0]}
				p.begin(&fx)
				do()
				for _, ok := p.next(); ok; _, ok = p.next() {
				}
				p.finish()
				mail = append(mail, fx.Send...)
			}
			deliver := func() {
				for i := 0; i < len(mail); i++ {
					m := mail[i]
					step(nodes[m.To], func() { nodes[m.To].receive(&m) })
				}
				mail = mail[:0]
			}
			for id := 1; id <= 3; id++ {
				c := machine.Config{ID: id, Voters: []int{1, 2, 3}, Options: machine.Options{Snapshot: 10000}}
				nodes[id], _ = newPeer(c, func() []byte { return nil })
			}
			tick := func() {
				for _, p := range nodes[1:] {
					step(p, p.tick)
					deliver()
				}
			}
			for !nodes[3].leads() {
				tick()
			}
			body := make([]byte, size)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				step(nodes[3], func() { nodes[3].propose(body) })
				if deliver(); i%100 == 0 {
					tick()
				}
			}
			if int(nodes[3].committedPos) != b.N {
				b.Fatalf("%d of %d committed", nodes[3].committedPos, b.N)
			}
		})
	}
}
