package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"assize/cluster"
	"assize/cluster/agent"
	"assize/cluster/fleet"
)

// Ignite starts the server, and before it the container where that is down; nil if it runs, or if its answer is not to be waited for.
func (p *place) Ignite(ctx context.Context, args func() []string) (fleet.Life, error) {
	p.op.Lock()
	defer p.op.Unlock()
	if err := p.review(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	closed, runs := p.closed, p.life != nil && !p.life.over() && p.life.box == p.box
	p.mu.Unlock()
	switch {
	case closed:
		return nil, errors.New("it has left")
	case runs:
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, engineBound+bootBound+agentBound)
	defer cancel()
	if err := p.boot(ctx); err != nil {
		return nil, err
	}
	l, err := p.begin(ctx, args)
	if err == nil && p.isUnplugged() {
		return nil, nil // nobody can see it answer before the engine puts it back on the network
	}
	return l, err
}

// begin a life of the server in a container that is up. Under op.
func (p *place) begin(ctx context.Context, args func() []string) (fleet.Life, error) {
	remote := p.reachable()
	if remote == nil {
		return nil, errors.New("its container has ended")
	}
	before, err := remote.State(ctx)
	if err != nil {
		return nil, err
	}
	words := args()
	p.mu.Lock()
	l := &life{box: p.box, after: before.Life, done: make(chan struct{})}
	if before.Running { // an attempt of which we have heard nothing more has succeeded
		l.number = before.Life
	}
	if l.box != nil {
		p.life, p.paused = l, false
	}
	p.mu.Unlock()
	if l.box == nil {
		return nil, errors.New("its container has ended")
	}
	if err := remote.Start(ctx, words); err != nil {
		p.stillborn(l, err.Error())
		return nil, err
	}
	state, err := remote.State(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	l.number = state.Life
	p.mu.Unlock()
	p.node.Log.Line(fmt.Sprintf("harness: started as process %d of its container, life %d", state.Pid, state.Life))
	return l, nil
}

// stillborn: the server could not be started, though its container and the session may well live; they have watchers of their own.
func (p *place) stillborn(l *life, end string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.claim(end) {
		close(l.done)
	}
}

// Kill ends the server. A frozen one must be thawed for it.
func (p *place) Kill(ctx context.Context) error {
	p.op.Lock()
	defer p.op.Unlock()
	return p.kill(ctx)
}

// kill is Kill. Under op.
func (p *place) kill(ctx context.Context) error {
	p.mu.Lock()
	b, l := p.box, p.life
	p.mu.Unlock()
	switch {
	case b == nil && l != nil && !l.over():
		return errors.New("nobody knows what has become of its container")
	case b == nil:
		return nil
	}
	// A life that is over says nothing of the server: a start of which nobody heard may have succeeded, and an agent may have started it by itself.
	ctx, cancel := context.WithTimeout(ctx, agentBound)
	defer cancel()
	if err := p.thaw(ctx); err != nil {
		return err
	}
	if err := p.remoteOf(b).Kill(ctx); err != nil {
		return err
	}
	if l == nil || l.box != b {
		return nil
	}
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("its agent has not told of the server's end: %w", ctx.Err())
	}
}

// Resume lets a frozen container and a stopped server go on. The agent is always asked, since a stop that failed for the controller may have come
// about, and told what a Resume before has failed to tell.
func (p *place) Resume(ctx context.Context) error {
	p.op.Lock()
	defer p.op.Unlock()
	ctx, cancel := context.WithTimeout(ctx, agentBound)
	defer cancel()
	if err := p.thaw(ctx); err != nil {
		return err
	}
	if err := errors.Join(p.review(ctx), p.freshen(ctx)); err != nil {
		return err
	}
	p.mu.Lock()
	b, paused := p.box, p.paused
	p.mu.Unlock()
	if b == nil {
		return nil
	}
	if err := p.remoteOf(b).Resume(ctx); err != nil && !errors.Is(err, agent.ErrDown) {
		return err
	}
	p.mu.Lock()
	p.paused = false
	p.mu.Unlock()
	if paused {
		p.node.Log.Line("harness: resumed")
	}
	return nil
}

// Close removes the container and its volume, after what it has recorded has been copied out.
func (p *place) Close() error {
	p.op.Lock()
	defer p.op.Unlock()
	p.mu.Lock()
	closed, b := p.closed, p.box
	p.closed = true // so that nobody takes its end for an accident
	p.mu.Unlock()
	if closed {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*engineBound)
	defer cancel()
	var err error
	if p.of.config.Settings.Record {
		// A server that still writes would leave a torn end.
		err = errors.Join(p.kill(ctx), p.copyOut(ctx, "record"))
	}
	if b != nil {
		p.remoteOf(b).Close()
	}
	err = errors.Join(err, removeContainer(ctx, p.of.engine, p.id))
	if b != nil {
		select {
		case <-b.heard:
		case <-ctx.Done(): // its container could not be removed, and may print for ever
		}
		p.lost(b, "the run's end")
	}
	return errors.Join(err, removeVolume(ctx, p.of.engine, "assize-"+p.of.run+"-"+p.node.Name))
}

// copyOut copies a folder of the node's data to the run's directory, where it would lie had the node run here.
func (p *place) copyOut(ctx context.Context, folder string) error {
	r, _, err := p.of.engine.CopyFromContainer(ctx, p.id, dataDir+"/"+folder)
	if err != nil {
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("copy %s out: %w", folder, err)
	}
	defer r.Close()
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && h.Typeflag == tar.TypeReg {
			err = save(filepath.Join(p.node.Home, "data"), h.Name, t)
		}
		if err != nil {
			return fmt.Errorf("copy %s out: %w", folder, err)
		}
	}
}

// save writes a file of an archive below dir, wherever its name says that it belongs.
func save(dir, name string, content io.Reader) error {
	path := filepath.Join(dir, filepath.FromSlash(filepath.Clean("/"+strings.ReplaceAll(name, "\\", "/"))))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// thaw lets a frozen container go on and tells its agent what it has missed. Under op.
func (p *place) thaw(ctx context.Context) error {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if !frozen {
		return nil
	}
	if err := thaw(ctx, p.of.engine, p.id); err != nil {
		return fmt.Errorf("thaw: %w", err)
	}
	p.mu.Lock()
	p.frozen = false
	p.mu.Unlock()
	p.node.Log.Line("harness: thawed")
	return errors.Join(p.review(ctx), p.freshen(ctx))
}

// act does something to a server that runs, under op.
func (c *Cluster) act(ctx context.Context, what, name string, f func(context.Context, *place, *box) error) error {
	p, err := c.place(name)
	if err != nil {
		return err
	}
	p.op.Lock()
	defer p.op.Unlock()
	if err := p.review(ctx); err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	p.mu.Lock()
	b, down := p.box, p.life == nil || p.life.over()
	p.mu.Unlock()
	if b == nil || down {
		return fmt.Errorf("%s %s: it is down: %w", what, name, cluster.ErrRefused)
	}
	ctx, cancel := context.WithTimeout(ctx, engineBound)
	defer cancel()
	if err := f(ctx, p, b); err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	return nil
}

// Pause stops a node's server with SIGSTOP and returns when it has stopped. One that is frozen is left so.
func (c *Cluster) Pause(ctx context.Context, name string) error {
	return c.act(ctx, "pause", name, func(ctx context.Context, p *place, b *box) error {
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		if frozen {
			return nil
		}
		// From now on it may be stopped, whatever is heard of it.
		p.mu.Lock()
		p.paused = true
		p.mu.Unlock()
		if err := p.remoteOf(b).Pause(ctx); err != nil {
			if errors.Is(err, agent.ErrDown) {
				p.mu.Lock()
				p.paused = false
				p.mu.Unlock()
			}
			return err
		}
		p.node.Log.Line("harness: paused")
		return nil
	})
}

// Freeze stops the whole container, by its cgroup.
func (c *Cluster) Freeze(ctx context.Context, name string) error {
	return c.act(ctx, "freeze", name, func(ctx context.Context, p *place, _ *box) error {
		// From now on nobody may wait for its agent.
		p.mu.Lock()
		p.frozen = true
		p.mu.Unlock()
		if err := freeze(ctx, c.engine, p.id); err != nil {
			if is(ctx, c.engine, p.id, false) { // else it may be frozen, and Resume is to see to it
				p.mu.Lock()
				p.frozen = false
				p.mu.Unlock()
			}
			return err
		}
		p.node.Log.Line("harness: frozen")
		return nil
	})
}

// Crash kills the container: the server, its agent, its network and all that was set there.
func (c *Cluster) Crash(ctx context.Context, name string) error {
	p, err := c.place(name)
	if err != nil {
		return err
	}
	p.op.Lock()
	defer p.op.Unlock()
	ctx, cancel := context.WithTimeout(ctx, engineBound)
	defer cancel()
	p.mu.Lock()
	b := p.box
	p.mu.Unlock()
	if b == nil {
		return nil
	}
	if err := p.thaw(ctx); err != nil {
		return fmt.Errorf("crash %s: %w", name, err)
	}
	if err := p.crash(ctx, b); err != nil {
		return fmt.Errorf("crash %s: %w", name, errors.Join(err, p.regain(b)))
	}
	p.node.Log.Line("harness: crashed, with its container")
	return nil
}

const crashed = "signal: killed, with its container"

// crash the container, and return when it has ended. Under op.
func (p *place) crash(ctx context.Context, b *box) error {
	p.mu.Lock()
	p.box, b.doomed = nil, true // so that nobody takes its end for an accident
	p.mu.Unlock()
	p.remoteOf(b).Close()
	engine := p.of.engine
	if err := engine.ContainerKill(ctx, p.id, "KILL"); err != nil && !cerrdefs.IsConflict(err) {
		return err
	}
	for {
		s, err := engine.ContainerInspect(ctx, p.id)
		if err == nil && s.State != nil && !s.State.Running {
			break
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("its container has not ended: %w", errors.Join(err, ctx.Err()))
		}
	}
	select {
	case <-b.heard:
	case <-ctx.Done(): // the rest of what it printed is lost, and that is all
	}
	p.lost(b, crashed)
	return nil
}

// regain a box whose container the engine has not killed, as far as it says: who starts or kills the node next is to find what is there. Under op.
func (p *place) regain(b *box) error {
	ctx, cancel := context.WithTimeout(context.Background(), bootBound)
	defer cancel()
	c, err := p.of.engine.ContainerInspect(ctx, p.id)
	if err == nil && c.State != nil && !c.State.Running {
		p.lost(b, crashed)
		return nil
	}
	if !p.resumed(b, bootBound) {
		return errors.New("nor does its agent answer")
	}
	p.mu.Lock()
	p.box = b
	p.mu.Unlock()
	go p.watch(b)
	return p.freshen(ctx)
}
