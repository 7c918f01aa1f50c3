package daemon

import "time"

// Clock is a node's two clocks. Safe for concurrent use.
type Clock interface {
	// Read returns both readings: the time of day without a monotonic part, and the monotonic clock since the process began.
	Read() (wall time.Time, mono time.Duration)
}

// began is taken when the process begins, so that Mono restarts with it.
var began = time.Now()

// SystemClock reads the process's clocks through the vDSO, where a nemesis falsifies them. The zero value is ready.
type SystemClock struct{}

func (SystemClock) Read() (time.Time, time.Duration) {
	now := time.Now()
	return now.Round(0), now.Sub(began)
}
