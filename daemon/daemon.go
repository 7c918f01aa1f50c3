// Package daemon hosts one machine on a real node: peers over TCP, a write-ahead log, the node's clocks, and a front end for clients.
//
// What it promises the machine: one event at a time, each with clock readings taken after the event's message or request had arrived; what an
// event logs or installs is durable before anything that this or a later event sends, answers or publishes leaves the node, but for messages that are Early. A
// checkpoint is written beside all that, and nothing waits for it. What it does not promise: that a message arrives, arrives once, or arrives in order.
//
// What it promises everybody else: a peer or client that sends rubbish is disconnected and nothing more; a node that cannot write its log
// stops with an error; two processes never share a directory.
//
// What it promises whoever asks for a recording: a machine made of the recording's beginning and stepped over its events does what this one did, or
// the replay names the first batch that differs.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"assize/cluster"
	"assize/daemon/wal"
	"assize/machine"
)

// Config of a daemon.
type Config struct {
	Node      cluster.Node
	Voters    []int // the first configuration; nil on a node that joins
	Observers []int
	New       func(machine.Config) machine.Machine
	Options   machine.Options // those in Node's Settings win over a zero here
	Clock     Clock           // nil: the process's
	Log       io.Writer       // one line an event of importance
	// Front serves clients until the listener is closed.
	Front func(net.Listener, Host) error
	// Outstanding requests at most; what comes beyond is refused. 0: 4,096.
	Outstanding int
}

const defaultTick = 10 * time.Millisecond

// Run hosts the machine until ctx ends, which is no error, or until the node can do no more, which is one.
func Run(ctx context.Context, c Config) error {
	c = c.withDefaults()
	unlock, err := lock(c.Node.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	peers, err := net.Listen("tcp", c.Node.Peer)
	if err != nil {
		return fmt.Errorf("listen for peers: %w", err)
	}
	defer peers.Close()
	clients, err := net.Listen("tcp", c.Node.Client)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	defer clients.Close()
	log, found, err := wal.Open(logDir(c.Node), wal.Options{})
	if err != nil {
		return err
	}
	j := &journal{w: c.Log}
	j.line("recovered", "id", c.Node.ID, "snapshot", len(found.Snapshot), "records", len(found.Records), "segments", found.Segments, "torn", found.Torn)
	of := machine.Config{ID: c.Node.ID, Voters: c.Voters, Observers: c.Observers, Seed: c.Node.Seed, Snapshot: found.Snapshot, Log: found.Records, Options: c.Options}
	var r *recorder
	if c.Node.Record {
		if r, err = newRecorder(c.Node.Dir, origin{build: ThisBuild(), target: c.Node.Target, config: of}, j); err != nil {
			return errors.Join(err, log.Close())
		}
	}
	m := c.New(of)
	r.end(m.Status())
	h := newHost(c, m, log, j)
	h.recorder = r
	err = h.serve(ctx, peers, clients)
	r.close()
	return errors.Join(err, log.Close())
}

func logDir(n cluster.Node) string { return filepath.Join(n.Dir, "wal") }

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = SystemClock{}
	}
	if c.Log == nil {
		c.Log = io.Discard
	}
	if c.Outstanding == 0 {
		c.Outstanding = 4096
	}
	s, o := c.Node.Settings, &c.Options
	o.Read = either(o.Read, s.Read)
	o.Flaw = either(o.Flaw, s.Flaw)
	o.Heartbeat = either(o.Heartbeat, s.Heartbeat)
	o.Election = either(o.Election, s.Election)
	o.Drift = either(o.Drift, s.Drift)
	o.Snapshot = either(o.Snapshot, s.Snapshot)
	o.Tick = either(o.Tick, defaultTick)
	return c
}

// either returns the second where it says something.
func either[T comparable](a, b T) T {
	var none T
	if b != none {
		return b
	}
	return a
}

// serve runs everything that a node does until ctx ends or something fails.
func (h *host) serve(ctx context.Context, peers, clients net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	front := &tracked{Listener: clients}
	h.transport.start()
	h.work.Go(func() { h.transport.accept(peers) })
	h.work.Go(h.writeOut)
	h.work.Go(func() {
		if err := h.config.Front(front, h); err != nil && ctx.Err() == nil {
			h.fail(fmt.Errorf("serve clients: %w", err))
		}
	})
	h.work.Go(func() {
		h.own(ctx)
		h.outlet.close()
	})
	h.journal.line("ready", "id", h.config.Node.ID, "peer", peers.Addr(), "client", clients.Addr())
	select {
	case <-ctx.Done():
	case <-h.failed:
	}
	cancel()
	h.desk.close()
	front.closeAll()
	peers.Close()
	h.inbox.close()
	h.transport.stop()
	h.work.Wait()
	err := h.failure()
	if err != nil {
		h.journal.line("stopped", "id", h.config.Node.ID, "error", err)
	} else {
		h.journal.line("stopped", "id", h.config.Node.ID)
	}
	return err
}
