package main

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assize/checkers"
	"assize/harness"
	"assize/history"
	"assize/report"
	"assize/targets/zab"
)

// zabOf is a simulated plan for ZAB.
func zabOf(read, workload string, nemesis ...string) harness.Plan {
	return simulated(func(p *harness.Plan) { p.Target, p.Read, p.Workload, p.Nemesis = "zab", read, workload, nemesis })
}

// keeps that a judgement holds for seeds 1 to n, whatever the others say.
func keeps(t *testing.T, p harness.Plan, n uint64, names ...string) {
	t.Helper()
	for seed := uint64(1); seed <= n; seed++ {
		v, _ := try(t, p, seed)
		for _, name := range names {
			if got := judgement(v, name); got != checkers.Valid {
				t.Fatalf("seed %d: %s is %s: %s", seed, name, got, report.Text(v, ""))
			}
		}
	}
}

func TestZ1ReadMayBeStaleWithoutSync(t *testing.T) {
	v := violated(t, zabOf("local", "register", "kill", "pause", "partition"), 20, "linearizable")
	named(t, v)
	if got := judgement(v, "osc"); got != checkers.Valid {
		t.Errorf("ordered sequential consistency is %s", got)
	}
}

func TestZ2StaleReadsAreInOrder(t *testing.T) {
	keeps(t, zabOf("local", "register", allNemeses), 40, "osc", "sequential", "sessions", "agreement", "invariants")
}

// TestZ3SyncIsFreshWhileNoLeaderIsDeposed: where leaders only die, nobody leads without leading; and whoever is cut off, or dies, and does not lead, has
// to wait for the leader.
func TestZ3SyncIsFreshWhileNoLeaderIsDeposed(t *testing.T) {
	holds(t, zabOf("sync", "register", "kill"), 40)
	p := cyclic(t, harness.Plan{Target: "zab", Cluster: simKind, Read: "sync", Time: 20 * time.Second}, 2*time.Second,
		cycle{"partition", 0, time.Second, cutFollowers}, cycle{"kill", 500 * time.Millisecond, time.Second, killedFollowers})
	holds(t, p, 40)
}

// followers says that neither this leader nor n5 is among a minority: with all started at once n5 is elected, and nobody here deposes it.
func followers(nodes []string, leader string) bool {
	return len(nodes) <= 2 && !slices.Contains(nodes, leader) && !slices.Contains(nodes, "n5")
}

func cutFollowers(f history.Fault, leader string) bool {
	return strings.HasPrefix(f.What, "cut ") && followers(f.Nodes, leader)
}

func killedFollowers(f history.Fault, leader string) bool { return followers(f.Nodes, leader) }

// deposed is a plan for leaders that are deposed and do not know it. Syncs at one are stale until it proposes something: from then on they wait behind that,
// which never comes to anything (Leader.processSync). So clients are few and slow, and so patient that those of a paused leader still wait when it goes on:
// who connects anew asks for a session, and that is proposed.
func deposed(on, read string, election, heartbeat time.Duration, rate float64) harness.Plan {
	return harness.Plan{Target: "zab", Cluster: on, Read: read, Election: election, Heartbeat: heartbeat, Rate: rate, Clients: 5, Timeout: 4 * election}
}

// TestZ4SyncAtADeposedLeaderIsStale, and a quorum sync under the same faults is fresh. The times are those of a ZooKeeper whose tick is 2 s.
func TestZ4SyncAtADeposedLeaderIsStale(t *testing.T) {
	cut, stop := cycle{"partition", 0, 5 * time.Second, cutLeader}, cycle{"pause", 200 * time.Millisecond, 4 * time.Second, pausedLeader}
	for name, cycles := range map[string][]cycle{"cut off": {cut}, "paused": {stop}, "paused behind a cut": {cut, stop}} {
		t.Run(name, func(t *testing.T) {
			p := deposed(simKind, "sync", 2*time.Second, time.Second, 4)
			p.Time = 121 * time.Second
			p.Weather = harness.Weather{Delay: 200 * time.Microsecond, Spread: 0.2, Sync: time.Millisecond, Snapshot: 100}
			p = cyclic(t, p, 10*time.Second, cycles...)
			staleBySeed(t, p, 60)
			p.Read = "quorum-sync"
			keeps(t, p, 30, "linearizable", "osc", "sessions")
		})
	}
}

// staleBySeed looks for a seed at which a read behind a sync is stale, by both judgements that see it, and as the claim says.
func staleBySeed(t *testing.T, p harness.Plan, n uint64) {
	t.Helper()
	s := &sweep{job: job{expect: report.Expectation{Claim: "Z4", Violated: true}}}
	for p.Seed = 1; p.Seed <= n; p.Seed++ {
		v, _, err := s.try(&p)
		if err != nil {
			t.Fatal(err)
		}
		if !stale(t, v) {
			continue
		}
		t.Logf("seed %d: %s", p.Seed, v.Headline)
		if text := report.Text(v, ""); !strings.Contains(text, "sync k") || !strings.Contains(text, "as claim Z4 expects") {
			t.Errorf("the verdict does not say it: %s", text)
		}
		return
	}
	t.Errorf("%d seeds, and no sync is stale", n)
}

// TestZ4QuorumSyncIsFresh is the half of the claim that holds.
func TestZ4QuorumSyncIsFresh(t *testing.T) {
	holds(t, zabOf("quorum-sync", "register", "kill", "pause", "partition", "clock", "shape"), 40)
}

func TestZ6AcknowledgedUpdatesAreNotLost(t *testing.T) {
	holds(t, zabOf("quorum-sync", "set", "kill", "pause", "partition", "clock", "shape"), 40)
}

// TestZ8Z9Z11SessionsKeepTheirPromises: sequential names, ephemeral nodes, and expiry.
func TestZ8Z9Z11SessionsKeepTheirPromises(t *testing.T) {
	holds(t, zabOf("local", "session", "kill", "pause", "partition", "clock", "shape"), 40)
	holds(t, zabOf("quorum-sync", "session", "kill", "pause", "partition", "clock", "shape"), 5)
	alone := zabOf("local", "session", "kill") // it takes office within the step in which its log is committed
	alone.Nodes = 1
	holds(t, alone, 20)
}

// TestZ5Z10Z12WatchesTellAllInTimeAndInOrder, also to those who go from server to server; and multis are done as a whole.
func TestZ5Z10Z12WatchesTellAllInTimeAndInOrder(t *testing.T) {
	holds(t, zabOf("local", "watch", "kill", "pause", "partition", "clock", "shape"), 40)
	holds(t, zabOf("quorum-sync", "watch", "kill", "pause", "partition", "clock", "shape"), 5)
}

func TestEveryPlantedFlawOfZABIsCaught(t *testing.T) {
	for _, f := range zab.Flaws {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			read := f.Read
			if read == "sync" { // is stale at a deposed leader, without any flaw (claim Z4)
				read = "quorum-sync"
			}
			p := zabOf(read, f.Workload, f.Nemesis...)
			p.Flaw = f.Name
			for seed := uint64(1); seed <= 2000; seed++ {
				if v, _ := try(t, p, seed); v.Verdict == report.Invalid {
					t.Logf("seed %d: %s", seed, v.Headline)
					return
				}
			}
			t.Error("2000 seeds, and none is convicted")
		})
	}
}

// staleInOrder wants a read without a sync to be stale, and all to be in order.
func staleInOrder(t *testing.T, on string) {
	t.Helper()
	p := harness.Plan{Target: "zab", Cluster: on, Nodes: 5, Time: 10 * time.Second, Rate: 400, Clients: 20, Nemesis: []string{"pause", "partition"}}
	fill(&p)
	harness.Schedule(&p)
	for seed := uint64(1); seed <= 5; seed++ {
		p.Seed = seed
		v := byPlan(t, p)
		if got := judgement(v, "osc"); got != checkers.Valid {
			t.Fatalf("ordered sequential consistency is %s: %s", got, report.Text(v, ""))
		}
		if judgement(v, "linearizable") == checkers.Invalid {
			named(t, v)
			return
		}
	}
	t.Error("no stale read in 5 runs")
}

func TestZ1OnProcesses(t *testing.T) {
	t.Parallel()
	staleInOrder(t, "local")
}

func TestZ1InContainers(t *testing.T) {
	needsDocker(t)
	t.Parallel()
	staleInOrder(t, dockerKind)
}

// behindACut pauses leaders that have been cut off, when that has been seen, until another is elected and its clients are back. They lead on for about
// half a second.
func behindACut(t *testing.T, on string) harness.Plan {
	t.Helper()
	p := deposed(on, "sync", 1500*time.Millisecond, 0, 8)
	p.Time = 40 * time.Second
	return cyclic(t, p, 6500*time.Millisecond, cycle{"partition", 0, 4600 * time.Millisecond, cutLeader},
		cycle{"pause", 800 * time.Millisecond, 2300 * time.Millisecond, pausedLeader})
}

// stale tells whether a run convicts a read behind a sync as the claim says.
func stale(t *testing.T, v report.Verdict) bool {
	t.Helper()
	if judgement(v, "linearizable") != checkers.Invalid {
		return false
	}
	named(t, v)
	if judgement(v, "osc") != checkers.Invalid || !v.AsExpected {
		t.Errorf("not as claim Z4 expects: %s", report.Text(v, ""))
	}
	return true
}

func fresh(t *testing.T, v report.Verdict) {
	t.Helper()
	for _, name := range []string{"linearizable", "osc", "sessions"} {
		if got := judgement(v, name); got != checkers.Valid {
			t.Errorf("quorum-sync: %s is %s: %s", name, got, report.Text(v, ""))
		}
	}
}

// TestZ4OnProcesses has six clusters at once, which have little to do: of such runs less than half convict.
func TestZ4OnProcesses(t *testing.T) {
	t.Parallel()
	p := behindACut(t, "local")
	for range 3 {
		verdicts := make([]report.Verdict, 6)
		var all sync.WaitGroup
		for i := range verdicts {
			p.Seed++
			p, expect := p, "Z4=violated"
			if i == 0 {
				p.Read, expect = "quorum-sync", "Z4=holds"
			}
			all.Go(func() { verdicts[i] = byPlan(t, p, "--expect", expect) })
		}
		all.Wait()
		fresh(t, verdicts[0])
		if slices.ContainsFunc(verdicts[1:], func(v report.Verdict) bool { return stale(t, v) }) {
			return
		}
	}
	t.Error("fifteen runs, and no sync is stale")
}

func TestZ4InContainers(t *testing.T) {
	needsDocker(t)
	t.Parallel()
	p := behindACut(t, dockerKind)
	convicted := false
	for p.Seed = 1; p.Seed <= 10 && !convicted; p.Seed++ {
		convicted = stale(t, byPlan(t, p, "--expect", "Z4=violated"))
	}
	if !convicted {
		t.Error("ten runs, and no sync is stale")
	}
	p.Read = "quorum-sync"
	fresh(t, byPlan(t, p, "--expect", "Z4=holds"))
}

// TestSessionsOnProcesses: go-zookeeper's clients, whose sessions go through the deaths of servers.
func TestSessionsOnProcesses(t *testing.T) {
	for workload, names := range map[string][]string{"session": {"expiry", "ephemeral", "sequence", "image"}, "watch": {"watch", "multi", "image"}} {
		t.Run(workload, func(t *testing.T) {
			t.Parallel()
			p := harness.Plan{Target: "zab", Cluster: "local", Nodes: 3, Workload: workload, Time: 8 * time.Second, Seed: 3, Nemesis: []string{"kill"}}
			fill(&p)
			harness.Schedule(&p)
			v := byPlan(t, p)
			for _, name := range append(names, "agreement") {
				if got := judgement(v, name); got != checkers.Valid {
					t.Errorf("%s is %s: %s", name, got, report.Text(v, ""))
				}
			}
		})
	}
}
