package docker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"assize/cluster/agent"
	"assize/cluster/fleet"
)

// stream is an exec's input and output as one.
type stream struct {
	conn types.HijackedResponse
	out  *io.PipeReader

	mu  sync.Mutex
	err bytes.Buffer // what it said on its standard error
}

// attach runs the agent's other half in the container, over the engine's exec, and returns its input and output.
func attach(ctx context.Context, engine *client.Client, id string) (*stream, error) {
	made, err := engine.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: []string{"/assize", "agent", "attach", "--dir", dataDir}, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, err
	}
	conn, err := engine.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	s := &stream{conn: conn, out: out}
	go func() {
		_, err := stdcopy.StdCopy(in, lockedWriter{s}, conn.Reader)
		if err == nil {
			err = io.EOF
		}
		in.CloseWithError(s.why(err))
	}()
	return s, nil
}

type lockedWriter struct{ s *stream }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	const most = 4 << 10
	if w.s.err.Len() < most {
		w.s.err.Write(b)
	}
	return len(b), nil
}

// why adds what the other half has said to the end of its output.
func (s *stream) why(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if said := strings.TrimSpace(s.err.String()); said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

func (s *stream) Read(b []byte) (int, error)  { return s.out.Read(b) }
func (s *stream) Write(b []byte) (int, error) { return s.conn.Conn.Write(b) }

func (s *stream) Close() error {
	s.conn.Close()
	return s.out.Close()
}

// converse opens a session with the container's agent and waits for its first answer. told hears of the server's ends.
func converse(ctx context.Context, engine *client.Client, id string, told func(agent.Event)) (*agent.Remote, agent.State, error) {
	for {
		s, err := attach(ctx, engine, id)
		if err == nil {
			r := agent.Connect(s, told)
			var state agent.State
			if state, err = r.State(ctx); err == nil {
				return r, state, nil
			}
			r.Close()
		}
		// A container that has just been started refuses an exec for a moment, and its agent may not listen yet.
		switch c, e := engine.ContainerInspect(ctx, id); {
		case cerrdefs.IsNotFound(e):
			return nil, agent.State{}, e
		case e == nil && c.State != nil && !c.State.Running:
			return nil, agent.State{}, fmt.Errorf("the container has ended with status %d: %w", c.State.ExitCode, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, agent.State{}, fmt.Errorf("attach to its agent: %w", err)
		}
	}
}

// listen copies what the container prints to the journal until the container ends, or somebody stops it. It is to be called before the container is
// started, so that nothing is missed.
func listen(ctx context.Context, engine *client.Client, id string, j *fleet.Journal) (heard <-chan struct{}, stop func(), err error) {
	conn, err := engine.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, nil, fmt.Errorf("attach to its output: %w", err)
	}
	done := make(chan struct{})
	out, in := io.Pipe()
	go func() {
		stdcopy.StdCopy(in, in, conn.Reader) // whatever ends it: there is no more
		in.Close()
	}()
	go func() {
		defer close(done)
		defer conn.Close()
		j.Copy(out)
	}()
	return done, conn.Close, nil
}
