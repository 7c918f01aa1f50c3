package agent

import (
	"sync"
	"time"
)

// vigil measures how long the controller has been silent while this process was there to hear. After it has stood still itself (a frozen
// container, SIGSTOP) it gives the controller a fresh grace: what was said meanwhile has yet to be read.
type vigil struct {
	grace time.Duration

	mu     sync.Mutex
	kept   bool // there is a controller, or there was one
	silent time.Duration
	last   time.Time // look
	healed int
	at     time.Time // of the last healing
	over   bool      // this silence has been healed
}

// looks is how many of them there are in a grace. One that comes later than half of it shows that we stood still.
const looks = 20

// hear a sign of life.
func (v *vigil) hear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kept, v.silent, v.over = true, 0, false
}

// look at the clock, and tell whether it is time to heal.
func (v *vigil) look(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	passed := now.Sub(v.last)
	v.last = now
	if v.silent += passed; passed > v.grace/2 {
		v.silent = 0
	}
	return v.due()
}

func (v *vigil) due() bool { return v.kept && !v.over && v.silent >= v.grace }

// still tells whether the silence lasts.
func (v *vigil) still() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.due()
}

// note a healing. One that failed is tried again after another grace.
func (v *vigil) note(now time.Time, whole bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.silent = 0
	if whole {
		v.healed++
		v.at, v.over = now, true
	}
}

func (v *vigil) healings() (int, time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.healed, v.at
}
