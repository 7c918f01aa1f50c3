package sim_test

import (
	"context"
	"testing"
	"time"

	"assize/harness"
	"assize/history"
	"assize/machine"
	"assize/nemesis"
	"assize/sim"
	"assize/targets/raft"
	"assize/workloads"
)

// storm is a plan of all faults, scheduled from the seed.
func storm(seed uint64, change func(*harness.Plan)) harness.Plan {
	p := harness.Plan{Cluster: "sim", Nodes: 5, Clients: 10, Rate: 50, Seed: seed}
	for _, n := range nemesis.Table {
		p.Nemesis = append(p.Nemesis, n.Name)
	}
	if change != nil {
		change(&p)
	}
	p.Fill()
	harness.Schedule(&p)
	return p
}

// conduct runs a plan without judging its history.
func conduct(tb testing.TB, p harness.Plan, unchecked bool) (s *sim.Sim, ops []history.Op, took time.Duration) {
	tb.Helper()
	w := p.Weather
	s = sim.New(sim.Config{
		Seed: p.Seed, Nodes: p.Nodes, New: raft.New, Unchecked: unchecked,
		Options: machine.Options{Read: p.Read, Flaw: p.Flaw, Heartbeat: p.Heartbeat, Election: p.Election, Drift: 0.05, Snapshot: w.Snapshot},
		Weather: sim.Weather{
			Delay: w.Delay, Spread: w.Spread, Loss: w.Loss, Duplicate: w.Duplicate, Sync: w.Sync, Tear: w.Tear, Drift: w.Drift,
		},
	})
	source, _ := workloads.Find(p.Workload)
	recorder := history.NewRecorder(nil, s.Now)
	setup := harness.Setup{Plan: p, Cluster: s, Workload: source, Recorder: recorder}
	for _, n := range nemesis.Table {
		for _, name := range p.Nemesis {
			if n.Name == name {
				setup.Nemeses = append(setup.Nemeses, n)
			}
		}
	}
	var err error
	if e := s.Run(func() { err = harness.Run(context.Background(), setup) }); e != nil || err != nil {
		tb.Fatalf("seed %d: %v, %v", p.Seed, e, err)
	}
	return s, recorder.Ops(), s.Now()
}

// BenchmarkSimulator: 5 nodes, 10 clients, 50 operations a second, all faults, all invariants; and what these cost.
func BenchmarkSimulator(b *testing.B) {
	for name, unchecked := range map[string]bool{"checked": false, "unchecked": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var virtual time.Duration
			for i := range b.N {
				_, _, took := conduct(b, storm(uint64(i), nil), unchecked)
				virtual += took
			}
			b.ReportMetric(virtual.Seconds()/b.Elapsed().Seconds(), "virtual-s/s")
		})
	}
}
