package daemon

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"assize/machine"
)

// journal writes one line an event: its name, then key=value pairs. No time: whoever reads the lines stamps them with his own clock.
type journal struct {
	mu      sync.Mutex
	w       io.Writer
	quiet   map[string]time.Time // until when lines of this name are only counted
	skipped map[string]int
}

// line writes an event. A node goes on when nobody can read what it says, so errors end here.
func (j *journal) line(event string, pairs ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.write(event, pairs)
}

func (j *journal) write(event string, pairs []any) {
	var b strings.Builder
	b.WriteString(event)
	for i := 0; i+1 < len(pairs); i += 2 {
		v := fmt.Sprint(pairs[i+1])
		if v == "" || strings.ContainsAny(v, " \"\n\r\t=") {
			v = fmt.Sprintf("%q", v)
		}
		fmt.Fprintf(&b, " %v=%s", pairs[i], v)
	}
	b.WriteByte('\n')
	io.WriteString(j.w, b.String())
}

// seldom writes an event at most once a second and counts the others: a stranger must not fill the disk with our complaints.
func (j *journal) seldom(event string, pairs ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if now.Before(j.quiet[event]) {
		j.skipped[event]++
		return
	}
	if j.quiet == nil {
		j.quiet, j.skipped = map[string]time.Time{}, map[string]int{}
	}
	if n := j.skipped[event]; n > 0 {
		pairs = append(pairs, "skipped", n)
	}
	j.write(event, pairs)
	j.quiet[event], j.skipped[event] = now.Add(time.Second), 0
}

// tell writes what has changed in the machine's view since it was last told.
func (h *host) tell(s machine.Status) {
	t := &h.told
	if s.Role != t.Role || s.Term != t.Term || s.Leader != t.Leader {
		h.journal.line("role", "id", s.ID, "role", s.Role, "term", s.Term, "leader", s.Leader, "commit", s.Commit, "last", s.Last)
	}
	if !slices.Equal(s.Voters, t.Voters) {
		h.journal.line("members", "id", s.ID, "voters", strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Voters), " ", ","), "[]"), "last", s.Last)
	}
	if s.Snapshot != t.Snapshot {
		h.journal.line("snapshot", "id", s.ID, "index", s.Snapshot, "applied", s.Applied, "taken", s.Counters.SnapshotsTaken, "loaded", s.Counters.SnapshotsLoaded)
	}
	if s.Counters.Truncations != t.Counters.Truncations {
		h.journal.line("truncated", "id", s.ID, "times", s.Counters.Truncations, "last", s.Last)
	}
	if s.Role != t.Role || s.Term != t.Term || s.Leader != t.Leader || s.Snapshot != t.Snapshot ||
		s.Counters != t.Counters || !slices.Equal(s.Voters, t.Voters) {
		*t = s
		t.Voters = slices.Clone(s.Voters)
	}
}
