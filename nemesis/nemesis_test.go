package nemesis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"assize/cluster"
	"assize/history"
)

func draw(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) }

const seeds = 200

// breaks n with many seeds, each on a new fake.
func breaks(t *testing.T, n Nemesis, size int, prepare func(*fake), judge func(t *testing.T, f *fake, fault history.Fault, err error)) {
	t.Helper()
	for seed := range seeds {
		f := newFake(size)
		prepare(f)
		fault, err := n.Break(t.Context(), f, draw(seed))
		judge(t, f, fault, err)
		if t.Failed() {
			t.Fatalf("seed %d: %+v, %v", seed, fault, err)
		}
	}
}

func nothingWrong(*fake) {}

func TestEveryBreakHoldsAndEveryMendMends(t *testing.T) {
	for _, n := range Table {
		for _, size := range []int{3, 4, 5, 7} {
			t.Run(fmt.Sprintf("%s of %d", n.Name, size), func(t *testing.T) {
				if err := n.Can(newFake(size)); err != nil {
					t.Fatal(err)
				}
				breaks(t, n, size, nothingWrong, func(t *testing.T, f *fake, fault history.Fault, err error) {
					if err != nil || !fault.Held || fault.What == "" || len(fault.Nodes) == 0 || fault.Probe == "" {
						t.Errorf("broke: %+v, %v", fault, err)
					}
					if f.whole() == "" && n.Name != "transfer" {
						// A wall jump or a monotonic jump shows in nothing but the clock, and the fake keeps the skew, so nothing is whole.
						t.Error("nothing is broken")
					}
					for range 2 {
						mended, err := n.Mend(t.Context(), f)
						if err != nil || !mended.Held || !mended.Mended || mended.What == "" {
							t.Errorf("mended: %+v, %v", mended, err)
						}
					}
					if left := f.whole(); left != "" {
						t.Errorf("still broken: %s", left)
					}
				})
				if n.Name == "members" {
					breaks(t, n, size, nothingWrong, func(t *testing.T, f *fake, _ history.Fault, _ error) {
						if len(f.nodes) < leastMembers {
							t.Errorf("%d members are left", len(f.nodes))
						}
					})
				}
			})
		}
	}
}

func TestSameDrawBreaksTheSame(t *testing.T) {
	for _, n := range Table {
		different := false
		var before history.Fault
		for seed := range 20 {
			one, _ := n.Break(t.Context(), newFake(5), draw(seed))
			two, _ := n.Break(t.Context(), newFake(5), draw(seed))
			if fmt.Sprint(one) != fmt.Sprint(two) {
				t.Errorf("%s: %v, then %v", n.Name, one, two)
			}
			different = different || seed > 0 && fmt.Sprint(one) != fmt.Sprint(before)
			before = one
		}
		if !different {
			t.Errorf("%s: every seed makes %v", n.Name, before)
		}
	}
}

// powerless can do what every cluster can.
type powerless struct{ cluster.Cluster }

func (powerless) Nodes() []string { return []string{"n1", "n2", "n3"} }

func TestCanAsksForThePower(t *testing.T) {
	for _, n := range Table {
		if err := n.Can(powerless{}); (err == nil) != (n.Name == "kill") {
			t.Errorf("%s: %v", n.Name, err)
		}
	}
	for _, n := range []Nemesis{partition, shape, transfer} {
		if n.Can(newFake(1)) == nil {
			t.Errorf("%s of a single node", n.Name)
		}
	}
	if members.Can(newFake(2)) == nil {
		t.Error("members of two nodes")
	}
}

func TestTargetsOfKillAndPause(t *testing.T) {
	counts := make(map[int]int)
	leaders, successors := 0, 0
	breaks(t, kill, 5, nothingWrong, func(t *testing.T, f *fake, fault history.Fault, _ error) {
		if strings.HasPrefix(fault.What, "kill in succession") {
			successors++
			last := fault.What[strings.LastIndex(fault.What, " ")+1:]
			for _, n := range f.nodes {
				if n.down != (n.name == last) {
					t.Errorf("%s is down: %v; only the last one killed stays so", n.name, n.down)
				}
			}
			return
		}
		counts[len(fault.Nodes)]++
		if slices.Contains(fault.Nodes, "n1") {
			leaders++
		}
		for _, n := range f.nodes {
			if got, want := n.down, slices.Contains(fault.Nodes, n.name); got != want {
				t.Errorf("%s is down: %v, want %v", n.name, got, want)
			}
		}
	})
	for _, k := range []int{1, 2, 3, 5} {
		if counts[k] < seeds/30 {
			t.Errorf("%d nodes were killed only %d times", k, counts[k])
		}
	}
	if counts[4] > 0 {
		t.Error("four of five are neither a minority nor just a majority nor all")
	}
	if successors < seeds/6 || successors > seeds/2 {
		t.Errorf("%d of %d kills were successions", successors, seeds)
	}
	if others := seeds - successors; leaders < others/2 || leaders > others*9/10 {
		t.Errorf("the leader was hit %d times of %d", leaders, others)
	}
	// Of three nodes a minority is one.
	breaks(t, pause, 3, nothingWrong, func(t *testing.T, _ *fake, fault history.Fault, _ error) {
		if strings.Contains(fault.What, "minority") && len(fault.Nodes) != 1 {
			t.Error("a minority of three is one")
		}
	})
}

func TestFreshNodesAreHitMore(t *testing.T) {
	hits := 0
	breaks(t, kill, 5, func(f *fake) {
		f.now = 1e10
		f.nodes[2].born = f.now
		f.nodes[0].leads = false
	}, func(t *testing.T, _ *fake, fault history.Fault, _ error) {
		if len(fault.Nodes) == 1 && fault.Nodes[0] == "n3" {
			hits++
		} else if len(fault.Nodes) == 1 {
			hits--
		}
	})
	// By chance alone one in five would be it.
	if hits < -seeds/4 {
		t.Errorf("the fresh node was hit too rarely: %d", hits)
	}
}

func TestNothingToDoIsNoFault(t *testing.T) {
	down := func(f *fake) {
		for _, n := range f.nodes {
			n.down, n.leads = true, false
		}
	}
	for _, n := range Table {
		f := newFake(3)
		down(f)
		fault, err := n.Break(t.Context(), f, draw(1))
		if !errors.Is(err, ErrNothing) || fault.Held {
			t.Errorf("%s of dead nodes: %+v, %v", n.Name, fault, err)
		}
	}
	// Overtaken by a killing before the probe could see anything.
	for _, n := range []Nemesis{pause, clock} {
		breaks(t, n, 3, func(f *fake) { f.hunted = true }, func(t *testing.T, _ *fake, fault history.Fault, err error) {
			if !errors.Is(err, ErrNothing) || fault.Held {
				t.Errorf("%s of nodes that are killed: %+v, %v", n.Name, fault, err)
			}
		})
	}
}

// names tells of a fault whether it is of that kind by its words.
func names(word string) func(history.Fault) bool {
	return func(f history.Fault) bool { return strings.Contains(f.What, word) }
}

// TestTransferThatAnElectionOvertakes has nothing to show, and was no fault of the system.
func TestTransferThatAnElectionOvertakes(t *testing.T) {
	breaks(t, transfer, 5, func(f *fake) { f.rivals = true }, func(t *testing.T, _ *fake, fault history.Fault, err error) {
		if !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), " was elected after ") || fault.Held {
			t.Error("another was elected than the heir")
		}
	})
}

// TestClockThatMayHaveSteppedBackIsFalsifiedAllTheSame: true time tells whether it is, and the words say what else may have happened.
func TestClockThatMayHaveSteppedBackIsFalsifiedAllTheSame(t *testing.T) {
	breaks(t, clock, 3, func(f *fake) { f.stepped = true }, func(t *testing.T, f *fake, fault history.Fault, err error) {
		mended, failed := clock.Mend(t.Context(), f)
		if err != nil || failed != nil || !fault.Held || !mended.Held || !strings.Contains(fault.Probe, "may have stepped back") || !strings.Contains(mended.Probe, "may have stepped back") {
			t.Errorf("mended %+v, %v", mended, failed)
		}
	})
}

// TestTransferIsAskedAgainOfTheNextLeader: that one leader after the other was lost says nothing of handovers.
func TestTransferIsAskedAgainOfTheNextLeader(t *testing.T) {
	breaks(t, transfer, 5, func(f *fake) { f.fleeting = 4 }, func(t *testing.T, f *fake, fault history.Fault, err error) {
		if err != nil || !fault.Held || f.fleeting > 0 {
			t.Errorf("held %v, error %v", fault.Held, err)
		}
	})
}

func TestFaultThatDoesNotTakeHoldIsSeen(t *testing.T) {
	for _, c := range []struct {
		name    string
		nemesis Nemesis
		flaw    func(*fake)
		applies func(history.Fault) bool
	}{
		{"kill", kill, func(f *fake) { f.stubborn = "n2" }, func(h history.Fault) bool { return slices.Contains(h.Nodes, "n2") }},
		{"pause", pause, func(f *fake) { f.stubborn = "n2" }, func(h history.Fault) bool { return slices.Contains(h.Nodes, "n2") }},
		{"link not cut", partition, func(f *fake) { f.leak = cluster.Link{From: "n2", To: "n1"} }, func(h history.Fault) bool {
			return strings.Contains(h.Probe, "n2>n1")
		}},
		{"link cut without need", partition, func(f *fake) { f.frozen = cluster.Link{From: "n2", To: "n1"} }, func(h history.Fault) bool {
			return strings.Contains(h.Probe, "n2>n1")
		}},
		{"no delay", shape, func(f *fake) { f.weak = func(s *cluster.Shape) { s.Delay = 0 } }, names("delay")},
		{"no jitter", shape, func(f *fake) { f.weak = func(s *cluster.Shape) { s.Jitter = 0 } }, names("up to")},
		{"no loss", shape, func(f *fake) { f.weak = func(s *cluster.Shape) { s.Loss = 0 } }, names("loss")},
		{"no duplicates", shape, func(f *fake) { f.weak = func(s *cluster.Shape) { s.Duplicated = 0 } }, names("duplicates")},
		{"no limit of the rate", shape, func(f *fake) { f.weak = func(s *cluster.Shape) { s.Rate = 0 } }, names("rate")},
		{"shaped until nothing passes", shape, func(f *fake) { f.clogged = true }, func(history.Fault) bool { return true }},
		{"transfer", transfer, func(f *fake) { f.loyal = true }, func(history.Fault) bool { return true }},
		{"clock", clock, func(f *fake) { f.perfect = true }, func(history.Fault) bool { return true }},
		{"clock that may have stepped back", clock, func(f *fake) { f.perfect, f.stepped = true, true }, func(history.Fault) bool { return true }},
		{"members", members, func(f *fake) { f.blind = true }, func(history.Fault) bool { return true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			times := 0
			breaks(t, c.nemesis, 5, c.flaw, func(t *testing.T, _ *fake, fault history.Fault, err error) {
				if err != nil {
					t.Errorf("error %v", err)
				}
				if c.applies(fault) {
					times++
				}
				if fault.Held == c.applies(fault) {
					t.Errorf("held: %v", fault.Held)
				}
			})
			if times < seeds/10 {
				t.Errorf("the flaw mattered only %d times", times)
			}
		})
	}
}

func TestMendThatDoesNotMendIsSeen(t *testing.T) {
	f := newFake(3)
	f.nodes[1].down = true
	f.stubborn = "n2"
	if fault, err := kill.Mend(t.Context(), f); err != nil || fault.Held || !strings.Contains(fault.Probe, "n2 refuses") {
		t.Errorf("kill: %+v, %v", fault, err)
	}
	f.nodes[1].down, f.nodes[1].paused = false, true
	if fault, err := pause.Mend(t.Context(), f); err != nil || fault.Held || !strings.Contains(fault.Probe, "n2 does not answer") {
		t.Errorf("pause: %+v, %v", fault, err)
	}
	f = newFake(3)
	f.frozen = cluster.Link{From: "n3", To: "n1"}
	if fault, err := partition.Mend(t.Context(), f); err != nil || fault.Held || !strings.Contains(fault.Probe, "n3>n1") {
		t.Errorf("partition: %+v, %v", fault, err)
	}
	for _, s := range []cluster.Shape{{Delay: 1e8}, {Loss: 0.1}, {Duplicated: 0.1}, {Rate: 1e4}, {Delay: 1, Jitter: 1e8}} {
		f = newFake(3)
		f.Shape(t.Context(), []cluster.Link{{From: "n3", To: "n1"}}, s)
		f.sticky = true
		if fault, err := shape.Mend(t.Context(), f); err != nil || fault.Held {
			t.Errorf("shape with %+v: %+v, %v", s, fault, err)
		}
	}
	for _, s := range []cluster.Skew{{WallRate: 0.3}, {MonoRate: -0.3}, {Wall: 1e9, Strobe: 2e8}} {
		f = newFake(3)
		f.nodes[1].skew = s
		f.crooked = true
		if fault, err := clock.Mend(t.Context(), f); err != nil || fault.Held {
			t.Errorf("clock with %+v: %+v, %v", s, fault, err)
		}
	}
}

// A request whose answer was lost may have been carried out.
func TestMembersInDoubtAreSettled(t *testing.T) {
	for _, prepare := range []func(*fake){
		func(f *fake) { f.late = "n2" },
		func(f *fake) {
			f.pending = f.add()
			f.nodes = f.nodes[:3]
		},
		func(f *fake) { // and is elected
			f.pending = f.add()
			f.nodes = f.nodes[:3]
			f.lead("n4")
			f.pending.leads = true
		},
		func(f *fake) {
			f.late = "n1"
			f.pending = f.add()
			f.nodes = f.nodes[:3]
		},
	} {
		f := newFake(3)
		f.lead("n3")
		prepare(f)
		fault, err := members.Mend(t.Context(), f)
		if err != nil || !fault.Held || !fault.Mended {
			t.Errorf("%+v, %v", fault, err)
		}
		if got, want := f.Nodes(), f.counted(); !slices.Equal(got, want) || len(got) != 3 {
			t.Errorf("nodes %v, counted %v", got, want)
		}
	}
}

// Other faults may last as long as the first attempt, and end before the second.
func TestMembersInsist(t *testing.T) {
	breaks(t, members, 5, func(f *fake) { f.busy = changeAttempts - 1 }, func(t *testing.T, _ *fake, fault history.Fault, err error) {
		if err != nil || !fault.Held {
			t.Error("gave up")
		}
	})
	breaks(t, members, 5, func(f *fake) { f.deaf = true }, func(t *testing.T, _ *fake, fault history.Fault, err error) {
		if err == nil || errors.Is(err, ErrNothing) || fault.Held {
			t.Error("a change that always fails is a failure")
		}
	})
}

// One nemesis must not mend what another has broken.
func TestMendsAreIndependent(t *testing.T) {
	f := newFake(5)
	f.nodes[1].paused = true
	f.nodes[2].down = true
	f.nodes[3].skew.MonoRate = 0.5
	f.cut = []cluster.Link{{From: "n1", To: "n5"}}
	for _, n := range []Nemesis{transfer, members} {
		if fault, err := n.Mend(t.Context(), f); err != nil || !fault.Held {
			t.Errorf("%s: %+v, %v", n.Name, fault, err)
		}
	}
	check := func(who string, down, paused, skewed, cut bool) {
		t.Helper()
		if f.nodes[2].down != down || f.nodes[1].paused != paused || (f.nodes[3].skew.MonoRate != 0) != skewed || (len(f.cut) > 0) != cut {
			t.Errorf("after %s: %+v %+v %+v %v", who, *f.nodes[1], *f.nodes[2], *f.nodes[3], f.cut)
		}
	}
	check("transfer and members", true, true, true, true)
	for i, n := range []Nemesis{kill, clock, pause, partition} {
		fault, err := n.Mend(t.Context(), f)
		if err != nil || !fault.Held {
			t.Errorf("%s beside other faults: %+v, %v", n.Name, fault, err)
		}
		check(n.Name, false, i < 2, i < 1, i < 3)
	}
}

// All at once, in any order: no fault fails to take hold because of another one, and in the end everything is whole.
func TestOverlappingFaults(t *testing.T) {
	held, none := 0, 0
	for seed := range 100 {
		r := draw(seed)
		f := newFake(5)
		for step := range 30 {
			n := Table[r.IntN(len(Table))]
			if r.IntN(2) == 0 {
				fault, err := n.Mend(t.Context(), f)
				if (err != nil || !fault.Held) && !errors.Is(err, ErrNothing) {
					t.Fatalf("seed %d step %d: %s mends %+v, %v", seed, step, n.Name, fault, err)
				}
				continue
			}
			fault, err := n.Break(t.Context(), f, r)
			switch {
			case errors.Is(err, ErrNothing):
				none++
			case err != nil || !fault.Held:
				t.Fatalf("seed %d step %d: %s breaks %+v, %v", seed, step, n.Name, fault, err)
			default:
				held++
			}
			if len(f.nodes) < 3 {
				t.Fatalf("seed %d step %d: %d nodes", seed, step, len(f.nodes))
			}
			if _, ok := leaderOf(look(t.Context(), f, f.Nodes())); !ok {
				// The election that a real cluster would hold.
				if up := those(look(t.Context(), f, f.Nodes()), isUp); len(up) > 0 {
					f.lead(up[0])
				}
			}
		}
		for _, n := range Table {
			if n.Name == "members" {
				f.lead(f.nodes[0].name)
			}
			if fault, err := n.Mend(t.Context(), f); err != nil || !fault.Held {
				t.Fatalf("seed %d: at the end %s mends %+v, %v", seed, n.Name, fault, err)
			}
		}
		if left := f.whole(); left != "" {
			t.Fatalf("seed %d: left broken: %s", seed, left)
		}
	}
	if held < 800 || none == 0 {
		t.Errorf("%d faults held, for %d there was nothing to do", held, none)
	}
}

// The monotonic clock of another process says nothing about the skew of the one before.
func TestClocksOfTwoProcessesAreNotCompared(t *testing.T) {
	for seed := range uint64(50) {
		f := newFake(3)
		f.restless = true
		fault, err := clock.Break(t.Context(), f, rand.New(rand.NewPCG(seed, 1)))
		if !errors.Is(err, ErrNothing) {
			t.Fatalf("seed %d: got %+v, %v, want %v", seed, fault, err, ErrNothing)
		}
	}
}

// Another fault kills the paused process and its mending starts the node again, before the probe: that it answers says nothing of the pause.
func TestPausesOfProcessesThatAreGoneAreNoEvidence(t *testing.T) {
	breaks(t, pause, 3, func(f *fake) { f.reborn = true }, func(t *testing.T, _ *fake, fault history.Fault, err error) {
		if !errors.Is(err, ErrNothing) || fault.Held {
			t.Errorf("got %+v, %v, want %v", fault, err, ErrNothing)
		}
	})
}
