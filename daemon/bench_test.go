package daemon

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"assize/machine"
)

// BenchmarkThreeToys is what host, disk and links cost without a protocol and a front end: three nodes in one process, each request on two disks, and
// what it costs that they record.
func BenchmarkThreeToys(b *testing.B) {
	for _, c := range []struct {
		clients int
		record  bool
	}{{1, false}, {1, true}, {50, false}, {50, true}} {
		clients := c.clients
		b.Run(fmt.Sprintf("%d clients, recorded=%v", clients, c.record), func(b *testing.B) {
			p := newPack(b, 3, 0)
			if c.record {
				p.record = true
				for id := 1; id <= 3; id++ {
					p.halt(id)
					p.start(id)
				}
				p.introduce()
			}
			h := p.hosts[1]
			if r, err := h.Do(b.Context(), h.Connect(), put("warm")); err != nil || r.Outcome != machine.Done {
				b.Fatal(r, err)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ResetTimer()
			for w := range clients {
				all.Go(func() {
					conn := h.Connect()
					for i := 0; left.Add(-1) >= 0; i++ {
						if r, err := h.Do(context.Background(), conn, put(fmt.Sprint(w, " ", i, " ", b.N))); err != nil || r.Outcome != machine.Done {
							b.Error(r, err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			c := h.Counters()
			b.ReportMetric(float64(c["requests"])/float64(c["syncs"]), "requests/sync")
		})
	}
}
