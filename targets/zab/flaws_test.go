package zab

import "testing"

// TestStormsCatchFlaws: each planted flaw breaks an invariant in some storm.
func TestStormsCatchFlaws(t *testing.T) {
	for _, f := range Flaws {
		if f.Workload == "session" || f.Workload == "watch" {
			continue // the service's: TestClerkFlaws
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3000) {
				if _, broken := storm(seed, f.Name, 2500); broken != "" {
					t.Logf("seed %d: %.160s", seed, broken)
					return
				}
			}
			t.Error("no storm has caught it")
		})
	}
}
