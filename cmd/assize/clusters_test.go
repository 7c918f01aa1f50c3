package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"assize/cluster"
	"assize/cluster/fleet"
	"assize/cluster/local"
	"assize/harness"
	"assize/sim"
	"assize/targets"
	"assize/targets/raft"
)

func TestPowersAreToldWithWhatIsLacking(t *testing.T) {
	opened := func(name string) cluster.Cluster {
		target, _ := targets.Find(name)
		c, _, err := openSim(t.Context(), target, harness.Plan{Nodes: 1}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		name       string
		c          cluster.Cluster
		has, lacks []string // the latter as beginnings
	}{
		{"sim", opened("raft"), []string{"pause", "cut", "shape", "duplicate", "skew", "transfer", "members"}, []string{"freeze: ", "crash: "}},
		{"sim of ZAB", opened("zab"), []string{"pause", "cut"}, []string{"freeze: ", "crash: ", "transfer: zab ", "members: zab "}},
		// Of no system, which hands over nothing and keeps its members.
		{"local", &local.Cluster{Cluster: &fleet.Cluster{}}, []string{"pause", "cut", "shape"}, []string{"freeze: ", "crash: ", "duplicate: ", "transfer: ", "members: "}},
	} {
		has, lacks, _ := powers(c.c)
		for _, p := range c.has {
			if !slices.Contains(has, p) {
				t.Errorf("%s has %q, not %s", c.name, has, p)
			}
		}
		for _, p := range c.lacks {
			if !slices.ContainsFunc(lacks, func(l string) bool { return strings.HasPrefix(l, p) && len(l) > len(p) }) {
				t.Errorf("%s lacks %q, not %s", c.name, lacks, p)
			}
		}
	}
}

// brittle is a cluster that cannot be removed.
type brittle struct{ *sim.Sim }

func (brittle) Close() error { return errors.New("a container is left") }

// Lack is what is known only once it runs.
func (brittle) Lack(cluster.Power) error { return errors.New("the engine has none") }

// TestWhatIsLeftOfARunThatFailedIsTold, as what is left of one that did not.
func TestWhatIsLeftOfARunThatFailedIsTold(t *testing.T) {
	before := kinds
	defer func() { kinds = before }()
	kinds = append(slices.Clone(kinds), kind{"brittle", "cannot be removed", nil, func(context.Context, targets.Target, harness.Plan, string, func(string)) (cluster.Cluster, func(func()) error, error) {
		s := sim.New(sim.Config{Seed: 1, Nodes: 3, New: raft.New})
		return brittle{s}, s.Run, nil
	}})
	var out, said bytes.Buffer
	got := assize(t.Context(), []string{"assize", "run", "--cluster", "brittle", "--nodes", "3", "--nemesis", "partition", "--out", t.TempDir()}, &out, &said)
	for _, want := range []string{`cannot be broken by "partition": the engine has none`, "a container is left"} {
		if got != exitUsage || !strings.Contains(said.String(), want) {
			t.Errorf("status %d, %q, want one with %q", got, said.String(), want)
		}
	}
}
