package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assize/checkers"
	"assize/cluster"
	"assize/harness"
	"assize/history"
	"assize/machine"
	"assize/report"
	"assize/sim"
	"assize/targets"
	"assize/targets/raft"
)

// The tests of this file are the claims that the field makes about Raft, each named after its id. A claim that holds is put to many seeds; a
// claim that a guarantee is absent must exhibit the violation.

// simulated is a plan of a simulated run; change completes it.
func simulated(change func(*harness.Plan)) harness.Plan {
	p := harness.Plan{Cluster: simKind, Time: 20 * time.Second, Nemesis: []string{allNemeses}}
	change(&p)
	fill(&p)
	return p
}

// try one seed of a plan.
func try(t *testing.T, p harness.Plan, seed uint64) (report.Verdict, []history.Op) {
	t.Helper()
	p.Seed = seed
	v, ops, err := (&sweep{}).try(&p)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return v, ops
}

// holds puts a plan to seeds 1 to n: none may be anything but valid.
func holds(t *testing.T, p harness.Plan, n uint64) {
	t.Helper()
	for seed := uint64(1); seed <= n; seed++ {
		if v, _ := try(t, p, seed); v.Verdict != report.Valid {
			t.Fatalf("seed %d: got %s, want %s: %s\n%s", seed, v.Verdict, report.Valid, v.Headline, report.Text(v, ""))
		}
	}
}

// violated looks for a seed that one of the checkers convicts, and returns its verdict.
func violated(t *testing.T, p harness.Plan, n uint64, checker ...string) report.Verdict {
	t.Helper()
	for seed := uint64(1); seed <= n; seed++ {
		v, _ := try(t, p, seed)
		for _, j := range v.Judgements {
			if j.Verdict == checkers.Invalid && slices.Contains(checker, j.Checker) {
				t.Logf("seed %d: %s", seed, v.Headline)
				return v
			}
		}
	}
	t.Fatalf("%d seeds of --read %s --flaw %q, and none is convicted by %s", n, p.Read, p.Flaw, strings.Join(checker, " or "))
	return report.Verdict{}
}

// named checks that the evidence of a stale read names a read and the write whose value it should have seen.
func named(t *testing.T, v report.Verdict) {
	t.Helper()
	for _, e := range v.Evidence {
		if e.Checker == "linearizable" && len(e.Items) >= 2 && len(e.Why) > 0 {
			return
		}
	}
	t.Errorf("no evidence names the operations: %+v", v.Evidence)
}

// TestR1: where leaders only die, none of them is deposed without its noticing.
func TestR1ReadOfADeposedLeaderCanBeStale(t *testing.T) {
	holds(t, simulated(func(p *harness.Plan) { p.Read, p.Nemesis = "leader", []string{"kill"} }), 60)
	p := simulated(func(p *harness.Plan) { p.Read, p.Nemesis = "leader", []string{"partition", "pause"} })
	named(t, violated(t, p, 100, "linearizable"))
}

func TestR2ReadIndexIsLinearizableWhateverTheClocksDo(t *testing.T) {
	holds(t, simulated(func(p *harness.Plan) { p.Read = "readindex" }), 40)
	holds(t, simulated(func(p *harness.Plan) { p.Read, p.Nemesis = "readindex", []string{"clock", "partition"} }), 20)
}

func TestR3LeaseReadNeedsClocksOfNearlyOneRate(t *testing.T) {
	holds(t, simulated(func(p *harness.Plan) { p.Read, p.Nemesis = "lease", []string{"kill", "pause", "partition"} }), 40)
	p := simulated(func(p *harness.Plan) { p.Read, p.Nemesis = "lease", []string{"clock", "partition", "pause"} })
	named(t, violated(t, p, 300, "linearizable"))
}

// TestR4: a server that restarts has forgotten what it knew to be committed and answers from further back than before, so a session without a
// carried index ends with its connection.
func TestR4LocalReadIsSequentialOnlyForAClientThatKeepsToOneServerOrCarriesAnIndex(t *testing.T) {
	local := func(strategy string, carry bool, nemesis ...string) harness.Plan {
		return simulated(func(p *harness.Plan) {
			p.Read, p.Nemesis, p.Strategy, p.Carry = "local", nemesis, strategy, carry
		})
	}
	named(t, violated(t, local(harness.Pinned, false, "partition", "pause"), 50, "linearizable"))
	violated(t, local(harness.Random, false, "partition", "pause"), 50, "sequential")
	for _, p := range []harness.Plan{local(harness.Pinned, false, "partition", "kill"), local(harness.Random, true, "partition", "kill")} {
		for seed := uint64(1); seed <= 20; seed++ {
			v, _ := try(t, p, seed)
			if got := judgement(v, "sequential"); got != checkers.Valid {
				t.Fatalf("strategy %s, carry %v, seed %d: sequential is %s, want valid: %s", p.Strategy, p.Carry, seed, got, v.Headline)
			}
		}
	}
}

func judgement(v report.Verdict, checker string) checkers.Verdict {
	for _, j := range v.Judgements {
		if j.Checker == checker {
			return j.Verdict
		}
	}
	return ""
}

// inSim runs f against a simulated Raft cluster of n nodes in calm weather.
func inSim(t *testing.T, n int, seed uint64, f func(s *sim.Sim)) {
	t.Helper()
	target, _ := targets.Find("raft")
	s := sim.New(sim.Config{
		Seed: seed, Nodes: n, New: target.New, Tongue: target.Tongue, Options: target.Defaults,
		Weather: sim.Weather{Delay: time.Millisecond, Spread: 0.3, Sync: 200 * time.Microsecond},
	})
	if err := s.Run(func() { f(s) }); err != nil {
		t.Fatal(err)
	}
	for _, v := range s.Violations() {
		t.Error(v)
	}
}

// leader waits for a leader that a majority knows, other than the one given.
func leader(t *testing.T, s *sim.Sim, other string) string {
	t.Helper()
	for range 1000 {
		votes := map[string]int{}
		for _, n := range s.Nodes() {
			if st, err := s.Status(context.Background(), n); err == nil && st.Leader != "" && st.Leader != other {
				votes[st.Leader]++
				if votes[st.Leader] > len(s.Nodes())/2 {
					return st.Leader
				}
			}
		}
		s.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no leader within 10 s")
	return ""
}

func TestE6LeaderWithoutAQuorumStopsLeading(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		inSim(t, 5, seed, func(s *sim.Sim) {
			ctx := context.Background()
			old := leader(t, s, "")
			var links []cluster.Link
			for _, n := range s.Nodes() {
				if n != old {
					links = append(links, cluster.Link{From: old, To: n}, cluster.Link{From: n, To: old})
				}
			}
			if err := s.Cut(ctx, links); err != nil {
				t.Fatal(err)
			}
			target, _ := targets.Find("raft")
			s.Sleep(3 * target.Defaults.Election)
			st, err := s.Status(ctx, old)
			if err != nil || st.Role == machine.Leader {
				t.Errorf("seed %d: %s, cut off for three election time-outs, has role %q (%v), want anything but leader", seed, old, st.Role, err)
			}
			leader(t, s, old)
		})
	}
}

func TestE7WritesAreRefusedWhileNoLeaderIsEstablished(t *testing.T) {
	inSim(t, 5, 1, func(s *sim.Sim) {
		ctx := context.Background()
		old := leader(t, s, "")
		killed := []string{old}
		for _, n := range s.Nodes() {
			if len(killed) < 3 && n != old {
				killed = append(killed, n)
			}
		}
		for _, n := range killed {
			if err := s.Kill(ctx, n); err != nil {
				t.Fatal(err)
			}
		}
		began := s.Now()
		alive := slices.DeleteFunc(s.Nodes(), func(n string) bool { return slices.Contains(killed, n) })
		for i := range 20 {
			if err := write(s, alive[i%len(alive)], i); err == nil {
				t.Fatalf("write %d was acknowledged by %s while %v are down", i, alive[i%len(alive)], killed)
			}
			s.Sleep(100 * time.Millisecond)
		}
		if err := s.Start(ctx, killed[0]); err != nil {
			t.Fatal(err)
		}
		mended := s.Now()
		for write(s, alive[0], 1000) != nil {
			if s.Now()-mended > 10*time.Second {
				t.Fatal("no write succeeds within 10 s after a quorum is back")
			}
			s.Sleep(10 * time.Millisecond)
		}
		t.Logf("no write for %v, the last %v of it after a quorum was back", s.Now()-began, s.Now()-mended)
	})
}

// TestReadsAtFollowersOverSlowLinks: where a question and its answer take longer than the time after which it is asked again, the answer must still
// count. Once a question that was asked again was another one, and none was ever answered.
func TestReadsAtFollowersOverSlowLinks(t *testing.T) {
	target, _ := targets.Find("raft")
	s := sim.New(sim.Config{
		Seed: 1, Nodes: 3, New: target.New, Tongue: target.Tongue, Options: target.Defaults,
		Weather: sim.Weather{Delay: target.Defaults.Election / 5, Spread: 0.05, Sync: 200 * time.Microsecond},
	})
	good, bad := 0, 0
	err := s.Run(func() {
		leader(t, s, "")
		s.Sleep(time.Second)
		for _, n := range s.Nodes() {
			for range 4 {
				s.Go(func() {
					c, err := s.Dial(context.Background(), n, cluster.Options{Timeout: 2 * time.Second})
					if err != nil {
						t.Error(err)
						return
					}
					for range 20 {
						if _, err := c.Do(context.Background(), history.Txn{{F: history.Read, Key: "k"}}); err != nil {
							bad++
							return
						}
						good++
					}
				})
			}
		}
		s.Wait()
	})
	if err != nil || bad > 0 || good != 3*4*20 {
		t.Errorf("%d reads were answered, %d clients gave up, %v; want %d and none", good, bad, err, 3*4*20)
	}
}

func write(s *sim.Sim, node string, value int) error {
	c, err := s.Dial(context.Background(), node, cluster.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do(context.Background(), history.Txn{{F: history.Write, Key: "k", In: []int{value}}})
	return err
}

func TestE8OneVoteATermOneLeaderATermAndNoVoteForAShorterLog(t *testing.T) {
	holds(t, simulated(func(p *harness.Plan) { p.Workload = "set" }), 20)
	for _, flaw := range []string{"forget-vote", "shorter-log-wins", "double-vote-counts"} {
		caught(t, flaw)
	}
}

func TestB10LogsMatchAndLeadersAreComplete(t *testing.T) {
	holds(t, simulated(func(p *harness.Plan) { p.Nemesis = []string{"kill", "pause", "partition", "transfer"} }), 20)
	for _, flaw := range []string{"truncate-always", "prior-term-commit-index"} {
		caught(t, flaw)
	}
}

func TestB11AnEntryOfAnEarlierTermIsCommittedOnlyWithOneOfTheLeadersOwn(t *testing.T) {
	caught(t, "commit-old-term")
}

func TestB13CompactionAndSnapshotsChangeNoResult(t *testing.T) {
	p := simulated(func(p *harness.Plan) { p.Nemesis = []string{"kill", "partition"}; p.Workload = "set" })
	var machines []machine.Machine
	target, _ := targets.Find("raft")
	make := target.New
	target.New = func(c machine.Config) machine.Machine {
		m := make(c)
		machines = append(machines, m)
		return m
	}
	for seed := uint64(1); seed <= 20; seed++ {
		p := p
		p.Seed = seed
		p = withWeather(p)
		p.Weather.Snapshot = 20
		c, host, err := openSim(context.Background(), target, p, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		nemeses, err := scheduled(&p, c)
		if err != nil {
			t.Fatal(err)
		}
		r := history.NewRecorder(nil, c.Now)
		if err := conduct(context.Background(), setup(p, c, nemeses, r), host); err != nil {
			t.Fatal(err)
		}
		v, err := judge(p, r.Ops(), nil, report.Expectation{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v.Verdict != report.Valid {
			t.Fatalf("seed %d: got %s, want %s: %s", seed, v.Verdict, report.Valid, v.Headline)
		}
	}
	var taken, loaded uint64
	for _, m := range machines {
		taken += m.Status().Counters.SnapshotsTaken
		loaded += m.Status().Counters.SnapshotsLoaded
	}
	if taken == 0 || loaded == 0 {
		t.Errorf("%d snapshots taken and %d loaded from another node, want some of both", taken, loaded)
	}
	t.Logf("%d snapshots taken, %d loaded from another node", taken, loaded)
}

func TestB14MembershipChangesLoseNoAcknowledgedWrite(t *testing.T) {
	holds(t, simulated(func(p *harness.Plan) { p.Workload, p.Nemesis = "set", []string{"members", "kill", "partition"} }), 30)
}

// convicted are the flaws that a test has caught already: some claims rest on flaws, and the rarest take a while to show.
var convicted sync.Map

// caught runs seeds of what exposes a planted flaw best until one is convicted.
func caught(t *testing.T, name string) {
	t.Helper()
	if seed, before := convicted.Load(name); before {
		t.Logf("%s: convicted by seed %d before", name, seed)
		return
	}
	for _, f := range raft.Flaws {
		if f.Name != name {
			continue
		}
		p := simulated(func(p *harness.Plan) { p.Flaw, p.Read, p.Workload, p.Nemesis = f.Name, f.Read, f.Workload, f.Nemesis })
		for seed := uint64(1); seed <= 2000; seed++ {
			if v, _ := try(t, p, seed); v.Verdict == report.Invalid {
				t.Logf("%s: seed %d: %s", name, seed, v.Headline)
				convicted.Store(name, seed)
				return
			}
		}
		t.Fatalf("%s: 2000 seeds, and none is convicted", name)
	}
	t.Fatal(fmt.Errorf("there is no flaw %q", name))
}

// TestEveryPlantedFlawIsCaught is the canary of the whole framework.
func TestEveryPlantedFlawIsCaught(t *testing.T) {
	for _, f := range raft.Flaws {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			caught(t, f.Name)
		})
	}
}

// TestOnlyVoterIsNotAccused: a cluster of one elects itself, commits, applies and compacts before its disk knows. As long as nothing of that leaves
// the node nobody is harmed when a crash takes it. Each of these seeds was a false alarm.
func TestOnlyVoterIsNotAccused(t *testing.T) {
	p := simulated(func(p *harness.Plan) { p.Nodes = 1 })
	for _, seed := range []uint64{92, 97, 98, 99, 223, 284, 297, 656} {
		if v, _ := try(t, p, seed); v.Verdict != report.Valid {
			t.Errorf("seed %d: got %s, want %s: %s", seed, v.Verdict, report.Valid, v.Headline)
		}
	}
	p.Workload = "set"
	for _, seed := range []uint64{285, 297, 732, 797} {
		if v, _ := try(t, p, seed); v.Verdict != report.Valid {
			t.Errorf("set, seed %d: got %s, want %s: %s", seed, v.Verdict, report.Valid, v.Headline)
		}
	}
}
