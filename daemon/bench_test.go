package daemon

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"assize/daemon/wal"
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

// heavy answers each request when it is logged, and takes a large snapshot now and then.
type heavy struct {
	state     []byte
	every     int
	installed bool
	requests  int
}

func (m *heavy) Step(e machine.Event) (x machine.Effects) {
	if e.Request == nil {
		return x
	}
	m.requests++
	record := make([]byte, 100)
	if m.every > 0 && m.requests%m.every == 0 {
		x.Snapshot, x.Tail, x.Installed = m.state, [][]byte{record}, m.installed
	}
	if !x.Installed {
		x.Log = [][]byte{record}
	}
	result := machine.Result{Outcome: machine.Done}
	x.Reply = []machine.Reply{{Conn: e.Request.Conn, Seq: e.Request.Seq, Body: result.Encode()}}
	return x
}

func (m *heavy) Status() machine.Status { return machine.Status{} }

// BenchmarkSnapshotBesideRequests is how long nobody is answered while 32 MB are written: without a snapshot, with one beside the log, and with one that
// all waits for. A round is 2,000 requests of one client after the other and one snapshot; what is told is the median of the rounds' longest gaps.
func BenchmarkSnapshotBesideRequests(b *testing.B) {
	const round = 2000
	state := make([]byte, 32<<20)
	for i := range state {
		state[i] = byte(i * i >> 8)
	}
	for _, kind := range []string{"none", "checkpoint", "installed"} {
		b.Run(kind, func(b *testing.B) {
			m := &heavy{state: state, installed: kind == "installed"}
			if kind != "none" {
				m.every = round
			}
			log, _, err := wal.Open(b.TempDir(), wal.Options{})
			if err != nil {
				b.Fatal(err)
			}
			h := newHost(Config{Clock: SystemClock{}, Outstanding: 10, Options: machine.Options{Tick: time.Hour}}, m, log, &journal{w: io.Discard})
			ctx, stop := context.WithCancel(b.Context())
			h.work.Go(h.writeOut)
			h.work.Go(func() {
				h.own(ctx)
				h.outlet.close()
			})
			defer func() {
				stop()
				h.work.Wait()
				log.Close()
			}()
			conn := h.Connect()
			var longest []time.Duration
			for b.Loop() {
				longest = append(longest, 0)
				gap := &longest[len(longest)-1]
				for range round {
					began := time.Now()
					if r, err := h.Do(b.Context(), conn, put("a")); err != nil || r.Outcome != machine.Done {
						b.Fatal(r, err)
					}
					*gap = max(*gap, time.Since(began))
				}
			}
			slices.Sort(longest)
			b.ReportMetric(longest[len(longest)/2].Seconds()*1000, "longest-ms")
		})
	}
}
