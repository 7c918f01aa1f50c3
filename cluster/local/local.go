// Package local runs a cluster on this machine: every node a process of our own binary on loopback, without any privilege.
//
// Whatever a node sends to another passes a relay in this process, one for each direction, so that a direction can be cut (silence, never
// a reset) or slowed. Clients talk to the nodes directly. No node outlives the process that made the Cluster, even if that is killed: on
// Linux the kernel kills the nodes, stopped ones too; elsewhere a node sees the end of its standard input, which a stopped one
// does not before it is resumed by hand.
//
// Under <Dir>/nodes/<name>/ are the node's data (data/) and its output (server.log), each line stamped with the seconds since the
// run began as this process read them. Both stay after Close.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"assize/cluster"
	"assize/cluster/fleet"
	"assize/cluster/skew"
)

// Config of a cluster.
type Config struct {
	System    cluster.System
	Binary    string // of the nodes; empty: this executable
	Dir       string // of the run
	Nodes     int    // n1 to n<Nodes>, voters
	Observers int    // the next ones
	Seed      uint64
	Settings  cluster.Settings
	// Direct leaves the relays out, for measuring: links can then be neither cut nor shaped.
	Direct bool
}

const (
	exitBound = 10 * time.Second // a killed process leaves when its last system call, perhaps an fsync, returns
	pollEvery = 20 * time.Millisecond
)

// Cluster is a running cluster. All methods are safe for concurrent use.
type Cluster struct {
	*fleet.Cluster
	config  Config
	spawner *spawner
	// lackSkew is why clocks cannot be falsified here; nil: they can.
	lackSkew error

	mu     sync.Mutex
	relays []*relay
}

var _ interface {
	cluster.Cluster
	cluster.Pauser
	cluster.Cutter
	cluster.Shaper
	cluster.Skewer
	cluster.Limited
	cluster.Transferer
	cluster.Members
	cluster.Sizer
	cluster.Quorum
	cluster.Watcher
} = (*Cluster)(nil)

// New starts all nodes and returns when each has answered. ctx is the run's: its end wakes those who sleep in the World.
func New(ctx context.Context, config Config) (*Cluster, error) {
	if config.Binary == "" {
		own, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this executable: %w", err)
		}
		config.Binary = own
	}
	dir, err := filepath.Abs(config.Dir)
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	config.Dir = dir
	c := &Cluster{config: config, spawner: newSpawner(), lackSkew: skew.Able()}
	c.Cluster, err = fleet.New(ctx, fleet.Config{
		System: config.System, Dir: dir, Nodes: config.Nodes, Observers: config.Observers, Seed: config.Seed, Settings: config.Settings,
	}, c)
	if err != nil {
		c.spawner.close()
		return nil, err
	}
	if err := c.Begin(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close kills all nodes and waits until they are gone. Data and logs stay.
func (c *Cluster) Close() error {
	first, err := c.Cluster.Close()
	if !first {
		return nil
	}
	c.mu.Lock()
	relays := c.relays
	c.relays = nil
	c.mu.Unlock()
	for _, r := range relays {
		r.close()
	}
	c.spawner.close()
	return err
}
