package nemesis

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"assize/cluster"
	"assize/history"
)

// A succession kills one node after the other, mostly whoever leads, each soon after the one before, and starts each again soon: before the
// election that its death brings about is decided, or shortly after. What survives the death of a leader that had no time to hand on its log,
// or of a voter that had just voted, shows only so: a leader that is down for a while comes back to a cluster that has settled.
const (
	leastReigns, mostReigns = 4, 14
	shortestReign           = 2 * time.Millisecond
	longestReign            = 600 * time.Millisecond
	blinks                  = 0.4  // of the dead are back at once, the others when the next one dies
	regicides               = 0.75 // of the killed lead, where anybody does
)

func breakSuccession(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	fault := history.Fault{What: "kill in succession"}
	kills, seen := 0, 0
	last := ""
	for left := leastReigns + r.IntN(mostReigns-leastReigns+1); left > 0; left-- {
		blink, aimed, reign := r.Float64() < blinks, r.Float64() < regicides, logUniform(r, shortestReign, longestReign)
		before := look(ctx, c, c.Nodes())
		names := those(before, isUp)
		if len(names) == 0 {
			break
		}
		target := names[r.IntN(len(names))]
		if l, ok := leaderOf(before); ok && aimed {
			target = l.node
		}
		dead, err := killOne(ctx, c, target)
		if err != nil {
			return fault, err
		}
		kills++
		seen += dead
		if err := startAgain(ctx, c, last); err != nil {
			return fault, err
		}
		last = target
		if blink && left > 1 { // the last one stays down
			c.Sleep(logUniform(r, shortestReign, longestReign) / 8)
			if err := startAgain(ctx, c, target); err != nil {
				return fault, err
			}
			last = ""
		}
		fault.What += " " + target
		if !slices.Contains(fault.Nodes, target) {
			fault.Nodes = append(fault.Nodes, target)
		}
		c.Sleep(reign)
	}
	if kills == 0 {
		return fault, nothing("none to kill: %s", told(look(ctx, c, c.Nodes())))
	}
	fault.Held = seen == kills
	fault.Probe = fmt.Sprintf("status: refused after %d of %d kills", seen, kills)
	return fault, nil
}

// killOne returns 1 where the node was seen to be down then, or has left.
func killOne(ctx context.Context, c cluster.Cluster, node string) (dead int, err error) {
	if err := each(c, []string{node}, func(n string) error { return c.Kill(ctx, n) }); err != nil {
		return 0, fmt.Errorf("kill: %w", err)
	}
	if await(ctx, c, probeBound, func() bool {
		after := look(ctx, c, remaining(c, []string{node}))
		return len(those(after, isRefused)) == len(after)
	}) {
		return 1, nil
	}
	return 0, nil
}

func startAgain(ctx context.Context, c cluster.Cluster, node string) error {
	if node == "" {
		return nil
	}
	if err := each(c, []string{node}, func(n string) error { return c.Start(ctx, n) }); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

// logUniform: small values are as likely as great ones.
func logUniform(r *rand.Rand, least, most time.Duration) time.Duration {
	return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), r.Float64()))
}
