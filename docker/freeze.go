package docker

import (
	"context"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// freezeAttempts: with cgroup v1 freezing races with processes that come and go in the container, and the engine gives up.
const (
	freezeAttempts = 20
	freezePause    = 50 * time.Millisecond
)

func freeze(ctx context.Context, engine *client.Client, id string) error {
	return insist(ctx, func() error {
		err := engine.ContainerPause(ctx, id)
		if err != nil && is(ctx, engine, id, true) {
			return nil
		}
		return err
	})
}

func thaw(ctx context.Context, engine *client.Client, id string) error {
	return insist(ctx, func() error {
		err := engine.ContainerUnpause(ctx, id)
		if err != nil && is(ctx, engine, id, false) {
			return nil
		}
		return err
	})
}

// is tells whether the container is frozen, or is not; neither where the engine does not say.
func is(ctx context.Context, engine *client.Client, id string, frozen bool) bool {
	c, err := engine.ContainerInspect(ctx, id)
	return err == nil && c.State != nil && c.State.Paused == frozen
}

func insist(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || attempt == freezeAttempts || ctx.Err() != nil || cerrdefs.IsNotFound(err) {
			return err
		}
		select {
		case <-time.After(freezePause):
		case <-ctx.Done():
		}
	}
}
