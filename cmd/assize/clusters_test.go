package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
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

// unmendable is a cluster of which no quorum can be mended, by the test's doing.
type unmendable struct{ *sim.Sim }

func (unmendable) MendQuorum(context.Context, uint64) ([]string, error) {
	return nil, errors.New("the engine has gone")
}

// TestWhatABrokenRunHasRecordedIsJudged, once and again: reads that ask nobody are stale whatever becomes of the test.
func TestWhatABrokenRunHasRecordedIsJudged(t *testing.T) {
	before := kinds
	defer func() { kinds = before }()
	kinds = append(slices.Clone(kinds), kind{"unmendable", "", nil, func(ctx context.Context, t targets.Target, p harness.Plan, dir string, say func(string)) (cluster.Cluster, func(func()) error, error) {
		c, run, err := openSim(ctx, t, p, dir, say)
		return unmendable{c.(*sim.Sim)}, run, err
	}})
	for read, want := range map[string]string{"local": "INVALID: not linearizable: ", "readindex": "INCONCLUSIVE: faults did not take hold: inconclusive: mend a quorum: failed: the engine has gone\n"} {
		dir := filepath.Join(t.TempDir(), "run")
		status, stdout, _ := call(t, "run", "--cluster", "unmendable", "--seed", "3", "--read", read, "--out", dir, "--quiet")
		again, checked, _ := call(t, "check", dir)
		for _, got := range []string{stdout, checked} {
			if !strings.HasPrefix(got, "BROKEN  the test itself failed: raft, unmendable, register, 20 s, seed 3, read "+read+"\n  mend a quorum: the engine has gone\n  what was recorded is "+want) ||
				!strings.Contains(got, "\n  linearizable ") || status != exitBroken || again != exitBroken {
				t.Errorf("%s: exit %d and %d: %s", read, status, again, got)
			}
		}
	}
}
