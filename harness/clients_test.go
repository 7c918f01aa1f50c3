package harness

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assize/cluster"
	"assize/history"
)

func TestLostAnswerEndsTheProcess(t *testing.T) {
	p := plan()
	n := 0
	ops, f := trial(t, p, func(f *fake, _ *Setup) {
		f.answer = func(_ string, txn history.Txn) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if n++; n%20 == 0 {
				return errLost
			}
			return nil
		}
	})
	infos, ended := 0, map[int]string{}
	for _, op := range ops {
		switch {
		case op.Kind == history.Info && op.Process >= 0:
			infos++
			ended[op.Process] = op.Node
			if op.Txn.ReadOnly() {
				t.Errorf("a read is indeterminate: %v", op)
			}
		case op.Kind == history.Fail && op.Note == errLost.Error():
			ended[op.Process] = op.Node // its connection is lost, and it carries nothing
			if !op.Txn.ReadOnly() {
				t.Errorf("a write that may have happened is recorded as failed: %v", op)
			}
		case op.Kind == history.Invoke && op.Process >= p.Clients:
			before, is := ended[op.Process-p.Clients]
			if !is {
				t.Errorf("process %d goes on where no process has ended", op.Process)
			}
			if before != op.Node && noteOf(ops[:op.Index], history.PhaseMend) == "" {
				t.Errorf("process %d asks %s, its predecessor asked %s", op.Process, op.Node, before)
			}
		}
	}
	if infos < 10 {
		t.Fatalf("only %d indeterminate operations", infos)
	}
	dials := 0
	for _, n := range f.dials {
		dials += n
	}
	if dials < infos+p.Clients {
		t.Errorf("%d connections for %d processes", dials, infos+p.Clients)
	}
}

// TestSessionKeepsToItsServer: a pinned client that carries nothing is another client where it asks another server.
func TestSessionKeepsToItsServer(t *testing.T) {
	for _, carry := range []bool{false, true} {
		p := plan()
		p.Clients, p.Carry = 2, carry
		ops, _ := trial(t, p, func(f *fake, s *Setup) { s.Cluster = quorate{f} })
		nodes, moved := map[int]string{}, 0
		for _, op := range ops {
			if op.Kind != history.Invoke || op.Process < 0 {
				continue
			}
			if before := nodes[op.Process]; before != "" && before != op.Node {
				moved++
			}
			nodes[op.Process] = op.Node
		}
		if carry != (moved > 0) {
			t.Errorf("carry %v: processes went to another server %d times", carry, moved)
		}
	}
}

func TestProofOfFailureIsKept(t *testing.T) {
	ops, _ := trial(t, plan(), nil)
	fails := 0
	for _, op := range ops {
		if op.Kind == history.Fail {
			fails++
			if op.Txn[0].F != history.CAS || !strings.Contains(op.Note, "compare failed") {
				t.Errorf("%v failed", op)
			}
		}
	}
	if fails == 0 {
		t.Error("no compare-and-set failed")
	}
}

func TestRefusedConnectionsDoNotFloodTheHistory(t *testing.T) {
	ops, _ := trial(t, plan(), func(f *fake, _ *Setup) {
		f.answer = func(string, history.Txn) error {
			return fmt.Errorf("no: %w, %w", cluster.ErrRefused, cluster.ErrNotDone)
		}
	})
	calls := 0
	for _, op := range ops {
		if op.Phase == history.PhaseMend {
			break
		}
		if op.Kind == history.Fail {
			calls++
		}
	}
	// 4 clients for 5 s: about five calls within the first second, then at most about two a second.
	if calls < 12 || calls > 4*(5+2*5) {
		t.Errorf("%d refused operations", calls)
	}
}

func TestStuckClientIsAbandoned(t *testing.T) {
	p := plan()
	stuck := false
	ops, _ := trial(t, p, func(f *fake, _ *Setup) {
		f.answer = func(_ string, txn history.Txn) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.position > 50 && !stuck && !txn.ReadOnly() {
				stuck = true
				return errStuck
			}
			return nil
		}
	})
	for i, op := range ops {
		if op.Kind != history.Info || op.Process < 0 {
			continue
		}
		if !strings.Contains(op.Note, "abandoned") {
			t.Errorf("note %q", op.Note)
		}
		for _, later := range ops[i:] {
			if later.Process == op.Process+p.Clients && later.Kind == history.OK {
				return
			}
		}
		t.Fatal("the worker did not go on")
	}
	t.Fatal("nobody was abandoned")
}

func TestCarriedPositionRefusesOlderAnswers(t *testing.T) {
	for _, carry := range []bool{false, true} {
		p := plan()
		p.Strategy, p.Carry = RoundRobin, carry
		ops, _ := trial(t, p, func(f *fake, _ *Setup) { f.lag = 5 })
		seen, older, refused := map[int]uint64{}, 0, 0
		for _, op := range ops {
			if op.Kind == history.OK {
				if op.Position < seen[op.Process] {
					older++
				}
				seen[op.Process] = max(seen[op.Process], op.Position)
			}
			if op.Kind == history.Fail && strings.HasPrefix(op.Note, "refused by the client") {
				refused++
			}
		}
		if carry != (older == 0) || carry != (refused > 0) {
			t.Errorf("carry %v: %d older answers accepted, %d refused", carry, older, refused)
		}
	}
}

func TestStrategies(t *testing.T) {
	for strategy, want := range map[string]int{Pinned: 1, RoundRobin: 3, Random: 3} {
		p := plan()
		p.Strategy = strategy
		ops, _ := trial(t, p, nil)
		nodes := map[string]bool{}
		for _, op := range ops {
			if op.Phase == history.PhaseMend {
				break
			}
			if op.Kind == history.Invoke && op.Process == 1 {
				nodes[op.Node] = true
			}
		}
		if len(nodes) != want {
			t.Errorf("%s: process 1 asked %v, want %d nodes", strategy, nodes, want)
		}
	}
}

func TestInvocationIsOnRecordBeforeItIsSent(t *testing.T) {
	var asked atomic.Int64
	trial(t, plan(), func(f *fake, s *Setup) {
		recorder := s.Recorder
		f.answer = func(node string, txn history.Txn) error {
			if txn.ReadOnly() {
				return nil // not unique
			}
			asked.Add(1)
			if !slices.ContainsFunc(recorder.Ops(), func(op history.Op) bool {
				return op.Kind == history.Invoke && op.Node == node && reflect.DeepEqual(op.Txn, txn)
			}) {
				t.Errorf("%v was sent before it was recorded", txn)
			}
			return nil
		}
	})
	if asked.Load() == 0 {
		t.Error("nothing was asked")
	}
}

func TestPinnedClientLeavesItsNodeOnlyWithTheNode(t *testing.T) {
	ops, _ := trial(t, plan(), func(f *fake, s *Setup) {
		f.Go(func() {
			f.Sleep(2 * time.Second)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.nodes = []string{"n1", "n3", "n4"}
		})
	})
	nodes := map[int][]string{}
	for _, op := range ops {
		if op.Phase == history.PhaseMend {
			break
		}
		if op.Kind == history.Invoke && !slices.Contains(nodes[op.Process], op.Node) {
			nodes[op.Process] = append(nodes[op.Process], op.Node)
		}
	}
	want := map[int][]string{0: {"n1"}, 1: {"n2"}, 2: {"n3"}, 3: {"n1"}, 1 + plan().Clients: {"n3"}}
	if !reflect.DeepEqual(nodes, want) {
		t.Errorf("nodes asked by process %v, want %v", nodes, want)
	}
}

// TestNonsenseIsAViolation: an answer to another question is no answer, but a system that gives it is not right either.
func TestNonsenseIsAViolation(t *testing.T) {
	told := false
	ops, _ := trial(t, plan(), func(f *fake, _ *Setup) {
		f.answer = func(_ string, txn history.Txn) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if told || !txn.ReadOnly() {
				return nil
			}
			told = true
			return fmt.Errorf("another key's value: %w", cluster.ErrNonsense)
		}
	})
	var violations []string
	for _, op := range ops {
		if op.Phase == history.PhaseViolation {
			violations = append(violations, op.Note)
		}
	}
	if len(violations) != 1 || !strings.Contains(violations[0], "another key's value") {
		t.Errorf("violations %q, want one that says what was answered", violations)
	}
}

// TestReadsBehindSyncs: each read is asked for behind a sync of its key, last words too, and nothing else is.
func TestReadsBehindSyncs(t *testing.T) {
	for _, synced := range []bool{false, true} {
		ops, _ := trial(t, plan(), func(_ *fake, s *Setup) { s.Synced = synced })
		final, count := false, map[string]int{}
		for _, op := range ops {
			final = final || op.Phase == history.PhaseFinal
			if op.Process < 0 || op.Kind != history.Invoke {
				continue
			}
			steps, behind := op.Txn.AfterSync()
			if len(steps) != 1 || behind != (synced && steps[0].F == history.Read) || behind && op.Txn[0].Key != steps[0].Key {
				t.Fatalf("synced %v: asked for %+v", synced, op.Txn)
			}
			if count[steps[0].F]++; final {
				count["final"]++
			}
		}
		if count[history.Read] == 0 || count[history.Write] == 0 || count[history.CAS] == 0 || count["final"] == 0 {
			t.Errorf("synced %v: %v: the test is one-sided", synced, count)
		}
	}
}
