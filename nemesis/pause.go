package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"assize/cluster"
	"assize/history"
)

var pause = Nemesis{
	Name: "pause",
	Doc: "stops one node, a minority, a majority, all, all observers or the leader without its noticing, as SIGSTOP does, or its whole machine where that can be frozen; " +
		"mended by letting all go on",
	Can:   canPause,
	Break: breakPause,
	Mend:  mendPause,
}

func canPause(c cluster.Cluster) error {
	return cluster.Lack(c, cluster.Pause)
}

// freezes, of all pauses where machines can be frozen, stop a node together with everything else on its machine.
const freezes = 0.35

func breakPause(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	before := look(ctx, c, c.Nodes())
	targets, what := aim(c, before, r)
	verb, stop := "pause", c.(cluster.Pauser).Pause
	if cluster.Lack(c, cluster.Freeze) == nil && r.Float64() < freezes {
		verb, stop = "freeze", c.(cluster.Freezer).Freeze
	}
	fault := history.Fault{What: verb + " " + what, Nodes: targets}
	if len(targets) == 0 {
		return fault, nothing("none to pause: %s", told(before))
	}
	fault.What = fmt.Sprintf("%s %s: %s", verb, what, list(targets))
	failed := each(c, targets, func(n string) error { return stop(ctx, n) })
	var after []sight
	quiet := await(ctx, c, probeBound, func() bool {
		// One that has been killed meanwhile and started again is not the process that was stopped.
		after = slices.DeleteFunc(look(ctx, c, remaining(c, targets)), func(s sight) bool {
			old, _ := find(before, s.node)
			return s.up && s.status.Process != old.status.Process
		})
		return len(those(after, isUp)) == 0
	})
	fault.Probe = "status: " + told(after)
	switch {
	case len(those(after, isRefused)) == len(after):
		return fault, nothing("all of %s have been killed meanwhile", list(targets))
	case failed != nil && !quiet:
		return fault, fmt.Errorf("%s: %w", verb, failed)
	}
	fault.Held = quiet
	return fault, nil
}

// mendPause leaves those that are down to whoever took them down.
func mendPause(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
	pauser := c.(cluster.Pauser)
	before := look(ctx, c, c.Nodes())
	still := those(before, isHanging)
	fault := history.Fault{What: "resume " + list(still), Nodes: still, Mended: true}
	if len(still) == 0 {
		fault.What = "resume nobody: none was stopped"
	}
	if err := each(c, c.Nodes(), func(n string) error { return pauser.Resume(ctx, n) }); err != nil {
		return fault, fmt.Errorf("resume: %w", err)
	}
	var after []sight
	fault.Held = await(ctx, c, probeBound, func() bool {
		after = look(ctx, c, c.Nodes())
		return len(those(after, isHanging)) == 0
	})
	fault.Probe = "status: " + told(after)
	return fault, nil
}
