package docker

import (
	"context"
	"fmt"
	"time"

	dockernet "github.com/docker/docker/api/types/network"

	"assize/cluster"
	"assize/cluster/fleet"
)

// disconnect cuts as many test frameworks do, to be compared with: by taking containers off their network. That can only be done to a node's links all
// together, and it is no partition: the node's clients are cut off with it, and its sockets meet errors where there should be silence.
func (c *Cluster) disconnect(ctx context.Context, links []cluster.Link) error {
	cut := map[cluster.Link]bool{}
	for _, l := range links {
		cut[l] = true
	}
	members := c.Members()
	off := map[string]bool{}
	for _, n := range members {
		whole := len(members) > 1
		for _, o := range members {
			whole = whole && (o == n || cut[cluster.Link{From: n.Name, To: o.Name}] && cut[cluster.Link{From: o.Name, To: n.Name}])
		}
		off[n.Name] = whole
	}
	for _, l := range links {
		from, to := off[l.From], off[l.To]
		if _, member := off[l.To]; member && !from && !to {
			return fmt.Errorf("the engine's disconnect cannot cut %s from %s alone", l.From, l.To)
		}
	}
	return fleet.Each(members, func(n *fleet.Node) error {
		if err := n.Place.(*place).plug(ctx, !off[n.Name]); err != nil {
			return fmt.Errorf("disconnect %s: %w", n.Name, err)
		}
		return nil
	})
}

// Status of a node that the engine has taken off its network is what its agent says: that the server runs, and no more. A partition is seen by those who
// answer, and by the network it does not.
func (c *Cluster) Status(ctx context.Context, name string) (cluster.Status, error) {
	p, err := c.place(name)
	if err != nil || !p.isUnplugged() {
		return c.Cluster.Status(ctx, name)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if remote := p.reachable(); remote != nil {
		state, err := remote.State(ctx)
		if err == nil && state.Running && !state.Paused {
			return cluster.Status{}, nil
		}
		if err == nil && !state.Running {
			return cluster.Status{}, fmt.Errorf("status of %s: %w: %w", name, cluster.ErrRefused, cluster.ErrNotDone)
		}
	}
	return cluster.Status{}, fmt.Errorf("status of %s: its agent does not answer, or its server has been stopped", name)
}

func (p *place) isUnplugged() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unplugged
}

// plug the container into the run's network, or out of it; idempotent.
func (p *place) plug(ctx context.Context, in bool) error {
	p.op.Lock()
	defer p.op.Unlock()
	ctx, cancel := context.WithTimeout(ctx, engineBound)
	defer cancel()
	engine, id := p.of.engine, p.of.network.id
	state, err := engine.ContainerInspect(ctx, p.id)
	if err != nil {
		return err
	}
	_, is := state.NetworkSettings.Networks["assize-"+p.of.run]
	switch {
	case is == in:
	case in:
		err = engine.NetworkConnect(ctx, id, p.id, &dockernet.EndpointSettings{
			IPAMConfig: &dockernet.EndpointIPAMConfig{IPv4Address: p.address.String()},
		})
	default:
		err = engine.NetworkDisconnect(ctx, id, p.id, false)
	}
	if err == nil {
		p.mu.Lock()
		p.unplugged = !in
		p.mu.Unlock()
	}
	return err
}
