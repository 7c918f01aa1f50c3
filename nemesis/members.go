package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"assize/cluster"
	"assize/history"
)

var members = Nemesis{
	Name:  "members",
	Doc:   "one node leaves or a new one joins, never below three; mended back to the size of the beginning, not to the same nodes",
	Can:   canMembers,
	Break: breakMembers,
	Mend:  mendMembers,
}

// leastMembers: with two, one fault of another nemesis would stop everything.
const leastMembers = 3

func canMembers(c cluster.Cluster) error {
	if err := cluster.Lack(c, cluster.Membership); err != nil {
		return err
	}
	if len(cluster.Observers(c)) > 0 {
		return errors.New("a cluster with observers keeps its members")
	}
	sizer, knows := c.(cluster.Sizer)
	if !knows {
		return errors.New("this cluster does not tell with how many members it began")
	}
	if sizer.Size() < leastMembers {
		return fmt.Errorf("a cluster of fewer than %d nodes keeps its members", leastMembers)
	}
	return nil
}

func breakMembers(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	sights, err := quorate(ctx, c)
	if err != nil {
		return history.Fault{What: "change the members"}, err
	}
	size, now := c.(cluster.Sizer).Size(), len(sights)
	coin := r.IntN(2) == 0
	order := shuffled(sights, r)
	if now > leastMembers && (now > size || now == size && coin) {
		return leave(ctx, c, leaver(sights, order))
	}
	return join(ctx, c)
}

// quorate waits for a leader who can change the members: right after another fault there is none for the length of an election.
func quorate(ctx context.Context, c cluster.Cluster) (sights []sight, err error) {
	await(ctx, c, probeBound, func() bool {
		sights = look(ctx, c, c.Nodes())
		err = changeable(sights)
		return err == nil
	})
	return sights, err
}

// changeable: a change needs a leader and a majority, of the old members and of the new ones.
func changeable(sights []sight) error {
	leader, ok := leaderOf(sights)
	if !ok {
		return nothing("no node says that it leads: %s", told(sights))
	}
	if in := len(those(sights, func(s sight) bool { return follows(s, leader) })); 2*in <= len(sights)+1 {
		return nothing("the leader %s is followed by too few to change the members: %s", leader.node, told(sights))
	}
	return nil
}

func follows(s, leader sight) bool {
	return s.up && s.status.Term == leader.status.Term && (s.node == leader.node || s.status.Leader == leader.node)
}

// leaver is one who can be done without: a node that is down rather than one that is needed for the majority.
func leaver(sights []sight, order []string) string {
	alive := len(order)
	if 2*(alive-1) > len(sights)-1 {
		return order[0]
	}
	return those(sights, func(s sight) bool { return !s.up })[0]
}

func leave(ctx context.Context, c cluster.Cluster, node string) (history.Fault, error) {
	fault := history.Fault{What: node + " leaves", Nodes: []string{node}}
	err := insist(ctx, c, func() error {
		if !slices.Contains(c.Nodes(), node) {
			return nil // an earlier attempt has come true
		}
		return c.(cluster.Members).Leave(ctx, node)
	})
	if err != nil {
		return fault, err
	}
	return witnessed(ctx, c, fault, node, false)
}

func join(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
	fault := history.Fault{What: "a new node joins"}
	node := ""
	err := insist(ctx, c, func() (err error) {
		node, err = c.(cluster.Members).Join(ctx)
		return err
	})
	if err != nil {
		return fault, err
	}
	fault.What, fault.Nodes = node+" joins", []string{node}
	return witnessed(ctx, c, fault, node, true)
}

const changeAttempts = 3

// insist repeats a change that fails although a majority could make it now: other faults may have lasted as long as the attempt. Where no
// majority can make it the failure is not the test's.
func insist(ctx context.Context, c cluster.Cluster, change func() error) error {
	var failed error
	for range changeAttempts {
		if failed = change(); failed == nil {
			return nil
		}
		if err := changeable(look(ctx, c, c.Nodes())); err != nil {
			return fmt.Errorf("%w (%w)", err, failed)
		}
	}
	return fmt.Errorf("change the members: %w", failed)
}

// witnessed looks whether the leader counts the node among the members or not, as it should by now.
func witnessed(ctx context.Context, c cluster.Cluster, fault history.Fault, node string, present bool) (history.Fault, error) {
	led := false
	fault.Held = await(ctx, c, probeBound, func() bool {
		leader, ok := leaderOf(look(ctx, c, c.Nodes()))
		if !ok {
			fault.Probe = "status: nobody leads"
			return false
		}
		led = true
		fault.Probe = fmt.Sprintf("status of the leader %s: members %s", leader.node, list(leader.status.Members))
		return slices.Contains(leader.status.Members, node) == present
	})
	if !fault.Held && !led {
		return fault, nothing("%s, but the leader was lost before it could be asked", fault.What)
	}
	return fault, nil
}

// mendMembers first settles what is in doubt: a change that was given up may have been committed after all. Then nodes join or leave until there are
// as many as at the beginning. Who has been longest there leaves first, the leader last.
func mendMembers(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
	size := c.(cluster.Sizer).Size()
	fault := history.Fault{What: "nothing to mend: as many members as at the beginning", Mended: true, Held: true}
	for {
		sights := look(ctx, c, c.Nodes())
		gone, unknown, known := differences(c, sights)
		if !known || len(gone)+len(unknown) > 0 || len(sights) != size {
			var err error
			if sights, err = quorate(ctx, c); err != nil && !ledByStranger(sights) {
				return history.Fault{What: "change the members back", Mended: true}, err
			}
			gone, unknown, _ = differences(c, sights)
		}
		var err error
		switch {
		case len(unknown) > 0:
			fault, err = join(ctx, c)
		case len(gone) > 0:
			fault, err = leave(ctx, c, gone[0])
		case len(sights) < size:
			fault, err = join(ctx, c)
		case len(sights) > size:
			fault, err = leave(ctx, c, eldest(sights))
		default:
			fault.Probe = "status: members " + list(c.Nodes())
			return fault, nil
		}
		fault.Mended = true
		if err != nil || !fault.Held {
			return fault, err
		}
	}
}

// differences between the cluster's nodes and those whom the system counts: nodes that it does not count, and members that are no nodes
// (yet). known is false where nobody can tell.
func differences(c cluster.Cluster, sights []sight) (gone, unknown []string, known bool) {
	leader, ok := leaderOf(sights)
	if !ok {
		if leader, ok = newest(sights); !ok || !ledByStranger(sights) {
			return nil, nil, false
		}
	}
	nodes := c.Nodes()
	return strangers(nodes, leader.status.Members), strangers(leader.status.Members, nodes), true
}

// newest is a node of the highest term that knows its leader.
func newest(sights []sight) (sight, bool) {
	best := -1
	for i, s := range sights {
		if s.up && s.status.Leader != "" && (best < 0 || s.status.Term > sights[best].status.Term) {
			best = i
		}
	}
	if best < 0 {
		return sight{}, false
	}
	return sights[best], true
}

// ledByStranger: a node whose join was given up has joined after all, and been elected, so no node says that it leads.
func ledByStranger(sights []sight) bool {
	s, ok := newest(sights)
	return ok && !slices.ContainsFunc(sights, func(o sight) bool { return o.node == s.status.Leader })
}

// strangers are the nodes that others do not count.
func strangers(nodes, others []string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return slices.Contains(others, n) })
}

func eldest(sights []sight) string {
	leader, _ := leaderOf(sights)
	order := without(those(sights, func(sight) bool { return true }), leader.node)
	if 2*(len(those(sights, isUp))-1) > len(sights)-1 {
		return order[0]
	}
	for _, s := range sights {
		if !s.up {
			return s.node
		}
	}
	return order[0]
}
