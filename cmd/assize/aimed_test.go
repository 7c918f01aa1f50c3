package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"assize/checkers"
	"assize/cluster"
	"assize/harness"
	"assize/history"

	"assize/targets"
)

// aimed finds draws by which a nemesis does what is wanted, as tried on a simulated cluster of five: with all nodes up and one of them leading, a draw
// means the same everywhere.
func aimed(t *testing.T, name string, n int, wanted func(f history.Fault, leader string) bool) (draws []uint64) {
	t.Helper()
	raft, _ := targets.Find("raft")
	p := harness.Plan{Cluster: simKind, Nodes: 5, Seed: 1}
	fill(&p)
	c, host, err := openSim(t.Context(), raft, withWeather(p), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nemeses, err := nemesesFor(c, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	err = host(func() {
		for draw := uint64(1); len(draws) < n && draw < 10000; draw++ {
			leader := settled(c)
			f, err := nemeses[0].Break(context.Background(), c, harness.Stream(draw, name))
			if err == nil && f.Held && wanted(f, leader) {
				draws = append(draws, draw)
			}
			if _, err := nemeses[0].Mend(context.Background(), c); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || len(draws) < n {
		t.Fatalf("%d of %d draws found, %v", len(draws), n, err)
	}
	return draws
}

// settled waits for a leader whom all nodes know.
func settled(c cluster.Cluster) string {
	for {
		leaders := map[string]int{}
		for _, n := range c.Nodes() {
			if s, err := c.Status(context.Background(), n); err == nil && s.Leader != "" {
				leaders[s.Leader]++
			}
		}
		for leader, n := range leaders {
			if n == len(c.Nodes()) {
				return leader
			}
		}
		c.Sleep(50 * time.Millisecond)
	}
}

// slowLeader: the leader's monotonic clock runs at less than a fifth of its rate, and nothing else.
func slowLeader(f history.Fault, leader string) bool {
	return strings.HasPrefix(f.What, "monotonic clock runs at 0.1") && len(f.Nodes) == 1 && f.Nodes[0] == leader
}

// deafLeader: what others say reaches the leader late, but within the time in which a handover must have come about.
func deafLeader(f history.Fault, _ string) bool {
	shape, links, _ := strings.Cut(f.What, " on ")
	delay, err := time.ParseDuration(strings.TrimPrefix(shape, "delay "))
	return err == nil && delay >= 250*time.Millisecond && delay <= 450*time.Millisecond && strings.HasPrefix(links, "links into the leader ")
}

func anyLeader(history.Fault, string) bool { return true }

func pausedLeader(f history.Fault, leader string) bool { return f.What == "pause the leader: "+leader }

func cutLeader(f history.Fault, leader string) bool {
	return strings.HasPrefix(f.What, "cut "+leader+" | ") || strings.HasPrefix(f.What, "cut the leader "+leader)
}

// cycle is a plan's faults that come again and again.
type cycle struct {
	name   string
	after  time.Duration // of the cycle's beginning
	lasts  time.Duration
	wanted func(f history.Fault, leader string) bool
}

// cyclic is the plan with cycles of aimed faults for as long as its storm lasts.
func cyclic(t *testing.T, p harness.Plan, period time.Duration, cycles ...cycle) harness.Plan {
	t.Helper()
	p.Nodes, p.Nemesis, p.Faults = 5, []string{}, []harness.Fault{}
	fill(&p)
	rounds := int((p.Time - time.Second) / period)
	for _, k := range cycles {
		p.Nemesis = append(p.Nemesis, k.name)
		for i, draw := range aimed(t, k.name, rounds, k.wanted) {
			p.Faults = append(p.Faults, harness.Fault{
				ID: len(p.Faults) + 1, Name: k.name, At: time.Second + time.Duration(i)*period + k.after, For: k.lasts, Draw: draw,
			})
		}
	}
	return p
}

// convictedByCycles repeats a cycle of aimed faults until linearizability is refuted with the operations named; it may take five runs.
func convictedByCycles(t *testing.T, claim string, p harness.Plan, period time.Duration, cycles ...cycle) {
	t.Helper()
	p = cyclic(t, p, period, cycles...)
	for seed := uint64(1); seed <= 5; seed++ {
		p.Seed = seed
		if v := byPlan(t, p, "--expect", claim+"=violated"); judgement(v, "linearizable") == checkers.Invalid {
			named(t, v)
			if !v.AsExpected {
				t.Errorf("not as claim %s expects: %+v", claim, v.Expect)
			}
			return
		}
	}
	t.Error("not convicted in five runs")
}

// handedOver lets the leader hand over while it hears of everything late: until it hears of its successor it answers what that has overwritten.
// Many clients, for each of the leader's is silenced by its first write, and patient elections, so that nobody else is elected on a busy machine.
func handedOver(t *testing.T, on string) {
	t.Helper()
	p := harness.Plan{Cluster: on, Read: "leader", Rate: 600, Clients: 100, Time: 22 * time.Second, Election: time.Second, Heartbeat: 150 * time.Millisecond}
	convictedByCycles(t, "R1", p, 5*time.Second,
		cycle{"shape", 0, 3500 * time.Millisecond, deafLeader}, cycle{"transfer", 1800 * time.Millisecond, time.Second, anyLeader})
}

func TestR1OnProcesses(t *testing.T) {
	t.Parallel()
	handedOver(t, "local")
}

func TestR1InContainers(t *testing.T) {
	needsDocker(t)
	t.Parallel()
	handedOver(t, dockerKind)
}

func TestR2InContainers(t *testing.T) {
	needsDocker(t)
	t.Parallel()
	validOnProcesses(t, "--cluster", "docker", "--read", "readindex", "--nemesis", "partition,clock,pause", "--time", "10s")
}

// TestR3InContainers cuts off a leader whose clock has just begun to run slow, so that its lease outlasts its followers' patience. Soon after: its
// heartbeats are slow, too, and it would be deposed.
func TestR3InContainers(t *testing.T) {
	needsDocker(t)
	t.Parallel()
	convictedByCycles(t, "R3", harness.Plan{Cluster: dockerKind, Read: "lease", Rate: 400, Clients: 20, Time: 26 * time.Second}, 8*time.Second,
		cycle{"clock", 0, 3 * time.Second, slowLeader}, cycle{"partition", 400 * time.Millisecond, 2 * time.Second, cutLeader})
}

func TestR3InContainersWithTrueClocks(t *testing.T) {
	needsDocker(t)
	t.Parallel()
	validOnProcesses(t, "--cluster", "docker", "--read", "lease", "--nemesis", "kill,pause,partition,shape", "--time", "10s")
}

func TestR4InContainers(t *testing.T) {
	needsDocker(t)
	t.Parallel()
	convictedOnProcesses(t, 5, "--cluster", "docker", "--read", "local", "--nemesis", "partition", "--time", "8s")
}
