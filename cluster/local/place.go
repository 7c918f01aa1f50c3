package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"assize/cluster"
	"assize/cluster/fleet"
	"assize/cluster/skew"
)

// place is where one node's process runs, through all its lives.
type place struct {
	of   *Cluster
	node *fleet.Node
	dir  string // of the node's data

	mu      sync.Mutex
	peer    string // addresses that it listens on
	client  string
	held    []claim  // of both addresses, while it is down
	process *process // nil before the first start
	paused  bool
	closed  bool        // it will not be started again
	clock   *skew.Clock // of the process; nil: nobody has touched it
	lies    lies
}

// Make prepares a node's directory and takes ports for it.
func (c *Cluster) Make(_ context.Context, n *fleet.Node) (fleet.Place, error) {
	p := &place{of: c, node: n, dir: filepath.Join(n.Home, "data")}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p, p.settle()
}

// settle takes new addresses for the node and holds them. Under mu.
func (p *place) settle() error {
	p.release()
	peer, err := choose()
	if err != nil {
		return err
	}
	client, err := choose()
	if err != nil {
		peer.release()
		return err
	}
	p.held = []claim{peer, client}
	p.peer, p.client = peer.address(), client.address()
	return nil
}

// keep holds the node's addresses while it is down. Who cannot have them back has others at the next start. Under mu.
func (p *place) keep() {
	if p.closed || len(p.held) > 0 || p.process != nil && p.process.running() {
		return
	}
	for _, address := range []string{p.peer, p.client} {
		_, port, _ := net.SplitHostPort(address)
		number, _ := strconv.Atoi(port)
		if release, err := hold(number); err == nil {
			p.held = append(p.held, claim{number, release})
		}
	}
}

// release gives the held addresses free. Under mu.
func (p *place) release() {
	for _, c := range p.held {
		c.release()
	}
	p.held = nil
}

// Listen and Addresses: all is on loopback.
func (p *place) Listen() (dir, peer, client string) {
	peer, client = p.Addresses()
	return p.dir, peer, client
}

func (p *place) Addresses() (peer, client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peer, p.client
}

// Answering tells whether the node could answer: it runs and is not stopped.
func (p *place) Answering() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process != nil && p.process.running() && !p.paused
}

// Down is never needed: a port on loopback that nobody listens on refuses.
func (p *place) Down(context.Context) bool { return false }

// Tell writes <dir>/peers.json. The node sees the old file or the new one.
func (p *place) Tell(_ context.Context, peers map[string]string) error {
	b, err := json.Marshal(peers)
	if err != nil {
		return err
	}
	return replace(filepath.Join(p.dir, "peers.json"), b)
}

func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Ignite starts the process; nil if there is one already.
func (p *place) Ignite(_ context.Context, args func() []string) (fleet.Life, error) {
	p.mu.Lock()
	start, err := p.startable()
	p.mu.Unlock()
	if !start {
		return nil, err
	}
	words := args() // asks for the addresses
	p.mu.Lock()
	defer p.mu.Unlock()
	if start, err = p.startable(); !start { // somebody may have been faster, and the node may have left meanwhile
		return nil, err
	}
	p.release()
	life, err := launch(p.of.spawner, p.of.config.Binary, words, p.node.Log, func(end string) {
		if !p.taken() {
			p.of.Died(p.node, end)
		}
	})
	if err != nil {
		return nil, err
	}
	p.process, p.paused = life, false
	if err := p.inherit(); err != nil {
		return nil, errors.Join(err, life.kill())
	}
	go func() {
		<-life.done
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keep()
	}()
	return life, nil
}

// startable tells whether a process is to be started. Under mu.
func (p *place) startable() (bool, error) {
	if p.closed {
		return false, errors.New("it has left")
	}
	return p.process == nil || !p.process.running(), nil
}

// taken tells whether the last life ended because somebody else had the port.
func (p *place) taken() bool {
	return slices.ContainsFunc(p.node.Log.Ending(), func(line string) bool {
		return strings.Contains(line, syscall.EADDRINUSE.Error())
	})
}

// Moved takes other ports where somebody has taken the node's while it was down.
func (p *place) Moved() (bool, error) {
	if !p.taken() {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return true, p.settle()
}

// Kill ends the process as SIGKILL does.
func (p *place) Kill(context.Context) error {
	p.mu.Lock()
	life := p.process
	p.mu.Unlock()
	if life == nil {
		return nil
	}
	if err := life.kill(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep()
	return nil
}

// Close kills the process for good.
func (p *place) Close() error {
	p.mu.Lock()
	p.closed = true
	p.release()
	p.mu.Unlock()
	return p.Kill(context.Background())
}

// Pause stops a node's process with SIGSTOP and returns when it has stopped. Where an error tells that it was not seen to, it may have stopped, or may
// yet, until Resume.
func (c *Cluster) Pause(ctx context.Context, name string) error {
	p, err := c.place(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil || !p.process.running() {
		return fmt.Errorf("pause %s: it is down: %w", name, cluster.ErrRefused)
	}
	p.paused = true
	if err := p.process.pause(ctx); err != nil {
		return fmt.Errorf("pause %s: %w", name, err)
	}
	p.node.Log.Line("harness: paused")
	return nil
}

// Resume lets the process go on where it was stopped, by whomever.
func (p *place) Resume(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil || !p.process.running() {
		p.paused = false
		return nil
	}
	if err := p.process.resume(); err != nil && !p.ending() {
		return err
	}
	if p.paused {
		p.node.Log.Line("harness: resumed")
	}
	p.paused = false
	return nil
}

func (c *Cluster) place(name string) (*place, error) {
	n, err := c.Node(name)
	if err != nil {
		return nil, err
	}
	return n.Place.(*place), nil
}
