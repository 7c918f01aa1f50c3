package main

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"assize/cluster"
	"assize/daemon"
	"assize/daemon/zk"
	"assize/machine"
	"assize/targets"
)

func nodeCommand() *cli.Command {
	return &cli.Command{
		Name:  "node",
		Usage: "run one node, as the clusters do",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "id", Usage: "`number` of this node, from 1"},
			&cli.StringFlag{Name: "dir", Usage: "`directory` of its data"},
			&cli.StringFlag{Name: "peer", Usage: "`address` to listen on for other nodes"},
			&cli.StringFlag{Name: "client", Usage: "`address` to listen on for clients"},
			&cli.StringFlag{Name: "target", Value: "raft", Usage: "`system`: " + strings.Join(targets.Names(), ", ")},
			&cli.StringFlag{Name: "cluster", Usage: "`name` of the cluster; nodes that were told another do not talk to each other"},
			&cli.StringFlag{Name: "voters", Usage: "first `members`, e.g. 1,2,3"},
			&cli.StringFlag{Name: "observers", Usage: "first `members` without a vote, e.g. 4,5 (targets with observers)"},
			&cli.StringFlag{Name: "peers", Usage: "where others are that <dir>/peers.json does not name, e.g. `2=HOST:PORT,3=HOST:PORT`"},
			&cli.BoolFlag{Name: "join", Usage: "join a running cluster: its members decide who the members are"},
			&cli.StringFlag{Name: "read", Usage: "what a linearizable read rests on, see list"},
			&cli.StringFlag{Name: "flaw", Usage: "plant a flaw, see list"},
			&cli.Uint64Flag{Name: "seed", Usage: "of the node's randomness"},
			&cli.DurationFlag{Name: "heartbeat"},
			&cli.DurationFlag{Name: "election", Usage: "least election time-out"},
			&cli.Float64Flag{Name: "drift", Usage: "bound on the relative rate of two clocks that a lease assumes"},
			&cli.IntFlag{Name: "snapshot", Usage: "applied `entries` between two snapshots"},
			&cli.StringFlag{Name: "super", Usage: "whom no ACL keeps out: `USER:HASH`, the hash being the base64 of the SHA-1 of USER:PASSWORD (targets with ACLs)"},
			&cli.StringFlag{Name: "zoo-cfg", Usage: "ZooKeeper's own configuration `file`, in place of --" + strings.Join(told, ", --") + ": the node is of our ZAB"},
			&cli.BoolFlag{Name: "record", Usage: "record all input in <dir>/record/<life>.rec, to be replayed by assize node replay"},
			&cli.BoolFlag{Name: "orphan", Value: true, Usage: "end when standard input ends, as it does when the parent has died; =false for a node started by hand"},
			&cli.StringFlag{Name: "profile", Usage: "write a CPU profile to `file`"},
		},
		Action:      runNode,
		Subcommands: []*cli.Command{replayCommand()},
	}
}

func runNode(c *cli.Context) error {
	config, err := nodeConfig(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	if name := c.String("profile"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if c.Bool("orphan") {
		go func() {
			io.Copy(io.Discard, c.App.Reader) // whatever ends it: nobody holds the other end any more
			cancel()
		}()
	}
	go tendCollector(ctx)
	return daemon.Run(ctx, config)
}

// told are the flags that say who a node is, and where.
var told = []string{"id", "dir", "peer", "client", "target", "cluster", "voters", "observers", "peers", "join"}

// nodeConfig is what the flags say.
func nodeConfig(c *cli.Context) (daemon.Config, error) {
	if c.Args().Present() {
		return daemon.Config{}, usage("node takes no arguments but replay, got %q", c.Args().First())
	}
	identify := byFlags
	if c.IsSet("zoo-cfg") {
		identify = byZooCfg
	}
	config, err := identify(c)
	if err != nil {
		return daemon.Config{}, err
	}
	node := &config.Node
	target, ok := targets.Find(node.Target)
	if !ok {
		return daemon.Config{}, usage("target %q is not known; targets are %s", node.Target, strings.Join(targets.Names(), ", "))
	}
	if config.Observers != nil && !target.Observers {
		return daemon.Config{}, usage("%s has no observers; those that have are %s", target.Name, strings.Join(targets.Observed(), ", "))
	}
	node.Read, node.Flaw = c.String("read"), c.String("flaw")
	if node.Read != "" && !slices.Contains(target.Modes, node.Read) {
		return daemon.Config{}, usage("%s cannot read by %q; it can by %s", target.Name, node.Read, strings.Join(target.Modes, ", "))
	}
	if node.Flaw != "" && !slices.Contains(target.FlawNames(), node.Flaw) {
		return daemon.Config{}, usage("%s has no flaw %q; it has %s", target.Name, node.Flaw, strings.Join(target.FlawNames(), ", "))
	}
	node.Heartbeat, node.Election = cmp.Or(c.Duration("heartbeat"), node.Heartbeat), cmp.Or(c.Duration("election"), node.Election)
	node.Seed, node.Drift, node.Snapshot, node.Record = c.Uint64("seed"), c.Float64("drift"), c.Int("snapshot"), c.Bool("record")
	options := target.Defaults
	options.Tick, options.SessionTick = defaultTick, config.Options.SessionTick
	if node.Heartbeat > 0 {
		options.Tick = min(options.Tick, max(node.Heartbeat/4, time.Millisecond))
	}
	if options.Super, err = parseSuper(cmp.Or(c.String("super"), config.Options.Super)); err != nil {
		return daemon.Config{}, err
	}
	config.New, config.Options, config.Log = target.New, options, c.App.ErrWriter
	if config.Front == nil {
		config.Front = target.Front
	}
	return config, nil
}

// byFlags is a node as the clusters start it.
func byFlags(c *cli.Context) (daemon.Config, error) {
	for _, name := range []string{"id", "dir", "peer", "client"} {
		if !c.IsSet(name) {
			return daemon.Config{}, usage("--%s is missing; see assize node --help", name)
		}
	}
	voters, err := parseIDs(c, "voters")
	if err != nil {
		return daemon.Config{}, err
	}
	observers, err := parseIDs(c, "observers")
	if err != nil {
		return daemon.Config{}, err
	}
	peers, err := parsePeers(c.String("peers"))
	if err != nil {
		return daemon.Config{}, err
	}
	switch id := c.Int("id"); {
	case id < 1:
		return daemon.Config{}, usage("--id %d: ids begin with 1", id)
	case c.Bool("join") && (voters != nil || observers != nil):
		return daemon.Config{}, usage("a node that joins learns who votes: --join excludes --voters and --observers")
	case slices.ContainsFunc(observers, func(o int) bool { return slices.Contains(voters, o) }):
		return daemon.Config{}, usage("--voters %q and --observers %q have members in common", c.String("voters"), c.String("observers"))
	case !c.Bool("join") && len(voters) == 0:
		return daemon.Config{}, usage("--voters are missing: nobody votes; a node that is to join needs --join")
	case !c.Bool("join") && !slices.Contains(voters, id) && !slices.Contains(observers, id):
		return daemon.Config{}, usage("neither --voters %q nor --observers %q contain --id %d; a node that is to join needs --join", c.String("voters"), c.String("observers"), id)
	}
	return daemon.Config{
		Node: cluster.Node{
			ID: c.Int("id"), Dir: c.String("dir"), Peer: c.String("peer"), Client: c.String("client"), Peers: peers, Joining: c.Bool("join"),
			Cluster: c.String("cluster"), Settings: cluster.Settings{Target: c.String("target")},
		},
		Voters: voters, Observers: observers,
	}, nil
}

// byZooCfg is a node as a configuration file of ZooKeeper's describes it. Its tick is what sessions count in. ZooKeeper's limits of silence between servers
// are many ticks, for a server that has died is told by its broken connections; here silence alone tells, and half a tick of it is enough.
func byZooCfg(c *cli.Context) (daemon.Config, error) {
	for _, name := range told {
		if c.IsSet(name) {
			return daemon.Config{}, usage("--zoo-cfg excludes --%s: the file says it", name)
		}
	}
	s, err := zk.ReadSettings(c.String("zoo-cfg"))
	if err != nil {
		return daemon.Config{}, wrong{err}
	}
	if len(s.Unheeded) > 0 {
		fmt.Fprintf(c.App.ErrWriter, "no matter here: %s\n", strings.Join(s.Unheeded, ", "))
	}
	config := daemon.Config{
		Node: cluster.Node{
			ID: s.ID, Dir: s.Dir, Peer: s.Members[s.ID], Client: s.Client,
			Settings: cluster.Settings{Target: "zab", Heartbeat: s.Tick / 12, Election: s.Tick / 2},
		},
		Observers: s.Observers, Options: machine.Options{SessionTick: s.Tick, Super: s.Super},
		Front: func(l net.Listener, h daemon.Host) error { return zk.Serve(l, h, s.Whitelist) },
	}
	for _, id := range slices.Sorted(maps.Keys(s.Members)) {
		if !slices.Contains(s.Observers, id) {
			config.Voters = append(config.Voters, id)
		}
		if id != s.ID {
			config.Node.Peers = append(config.Node.Peers, cluster.Peer{ID: id, Address: s.Members[id]})
		}
	}
	return config, nil
}

const defaultTick = 10 * time.Millisecond

// parseSuper reads USER:HASH, as ZooKeeper's DigestAuthenticationProvider makes it.
func parseSuper(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	user, hash, ok := strings.Cut(s, ":")
	if b, err := base64.StdEncoding.DecodeString(hash); !ok || user == "" || err != nil || len(b) != sha1.Size {
		return "", usage("superuser %q: want USER:HASH, the base64 of the SHA-1 of USER:PASSWORD", s)
	}
	return s, nil
}

// parseIDs reads the flag of that name, such as 1,2,3.
func parseIDs(c *cli.Context, name string) (ids []int, err error) {
	s := c.String(name)
	if s == "" {
		return nil, nil
	}
	for _, part := range strings.Split(s, ",") {
		id, err := strconv.Atoi(part)
		if err != nil || id < 1 || slices.Contains(ids, id) {
			return nil, usage("--%s %q: want different ids such as 1,2,3", name, s)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// parsePeers reads 2=HOST:PORT,3=HOST:PORT.
func parsePeers(s string) (peers []cluster.Peer, err error) {
	if s == "" {
		return nil, nil
	}
	for _, part := range strings.Split(s, ",") {
		name, address, ok := strings.Cut(part, "=")
		id, err := strconv.Atoi(name)
		if !ok || err != nil || id < 1 || address == "" {
			return nil, usage("--peers %q: want 2=HOST:PORT,3=HOST:PORT", s)
		}
		peers = append(peers, cluster.Peer{ID: id, Address: address})
	}
	return peers, nil
}
