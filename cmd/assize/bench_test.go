package main

import (
	"runtime/debug"
	"testing"
	"time"

	"assize/harness"
)

// BenchmarkSimulator runs all that a seed of many takes, storm to verdict: 5 nodes, 10 clients, 50 operations a second, all faults.
func BenchmarkSimulator(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(sweepGC))
	p := harness.Plan{Cluster: simKind, Nodes: 5, Clients: 10, Rate: 50, Time: 20 * time.Second, Nemesis: []string{allNemeses}}
	fill(&p)
	var virtual time.Duration
	s := &sweep{}
	for i := range b.N {
		q := p
		q.Seed = uint64(i)
		v, _, err := s.try(&q)
		if err != nil {
			b.Fatal(err)
		}
		virtual += v.Counts.Time
	}
	b.ReportMetric(virtual.Seconds()/b.Elapsed().Seconds(), "virtual-s/s")
}
