package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/nemesis"
)

func phases(ops []history.Op) (list []string) {
	for _, op := range ops {
		if op.Phase != "" {
			list = append(list, op.Phase)
		}
	}
	return list
}

func noteOf(ops []history.Op, phase string) string {
	for _, op := range ops {
		if op.Phase == phase {
			return op.Note
		}
	}
	return ""
}

func TestPhasesComeInOrder(t *testing.T) {
	ops, _ := trial(t, plan(), nil)
	want := []string{history.PhaseStorm, history.PhaseMend, history.PhaseFinal, history.PhaseStop}
	if got := phases(ops); !slices.Equal(got, want) {
		t.Errorf("phases %v, want %v", got, want)
	}
	ops, _ = trial(t, plan(), func(f *fake, s *Setup) { s.Cluster = quorate{f} })
	want = slices.Insert(want, 1, history.PhaseQuorum)
	if got := phases(ops); !slices.Equal(got, want) {
		t.Errorf("with a quorum: phases %v, want %v", got, want)
	}
	if got := noteOf(ops, history.PhaseQuorum); !strings.HasPrefix(got, "n1 n2 must answer within ") {
		t.Errorf("note of the quorum: %q", got)
	}
}

// TestKindThatNeverSucceededIsAskedOnOfTheMendedCluster, and nothing is asked there where all have, or where it is no use.
func TestKindThatNeverSucceededIsAskedOnOfTheMendedCluster(t *testing.T) {
	for _, c := range []struct {
		until time.Duration // compare-and-sets fail
		want  int           // those that succeeded between the mending and the last words
		asked bool
	}{{0, 0, false}, {5 * time.Second, 3, true}, {time.Hour, 0, true}} {
		ops, _ := trial(t, plan(), func(f *fake, _ *Setup) {
			f.answer = func(_ string, txn history.Txn) error {
				if txn[0].F == history.CAS && f.Now() < c.until {
					return fmt.Errorf("compare failed: %w", cluster.ErrNotDone)
				}
				return nil
			}
		})
		phase, asked, succeeded := "", false, 0
		for _, op := range ops {
			if op.Phase != "" {
				phase = op.Phase
			}
			if phase == history.PhaseMend {
				asked = asked || op.Kind == history.Invoke
				if op.Kind == history.OK && op.Txn[0].F == history.CAS {
					succeeded++
				}
			}
		}
		if asked != c.asked || min(succeeded, 3) != c.want {
			t.Errorf("compare-and-sets fail for %v: asked on %v, and %d succeeded", c.until, asked, succeeded)
		}
	}
}

func TestRateIsKept(t *testing.T) {
	ops, _ := trial(t, plan(), nil)
	calls := 0
	for _, op := range ops {
		if op.Phase == history.PhaseMend {
			break
		}
		if op.Kind == history.Invoke {
			calls++
		}
	}
	if want := 1000; calls < want*9/10 || calls > want*11/10 {
		t.Errorf("%d operations in 5 s at 200 a second, want about %d", calls, want)
	}
}

func TestLastWordsAreAskedOfEveryNode(t *testing.T) {
	for _, clients := range []int{1, 2, 8} {
		p := plan()
		p.Clients = clients
		ops, _ := trial(t, p, nil)
		final, states := map[string]map[string]bool{}, map[string]int{}
		last := false
		for _, op := range ops {
			last = last || op.Phase == history.PhaseFinal
			if last && op.Kind == history.OK {
				if final[op.Node] == nil {
					final[op.Node] = map[string]bool{}
				}
				final[op.Node][op.Txn[0].Key] = true
			}
			if op.State != nil {
				states[op.State.Node]++
				if op.State.Applied>>32 != 1 {
					t.Errorf("%s is at %#x, want the position that names its state, not the count of what it has applied", op.State.Node, op.State.Applied)
				}
			}
		}
		for _, node := range []string{"n1", "n2", "n3"} {
			if len(final[node]) == 0 || len(final[node]) != len(final["n1"]) || states[node] != 1 {
				t.Errorf("%d clients, %s: %d keys read at the end (n1: %d), %d states", clients, node, len(final[node]), len(final["n1"]), states[node])
			}
		}
	}
}

func TestLastWordsWaitForThoseWhoAreBehind(t *testing.T) {
	ops, _ := trial(t, plan(), func(f *fake, _ *Setup) { f.behind = func() bool { return f.Now() < 9*time.Second } })
	for _, op := range ops {
		if op.Phase == history.PhaseFinal && (op.Time < 9*time.Second || op.Note != "") {
			t.Errorf("last words at %v, note %q", op.Time, op.Note)
		}
	}
	ops, _ = trial(t, plan(), func(f *fake, _ *Setup) { f.mute = true })
	if note := noteOf(ops, history.PhaseFinal); !strings.HasPrefix(note, "the nodes did not agree on a leader") {
		t.Errorf("note %q", note)
	}
}

func withFaults(p Plan) Plan {
	p.Nemesis = []string{"kill"}
	p.Faults = []Fault{
		{ID: 1, Name: "kill", At: time.Second, For: time.Second, Draw: 1},
		{ID: 2, Name: "kill", At: 4 * time.Second, For: time.Minute, Draw: 2},
	}
	return p
}

func faultEvents(ops []history.Op) (list []string) {
	for _, op := range ops {
		if op.Fault != nil {
			list = append(list, fmt.Sprintf("%d mended=%v held=%v %s", op.Fault.ID, op.Fault.Mended, op.Fault.Held, op.Time.Round(time.Second)))
		}
	}
	return list
}

func TestFaultsComeInPairs(t *testing.T) {
	ops, f := trial(t, withFaults(plan()), func(f *fake, s *Setup) { s.Nemeses = []nemesis.Nemesis{killer()} })
	want := []string{"1 mended=false held=true 1s", "1 mended=true held=true 2s", "2 mended=false held=true 4s", "2 mended=true held=true 5s"}
	if got := faultEvents(ops); !slices.Equal(got, want) {
		t.Errorf("fault events %q, want %q", got, want)
	}
	if f.down["n3"] {
		t.Error("n3 is still down")
	}
}

func TestFailedAttemptIsAFaultThatDidNotHold(t *testing.T) {
	ops, _ := trial(t, withFaults(plan()), func(f *fake, s *Setup) {
		n := killer()
		real := n.Break
		n.Break = func(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
			fault, _ := real(ctx, c, r)
			return fault, errors.New("no way")
		}
		s.Nemeses = []nemesis.Nemesis{n}
	})
	for _, op := range ops {
		if op.Fault != nil && !op.Fault.Mended && (op.Fault.Held || op.Fault.Probe != "failed: no way") {
			t.Errorf("%+v", *op.Fault)
		}
	}
	if got := len(faultEvents(ops)); got != 4 {
		t.Errorf("%d fault events, want 4", got)
	}
}

func TestNemesisThatCannotIsAnError(t *testing.T) {
	f := newFake(3)
	n := killer()
	n.Can = func(cluster.Cluster) error { return errors.New("no power") }
	p := withFaults(plan())
	err := Run(t.Context(), setup(f, p, n))
	if err == nil || !strings.Contains(err.Error(), "kill: no power") {
		t.Errorf("error %v", err)
	}
	if err := Run(t.Context(), setup(f, p)); err == nil {
		t.Error("faults of a nemesis that was not given went unnoticed")
	}
}

func TestQuorumThatDoesNotAnswerIsAViolation(t *testing.T) {
	for _, mute := range []bool{false, true} {
		ops, _ := trial(t, plan(), func(f *fake, s *Setup) { f.quorumMute, s.Cluster = mute, quorate{f} })
		if got := strings.HasPrefix(noteOf(ops, history.PhaseViolation), "liveness: "); got != mute {
			t.Errorf("mute %v: violation %q", mute, noteOf(ops, history.PhaseViolation))
		}
	}
}

// TestQuorumThatTheTestCannotMend is the test's fault, and everything else is still done.
func TestQuorumThatTheTestCannotMend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(3)
		f.beyond = errors.New("the engine has gone")
		s := setup(f, plan())
		s.Cluster = quorate{f}
		if err := Run(t.Context(), s); !errors.Is(err, f.beyond) {
			t.Errorf("got %v", err)
		}
		f.Wait()
		if !slices.ContainsFunc(s.Recorder.Ops(), func(op history.Op) bool { return op.Phase == history.PhaseStop }) {
			t.Error("the run did not go on to its end")
		}
	})
}

// TestQuorumThatCannotBeMended: everything else is still done, and what the cluster has to tell of it is told.
func TestQuorumThatCannotBeMended(t *testing.T) {
	ops, _ := trial(t, plan(), func(f *fake, s *Setup) {
		f.beyond, f.violated, s.Cluster = fmt.Errorf("%w: n2 ended with a panic", cluster.ErrSystem), []string{"n2 died by itself"}, quorate{f}
	})
	var unmended []history.Fault
	for _, op := range ops {
		if op.Fault != nil {
			unmended = append(unmended, *op.Fault)
		}
	}
	if len(unmended) != 1 || unmended[0].Held || !strings.Contains(unmended[0].Probe, "n2 ended with a panic") {
		t.Errorf("faults %+v, want one: a quorum that was not mended", unmended)
	}
	if got := noteOf(ops, history.PhaseViolation); got != "n2 died by itself" {
		t.Errorf("violation %q", got)
	}
	if !slices.ContainsFunc(ops, func(op history.Op) bool { return op.Phase == history.PhaseStop }) {
		t.Error("the run did not go on to its end")
	}
}

func TestViolationsAreRecordedWhenTheyOccur(t *testing.T) {
	ops, _ := trial(t, withFaults(plan()), func(f *fake, s *Setup) {
		n := killer()
		real := n.Break
		n.Break = func(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
			f.mu.Lock()
			f.violated = append(f.violated, "two leaders")
			f.mu.Unlock()
			return real(ctx, c, r)
		}
		s.Nemeses = []nemesis.Nemesis{n}
	})
	var at []time.Duration
	for _, op := range ops {
		if op.Phase == history.PhaseViolation {
			at = append(at, op.Time.Truncate(time.Second))
		}
	}
	if want := []time.Duration{time.Second, 4 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("violations at %v, want %v", at, want)
	}
}

func TestInterruptionGoesToMend(t *testing.T) {
	var stop context.CancelFunc
	ops, f := trial(t, withFaults(plan()), func(f *fake, s *Setup) {
		s.Cluster = quorate{f} // which is not asked: whoever interrupts does not want to wait for it
		s.Nemeses = []nemesis.Nemesis{killer()}
		s.Progress = func(p Progress) {
			if p.At > 1500*time.Millisecond {
				stop()
			}
		}
	}, func(ctx context.Context) (inner context.Context) {
		inner, stop = context.WithCancel(ctx)
		return inner
	})
	want := []string{history.PhaseStorm, history.PhaseMend, history.PhaseFinal, history.PhaseStop}
	if got := phases(ops); !slices.Equal(got, want) {
		t.Errorf("phases %v, want %v", got, want)
	}
	if got := ops[len(ops)-1].Time; got > 3*time.Second {
		t.Errorf("the run went on until %v", got)
	}
	if got := len(faultEvents(ops)); got != 2 || f.down["n3"] {
		t.Errorf("%d fault events, want 2; n3 down: %v", got, f.down["n3"])
	}
}

func TestProgressAndSamples(t *testing.T) {
	var progress []Progress
	samples := map[string]int{}
	trial(t, withFaults(plan()), func(f *fake, s *Setup) {
		s.Nemeses = []nemesis.Nemesis{killer()}
		s.Progress = func(p Progress) { progress = append(progress, p) }
		s.Observe = func(s Sample) { samples[s.Node+" "+s.Role]++ }
	})
	seen := map[int]bool{}
	for _, p := range progress {
		seen[len(p.Active)] = true
	}
	last := progress[len(progress)-1]
	if !reflect.DeepEqual(seen, map[int]bool{0: true, 1: true}) || last.OK < 500 || last.Leader != "n1" || last.Term != 1 {
		t.Errorf("active faults seen %v, last progress %+v", seen, last)
	}
	if samples["n1 leader"] < 45 || samples["n2 follower"] < 45 || samples["n3 follower"] < 25 || samples["n3 "] != 2 {
		t.Errorf("samples %v", samples)
	}
}

func TestNothingToDoIsNoFault(t *testing.T) {
	mended := 0
	ops, _ := trial(t, withFaults(plan()), func(f *fake, s *Setup) {
		n := killer()
		mend := n.Mend
		n.Break = func(context.Context, cluster.Cluster, *rand.Rand) (history.Fault, error) {
			return history.Fault{}, fmt.Errorf("all are down: %w", nemesis.ErrNothing)
		}
		n.Mend = func(ctx context.Context, c cluster.Cluster) (history.Fault, error) { mended++; return mend(ctx, c) }
		s.Nemeses = []nemesis.Nemesis{n}
	})
	said := 0
	for _, op := range ops {
		if op.Process == history.Nemesis && strings.Contains(op.Note, "kill: all are down") {
			said++
		}
	}
	if got := faultEvents(ops); len(got) != 0 || said != 2 || mended != 3 {
		t.Errorf("fault events %q, %d notes, mended %d times; want none, 2, 3", got, said, mended)
	}
}

// TestMendThatIsNotPossibleYet leaves its faults open in the storm; at its end they have not been mended.
func TestMendThatIsNotPossibleYet(t *testing.T) {
	ops, _ := trial(t, withFaults(plan()), func(f *fake, s *Setup) {
		n := killer()
		n.Mend = func(context.Context, cluster.Cluster) (history.Fault, error) {
			return history.Fault{Held: true}, fmt.Errorf("nobody leads: %w", nemesis.ErrNothing)
		}
		s.Nemeses = []nemesis.Nemesis{n}
	})
	want := []string{"1 mended=false held=true 1s", "2 mended=false held=true 4s", "1 mended=true held=false 5s", "2 mended=true held=false 5s"}
	if got := faultEvents(ops); !slices.Equal(got, want) {
		t.Errorf("fault events %q, want %q", got, want)
	}
}

// TestStormThatDoesNotEnd: a quorum that is broken while it is to answer is nobody's fault but the nemesis's.
func TestStormThatDoesNotEnd(t *testing.T) {
	ops, _ := trial(t, withFaults(plan()), func(f *fake, s *Setup) {
		s.Cluster = quorate{f}
		n := killer()
		n.Break = func(ctx context.Context, c cluster.Cluster, _ *rand.Rand) (history.Fault, error) {
			for end := c.Now() + 3*time.Minute; c.Now() < end; c.Sleep(time.Millisecond) {
				for _, node := range c.Nodes() {
					if err := c.Kill(ctx, node); err != nil {
						return history.Fault{}, err
					}
				}
			}
			return history.Fault{What: "killed again and again", Held: true}, nil
		}
		s.Nemeses = []nemesis.Nemesis{n}
	})
	if got := noteOf(ops, history.PhaseViolation); got != "" {
		t.Errorf("violation %q", got)
	}
	if !slices.ContainsFunc(ops, func(op history.Op) bool { return op.Fault != nil && op.Fault.What == "end the storm" && !op.Fault.Held }) {
		t.Error("nothing on record tells that the storm went on")
	}
}

// TestLapsesAreOnRecord: a fault that has ended by itself was not stood, whether that is known in the storm or only after the last words.
func TestLapsesAreOnRecord(t *testing.T) {
	for _, late := range []bool{false, true} {
		ops, _ := trial(t, plan(), func(f *fake, s *Setup) {
			asked := false
			f.answer = func(string, history.Txn) error {
				f.mu.Lock()
				defer f.mu.Unlock()
				if !asked && f.mended == late {
					asked, f.lapsed = true, append(f.lapsed, "n2 went on by itself")
				}
				return nil
			}
		})
		var lapses []history.Fault
		for _, op := range ops {
			if op.Fault != nil {
				lapses = append(lapses, *op.Fault)
			}
		}
		want := []history.Fault{{Name: "lapse", What: "a fault did not last", Mended: true, Probe: "n2 went on by itself"}}
		if !reflect.DeepEqual(lapses, want) {
			t.Errorf("late %v: faults %+v, want %+v", late, lapses, want)
		}
	}
}
