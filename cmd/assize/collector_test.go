package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 8 << 20: 400, 16 << 20: 200, 40 << 20: 80, 64 << 20: 60, 8 << 30: 60} {
		if got := garbagePercent(live); got != want {
			t.Errorf("%d bytes live: got %d %%, want %d %%", live, got, want)
		}
	}
}

// TestCollectorOfALargeState holds little garbage while it is tended, and what was before comes back.
func TestCollectorOfALargeState(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(123)
	defer debug.SetGCPercent(before)
	large := make([]byte, 160<<20)
	runtime.GC()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tendCollector(ctx)
	}()
	current := func() uint64 {
		percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(percent)
		return percent[0].Value.Uint64()
	}
	for deadline := time.Now().Add(20 * time.Second); current() != leastGarbage; {
		if time.Now().After(deadline) {
			t.Fatalf("with %d bytes live it is %d %%, want %d %%", len(large), current(), leastGarbage)
		}
		time.Sleep(5 * time.Millisecond)
	}
	runtime.KeepAlive(large)
	cancel()
	<-ended
	if got := current(); got != 123 {
		t.Errorf("afterwards it is %d %%, want 123 %%", got)
	}
}
