package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"assize/cluster"
)

// sight is what a look at one node saw. A node answers, or refuses (nobody listens: it is down), or hangs (it is stopped, or busy).
type sight struct {
	node    string
	up      bool
	refused bool
	status  cluster.Status
	err     error
	asked   time.Duration
	seen    time.Duration
}

func (s sight) hangs() bool { return !s.up && !s.refused }

// look asks nodes for their status, all at once: those that hang cost one time-out together.
func look(ctx context.Context, c cluster.Cluster, nodes []string) []sight {
	sights := make([]sight, len(nodes))
	var left atomic.Int64
	left.Store(int64(len(nodes)))
	for i, node := range nodes {
		c.Go(func() {
			asked := c.Now()
			s, err := c.Status(ctx, node)
			sights[i] = sight{
				node: node, up: err == nil, refused: errors.Is(err, cluster.ErrRefused),
				status: s, err: err, asked: asked, seen: c.Now(),
			}
			left.Add(-1)
		})
	}
	for step := time.Millisecond; left.Load() > 0; step = min(2*step, 20*time.Millisecond) {
		c.Sleep(step)
	}
	return sights
}

// leastLooks are taken however long they take: with nodes that hang one look alone may take longer than a bound, and shows what was going on in it.
const leastLooks = 3

// await repeats done, at growing distances, until it is true or bound has passed.
func await(ctx context.Context, c cluster.Cluster, bound time.Duration, done func() bool) bool {
	end := c.Now() + bound
	step := 10 * time.Millisecond
	for looks := 1; ; looks++ {
		if done() {
			return true
		}
		if c.Now() >= end && looks >= leastLooks || ctx.Err() != nil {
			return false
		}
		c.Sleep(step)
		step = min(2*step, 200*time.Millisecond)
	}
}

// leaderOf is the sight of the leader of the highest term, and false where none says that he leads.
func leaderOf(sights []sight) (sight, bool) {
	best := -1
	for i, s := range sights {
		if s.up && s.status.Role == "leader" && (best < 0 || s.status.Term > sights[best].status.Term) {
			best = i
		}
	}
	if best < 0 {
		return sight{}, false
	}
	return sights[best], true
}

// voting are the sights of the nodes that vote: of them a majority is one.
func voting(c cluster.Cluster, sights []sight) []sight {
	observers := cluster.Observers(c)
	return slices.DeleteFunc(slices.Clone(sights), func(s sight) bool { return slices.Contains(observers, s.node) })
}

// those whose sight fits, in order.
func those(sights []sight, fits func(sight) bool) []string {
	var names []string
	for _, s := range sights {
		if fits(s) {
			names = append(names, s.node)
		}
	}
	return names
}

func isUp(s sight) bool      { return s.up }
func isRefused(s sight) bool { return s.refused }
func isHanging(s sight) bool { return s.hangs() }

// told in words: "n1 n2 answer, n3 refuses".
func told(sights []sight) string {
	var parts []string
	add := func(names []string, one, many string) {
		switch len(names) {
		case 0:
		case 1:
			parts = append(parts, names[0]+" "+one)
		default:
			parts = append(parts, list(names)+" "+many)
		}
	}
	add(those(sights, isUp), "answers", "answer")
	add(those(sights, isRefused), "refuses", "refuse")
	add(those(sights, isHanging), "does not answer", "do not answer")
	if len(parts) == 0 {
		return "no nodes"
	}
	return strings.Join(parts, ", ")
}

func list(names []string) string { return strings.Join(names, " ") }

// members that are still there: one that has left meanwhile is nobody's target any more.
func remaining(c cluster.Cluster, names []string) []string {
	nodes := c.Nodes()
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(nodes, n) })
}

// each does f to the nodes in turn. The error of one that has left meanwhile is none.
func each(c cluster.Cluster, nodes []string, f func(string) error) error {
	var errs []error
	for _, n := range nodes {
		if err := f(n); err != nil && slices.Contains(c.Nodes(), n) {
			errs = append(errs, fmt.Errorf("%s: %w", n, err))
		}
	}
	return errors.Join(errs...)
}
