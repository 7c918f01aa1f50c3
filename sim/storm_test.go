package sim_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/harness"
	"assize/history"
	"assize/machine"
	"assize/sim"
	"assize/targets/raft"
)

var ctx = context.Background()

func encoded(ops []history.Op) []byte {
	var b []byte
	for _, op := range ops {
		b = append(op.Append(b), '\n')
	}
	return b
}

// TestSamePlanSameHistory: to the byte, whatever ran in this process before.
func TestSamePlanSameHistory(t *testing.T) {
	for seed := range uint64(8) {
		p := storm(seed, func(p *harness.Plan) { p.Time = 5 * time.Second })
		_, one, _ := conduct(t, p, false)
		_, two, _ := conduct(t, p, false)
		if a, b := encoded(one), encoded(two); !bytes.Equal(a, b) {
			t.Errorf("seed %d: one plan gave two histories of %d and %d bytes", seed, len(a), len(b))
		}
		p.Seed += 100
		if _, other, _ := conduct(t, p, false); bytes.Equal(encoded(one), encoded(other)) {
			t.Errorf("seeds %d and %d gave one history", seed, p.Seed)
		}
	}
}

// TestTheCourtChangesNothing: a run is the same whether it is watched or not.
func TestTheCourtChangesNothing(t *testing.T) {
	p := storm(3, nil)
	_, watched, _ := conduct(t, p, false)
	_, free, _ := conduct(t, p, true)
	if !bytes.Equal(encoded(watched), encoded(free)) {
		t.Error("the invariants' checks change the run")
	}
}

func violations(ops []history.Op) (found []string) {
	for _, op := range ops {
		if op.Phase == history.PhaseViolation {
			found = append(found, op.Note)
		}
	}
	return found
}

// TestStormsBreakNoInvariant, and after each of them a random quorum answers.
func TestStormsBreakNoInvariant(t *testing.T) {
	for seed := uint64(1); seed <= 60; seed++ {
		_, ops, _ := conduct(t, storm(seed, nil), false)
		if found := violations(ops); found != nil {
			t.Errorf("seed %d: %s", seed, strings.Join(found, "; "))
		}
		answered := slices.ContainsFunc(ops, func(op history.Op) bool { return op.Kind == history.OK })
		if !answered {
			t.Errorf("seed %d: nothing ever succeeded", seed)
		}
	}
}

// TestPlantedFlawsBreakInvariants: those mistakes of Raft that show in logs and leaders, each by the invariant that it breaks.
func TestPlantedFlawsBreakInvariants(t *testing.T) {
	for _, c := range []struct{ flaw, want string }{
		{"ack-before-sync", "durability: acknowledged entry"},
		{"truncate-always", "durability: acknowledged entry"},
		{"shorter-log-wins", "leader completeness: leads term"},
		{"double-vote-counts", "election safety: leads term"},
		{"prior-term-commit-index", "state machine safety: applied entry "},
	} {
		caught := func() bool {
			for seed := uint64(1); seed <= 300; seed++ {
				_, ops, _ := conduct(t, storm(seed, func(p *harness.Plan) { p.Flaw = c.flaw; p.Nemesis = []string{"kill", "partition"} }), false)
				if strings.Contains(strings.Join(violations(ops), "\n"), c.want) {
					return true
				}
			}
			return false
		}
		if !caught() {
			t.Errorf("%s: no seed of 300 breaks %q", c.flaw, c.want)
		}
	}
}

// calm runs main on a cluster of raft without faults.
func calm(t *testing.T, nodes int, seed uint64, main func(s *sim.Sim)) {
	t.Helper()
	s := sim.New(sim.Config{
		Seed: seed, Nodes: nodes, New: raft.New,
		Options: machine.Options{Heartbeat: 50 * time.Millisecond, Election: 300 * time.Millisecond},
		Weather: sim.Weather{Delay: time.Millisecond, Spread: 0.5, Sync: time.Millisecond, Tear: 0.5},
	})
	if err := s.Run(func() {
		s.Sleep(2 * time.Second)
		main(s)
	}); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

func leaderOf(s *sim.Sim) (name string) {
	term := uint64(0)
	for _, n := range s.Nodes() {
		if st, err := s.Status(ctx, n); err == nil && st.Role == machine.Leader && st.Term >= term {
			name, term = n, st.Term
		}
	}
	return name
}

func put(s *sim.Sim, node string, v int) error {
	c, err := s.Dial(ctx, node, cluster.Options{Timeout: 2 * time.Second})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do(ctx, history.Txn{{F: history.Write, Key: "k", In: []int{v}}})
	return err
}

func TestTransferHandsOver(t *testing.T) {
	calm(t, 3, 1, func(s *sim.Sim) {
		for _, heir := range []string{"n1", "n2", "n3", "n2", "n2"} {
			if err := s.Transfer(ctx, heir); err != nil {
				t.Errorf("transfer to %s: %v", heir, err)
			}
			s.Sleep(100 * time.Millisecond)
			if got := leaderOf(s); got != heir {
				t.Errorf("%s leads, want %s", got, heir)
			}
		}
		for _, n := range s.Nodes() {
			s.Kill(ctx, n)
		}
		if err := s.Transfer(ctx, "n1"); err == nil {
			t.Error("nobody was there to hand over, and no error")
		}
	})
}

func TestMembersComeAndGo(t *testing.T) {
	calm(t, 3, 2, func(s *sim.Sim) {
		put(s, "n1", 1)
		for i := range 4 {
			name, err := s.Join(ctx)
			if want := fmt.Sprintf("n%d", 4+i); err != nil || name != want {
				t.Fatalf("joined %s, %v, want %s", name, err, want)
			}
			if err := put(s, name, 10+i); err != nil {
				t.Errorf("write to %s: %v", name, err)
			}
			leaving := s.Nodes()[0]
			if i == 2 {
				leaving = leaderOf(s)
			}
			if err := s.Leave(ctx, leaving); err != nil {
				t.Fatalf("%s leaves: %v", leaving, err)
			}
			if got := s.Nodes(); len(got) != 3 || slices.Contains(got, leaving) {
				t.Errorf("members %v after %s left", got, leaving)
			}
			if _, err := s.Status(ctx, leaving); err == nil {
				t.Errorf("%s answers after it has left", leaving)
			}
			if err := s.Start(ctx, leaving); err == nil {
				t.Errorf("%s was started after it had left", leaving)
			}
		}
	})
}

// A join that nobody could answer is taken up again, by the same node.
func TestJoinIsTakenUpAgain(t *testing.T) {
	calm(t, 3, 3, func(s *sim.Sim) {
		s.Kill(ctx, "n1")
		s.Kill(ctx, "n2")
		if name, err := s.Join(ctx); err == nil {
			t.Fatalf("%s joined without a majority", name)
		}
		s.Start(ctx, "n1")
		s.Start(ctx, "n2")
		if name, err := s.Join(ctx); err != nil || name != "n4" || len(s.Nodes()) != 4 {
			t.Errorf("joined %s, %v: %v", name, err, s.Nodes())
		}
	})
}

func TestMendedQuorumAnswersWhileAllElseIsBroken(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(12) {
		calm(t, 5, seed, func(s *sim.Sim) {
			s.Kill(ctx, "n1")
			s.Kill(ctx, "n2")
			s.Kill(ctx, "n3")
			s.Pause(ctx, "n4")
			s.Skew(ctx, "n5", cluster.Skew{MonoRate: -0.9})
			s.Cut(ctx, []cluster.Link{{From: "n4", To: "n5"}, {From: "n5", To: "n4"}, {From: "n1", To: "n2"}})
			s.Sleep(time.Second)
			quorum, err := s.MendQuorum(ctx, seed)
			if err != nil || len(quorum) != 3 {
				t.Fatalf("quorum %v, %v", quorum, err)
			}
			seen[strings.Join(quorum, " ")] = true
			s.Sleep(3 * time.Second)
			for _, n := range s.Nodes() {
				_, err := s.Status(ctx, n)
				if up := err == nil; up != slices.Contains(quorum, n) {
					t.Errorf("%s is up: %v; the quorum is %v", n, up, quorum)
				}
			}
			if err := put(s, quorum[seed%3], 7); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			dead, _ := s.Reach(ctx)
			if len(dead) != 5*4-3*2 {
				t.Errorf("%d links are dead, want all but those within %v: %v", len(dead), quorum, dead)
			}
		})
	}
	if len(seen) < 5 {
		t.Errorf("12 draws gave only %d quorums", len(seen))
	}
}
