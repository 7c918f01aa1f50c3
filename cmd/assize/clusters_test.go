package main

import (
	"slices"
	"strings"
	"testing"

	"assize/cluster"
	"assize/cluster/fleet"
	"assize/cluster/local"
	"assize/sim"
	"assize/targets/raft"
)

func TestPowersAreToldWithWhatIsLacking(t *testing.T) {
	s := sim.New(sim.Config{Seed: 1, Nodes: 1, New: raft.New})
	for _, c := range []struct {
		name       string
		c          cluster.Cluster
		has, lacks []string // the latter as beginnings
	}{
		{"sim", s, []string{"pause", "cut", "shape", "duplicate", "skew", "members"}, []string{"freeze: ", "crash: "}},
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
