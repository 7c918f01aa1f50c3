package harness

import "time"

// vigil is time that this process was there to see. While it is stopped (SIGSTOP, a machine without a free core) clients and relays stand still
// with it: it would take a silence of its own for the system's, and find a mended quorum dead that nobody had asked.
type vigil struct {
	last, spent time.Duration
	most        time.Duration // between two looks; what is more was not seen
}

// vigil begins now. Nothing that a client does takes longer than dialing and asking.
func (r *run) vigil() vigil {
	return vigil{last: r.Cluster.Now(), most: 2*r.Plan.Timeout + 10*pollEvery}
}

// look at the clock: how much of the time since the beginning has been seen.
func (v *vigil) look(now time.Duration) time.Duration {
	v.spent += min(now-v.last, v.most)
	v.last = now
	return v.spent
}
