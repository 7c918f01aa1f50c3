package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"assize/cluster"
	"assize/history"
)

var kill = Nemesis{
	Name: "kill",
	Doc: "kills one node, a minority, a majority, all, all observers or the leader, as SIGKILL does, or together with its machine where that can crash, or one after " +
		"the other in succession; mended by starting all that are down",
	Can:   func(cluster.Cluster) error { return nil },
	Break: breakKill,
	Mend:  mendKill,
}

const (
	probeBound  = 5 * time.Second // for an effect to show
	successions = 0.45            // of the kills
	// crashes, of all other kills where machines can crash, take the machine too.
	crashes = 0.35
)

func breakKill(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	if r.Float64() < successions {
		return breakSuccession(ctx, c, r)
	}
	before := look(ctx, c, c.Nodes())
	targets, what := aim(c, before, r)
	verb, end := "kill", c.Kill
	if cluster.Lack(c, cluster.Crash) == nil && r.Float64() < crashes {
		verb, end = "crash", c.(cluster.Crasher).Crash
	}
	fault := history.Fault{What: verb + " " + what, Nodes: targets}
	if len(targets) == 0 {
		return fault, nothing("none to kill: %s", told(before))
	}
	fault.What = fmt.Sprintf("%s %s: %s", verb, what, list(targets))
	if err := each(c, targets, func(n string) error { return end(ctx, n) }); err != nil {
		return fault, fmt.Errorf("%s: %w", verb, err)
	}
	var after []sight
	fault.Held = await(ctx, c, probeBound, func() bool {
		after = look(ctx, c, remaining(c, targets))
		return len(those(after, isRefused)) == len(after)
	})
	fault.Probe = "status: " + told(after)
	if len(after) == 0 {
		return fault, nothing("%s left the cluster meanwhile", list(targets))
	}
	return fault, nil
}

// mendKill starts every member: it cannot know which it was that went down, and starting one that runs does nothing.
func mendKill(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
	before := look(ctx, c, c.Nodes())
	down := those(before, isRefused)
	fault := history.Fault{What: "start " + list(down), Nodes: down, Mended: true}
	if len(down) == 0 {
		fault.What = "start nobody: none was down"
	}
	// One that runs and is silent, stopped or taken off its network by another fault, is no affair of this one.
	start := func(nodes []string) error { return each(c, nodes, func(n string) error { return c.Start(ctx, n) }) }
	if err := start(down); err != nil {
		return fault, fmt.Errorf("start: %w", err)
	}
	var after []sight
	var err error
	fault.Held = await(ctx, c, probeBound, func() bool {
		after = look(ctx, c, c.Nodes())
		down = those(after, isRefused)
		err = start(down) // whose first look was too busy to see it
		return len(down) == 0
	})
	fault.Probe = "status: " + told(after)
	if err != nil {
		return fault, fmt.Errorf("start: %w", err)
	}
	return fault, nil
}
