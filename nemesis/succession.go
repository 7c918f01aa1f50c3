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

// A succession kills one leader after the other, each soon after its election, and voters in the middle of elections. Each is started again
// soon: at once, or when the next one dies. What survives the death of a leader that had no time to hand on its log, or of a voter that
// had just voted, shows only so: one that is down for a while comes back to a cluster that has settled.
const (
	leastReigns, mostReigns = 6, 20
	shortestReign           = time.Millisecond
	longestReign            = 300 * time.Millisecond
	interregnum             = 800 * time.Millisecond // longest wait for an election
	electionPoll            = 4 * time.Millisecond
	regicides               = 0.6 // of the killed have just been elected; the others are voters, and back at once
	blinks                  = 0.4 // of the leaders are back at once, too
	wink                    = 10 * time.Millisecond
)

func breakSuccession(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	fault := history.Fault{What: "kill in succession"}
	kills, seen := 0, 0
	last, term := "", uint64(0)
	for left := leastReigns + r.IntN(mostReigns-leastReigns+1); left > 0; left-- {
		blink, aimed, who := r.Float64() < blinks, r.Float64() < regicides, r.Uint32()
		reign, pause := logUniform(r, shortestReign, longestReign), logUniform(r, shortestReign, longestReign)/4
		target := ""
		if aimed {
			target, term = elected(ctx, c, term)
			c.Sleep(reign)
		} else if electing(ctx, c) {
			blink, pause = true, min(pause, wink)
			c.Sleep(min(reign, wink))
		}
		if names := those(voting(c, look(ctx, c, c.Nodes())), isSettled); len(names) > 0 && target == "" {
			target = names[int(who)%len(names)]
		} else if target == "" {
			continue
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
			c.Sleep(pause)
			if err := startAgain(ctx, c, target); err != nil {
				return fault, err
			}
			last = ""
		}
		fault.What += " " + target
		if !slices.Contains(fault.Nodes, target) {
			fault.Nodes = append(fault.Nodes, target)
		}
	}
	if kills == 0 {
		return fault, nothing("none to kill: %s", told(look(ctx, c, c.Nodes())))
	}
	fault.Held = seen == kills
	fault.Probe = fmt.Sprintf("status: refused after %d of %d kills", seen, kills)
	return fault, nil
}

// elected waits for a leader of a later term than the one before; nobody where none comes in time.
func elected(ctx context.Context, c cluster.Cluster, before uint64) (node string, term uint64) {
	for end := c.Now() + interregnum; c.Now() < end && ctx.Err() == nil; c.Sleep(electionPoll) {
		if l, ok := leaderOf(look(ctx, c, c.Nodes())); ok && l.status.Term > before {
			return l.node, l.status.Term
		}
	}
	return "", before
}

// electing waits until somebody is a candidate.
func electing(ctx context.Context, c cluster.Cluster) bool {
	for end := c.Now() + interregnum; c.Now() < end && ctx.Err() == nil; c.Sleep(electionPoll) {
		if len(those(look(ctx, c, c.Nodes()), isCandidate)) > 0 {
			return true
		}
	}
	return false
}

func isCandidate(s sight) bool { return s.up && s.status.Role == "candidate" }
func isSettled(s sight) bool   { return s.up && !isCandidate(s) }

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
