package nemesis

import (
	"math/rand/v2"
	"slices"

	"assize/cluster"
)

// Many of the bugs that random targets miss need the leader hit, or a node that has only just come back.
const (
	aimAtLeader = 0.5
	aimAtFresh  = 0.25 // where not at the leader
)

// aimAtObservers, of all choices where there are observers: all of these at once.
const aimAtObservers = 0.2

// aim chooses nodes that answer: one, a minority of those that vote, a majority, all, the leader, or all that do not vote. what is the choice in
// words. None answers: none.
func aim(c cluster.Cluster, sights []sight, r *rand.Rand) (targets []string, what string) {
	voters := voting(c, sights)
	all := len(voters)
	if all < len(sights) && r.Float64() < aimAtObservers {
		return minus(those(sights, isUp), those(voters, isUp)), "all observers"
	}
	choice := r.IntN(10)
	switch {
	case choice < 3:
		return pick(sights, 1, r), "one node"
	case choice < 5:
		// Of three nodes a minority is one, not none.
		return pick(voters, max(1, (all-1)/2), r), "a minority"
	case choice < 7:
		return pick(voters, all/2+1, r), "a majority"
	case choice < 8:
		return those(sights, isUp), "all nodes"
	}
	if l, ok := leaderOf(sights); ok {
		return []string{l.node}, "the leader"
	}
	return pick(sights, 1, r), "one node, none leads"
}

// pick takes up to k nodes that answer, in the order of the nodes.
func pick(sights []sight, k int, r *rand.Rand) []string {
	order := shuffled(sights, r)
	order = order[:min(k, len(order))]
	return slices.DeleteFunc(those(sights, isUp), func(n string) bool { return !slices.Contains(order, n) })
}

// shuffled are the nodes that answer in random order, often the leader first, sometimes the one that started last.
func shuffled(sights []sight, r *rand.Rand) []string {
	names := those(sights, isUp)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	leads, fresh := r.Float64() < aimAtLeader, r.Float64() < aimAtFresh
	if l, ok := leaderOf(sights); ok && leads {
		return first(names, l.node)
	}
	if f, ok := freshest(sights); ok && fresh {
		return first(names, f)
	}
	return names
}

func first(names []string, front string) []string {
	rest := slices.DeleteFunc(names, func(n string) bool { return n == front })
	return append([]string{front}, rest...)
}

// freshest is the node whose process began last.
func freshest(sights []sight) (string, bool) {
	best := -1
	for i, s := range sights {
		if s.up && (best < 0 || s.status.Mono < sights[best].status.Mono) {
			best = i
		}
	}
	if best < 0 {
		return "", false
	}
	return sights[best].node, true
}
