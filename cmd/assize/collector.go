package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Garbage that a node may hold before it is collected: so many bytes, or such a share of what lives where that is more.
const (
	garbageBytes   = 32 << 20
	leastGarbage   = 60  // percent
	mostGarbage    = 400 // percent
	collectorLooks = time.Second
)

// garbagePercent is what debug.SetGCPercent takes, for so many bytes that live.
func garbagePercent(live uint64) int {
	return int(min(max(garbageBytes*100/max(live, 1), leastGarbage), mostGarbage))
}

// tendCollector until ctx ends: a node whose state is small collects seldom, and one whose state is large does not hold it twice. Whoever has set GOGC wants
// something else.
func tendCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := debug.SetGCPercent(mostGarbage)
	defer debug.SetGCPercent(percent)
	look := time.NewTicker(collectorLooks)
	defer look.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for was := mostGarbage; ; {
		// Setting it stops the world for a moment, so that small changes are not worth it.
		metrics.Read(live)
		if is := garbagePercent(live[0].Value.Uint64()); is < was*7/8 || is > was*8/7 || is != was && is == leastGarbage {
			debug.SetGCPercent(is)
			was = is
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}
