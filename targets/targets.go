// Package targets is the table of systems under test.
package targets

import (
	"net"
	"strconv"
	"strings"
	"time"

	"assize/cluster"
	"assize/daemon"
	"assize/daemon/etcd"
	"assize/daemon/zk"
	"assize/machine"
	"assize/targets/raft"
	"assize/targets/zab"
)

// Target is one system under test.
type Target struct {
	Name  string
	Doc   string
	Modes []string // of reads; the first is the default
	// Synced are those of the modes in which a client reads behind a sync: it asks for {sync, read}.
	Synced    []string
	Flaws     []machine.Flaw // that can be planted
	Workloads []string       // that its clients can carry out
	// Observers: its clusters can have nodes without a vote.
	Observers bool
	// Checkers are names of judgements, by workload, that its histories are put to besides those of the workload.
	Checkers map[string][]string
	// Defaults of what a plan leaves open.
	Defaults machine.Options
	// New makes one node's machine, for the simulator and for the daemon.
	New func(machine.Config) machine.Machine
	// Tongue of one client connection in the simulator, by its read mode.
	Tongue func(read string) machine.Tongue
	// Front serves a node's clients; see daemon.Config.
	Front func(net.Listener, daemon.Host) error
	// Try is a command line for people who want to try it, with a %s for the endpoints.
	Try string
	// System runs nodes as processes and talks to them.
	System cluster.System
}

// Table of all targets.
var Table = []Target{raftTarget(), zabTarget()}

// Find returns the target of that name.
func Find(name string) (Target, bool) {
	for _, t := range Table {
		if t.Name == name {
			return t, true
		}
	}
	return Target{}, false
}

// Names of all targets.
func Names() (names []string) {
	for _, t := range Table {
		names = append(names, t.Name)
	}
	return names
}

// Observed are the names of the targets that can have observers.
func Observed() (names []string) {
	for _, t := range Table {
		if t.Observers {
			names = append(names, t.Name)
		}
	}
	return names
}

// FlawNames are the names of the flaws that can be planted in t.
func (t Target) FlawNames() []string { return machine.FlawNames(t.Flaws) }

func raftTarget() Target {
	return Target{
		Name:      "raft",
		Doc:       "our Raft behind the etcd v3 API",
		Modes:     raft.Modes,
		Flaws:     raft.Flaws,
		Workloads: []string{"register", "set"},
		Defaults: machine.Options{
			Read: raft.Modes[0], Heartbeat: 50 * time.Millisecond, Election: 300 * time.Millisecond, Drift: 0.05,
		},
		New:    raft.New,
		Tongue: func(read string) machine.Tongue { return &machine.Commands{Local: read == "local"} },
		Front:  func(l net.Listener, h daemon.Host) error { return etcd.Serve(l, h) },
		Try:    "ETCDCTL_API=3 etcdctl --endpoints %s put key value",
		System: cluster.System{
			Name: "raft", Args: nodeArgs, Dial: etcd.Dial, Status: etcd.Status, Transfer: etcd.Transfer, Join: etcd.Join, Leave: etcd.Leave,
		},
	}
}

func zabTarget() Target {
	return Target{
		Name: "zab",
		Doc: "our ZAB behind the ZooKeeper client protocol; all reads are local, in the mode sync behind a sync that the leader answers by itself, stale where it " +
			"has been deposed (claim Z4), in quorum-sync behind one for which it asks a quorum",
		Modes:     zab.Modes,
		Flaws:     zab.Flaws,
		Workloads: []string{"register", "set", "session", "watch"},
		Synced:    zab.Synced,
		Observers: true,
		Defaults: machine.Options{
			Read: zab.Modes[0], Heartbeat: 50 * time.Millisecond, Election: 300 * time.Millisecond, Drift: 0.05,
		},
		New:      zab.New,
		Tongue:   func(string) machine.Tongue { return &zab.Tongue{} },
		Front:    func(l net.Listener, h daemon.Host) error { return zk.Serve(l, h, nil) },
		Try:      "zkCli.sh -server %s create /greeting hello",
		Checkers: map[string][]string{"register": {"osc", "sessions"}},
		System:   cluster.System{Name: "zab", Args: nodeArgs, Dial: zk.Dial, Status: zk.Status},
	}
}

// nodeArgs is the command line of one of our own nodes.
func nodeArgs(n cluster.Node) []string {
	var voters, observers []string
	for _, p := range append([]cluster.Peer{{ID: n.ID, Observer: n.Observer}}, n.Peers...) {
		if id := strconv.Itoa(p.ID); p.Observer {
			observers = append(observers, id)
		} else {
			voters = append(voters, id)
		}
	}
	args := []string{
		"node", "--id", strconv.Itoa(n.ID), "--dir", n.Dir, "--peer", n.Peer, "--client", n.Client, "--target", n.Target,
		"--seed", strconv.FormatUint(n.Seed, 10), "--heartbeat", n.Heartbeat.String(), "--election", n.Election.String(),
		"--drift", strconv.FormatFloat(n.Drift, 'g', -1, 64), "--snapshot", strconv.Itoa(n.Snapshot),
	}
	if n.Cluster != "" {
		args = append(args, "--cluster", n.Cluster)
	}
	if n.Read != "" {
		args = append(args, "--read", n.Read)
	}
	if n.Flaw != "" {
		args = append(args, "--flaw", n.Flaw)
	}
	if n.Record {
		args = append(args, "--record")
	}
	if n.Joining {
		return append(args, "--join")
	}
	if len(observers) > 0 {
		args = append(args, "--observers", strings.Join(observers, ","))
	}
	return append(args, "--voters", strings.Join(voters, ","))
}
