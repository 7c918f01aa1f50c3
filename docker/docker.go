// Package docker runs a cluster in containers: every node a container of our own static binary on a network of the run's own, with its data in a volume
// of its own. PID 1 of a container is the node's agent and the server is the agent's child, so that the server's death leaves the
// network and all that was set there standing.
//
// Faults come from inside, through the agent: packets are dropped and shaped per peer and direction, the server is stopped and killed, its
// clocks are falsified. From outside, the engine kills whole containers and freezes them. The agents are told over the engine's exec; no
// port is opened for it.
//
// Everything that is made carries labels that name the run and its controller. Where the controller dies, the agents heal their nodes after the
// grace, a warden thaws and starts what no agent can, and Clean removes what is left, as does the next run. What carries no label of ours
// is never touched.
package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"assize/cluster"
	"assize/cluster/fleet"
)

// Config of a cluster.
type Config struct {
	System    cluster.System
	Binary    string // of the nodes; empty: this executable, or one built from its source where that cannot run in an empty container
	Dir       string // of the run
	Nodes     int    // n1 to n<Nodes>, voters
	Observers int    // the next ones
	Seed      uint64
	Settings  cluster.Settings
	// Grace is how long faults last when the controller has fallen silent.
	Grace time.Duration
	// Publish has clients reach the nodes through published ports also where the containers' own addresses can be reached.
	Publish bool
	// Disconnect cuts by taking a container off its network instead of dropping packets, for comparison: links can only be cut all at once.
	Disconnect bool
	// Beside leaves alone what killed runs have left behind.
	Beside bool
	// Progress is told in words of what takes long, such as building an image; may be nil.
	Progress func(string)
}

// Ports of the servers, inside their containers.
const (
	peerPort   = 2380
	clientPort = 2379
	dataDir    = "/data"
)

// Bounds on what this package waits for, in real time.
const (
	engineBound = 30 * time.Second // one request to the engine, which may be busy
	agentBound  = 10 * time.Second // one request to an agent
	bootBound   = 15 * time.Second // from the start of a container to its agent's first answer
	rejoinBound = 3 * time.Second  // an attempt to open another session with an agent; others come after it
	rejoinPause = 100 * time.Millisecond
)

// Cluster is a running cluster. All methods are safe for concurrent use.
type Cluster struct {
	*fleet.Cluster
	config  Config
	engine  *client.Client
	about   Engine
	run     string // the label of all that is made
	image   string
	direct  bool // containers' addresses are reachable
	network network
	warden  *warden
	lacking map[cluster.Power]error
	choices []string
	lapses  []string // that have not been told

	mu     sync.Mutex
	places map[string]*place // by node, also of nodes that have left
	cut    map[cluster.Link]bool
	shapes map[cluster.Link]cluster.Shape
}

var _ interface {
	cluster.Cluster
	cluster.Pauser
	cluster.Freezer
	cluster.Crasher
	cluster.Cutter
	cluster.Shaper
	cluster.Skewer
	cluster.Limited
	cluster.Transferer
	cluster.Members
	cluster.Sizer
	cluster.Quorum
	cluster.Watcher
	cluster.Lapser
} = (*Cluster)(nil)

// New makes and starts all nodes and returns when each has answered. Leftovers of dead controllers of this machine are removed first. ctx is
// the run's: its end wakes those who sleep in the World.
func New(ctx context.Context, config Config) (*Cluster, error) {
	dir, err := filepath.Abs(config.Dir)
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	config.Dir = dir
	if config.Progress == nil {
		config.Progress = func(string) {}
	}
	engine, about, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		config: config, engine: engine, about: about, run: strings.ToLower(rand.Text()[:12]),
		direct: about.Direct && !config.Publish, places: map[string]*place{},
		cut: map[cluster.Link]bool{}, shapes: map[cluster.Link]cluster.Shape{}, lacking: map[cluster.Power]error{},
	}
	c.Cluster, err = fleet.New(ctx, fleet.Config{
		System: config.System, Dir: dir, Nodes: config.Nodes, Observers: config.Observers, Seed: config.Seed, Settings: config.Settings,
	}, c)
	if err != nil {
		engine.Close()
		return nil, err
	}
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// begin makes what the nodes need, and then the nodes.
func (c *Cluster) begin(ctx context.Context) error {
	if !c.config.Beside {
		if _, err := sweep(ctx, c.engine, abandoned(c.engine)); err != nil {
			return fmt.Errorf("remove what killed runs have left: %w", err)
		}
	}
	binary, err := c.prepareImage(ctx)
	if err != nil {
		return err
	}
	if c.network, err = makeNetwork(ctx, c.engine, c.run, c.about.Direct); err != nil {
		return err
	}
	if c.warden, err = appoint(binary, c.config.Dir, c.run, c.config.Grace); err != nil {
		return err
	}
	return c.Begin(ctx)
}

// Close removes the run's containers, volumes and network. Logs stay, and recordings, which are copied out first.
func (c *Cluster) Close() error {
	first, err := c.Cluster.Close()
	if !first {
		return nil
	}
	// The run's own context may have ended.
	ctx, cancel := context.WithTimeout(context.Background(), 2*engineBound)
	defer cancel()
	err = errors.Join(err, removeRun(ctx, c.engine, c.run))
	c.warden.dismiss()
	return errors.Join(err, c.engine.Close())
}

// Lack tells what the containers' kernel, or the engine, cannot do.
func (c *Cluster) Lack(power cluster.Power) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.lacking[power]; err != nil {
		return err
	}
	return c.Cluster.Lack(power)
}

// Choices tells by what means faults come about here.
func (c *Cluster) Choices() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	how := "clients reach the containers' own addresses"
	if !c.direct {
		how = "clients reach published ports of " + c.about.Host
	}
	words := []string{fmt.Sprintf("containers assize-%s-n1 and so on, on Docker Engine %s, API %s; %s", c.run, c.about.Version, c.about.API, how)}
	if c.config.Disconnect {
		words = append(words, "cuts by the engine's disconnect")
	}
	return append(words, c.choices...)
}

// Image is the nodes' image.
func (c *Cluster) Image() string { return c.image }

// PeerAddress is the same for all who ask.
func (c *Cluster) PeerAddress(_, to *fleet.Node) string {
	peer, _ := to.Place.Addresses()
	return peer
}

// Connect has nothing to do: all containers are on one network.
func (c *Cluster) Connect(*fleet.Node, []*fleet.Node) error { return nil }

// Disconnect has nothing to do: the container is gone.
func (c *Cluster) Disconnect(*fleet.Node) {}
