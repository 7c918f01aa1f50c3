package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"assize/cluster"
	"assize/cluster/local"
	"assize/harness"
	"assize/nemesis"
	"assize/sim"
	"assize/targets"
)

// kind is a place where clusters run.
type kind struct {
	name, doc string
	// lack tells what no cluster of this kind can do on this machine, as far as that is known before one runs; nil: nothing is.
	lack func(cluster.Power) error
	// open starts the plan's cluster and says what takes its time. host runs the harness in the cluster's world until it returns.
	open func(ctx context.Context, t targets.Target, p harness.Plan, dir string, say func(string)) (c cluster.Cluster, host func(func()) error, err error)
}

var kinds = []kind{
	{"sim", "in virtual time, in this process, from one seed: the same plan gives the same history to the byte", nil, openSim},
	{localKind, "every node a process on this machine, links through relays", local.Lack, openLocal},
	{dockerKind, "every node a container with a network of its own; faults come as packets, from within", nil, openDocker},
}

const simKind = "sim"

func kindNames() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

func openSim(_ context.Context, t targets.Target, p harness.Plan, _ string, _ func(string)) (cluster.Cluster, func(func()) error, error) {
	o, w := t.Defaults, p.Weather
	o.Read, o.Flaw, o.Heartbeat, o.Election, o.Snapshot = p.Read, p.Flaw, p.Heartbeat, p.Election, w.Snapshot
	s := sim.New(sim.Config{
		Seed: p.Seed, Nodes: p.Nodes, Observers: p.Observers, New: t.New, Tongue: t.Tongue, Lack: t.System.Lack, Options: o,
		Weather: sim.Weather{
			Delay: w.Delay, Spread: w.Spread, Loss: w.Loss, Duplicate: w.Duplicate, Sync: w.Sync, Tear: w.Tear, Drift: w.Drift,
		},
	})
	return s, s.Run, nil
}

func openLocal(ctx context.Context, t targets.Target, p harness.Plan, dir string, _ func(string)) (cluster.Cluster, func(func()) error, error) {
	c, err := local.New(ctx, local.Config{
		System: t.System, Dir: dir, Nodes: p.Nodes, Observers: p.Observers, Seed: p.Seed,
		Settings: settings(t, p),
	})
	if err != nil {
		return nil, nil, err
	}
	return c, func(run func()) error { run(); return nil }, nil
}

// settings of the nodes.
func settings(t targets.Target, p harness.Plan) cluster.Settings {
	return cluster.Settings{
		Target: t.Name, Read: p.Read, Flaw: p.Flaw, Heartbeat: p.Heartbeat, Election: p.Election, Drift: t.Defaults.Drift,
		Snapshot: p.Weather.Snapshot, Record: p.Record,
	}
}

func open(ctx context.Context, t targets.Target, p harness.Plan, dir string, say func(string)) (cluster.Cluster, func(func()) error, error) {
	for _, k := range kinds {
		if k.name == p.Cluster {
			return k.open(ctx, t, p, dir, say)
		}
	}
	return nil, nil, fmt.Errorf("no cluster %q", p.Cluster)
}

// foresee tells which of the plan's nemeses cannot break such a cluster, before anything runs. The simulator can do all that the target can, with as many nodes as there will be: what it cannot,
// no cluster can. What else an engine's containers lack is known once they run.
func foresee(p harness.Plan) error {
	t, _ := targets.Find(p.Target)
	lack := t.System.Lack
	for _, k := range kinds {
		if k.name == p.Cluster && k.lack != nil {
			lack = func(power cluster.Power) error { return cmp.Or(k.lack(power), t.System.Lack(power)) }
		}
	}
	o := t.Defaults
	o.Heartbeat, o.Election = p.Heartbeat, p.Election
	_, err := nemesesFor(sim.New(sim.Config{Nodes: p.Nodes, Observers: p.Observers, New: t.New, Tongue: t.Tongue, Lack: lack, Options: o}), p.Nemesis)
	return err
}

// powers of a cluster, those that it lacks, with the reasons, and the means that it has chosen.
func powers(c cluster.Cluster) (has, lacks, choices []string) {
	for _, p := range []cluster.Power{
		cluster.Pause, cluster.Freeze, cluster.Crash, cluster.Cut, cluster.Shapes, cluster.Duplicate, cluster.Skews, cluster.Transfers, cluster.Membership,
	} {
		if err := cluster.Lack(c, p); err != nil {
			lacks = append(lacks, fmt.Sprintf("%s: %v", p, err))
		} else {
			has = append(has, string(p))
		}
	}
	for _, p := range []struct {
		name string
		able bool
	}{
		{"quorum", is[cluster.Quorum](c)}, {"watch", is[cluster.Watcher](c)},
	} {
		if p.able {
			has = append(has, p.name)
		} else {
			lacks = append(lacks, p.name)
		}
	}
	if l, is := c.(cluster.Limited); is {
		choices = l.Choices()
	}
	return has, lacks, choices
}

func is[T any](c cluster.Cluster) bool {
	_, able := c.(T)
	return able
}

const (
	allNemeses = "all"
	noNemeses  = "none"
)

// nemesesFor resolves the plan's nemeses on a cluster: all that it can be broken by, or exactly those that are named.
func nemesesFor(c cluster.Cluster, names []string) (list []nemesis.Nemesis, err error) {
	all := len(names) == 1 && names[0] == allNemeses
	able := map[string]nemesis.Nemesis{}
	var possible []string
	for _, n := range nemesis.Table {
		if n.Can(c) == nil {
			able[n.Name] = n
			possible = append(possible, n.Name)
		}
	}
	if all {
		names = possible
	}
	for _, name := range names {
		n, can := able[name]
		if !can {
			return nil, &harness.FieldError{
				Field: "nemesis", Reason: fmt.Sprintf("this cluster cannot be broken by %q: %v; it can by %s", name, whyNot(c, name), strings.Join(possible, ", ")),
			}
		}
		list = append(list, n)
	}
	return list, nil
}

func whyNot(c cluster.Cluster, name string) error {
	for _, n := range nemesis.Table {
		if n.Name == name {
			return n.Can(c)
		}
	}
	return errors.New("there is no such nemesis")
}

func nemesisNames() (names []string) {
	for _, n := range nemesis.Table {
		names = append(names, n.Name)
	}
	return names
}
