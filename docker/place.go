package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	dockernet "github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/go-connections/nat"

	"assize/cluster"
	"assize/cluster/agent"
	"assize/cluster/fleet"
)

// place is one node's container, through all its lives and all of the server's.
type place struct {
	of      *Cluster
	node    *fleet.Node
	id      string // of the container
	address netip.Addr

	op      sync.Mutex // held by whoever starts, kills, freezes or thaws the container or the server
	telling sync.Mutex // taken after op, held from the reading of what the agent is to know until it knows: the newest wins

	mu        sync.Mutex
	client    string // where clients reach it
	box       *box   // nil while the container is down
	life      *life  // of the server; nil before the first
	peers     []byte // peers.json
	skew      cluster.Skew
	skewedAt  time.Time
	skewTurn  uint64        // how often skew has been set
	jump      time.Duration // of the monotonic clock, that the life which runs has yet to make: later ones begin anew
	paused    bool
	frozen    bool
	closed    bool // it will not be started again
	unplugged bool // the engine has taken it off the network
	stalePeer bool // the agent has not been told of the newest peers, packets or skew
	staleSet  bool
	staleSkew bool
	unsure    bool // the agent has healed: whether the server runs, or has been stopped, is to be asked
}

// box is one life of the container.
type box struct {
	remote *agent.Remote
	heard  <-chan struct{} // closed when all that it printed has been read
	told   uint64          // the last life of the server whose end we know
	lapses int             // of the agent's faults that we know of
	doomed bool            // the engine has been asked to kill it
}

// life of the server, within its container's.
type life struct {
	box    *box
	number uint64 // as the agent counts; 0: not known yet, but it comes after that one
	after  uint64
	done   chan struct{}
	end    string
	ending bool // somebody has claimed it
}

// Done and Ending are fleet.Life's.
func (l *life) Done() <-chan struct{} { return l.done }
func (l *life) Ending() string        { return l.end }

// claim the end of the life for whoever closes done then: several may learn of it at once. Under mu.
func (l *life) claim(end string) bool {
	if l.ending {
		return false
	}
	l.ending, l.end = true, end
	return true
}

func (l *life) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Make creates a node's volume and container. The container is started with its first server, so that no node waits for another's.
func (c *Cluster) Make(ctx context.Context, n *fleet.Node) (fleet.Place, error) {
	address, err := c.network.address(n.ID)
	if err != nil {
		return nil, err
	}
	p := &place{of: c, node: n, address: address, client: netip.AddrPortFrom(address, clientPort).String()}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ctx, cancel := whole(ctx)
	defer cancel()
	if err := p.create(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.places[n.Name] = p
	return p, nil
}

// create the container and its volume.
func (p *place) create(ctx context.Context) error {
	c := p.of
	name := "assize-" + c.run + "-" + p.node.Name
	marks := labels(c.run)
	marks[labelNode] = p.node.Name
	if _, err := c.engine.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: marks}); err != nil {
		return fmt.Errorf("make a volume: %w", err)
	}
	config := &container.Config{
		Image: c.image, Hostname: p.node.Name, Labels: marks,
		Cmd: []string{"agent", "--dir", dataDir, "--grace", c.config.Grace.String(), "--hold", "--table", "assize_" + c.run},
	}
	host := &container.HostConfig{
		Binds:     []string{name + ":" + dataDir},
		CapAdd:    []string{"NET_ADMIN", "NET_RAW", "SYS_PTRACE"},
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "64m", "max-file": "1"}},
	}
	if !c.direct {
		port := nat.Port(strconv.Itoa(clientPort) + "/tcp")
		config.ExposedPorts = nat.PortSet{port: {}}
		host.PortBindings = nat.PortMap{port: {{HostIP: c.publishAt()}}}
	}
	made, err := c.engine.ContainerCreate(ctx, config, host, &dockernet.NetworkingConfig{
		EndpointsConfig: map[string]*dockernet.EndpointSettings{
			"assize-" + c.run: {IPAMConfig: &dockernet.EndpointIPAMConfig{IPv4Address: p.address.String()}},
		},
	}, nil, name)
	if err != nil {
		return fmt.Errorf("make a container: %w", err)
	}
	p.id = made.ID
	return nil
}

// publishAt is the address of the engine's machine at which ports are published: to this machine alone where the engine is here.
func (c *Cluster) publishAt() string {
	if c.about.Host == "127.0.0.1" {
		return "127.0.0.1"
	}
	return "0.0.0.0"
}

// boot starts the container where it is down, opens a session with its agent and tells that what is in force. Under op.
func (p *place) boot(ctx context.Context) error {
	p.mu.Lock()
	up := p.box != nil
	p.mu.Unlock()
	if up { // but may not have been told everything when it was booted
		return p.freshen(ctx)
	}
	engine := p.of.engine
	heard, deafen, err := listen(context.WithoutCancel(ctx), engine, p.id, p.node.Log)
	if err != nil {
		return err
	}
	if err := engine.ContainerStart(ctx, p.id, container.StartOptions{}); err != nil {
		deafen() // or the next attempt's lines would be copied twice
		return fmt.Errorf("start its container: %w", err)
	}
	b := &box{heard: heard}
	remote, state, err := p.converse(ctx, b, bootBound)
	if err != nil {
		return errors.Join(err, p.abort(ctx))
	}
	p.of.learn(state)
	if !p.of.direct {
		if err := p.findPort(ctx); err != nil {
			remote.Close()
			return errors.Join(err, p.abort(ctx))
		}
	}
	p.mu.Lock()
	b.remote = remote
	p.box, p.paused, p.frozen, p.unsure, p.jump = b, false, false, false, 0
	p.stalePeer, p.staleSet, p.staleSkew = p.peers != nil, true, true
	p.mu.Unlock()
	go p.watch(b)
	return p.freshen(ctx)
}

// abort kills a container that was started and cannot be used: left alone, its agent would start the server after the grace.
func (p *place) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineBound)
	defer cancel()
	if err := p.of.engine.ContainerKill(ctx, p.id, "KILL"); err != nil && !cerrdefs.IsConflict(err) {
		return err
	}
	return nil
}

func (p *place) converse(ctx context.Context, b *box, bound time.Duration) (*agent.Remote, agent.State, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return converse(ctx, p.of.engine, p.id, func(e agent.Event) {
		if e.Ended != nil {
			p.ended(b, *e.Ended)
		}
		if e.Lapse != nil {
			p.lapsed(b, *e.Lapse)
		}
	})
}

// findPort asks for the published port: a container has another after each start.
func (p *place) findPort(ctx context.Context) error {
	c, err := p.of.engine.ContainerInspect(ctx, p.id)
	if err != nil {
		return fmt.Errorf("ask for its port: %w", err)
	}
	for _, b := range c.NetworkSettings.Ports[nat.Port(strconv.Itoa(clientPort)+"/tcp")] {
		p.mu.Lock()
		p.client = net.JoinHostPort(p.of.about.Host, b.HostPort)
		p.mu.Unlock()
		return nil
	}
	return errors.New("the engine has published no port")
}

// watch waits for the end of the session: of the container, most probably. Where it is only the session, as after a restart of the engine, it tries to
// open another one for as long as that may come about: a node of which nobody hears is not one that has died.
func (p *place) watch(b *box) {
	remote := p.remoteOf(b)
	<-remote.Done()
	for !p.rejoined(b, remote) {
		time.Sleep(rejoinPause)
	}
}

// rejoined has to do with the end of a session whatever there is to do; false: it is to be tried again.
func (p *place) rejoined(b *box, remote *agent.Remote) bool {
	p.mu.Lock()
	expected := p.box != b
	p.mu.Unlock()
	if expected {
		return true // whoever holds op has seen to it
	}
	p.op.Lock()
	defer p.op.Unlock()
	p.mu.Lock()
	expected, frozen := p.box != b || p.closed || b.remote != remote, p.frozen
	p.mu.Unlock()
	switch {
	case expected:
		return true
	case frozen: // whoever thaws it needs op
		return false
	case p.resumed(b, rejoinBound):
		go p.watch(b)
		return true
	}
	end, ended := p.lastWords()
	if ended && p.lost(b, end) && !b.doomed {
		p.of.Died(p.node, end)
	}
	return ended
}

// resumed tells whether only the session had ended, and there is another one now.
func (p *place) resumed(b *box, bound time.Duration) bool {
	remote, _, err := p.converse(context.Background(), b, bound)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b.remote = remote
	return true
}

// lastWords of the engine about a container; none where it has not ended, for all that the engine says.
func (p *place) lastWords() (words string, ended bool) {
	ctx, cancel := context.WithTimeout(context.Background(), rejoinBound)
	defer cancel()
	switch c, err := p.of.engine.ContainerInspect(ctx, p.id); {
	case cerrdefs.IsNotFound(err):
		return "its container removed", true
	case err != nil || c.State == nil || c.State.Running:
		return "", false
	default:
		return fmt.Sprintf("its container's exit status %d (out of memory: %v)", c.State.ExitCode, c.State.OOMKilled), true
	}
}

// lost takes note that the container is down, and with it the server; true where that ran.
func (p *place) lost(b *box, end string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.box == b {
		p.box = nil
	}
	p.paused, p.frozen = false, false
	if l := p.life; l != nil && l.box == b && l.claim(end) {
		close(l.done)
		return true
	}
	return false
}

// ended takes note of the end of a life. An agent whose session has broken meanwhile tells it again.
func (p *place) ended(b *box, e agent.End) {
	p.mu.Lock()
	if e.Life <= b.told {
		p.mu.Unlock()
		return
	}
	b.told = e.Life
	l := p.life
	own := l != nil && l.box == b && (l.number == e.Life || l.number == 0 && e.Life > l.after) && l.claim(e.Status)
	if own {
		p.paused = false
	}
	p.mu.Unlock()
	p.node.Log.Line("harness: ended with " + e.Status)
	if !e.Killed || !e.Asked {
		p.of.Died(p.node, e.Status)
	}
	if own {
		close(l.done)
	}
}

// Listen: in its container a node has all addresses for itself.
func (p *place) Listen() (dir, peer, client string) {
	return dataDir, net.JoinHostPort("0.0.0.0", strconv.Itoa(peerPort)), net.JoinHostPort("0.0.0.0", strconv.Itoa(clientPort))
}

// Addresses of the container, or the published one for clients.
func (p *place) Addresses() (peer, client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return netip.AddrPortFrom(p.address, peerPort).String(), p.client
}

// Tell has the agent replace peers.json; one that cannot be told now will be.
func (p *place) Tell(ctx context.Context, peers map[string]string) error {
	b, err := json.Marshal(peers)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.peers, p.stalePeer = append(b, '\n'), true
	p.mu.Unlock()
	return p.freshen(ctx)
}

// Moved: a container's ports are nobody else's.
func (p *place) Moved() (bool, error) { return false, nil }

// Answering is what is believed: the server runs, in a container that is not frozen and is on its network, and has not been stopped.
func (p *place) Answering() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.box != nil && !p.frozen && !p.unplugged && !p.paused && p.life != nil && !p.life.over()
}

// Down tells what the engine has said of the container, and where connections end at a proxy of the engine's what the agent says of the server.
func (p *place) Down(ctx context.Context) bool {
	p.mu.Lock()
	b, frozen := p.box, p.frozen
	p.mu.Unlock()
	if b == nil || frozen || p.of.direct {
		return b == nil
	}
	ctx, cancel := context.WithTimeout(ctx, fleet.Silence)
	defer cancel()
	state, err := p.remoteOf(b).State(ctx)
	return err == nil && !state.Running
}

func (p *place) remoteOf(b *box) *agent.Remote {
	p.mu.Lock()
	defer p.mu.Unlock()
	return b.remote
}
