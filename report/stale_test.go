package report

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"assize/history"
)

// staleOnce is what staleRead shows.
var staleOnce = missed([]int{1}, []time.Duration{2424 * time.Millisecond}, 1)

// missed by the reads of a history, in order.
func missed(versions []int, times []time.Duration, reads int) Stale {
	s := Stale{Reads: reads, Stale: len(versions)}
	if n := len(versions); n > 0 {
		s.VersionsP50, s.VersionsP99, s.Versions = versions[(n+1)/2-1], versions[(99*n+99)/100-1], versions[n-1]
		s.TimeP50, s.TimeP99, s.Time = times[(n+1)/2-1], times[(99*n+99)/100-1], times[n-1]
	}
	return s
}

func stalenessOf(t *testing.T, ops []history.Op) *Stale {
	t.Helper()
	calls, err := history.Pair(ops)
	if err != nil {
		t.Fatal(err)
	}
	return staleness(ops, calls)
}

func TestReadThatOverlapsTheWriteIsNotStale(t *testing.T) {
	var b builder
	w, r := history.Mop{F: "write", Key: "k", In: []int{1}}, history.Mop{F: "read", Key: "k"}
	b.client(1*s, 1, history.Invoke, "n1", w, 0, "")
	b.client(2*s, 2, history.Invoke, "n2", r, 0, "")
	b.client(3*s, 1, history.OK, "n1", w, 5, "")
	b.client(4*s, 2, history.OK, "n2", r, 0, "")
	if got, want := stalenessOf(t, b), (Stale{Reads: 1}); got == nil || *got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestReadBehindASync is as stale as any other, and told with its sync.
func TestReadBehindASync(t *testing.T) {
	ask := history.Txn{{F: "sync", Key: "/"}, {F: "read", Key: "k"}}
	answer := history.Txn{{F: "sync", Key: "/"}, {F: "read", Key: "k", Out: []int{1}}}
	b, _ := staleRead()
	for i := range b {
		if m := b[i].Txn; len(m) == 1 && m[0].F == "read" {
			b[i].Txn = history.Txn{ask[0], m[0]}
		}
	}
	if got := stalenessOf(t, b); got == nil || *got != staleOnce {
		t.Errorf("got %+v, want %+v", got, staleOnce)
	}
	if got, want := operation(answer), "sync /; read k -> 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestStaleness: one read behind two writes, the first of them acknowledged 30 s before it was asked for, another behind one, and a fresh one.
func TestStaleness(t *testing.T) {
	var b builder
	ask := func(process int, m history.Mop) {
		b.client(time.Duration(len(b))*10*s, process, history.Invoke, "n1", m, 0, "")
	}
	say := func(process int, m history.Mop, version uint64) {
		b.client(time.Duration(len(b))*10*s, process, history.OK, "n1", m, version, "")
	}
	for v := 1; v <= 3; v++ {
		m := history.Mop{F: "write", Key: "k", In: []int{v}}
		ask(1, m)
		say(1, m, uint64(v))
	}
	for v := 1; v <= 3; v++ {
		m := history.Mop{F: "read", Key: "k"}
		ask(2, m)
		m.Out = []int{v}
		say(2, m, uint64(v))
	}
	want := Stale{Reads: 3, Stale: 2, Versions: 2, VersionsP50: 1, VersionsP99: 2, Time: 30 * s, TimeP50: 30 * s, TimeP99: 30 * s}
	if got := stalenessOf(t, b); got == nil || *got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestReadsOfWhichNothingIsKnown: nobody knows since when there is nothing where keys are erased, nor what is newer where no write carries a version.
func TestReadsOfWhichNothingIsKnown(t *testing.T) {
	told := func(version uint64, others ...string) (b builder) {
		at := func() time.Duration { return time.Duration(len(b)) * s }
		call := func(m history.Mop, version uint64) {
			b.client(at(), 1, history.Invoke, "n1", m, 0, "")
			b.client(at(), 1, history.OK, "n1", m, version, "")
		}
		call(history.Mop{F: "write", Key: "k", In: []int{1}}, version)
		for _, f := range others {
			b.client(at(), 1, history.Invoke, "n1", history.Mop{F: f, Key: "k"}, 0, "")
			b.client(at(), 1, history.Fail, "n1", history.Mop{F: f, Key: "k"}, 0, "")
		}
		call(history.Mop{F: "read", Key: "k"}, 0)
		return b
	}
	if got, want := stalenessOf(t, told(5)), (Stale{Reads: 1, Stale: 1, Versions: 1, VersionsP50: 1, VersionsP99: 1, Time: s, TimeP50: s, TimeP99: s}); got == nil || *got != want {
		t.Errorf("a key that is never erased: got %+v, want %+v", got, want)
	}
	for _, f := range []string{"delete", "create-ephemeral"} {
		if got, want := stalenessOf(t, told(5, f)), (Stale{Reads: 1}); got == nil || *got != want {
			t.Errorf("a key with a %s: got %+v, want %+v", f, got, want)
		}
	}
	if got := stalenessOf(t, told(0)); got != nil {
		t.Errorf("without versions: got %+v, want nothing", got)
	}
}

// TestStalenessAgainstItsDefinition, by counting for each read what it missed.
func TestStalenessAgainstItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		var b builder
		open := map[int]history.Mop{}
		for range 60 {
			process := r.IntN(6)
			m, is := open[process]
			if !is {
				m = history.Mop{F: []string{"read", "write"}[r.IntN(2)], Key: fmt.Sprint(r.IntN(2))}
				if m.F == "write" {
					m.In = []int{len(b)}
				}
				open[process] = m
				b.client(time.Duration(len(b))*s, process, history.Invoke, "n1", m, 0, "")
				continue
			}
			delete(open, process)
			version := uint64(r.IntN(30)) // in any order, some twice; 0: a write without one, a read of nothing
			if m.F == "read" && version > 0 {
				m.Out = []int{int(version)}
			}
			b.client(time.Duration(len(b))*s, process, history.OK, "n1", m, version, "")
		}
		got := stalenessOf(t, b)
		if want := defined(b); got != nil && *got != want {
			t.Fatalf("got %+v, want %+v", *got, want)
		}
	}
}

func defined(ops []history.Op) Stale {
	calls, _ := history.Pair(ops)
	var versions []int
	var times []time.Duration
	reads := 0
	for _, c := range calls {
		if c.Kind != history.OK || ops[c.Invoke].Txn[0].F != "read" {
			continue
		}
		reads++
		count, first := 0, time.Duration(0)
		for i, op := range ops[:c.Invoke] {
			if m := op.Txn[0]; op.Kind == history.OK && m.F == "write" && m.Key == ops[c.Invoke].Txn[0].Key && op.Version > ops[c.Complete].Version {
				if count++; count == 1 {
					first = ops[c.Invoke].Time - ops[i].Time
				}
			}
		}
		if count > 0 {
			versions, times = append(versions, count), append(times, first)
		}
	}
	slices.Sort(versions)
	slices.Sort(times)
	return missed(versions, times, reads)
}
