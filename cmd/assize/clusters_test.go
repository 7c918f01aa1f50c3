package main

import (
	"slices"
	"strings"
	"testing"

	"assize/cluster"
	"assize/cluster/fleet"
	"assize/cluster/local"
	"assize/harness"
	"assize/targets"
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
