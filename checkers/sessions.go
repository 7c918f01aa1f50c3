package checkers

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// sessionKey is what a process has seen of one key.
type sessionKey struct{ process, key int }

// guarantees counts how often each of the four session guarantees (Terry and others 1994) was broken.
func (j *sessionJudgement) guarantees() {
	lastRead, lastWrite := map[sessionKey]uint64{}, map[sessionKey]uint64{}
	anyRead, anyWrite := map[int]uint64{}, map[int]uint64{}
	for _, name := range []string{"monotonic_reads_broken", "read_your_writes_broken", "monotonic_writes_broken", "writes_follow_reads_broken", "reads"} {
		j.figures[name] = 0
	}
	for _, s := range j.sights {
		k := sessionKey{s.process, s.key}
		if s.op.do == reads {
			j.figures["reads"]++
			if s.version < lastRead[k] {
				j.figures["monotonic_reads_broken"]++
			}
			if s.version < lastWrite[k] {
				j.figures["read_your_writes_broken"]++
			}
			lastRead[k] = max(lastRead[k], s.version)
			anyRead[s.process] = max(anyRead[s.process], s.version)
			continue
		}
		if s.version <= anyWrite[s.process] {
			j.figures["monotonic_writes_broken"]++
		}
		if s.version <= anyRead[s.process] {
			j.figures["writes_follow_reads_broken"]++
		}
		lastWrite[k] = max(lastWrite[k], s.version)
		anyWrite[s.process] = max(anyWrite[s.process], s.version)
	}
}

// staleness counts the reads that returned a value although a newer one had been acknowledged before they were asked for: by how many versions
// they were behind, and since when.
func (j *sessionJudgement) staleness() {
	var behind []int
	var since []time.Duration
	acknowledged := make([][]claim, len(j.order)) // of each key, in the order of the acknowledgements
	for k, order := range j.order {
		for _, c := range order {
			if c.ret != never {
				acknowledged[k] = append(acknowledged[k], c)
			}
		}
		slices.SortFunc(acknowledged[k], func(a, b claim) int { return cmp.Compare(a.ret, b.ret) })
	}
	for _, s := range j.sights {
		if s.op.do != reads {
			continue
		}
		newer, first := 0, -1
		for _, c := range acknowledged[s.key] {
			if c.ret > s.op.call {
				break
			}
			if c.version > s.version {
				if newer++; first < 0 {
					first = c.ret
				}
			}
		}
		if newer > 0 {
			behind = append(behind, newer)
			since = append(since, j.between(first, s.op.call))
		}
	}
	j.figures["stale_reads"] = float64(len(behind))
	if len(behind) == 0 {
		return
	}
	slices.Sort(behind)
	slices.Sort(since)
	for _, p := range []int{50, 99, 100} {
		j.figures[fmt.Sprintf("stale_versions_p%d", p)] = float64(behind[max(0, (len(behind)*p+99)/100-1)])
		j.figures[fmt.Sprintf("stale_p%d_s", p)] = percentile(since, p).Seconds()
	}
}
