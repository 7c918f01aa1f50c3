package report

import (
	"time"

	"assize/history"
)

// Stale says how many reads missed acknowledged writes, as far as the answers carried versions.
type Stale struct {
	Reads    int           `json:"reads"`    // ok reads of one key
	Stale    int           `json:"stale"`    // of them, how many missed a write that had been acknowledged before they were called
	Versions int           `json:"versions"` // most acknowledged newer versions that a read missed
	Time     time.Duration `json:"time"`     // longest time for which the oldest missed one had been acknowledged
}

// staleness is nil where no write carries a version.
func staleness(ops []history.Op) *Stale {
	type write struct {
		version uint64
		done    int
	}
	acknowledged := map[string][]write{} // in the order of their completions
	called := map[int]int{}
	var s Stale
	versioned := false
	for i, op := range ops {
		steps, _ := op.Txn.AfterSync()
		if op.Process < 0 || len(steps) != 1 {
			continue
		}
		m := steps[0]
		switch {
		case op.Kind == history.Invoke:
			called[op.Process] = i
		case op.Kind != history.OK:
		case m.F == history.Write || m.F == history.CAS:
			if op.Version > 0 {
				versioned = true
				acknowledged[m.Key] = append(acknowledged[m.Key], write{op.Version, i})
			}
		case m.F == history.Read:
			s.Reads++
			if op.Version == 0 && len(m.Out) > 0 {
				continue // unknown
			}
			missed := 0
			call := called[op.Process]
			for _, w := range acknowledged[m.Key] {
				if w.done > call {
					break
				}
				if w.version > op.Version {
					if missed == 0 {
						s.Time = max(s.Time, ops[call].Time-ops[w.done].Time)
					}
					missed++
				}
			}
			if missed > 0 {
				s.Stale++
				s.Versions = max(s.Versions, missed)
			}
		}
	}
	if !versioned || s.Reads == 0 {
		return nil
	}
	return &s
}
