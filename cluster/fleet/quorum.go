package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"assize/cluster"
)

// MendQuorum mends a random quorum completely and kills and cuts off everybody else. A majority of the voters is not always one: where a node
// has just been asked to join or to leave, some may already count by a configuration that others have not heard of, so the quorum grows
// until it is a majority of every configuration that any of its nodes knows.
func (c *Cluster) MendQuorum(ctx context.Context, draw uint64) ([]string, error) {
	c.change.Lock()
	defer c.change.Unlock()
	members := c.Members()
	voters := slices.DeleteFunc(slices.Clone(members), func(n *Node) bool { return n.observer })
	order := c.Everybody()
	r := rand.New(rand.NewPCG(draw, 0x6d656e64))
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for size := 1; size <= len(order); size++ {
		quorum := order[:size]
		if !majority(quorum, namesOf(voters)) {
			continue
		}
		if err := c.isolate(ctx, quorum, order[size:]); err != nil {
			return nil, err
		}
		enough := true
		for _, n := range quorum {
			s, err := c.heed(ctx, n)
			if err != nil {
				return nil, fmt.Errorf("mend a quorum: %w: %w", cluster.ErrSystem, err)
			}
			enough = enough && (len(s.Members) == 0 || majority(quorum, s.Members))
		}
		if enough {
			// No client and no fault can name a node that has not joined yet.
			kept := slices.DeleteFunc(slices.Clone(members), func(n *Node) bool { return !slices.Contains(quorum, n) })
			return namesOf(kept), nil
		}
	}
	return nil, fmt.Errorf("mend a quorum: %w: all nodes together are none", cluster.ErrSystem)
}

// heed asks a node that has just been mended for its status, again where it does not answer in time: a machine may be busy.
func (c *Cluster) heed(ctx context.Context, n *Node) (s cluster.Status, err error) {
	for end := c.Now() + startBound; ; c.Sleep(pollEvery) {
		if s, err = c.statusOf(ctx, n); err == nil || c.Now() > end {
			return s, err
		}
	}
}

func namesOf(nodes []*Node) []string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names
}

func majority(nodes []*Node, configuration []string) bool {
	have := 0
	for _, n := range nodes {
		if slices.Contains(configuration, n.Name) {
			have++
		}
	}
	return 2*have > len(configuration)
}

// isolate leaves these nodes alone with each other, mended; the others are down and cut off.
func (c *Cluster) isolate(ctx context.Context, kept, lost []*Node) error {
	err := Each(lost, func(n *Node) error { return n.kill(ctx) })
	var cut []cluster.Link
	for _, l := range lost {
		for _, n := range slices.Concat(kept, lost) {
			if n != l {
				cut = append(cut, cluster.Link{From: l.Name, To: n.Name}, cluster.Link{From: n.Name, To: l.Name})
			}
		}
	}
	return errors.Join(err, c.host.Alone(ctx, kept, cut), Each(kept, func(n *Node) error {
		return errors.Join(n.resume(ctx), c.start(ctx, n))
	}))
}
