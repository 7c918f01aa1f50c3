package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"assize/cluster"
	"assize/history"
)

var partition = Nemesis{
	Name: "partition",
	Doc: "cuts links between nodes: one node or the leader off, two halves, a ring in which each sees another majority, " +
		"a bridge between two halves, all observers off, one node's outgoing or incoming links, the leader's incoming ones as it hands over; " +
		"clients still reach every node",
	Can:   canCut,
	Break: breakPartition,
	Mend:  mendPartition,
}

func canCut(c cluster.Cluster) error {
	if err := cluster.Lack(c, cluster.Cut); err != nil {
		return err
	}
	if len(c.Nodes()) < 2 {
		return errors.New("a cluster of one node has no links")
	}
	return nil
}

// split is a planned partition.
type split struct {
	what  string
	nodes []string // whom it hits
	links []cluster.Link
}

// chooseSplit draws one. order is all nodes, shuffled, with the one that is aimed at in front; leader is empty where none is known. What is a
// majority or a half is one of those that vote; observers are divided beside them.
func chooseSplit(nodes, order, observers []string, leader string, r *rand.Rand) split {
	if len(observers) > 0 && r.Float64() < aimAtObservers {
		return apart("cut all observers", nodes, observers)
	}
	choice := r.IntN(12)
	switch {
	case choice < 2:
		return apart("cut", nodes, order[:1])
	case choice < 4:
		return halves(nodes, minus(order, observers), inOrder(order, observers))
	case choice < 6:
		return ring(nodes, minus(order, observers), inOrder(order, observers))
	case choice < 8:
		return bridge(nodes, minus(order, observers), inOrder(order, observers))
	case choice < 10:
		return oneWay(nodes, order[0], r.IntN(2) == 0)
	case leader != "":
		return apart("cut the leader", nodes, []string{leader})
	}
	return apart("cut", nodes, order[:1])
}

// severed are both directions between each of a and each of b, in the order of the nodes.
func severed(nodes, a, b []string) []cluster.Link {
	return among(nodes, func(from, to string) bool {
		return slices.Contains(a, from) && slices.Contains(b, to) || slices.Contains(b, from) && slices.Contains(a, to)
	})
}

// among all links those that are to be cut, in the order of the nodes.
func among(nodes []string, cut func(from, to string) bool) []cluster.Link {
	var links []cluster.Link
	for _, from := range nodes {
		for _, to := range nodes {
			if from != to && cut(from, to) {
				links = append(links, cluster.Link{From: from, To: to})
			}
		}
	}
	return links
}

// inOrder are the chosen in the order of the nodes.
func inOrder(nodes, chosen []string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return !slices.Contains(chosen, n) })
}

func without(nodes []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return n == one })
}

// apart: some are cut from all others.
func apart(verb string, nodes, some []string) split {
	rest := minus(nodes, some)
	return split{
		what: fmt.Sprintf("%s %s | %s", verb, list(some), list(rest)), nodes: some,
		links: severed(nodes, some, rest),
	}
}

// divide the voters into two halves as equal as they can be, the first of them into the smaller one, and the observers likewise.
func divide(nodes, voters, observers []string) (a, b []string) {
	v, o := len(voters)/2, len(observers)/2
	return inOrder(nodes, slices.Concat(voters[:v], observers[:o])), inOrder(nodes, slices.Concat(voters[v:], observers[o:]))
}

func halves(nodes, voters, observers []string) split {
	a, b := divide(nodes, voters, observers)
	return split{what: fmt.Sprintf("cut %s | %s", list(a), list(b)), nodes: a, links: severed(nodes, a, b)}
}

// ring: each node sees itself and its nearest neighbours, a majority, and no two nodes see the same. Of three nodes each with one
// neighbour on both sides sees all, so there the ring is opened: a chain, whose ends see two. Observers see all.
func ring(nodes, order, observers []string) split {
	n := len(order)
	if n <= 3 {
		return bridge(nodes, order, observers)
	}
	reach := (n/2 + 1) / 2 // neighbours on each side: 1+2*reach > n/2
	links := among(inOrder(nodes, order), func(from, to string) bool {
		apart := slices.Index(order, from) - slices.Index(order, to)
		if apart < 0 {
			apart = -apart
		}
		return min(apart, n-apart) > reach
	})
	return split{
		what:  fmt.Sprintf("majority ring %s, each sees %d on either side", list(order), reach),
		nodes: inOrder(nodes, order), links: links,
	}
}

// bridge: two sides that see each other only through one node in the middle. Of two nodes there is no middle.
func bridge(nodes, order, observers []string) split {
	if len(order) < 3 {
		return halves(nodes, order, observers)
	}
	a, b := divide(nodes, order[1:], observers)
	return split{
		what:  fmt.Sprintf("cut %s | %s, bridge %s", list(a), list(b), order[0]),
		nodes: without(nodes, order[0]), links: severed(nodes, a, b),
	}
}

func oneWay(nodes []string, one string, out bool) split {
	rest := without(nodes, one)
	if out {
		return split{
			what: fmt.Sprintf("cut %s > %s, one way", one, list(rest)), nodes: []string{one},
			links: among(nodes, func(from, _ string) bool { return from == one }),
		}
	}
	return split{
		what: fmt.Sprintf("cut %s > %s, one way", list(rest), one), nodes: []string{one},
		links: among(nodes, func(_, to string) bool { return to == one }),
	}
}

func breakPartition(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	nodes := c.Nodes()
	before := look(ctx, c, nodes)
	alive := shuffled(before, r)
	if len(alive) < 2 {
		return history.Fault{What: "cut"}, nothing("no two live nodes to cut apart: %s", told(before))
	}
	// Those that are down come last: a cut between the dead alone would be none.
	order := slices.Clone(alive)
	for _, n := range nodes {
		if !slices.Contains(alive, n) {
			order = append(order, n)
		}
	}
	leader, led := leaderOf(before)
	if led && r.Float64() < deafHandovers {
		if cluster.Lack(c, cluster.Transfers) == nil {
			return breakHandover(ctx, c, c.(cluster.Transferer), leader.node, without(alive, leader.node), r)
		}
	}
	observers := cluster.Observers(c)
	s := chooseSplit(nodes, order, observers, leader.node, r)
	for range 8 {
		if len(within(s.links, alive)) > 0 {
			break
		}
		s = chooseSplit(nodes, order, observers, leader.node, r)
	}
	return s.cut(ctx, c, func() {})
}

// deafHandovers, of all partitions where somebody leads, let the leader hand over while it hears nobody: its heir is elected, and the old leader
// learns of it last. Whatever it promises itself on the ground of its leases shows then.
const deafHandovers = 0.15

func breakHandover(ctx context.Context, c cluster.Cluster, t cluster.Transferer, leader string, heirs []string, r *rand.Rand) (history.Fault, error) {
	nodes := c.Nodes()
	heir := heirs[r.IntN(len(heirs))]
	s := oneWay(nodes, leader, false)
	s.what += fmt.Sprintf(", while it is asked to hand over to %s", heir)
	// The request goes out after the cut and nobody waits for its answer: a leader that hears nobody may not know what came of it, and only the cut is
	// the fault.
	return s.cut(ctx, c, func() { c.Go(func() { _ = t.Transfer(ctx, heir) }) })
}

// cut the links, and see that they are.
func (s split) cut(ctx context.Context, c cluster.Cluster, then func()) (history.Fault, error) {
	fault := history.Fault{What: s.what, Nodes: s.nodes}
	if err := c.(cluster.Cutter).Cut(ctx, s.links); err != nil {
		return fault, fmt.Errorf("cut: %w", err)
	}
	then()
	seen, cut, probe, err := reach(ctx, c, s.links)
	fault.Probe = probe
	if err != nil {
		return fault, err
	}
	if seen && cut == 0 {
		return fault, nothing("no link that was cut has two live ends: %s", probe)
	}
	fault.Held = seen
	return fault, nil
}

func mendPartition(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
	fault := history.Fault{What: "heal all links", Mended: true}
	if err := c.(cluster.Cutter).Cut(ctx, nil); err != nil {
		return fault, fmt.Errorf("heal: %w", err)
	}
	seen, _, probe, err := reach(ctx, c, nil)
	fault.Held, fault.Probe = seen, probe
	return fault, err
}

// reach probes until the dead links are exactly those that were cut. Links of nodes that did not answer right before and right after the
// probe, or are not the same processes then, or were stopped and let go in between, are left out: their silence is no evidence either way. cut is how
// many of the cut links were probed so.
func reach(ctx context.Context, c cluster.Cluster, links []cluster.Link) (seen bool, cut int, probe string, err error) {
	var carried []cluster.Link
	seen = await(ctx, c, probeBound, func() bool {
		before := look(ctx, c, c.Nodes())
		var dead []cluster.Link
		dead, err = c.(cluster.Cutter).Reach(ctx)
		if err != nil {
			err = fmt.Errorf("probe links: %w", err)
			return true
		}
		alive := those(look(ctx, c, remaining(c, those(before, isUp))), func(s sight) bool {
			was, _ := find(before, s.node)
			return s.up && s.status.Process == was.status.Process
		})
		stopped := interrupted(alive, dead, minus(carried, links))
		alive = minus(alive, stopped)
		got, want := within(dead, alive), within(links, alive)
		carried = append(carried, minus(among(alive, func(string, string) bool { return true }), got)...)
		cut = len(want)
		probe = fmt.Sprintf("reach: %d of %d links between live nodes are dead", len(got), len(alive)*max(0, len(alive)-1))
		missing, extra := minus(want, got), minus(got, want)
		if len(missing)+len(extra) > 0 {
			probe += fmt.Sprintf("; alive though cut: %s; dead though not cut: %s", arrows(missing), arrows(extra))
			return false
		}
		return len(stopped) == 0 || cut > 0 || len(links) == 0
	})
	return seen && err == nil, cut, probe, err
}

// interrupted are the nodes that nothing has reached, though a link to them has carried that nobody has cut: they were stopped for a while.
func interrupted(alive []string, dead, carried []cluster.Link) []string {
	return slices.DeleteFunc(slices.Clone(alive), func(n string) bool {
		into := slices.DeleteFunc(among(alive, func(_, to string) bool { return to == n }), func(l cluster.Link) bool { return slices.Contains(dead, l) })
		return len(into) > 0 || !slices.ContainsFunc(carried, func(l cluster.Link) bool { return l.To == n && slices.Contains(alive, l.From) })
	})
}

// within are the links whose both ends are alive.
func within(links []cluster.Link, alive []string) []cluster.Link {
	return slices.DeleteFunc(slices.Clone(links), func(l cluster.Link) bool {
		return !slices.Contains(alive, l.From) || !slices.Contains(alive, l.To)
	})
}

func minus[T comparable](a, b []T) []T {
	return slices.DeleteFunc(slices.Clone(a), func(x T) bool { return slices.Contains(b, x) })
}

func arrows(links []cluster.Link) string {
	if len(links) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, l := range links {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(l.From + ">" + l.To)
	}
	return b.String()
}
