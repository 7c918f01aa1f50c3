package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"assize/cluster"
	"assize/machine"
)

// leader is the live node that leads the highest term, or nil. A node whose join was given up may have joined after all, and been elected.
func (s *Sim) leader() *node {
	var best *node
	for _, n := range s.nodes {
		if (n.member || n == s.joining) && n.up && !n.paused && n.status.Role == machine.Leader && (best == nil || n.status.Term > best.status.Term) {
			best = n
		}
	}
	return best
}

var errNoLeader = errors.New("no node says that it leads")

// bound is how long a power waits for the cluster's consent.
func (s *Sim) bound() time.Duration {
	return max(defaultBound, 20*s.config.Options.Election)
}

// demand asks the leader for something that no client of a test would ask for.
func (s *Sim) demand(c machine.Command, patience time.Duration) error {
	n := s.leader()
	if n == nil {
		return errNoLeader
	}
	answer := new(machine.Commands)
	line := s.open(n, cluster.Options{Timeout: patience}, answer)
	defer line.Close()
	if err := line.begin(); err != nil {
		return err
	}
	if err := line.ask([][]byte{c.Encode()}); err != nil {
		return err
	}
	r, err := answer.Result()
	if err == nil && r.Outcome != machine.Done {
		err = fmt.Errorf("%s did not do it: %s", n.name, r.Reason)
	}
	return err
}

// Transfer asks the leader to hand over, and returns when it has answered.
func (s *Sim) Transfer(_ context.Context, to string) error {
	n, err := s.member(to)
	if err != nil {
		return err
	}
	if s.leader() == n {
		return nil
	}
	if err := s.demand(machine.Command{Kind: machine.CommandTransfer, Node: n.id}, s.bound()/3); err != nil {
		return fmt.Errorf("transfer to %s: %w", to, err)
	}
	return nil
}

// MendQuorum mends a random quorum of the voters, and keeps all others down and cut off. The quorum is a majority of every configuration that
// may be the newest: the one in the log of any node that has all that is known to be committed.
func (s *Sim) MendQuorum(ctx context.Context, pick uint64) ([]string, error) {
	var candidates []*node
	commit := uint64(0)
	for _, n := range s.nodes {
		commit = max(commit, n.status.Commit)
	}
	var newest [][]int
	for _, n := range s.nodes {
		if n.status.Last >= commit && len(n.status.Voters) > 0 && s.court.complete(n) {
			newest = append(newest, n.status.Voters)
		}
		if n.member || n == s.joining {
			candidates = append(candidates, n)
		}
	}
	newest = s.foreseen(newest)
	key := stream(s.config.Seed, streamQuorum, pick)
	rand.New(rand.NewPCG(key, mix(key))).Shuffle(len(candidates), func(i, j int) {
		candidates[i], candidates[j] = candidates[j], candidates[i]
	})
	size := 0
	for size < len(candidates) && !majorities(candidates[:size], newest) {
		size++
	}
	quorum := candidates[:size]
	if !majorities(quorum, newest) {
		return nil, fmt.Errorf("%w: all nodes together are no majority", cluster.ErrSystem)
	}
	slices.SortFunc(quorum, func(a, b *node) int { return a.id - b.id })
	return s.isolate(ctx, quorum)
}

// foreseen adds what the configurations become should a change that is in doubt take effect. It may lie in the inbox of a paused node, which logs it
// when it goes on: with n5 joining n2 n3 n4 the quorum n3 n4 is none any more. Changes come one at a time.
func (s *Sim) foreseen(configurations [][]int) [][]int {
	all := slices.Clone(configurations)
	for _, d := range s.doubts {
		for _, voters := range configurations {
			voters = slices.DeleteFunc(slices.Clone(voters), func(id int) bool { return id == d.node.id })
			if d.present {
				voters = append(voters, d.node.id)
			}
			if len(voters) > 0 {
				all = append(all, voters)
			}
		}
	}
	return all
}

func majorities(nodes []*node, configurations [][]int) bool {
	for _, voters := range configurations {
		have := 0
		for _, n := range nodes {
			if slices.Contains(voters, n.id) {
				have++
			}
		}
		if 2*have <= len(voters) {
			return false
		}
	}
	return len(configurations) > 0 || len(nodes) > 0
}

// isolate leaves these nodes alone with each other, mended.
func (s *Sim) isolate(ctx context.Context, quorum []*node) (names []string, err error) {
	if err := s.Shape(ctx, nil, cluster.Shape{}); err != nil {
		return nil, err
	}
	for _, n := range s.nodes {
		if !slices.Contains(quorum, n) {
			s.crash(n)
		}
	}
	for _, n := range s.nodes {
		for i := range n.links {
			n.links[i].cut = !slices.Contains(quorum, n) || !slices.Contains(quorum, s.nodes[i])
		}
	}
	for _, n := range quorum {
		if !n.up {
			s.start(n)
		}
		if !n.member {
			continue // no fault, and no client, can name it
		}
		names = append(names, n.name)
		if err := errors.Join(s.Skew(ctx, n.name, cluster.Skew{}), s.Resume(ctx, n.name)); err != nil {
			return nil, err
		}
	}
	return names, nil
}
