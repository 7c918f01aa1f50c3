package skew

import (
	"os"
	"testing"
	"time"

	"assize/cluster"
)

// BenchmarkReading of a clock by this process itself, whose clocks are replaced by truthful ones.
func BenchmarkReading(b *testing.B) {
	mustBeAble(b)
	read := func(b *testing.B) {
		for b.Loop() {
			time.Now()
		}
	}
	b.Run("kernel", read)
	c := attached(b, os.Getpid())
	b.Run("replaced", read)
	if err := c.Undo(); err != nil {
		b.Fatal(err)
	}
	b.Run("undone", read)
}

// BenchmarkAttach and undo, and how long the process was held to undo.
func BenchmarkAttach(b *testing.B) {
	mustBeAble(b)
	for _, busy := range []string{"0", "1", "4", "100"} {
		b.Run(busy, func(b *testing.B) {
			g := staticGo(b, busy)
			var held time.Duration
			for b.Loop() {
				c := attached(b, g.pid)
				if err := c.Undo(); err != nil {
					b.Fatal(err)
				}
				held += c.holdup.Held
			}
			b.ReportMetric(float64(held.Microseconds())/float64(b.N), "µs-held/op")
		})
	}
}

func BenchmarkSet(b *testing.B) {
	mustBeAble(b)
	c := attached(b, staticGo(b, "1").pid)
	for b.Loop() {
		mustSet(b, c, cluster.Skew{WallRate: 0.1})
	}
}
