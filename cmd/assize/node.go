package main

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"assize/cluster"
	"assize/daemon"
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
	return daemon.Run(ctx, config)
}

// nodeConfig is what the flags say.
func nodeConfig(c *cli.Context) (daemon.Config, error) {
	if c.Args().Present() {
		return daemon.Config{}, usage("node takes no arguments but replay, got %q", c.Args().First())
	}
	for _, name := range []string{"id", "dir", "peer", "client"} {
		if !c.IsSet(name) {
			return daemon.Config{}, usage("--%s is missing; see assize node --help", name)
		}
	}
	target, ok := targets.Find(c.String("target"))
	if !ok {
		return daemon.Config{}, usage("target %q is not known; targets are %s", c.String("target"), strings.Join(targets.Names(), ", "))
	}
	if read := c.String("read"); read != "" && !slices.Contains(target.Modes, read) {
		return daemon.Config{}, usage("%s cannot read by %q; it can by %s", target.Name, read, strings.Join(target.Modes, ", "))
	}
	if flaw := c.String("flaw"); flaw != "" && !slices.Contains(target.FlawNames(), flaw) {
		return daemon.Config{}, usage("%s has no flaw %q; it has %s", target.Name, flaw, strings.Join(target.FlawNames(), ", "))
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
	super, err := parseSuper(c.String("super"))
	if err != nil {
		return daemon.Config{}, err
	}
	switch id := c.Int("id"); {
	case id < 1:
		return daemon.Config{}, usage("--id %d: ids begin with 1", id)
	case c.Bool("join") && (voters != nil || observers != nil):
		return daemon.Config{}, usage("a node that joins learns who votes: --join excludes --voters and --observers")
	case observers != nil && !target.Observers:
		return daemon.Config{}, usage("%s has no observers; those that have are %s", target.Name, strings.Join(targets.Observed(), ", "))
	case slices.ContainsFunc(observers, func(o int) bool { return slices.Contains(voters, o) }):
		return daemon.Config{}, usage("--voters %q and --observers %q have members in common", c.String("voters"), c.String("observers"))
	case !c.Bool("join") && len(voters) == 0:
		return daemon.Config{}, usage("--voters are missing: nobody votes; a node that is to join needs --join")
	case !c.Bool("join") && !slices.Contains(voters, id) && !slices.Contains(observers, id):
		return daemon.Config{}, usage("neither --voters %q nor --observers %q contain --id %d; a node that is to join needs --join", c.String("voters"), c.String("observers"), id)
	}
	options := target.Defaults
	options.Tick, options.Super = defaultTick, super
	if h := c.Duration("heartbeat"); h > 0 {
		options.Tick = min(options.Tick, max(h/4, time.Millisecond))
	}
	return daemon.Config{
		Node: cluster.Node{
			ID: c.Int("id"), Dir: c.String("dir"), Peer: c.String("peer"), Client: c.String("client"), Peers: peers,
			Joining: c.Bool("join"), Seed: c.Uint64("seed"), Cluster: c.String("cluster"),
			Settings: cluster.Settings{
				Target: target.Name, Read: c.String("read"), Flaw: c.String("flaw"), Heartbeat: c.Duration("heartbeat"),
				Election: c.Duration("election"), Drift: c.Float64("drift"), Snapshot: c.Int("snapshot"),
				Record: c.Bool("record"),
			},
		},
		Voters: voters, Observers: observers, New: target.New, Options: options, Log: c.App.ErrWriter, Front: target.Front,
	}, nil
}

const defaultTick = 10 * time.Millisecond

// parseSuper reads USER:HASH, as ZooKeeper's DigestAuthenticationProvider makes it.
func parseSuper(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	user, hash, ok := strings.Cut(s, ":")
	if b, err := base64.StdEncoding.DecodeString(hash); !ok || user == "" || err != nil || len(b) != sha1.Size {
		return "", usage("--super %q: want USER:HASH, the base64 of the SHA-1 of USER:PASSWORD", s)
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
