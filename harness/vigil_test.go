package harness

import (
	"testing"
	"time"

	"assize/history"
)

// TestAStoppedControllerIsNoSilence: a controller that is stopped for a minute, and the relays in it, must not accuse the system of a minute's silence.
func TestAStoppedControllerIsNoSilence(t *testing.T) {
	for _, phase := range []string{history.PhaseQuorum, history.PhaseFinal} {
		stopped := false
		var until time.Time
		ops, _ := trial(t, plan(), func(f *fake, s *Setup) {
			s.Cluster = quorate{f}
			f.answer = func(string, history.Txn) error {
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.quorum == nil || f.mended != (phase == history.PhaseFinal) {
					return nil
				}
				if !stopped {
					stopped, until = true, time.Now().Add(300*time.Millisecond)
					time.AfterFunc(150*time.Millisecond, func() { f.skipped.Add(int64(time.Minute)) }) // when the watch has seen the calls
				}
				if time.Now().Before(until) {
					return errLost // its deadline has passed meanwhile
				}
				return nil
			}
		})
		if !stopped {
			t.Fatalf("%s: nothing was asked", phase)
		}
		final, answered := false, map[string]int{}
		for _, op := range ops {
			final = final || op.Phase == history.PhaseFinal
			if op.Phase == history.PhaseViolation {
				t.Errorf("%s: %s", phase, op.Note)
			}
			if final && op.Kind == history.OK {
				answered[op.Node]++
			}
		}
		if n := answered["n1"]; n == 0 || answered["n2"] != n || answered["n3"] != n {
			t.Errorf("%s: last words %v, want the same of all three", phase, answered)
		}
	}
}
