package checkers

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"assize/history"
)

// hopeless is a key that porcupine cannot refute in any time: many writes under way at once, all of them seen, and a swap that found what
// was there twice.
func hopeless(key string, n int) (calls []tcall) {
	for i := range n {
		calls = append(calls, tcall{f: "write", key: key, in: []int{i + 1}, call: i, ret: 10_000 + i, kind: history.OK})
	}
	// Swaps in a ring of three, each possible by itself: no two clusters contradict each other.
	for i := range 3 {
		calls = append(calls, tcall{f: "cas", key: key, in: []int{1000 + i, 1000 + (i+1)%3}, call: 5000 + i, ret: 20_000 + i, kind: history.OK})
	}
	return calls
}

func TestLimitsGiveUnknown(t *testing.T) {
	bad := build(hopeless("k", 40))
	for _, c := range []struct {
		name  string
		l     Limits
		limit string
	}{
		{"memory, refused to start", Limits{Memory: 1 << 10}, limitMemory},
		{"memory", Limits{Memory: 16 << 20, Time: time.Hour}, limitMemory},
		{"time", Limits{Memory: 1 << 40, Time: 200 * time.Millisecond}, limitTime},
	} {
		got, err := linearizable.Check(bad, c.l)
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict != Unknown || got.Limit != c.limit || got.Judged != 0 || got.Figures["keys_unknown"] != 1 {
			t.Errorf("%s: got %s at limit %q, %d judged (%s); want unknown at limit %q", c.name, got.Verdict, got.Limit, got.Judged, got.Note, c.limit)
		}
	}
}

// TestOneHopelessKey: the others are still judged, and what is wrong with one of them outweighs.
func TestOneHopelessKey(t *testing.T) {
	calls := append(hopeless("k", 40), tcall{f: "write", key: "good", in: []int{1}, call: 30_000, ret: 30_001, kind: history.OK})
	got, err := linearizable.Check(build(calls), Limits{Memory: 8 << 20})
	if err != nil || got.Verdict != Unknown || got.Judged != 1 {
		t.Errorf("got %s with %d judged, %v; want unknown with 1", got.Verdict, got.Judged, err)
	}
	calls = append(calls, tcall{f: "read", key: "good", call: 30_002, ret: 30_003, kind: history.OK})
	got, err = linearizable.Check(build(calls), Limits{Memory: 8 << 20})
	if err != nil || got.Verdict != Invalid || got.Limit != limitMemory || got.Evidence[0].Key != "good" {
		t.Errorf("got %s at limit %q (%s), %v; want invalid by key good, at limit memory", got.Verdict, got.Limit, got.Note, err)
	}
}

// TestMemoryIsKept: all that a search allocates, garbage included, is within its limit.
func TestMemoryIsKept(t *testing.T) {
	for _, n := range []int{30, 60, 400} {
		tr, err := load(build(hopeless("k", n)))
		if err != nil {
			t.Fatal(err)
		}
		keys, _ := tr.split("register")
		r := tr.newRegister(keys[0])
		const limit = 32 << 20
		b := newBudget(Limits{Memory: limit, Time: time.Minute})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v, hit := b.search(r)
		runtime.ReadMemStats(&after)
		b.cancel()
		if v != Unknown || hit != limitMemory {
			t.Fatalf("%d operations: got %s at limit %q", n, v, hit)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > limit {
			t.Errorf("%d operations: %d bytes allocated, the limit is %d", n, got, limit)
		} else {
			t.Logf("%d operations: %d of %d bytes", n, got, limit)
		}
	}
}

func benchmark(b *testing.B, c Checker, h []history.Op) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Check(h, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(h))/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkCheckers: 100 keys of 200 operations, 10 clients.
func BenchmarkCheckers(b *testing.B) {
	h := longHistory(false)
	for _, c := range Table {
		if c.Name != lost.Name {
			b.Run(c.Name, func(b *testing.B) { benchmark(b, c, h) })
		}
	}
	b.Run("linearizable/without versions", func(b *testing.B) { benchmark(b, linearizable, longHistory(true)) })
	b.Run("lost", func(b *testing.B) { benchmark(b, lost, longSet()) })
}

func longHistory(stripped bool) []history.Op {
	r := rand.New(rand.NewPCG(1, 1))
	var all []tcall
	for k := range 100 {
		calls := world{processes: 10, operations: 200, keys: 1, info: 50, fail: 50}.run(r)
		if stripped {
			calls = bare(calls)
		}
		for _, c := range calls {
			c.key += string(rune('0' + k))
			c.process += k * 10_000
			c.call += k * 10_000
			if c.version > 0 {
				c.version += uint64(k) * 1000
			}
			if c.position > 0 {
				c.position += uint64(k) * 1000
			}
			if c.ret != never {
				c.ret += k * 10_000
			}
			all = append(all, c)
		}
	}
	return build(all)
}

// longSet: a set of 150 elements, with a scan after every third.
func longSet() []history.Op {
	var calls []tcall
	var in []int
	for v := range 150 {
		calls = append(calls, add(v, 4*v, 4*v+1, history.OK))
		in = append(in, v)
		if v%3 == 0 {
			calls = append(calls, scan(4*v+2, 4*v+3, in...))
		}
	}
	return build(calls)
}
