package nemesis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"assize/cluster"
)

// Links tells in words what is cut from what; empty where the cluster cannot tell. A node that nothing reaches is named once: it is down, or
// stopped, or cut off.
func Links(ctx context.Context, c cluster.Cluster) string {
	if canCut(c) != nil {
		return ""
	}
	nodes := c.Nodes()
	dead, err := c.(cluster.Cutter).Reach(ctx)
	if err != nil {
		return fmt.Sprintf("links: not probed: %v", err)
	}
	reached := slices.DeleteFunc(slices.Clone(nodes), func(n string) bool {
		return len(slices.DeleteFunc(slices.Clone(dead), func(l cluster.Link) bool { return l.To != n })) >= len(nodes)-1
	})
	if len(reached) == len(nodes) {
		return "links: " + carrying(nodes, dead)
	}
	words := "links: nothing reaches " + list(minus(nodes, reached))
	if len(reached) > 1 {
		words += "; among the others " + carrying(reached, within(dead, reached))
	}
	return words
}

func carrying(nodes []string, dead []cluster.Link) string {
	all := len(nodes) * (len(nodes) - 1)
	if len(dead) == 0 {
		return fmt.Sprintf("%d of %d carry", all, all)
	}
	return fmt.Sprintf("%d of %d carry, not %s", all-len(dead), all, arrows(dead))
}

// Whole waits until all links between nodes that answer carry, no shape acts on them, and the nodes' clocks run at their true rates and are where they
// would be since they stood so, and tells in words what is so; none where the cluster cannot tell. An error means that it could not be seen.
func Whole(ctx context.Context, c cluster.Cluster, stood Stand) (whole bool, words string, err error) {
	whole = true
	if canCut(c) == nil {
		if whole, _, words, err = reach(ctx, c, nil); err != nil || !whole {
			return whole, words, err
		}
	}
	if canShape(c) == nil {
		var trips string
		whole = await(ctx, c, probeBound, func() (free bool) {
			free, trips, err = unshaped(ctx, c)
			return free || err != nil
		}) && err == nil
		words = strings.TrimPrefix(words+"; "+trips, "; ")
		if err != nil || !whole {
			return whole, words, err
		}
	}
	if canSkew(c) == nil {
		// A node that was down or frozen when its clocks were mended is looked at here first.
		var clocks string
		whole = await(ctx, c, probeBound, func() bool {
			ok, compared, probe := steady(ctx, c, stood)
			clocks = probe
			return ok && compared > 0
		})
		words = strings.TrimPrefix(words+"; "+clocks, "; ")
	}
	return whole, words, err
}
