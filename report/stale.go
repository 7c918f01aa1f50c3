package report

import (
	"cmp"
	"slices"
	"time"

	"assize/history"
)

// Stale says how many reads missed acknowledged writes, as far as the answers carried versions, and how much those missed: most, and by the nearest rank.
type Stale struct {
	Reads       int           `json:"reads"`    // ok reads of one key
	Stale       int           `json:"stale"`    // of them, how many missed a write that had been acknowledged before they were called
	Versions    int           `json:"versions"` // most acknowledged newer versions that a read missed
	VersionsP50 int           `json:"versions_p50"`
	VersionsP99 int           `json:"versions_p99"`
	Time        time.Duration `json:"time"` // longest time for which the oldest missed one had been acknowledged
	TimeP50     time.Duration `json:"time_p50"`
	TimeP99     time.Duration `json:"time_p99"`
}

// acked is a write that has been acknowledged.
type acked struct {
	version uint64
	oldest  int // event: the first acknowledgement of this version or a newer one
}

// staleness is nil where no write carries a version.
func staleness(ops []history.Op, calls []history.Call) *Stale {
	asked := make([]*history.Call, len(ops)) // of an event: the call of one key that it asks for or completes, if that succeeded
	for i, c := range calls {
		if steps, _ := ops[c.Invoke].Txn.AfterSync(); c.Kind == history.OK && len(steps) == 1 {
			asked[c.Invoke], asked[c.Complete] = &calls[i], &calls[i]
		}
	}
	acknowledged := map[string][]acked{} // by version
	var s Stale
	var versions []int
	var times []time.Duration
	for i, c := range asked {
		if c == nil {
			continue
		}
		answer := ops[c.Complete]
		steps, _ := answer.Txn.AfterSync()
		m := steps[0]
		switch {
		case i == c.Complete && (m.F == history.Write || m.F == history.CAS) && answer.Version > 0:
			acknowledged[m.Key] = acknowledge(acknowledged[m.Key], answer.Version, i)
		case i == c.Invoke && m.F == history.Read:
			s.Reads++
			all := acknowledged[m.Key]
			at := newer(all, answer.Version)
			if at < len(all) && (answer.Version > 0 || len(m.Out) == 0) { // else it is unknown what was read
				versions, times = append(versions, len(all)-at), append(times, ops[i].Time-ops[all[at].oldest].Time)
			}
		}
	}
	if len(acknowledged) == 0 || s.Reads == 0 {
		return nil
	}
	if s.Stale = len(versions); s.Stale > 0 {
		slices.Sort(versions)
		slices.Sort(times)
		s.VersionsP50, s.VersionsP99, s.Versions = rank(versions, 50), rank(versions, 99), rank(versions, 100)
		s.TimeP50, s.TimeP99, s.Time = rank(times, 50), rank(times, 99), rank(times, 100)
	}
	return &s
}

// newer is the place of the first write behind a version.
func newer(all []acked, version uint64) int {
	at, _ := slices.BinarySearchFunc(all, version+1, func(w acked, v uint64) int { return cmp.Compare(w.version, v) })
	return at
}

// acknowledge puts a write, at an event behind all others, into its place: nearly always the last.
func acknowledge(all []acked, version uint64, event int) []acked {
	at := newer(all, version)
	w := acked{version, event}
	if at < len(all) {
		w.oldest = all[at].oldest
	}
	return slices.Insert(all, at, w)
}

// rank is a percentile of what is sorted and not empty.
func rank[T any](sorted []T, p int) T { return sorted[max(0, (len(sorted)*p+99)/100-1)] }
