package packets

import (
	"testing"
	"time"

	"assize/cluster"
)

// BenchmarkApply is a fault and its end: a cut and a shape with all that they need.
func BenchmarkApply(b *testing.B) {
	w := newWire(b)
	for _, c := range []struct {
		name string
		set  Set
	}{
		{"cut", Set{From: []Peer{{w.far, []uint16{7000}}}, To: []Peer{{w.far6, []uint16{7000}}}}},
		{"rate", shapeOf(Peer{Address: w.far}, cluster.Shape{Rate: 1e6})},
		{"relay", shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: time.Millisecond})},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := w.open()
			var heal time.Duration
			for b.Loop() {
				apply(b, f, c.set)
				start := time.Now()
				apply(b, f, Set{})
				heal += time.Since(start)
			}
			b.ReportMetric(float64(heal.Microseconds())/float64(b.N), "µs-heal/op")
		})
	}
}

// BenchmarkThereAndBack is the time of a datagram there and back: free, past the relay, and through it with the least delay.
func BenchmarkThereAndBack(b *testing.B) {
	w := newWire(b)
	near, far := w.udp()
	f := w.open()
	for _, c := range []struct {
		name string
		set  Set
	}{
		{"free", Set{}},
		{"accepted", shapeOf(Peer{Address: w.far}, cluster.Shape{Duplicated: 1e-12})},
		{"held", shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: 1})},
		{"held 1ms", shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: time.Millisecond})},
	} {
		b.Run(c.name, func(b *testing.B) {
			apply(b, f, c.set)
			p := make([]byte, 64)
			for b.Loop() {
				near.WriteToUDPAddrPort(p, where(far))
				far.Read(p)
				far.WriteToUDPAddrPort(p, where(near))
				near.Read(p)
			}
		})
	}
}

// BenchmarkRelay is how many packets, of UDP and in trains of TCP, get through the relay.
func BenchmarkRelay(b *testing.B) {
	w := newWire(b)
	near, far := w.udp()
	f := w.open()
	for _, c := range []struct {
		name string
		set  Set
	}{
		{"free", Set{}},
		{"held 1ns", shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: 1})},
		{"held 10ms", shapeOf(Peer{Address: w.far}, cluster.Shape{Delay: 10 * time.Millisecond})},
	} {
		b.Run("datagrams "+c.name, func(b *testing.B) {
			apply(b, f, c.set)
			const ahead = 1000 // in flight
			p := make([]byte, 100)
			got := make(chan bool, ahead)
			go func() {
				p := make([]byte, 100)
				for range b.N {
					far.SetReadDeadline(time.Now().Add(10 * time.Second))
					if _, err := far.Read(p); err != nil {
						b.Error(err)
						close(got)
						return
					}
					<-got
				}
			}()
			b.ResetTimer()
			for range b.N {
				got <- true
				near.WriteToUDPAddrPort(p, where(far))
			}
			for len(got) > 0 {
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
		})
		b.Run("stream "+c.name, func(b *testing.B) {
			apply(b, f, Set{})
			from, to := w.tcp(false)
			apply(b, f, c.set)
			const size = 1 << 20
			b.SetBytes(size)
			for b.Loop() {
				stream(b, from, to, size)
			}
			b.StopTimer()
			if c.name != "free" {
				b.ReportMetric(float64(count(b, f).Held)/float64(b.N), "packets/op")
			}
		})
	}
}
