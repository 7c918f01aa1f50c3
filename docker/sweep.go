package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	dockernet "github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// Swept is what has been removed, in names.
type Swept struct {
	Containers, Volumes, Networks, Images []string
	Living                                []string // runs that were left alone, since their controllers may be at work
}

// Clean removes what runs have left behind: those whose controllers were of this machine and live no more or, with all, everything that carries our
// labels, of whomever. images removes the nodes' images, too, where no container uses them.
func Clean(ctx context.Context, all, images bool) (Swept, error) {
	engine, _, err := connect(ctx)
	if err != nil {
		return Swept{}, err
	}
	defer engine.Close()
	doomed := abandoned(engine)
	if all {
		doomed = func(labelledRun) bool { return true }
	}
	swept, err := sweep(ctx, engine, doomed)
	if err != nil || !images {
		return swept, err
	}
	list, err := engine.ImageList(ctx, image.ListOptions{Filters: labelled(labelImage)})
	if err != nil {
		return swept, fmt.Errorf("list images: %w", err)
	}
	for _, i := range list {
		removed, e := removeImage(ctx, engine, i)
		err = errors.Join(err, e)
		swept.Images = append(swept.Images, removed...)
	}
	return swept, err
}

// removeImage removes an image by its names, and none that a container uses, be it one that is down: by force the engine would take away its name.
func removeImage(ctx context.Context, engine *client.Client, i image.Summary) (removed []string, err error) {
	names := i.RepoTags
	if len(names) == 0 || names[0] == "<none>:<none>" {
		names = []string{i.ID}
	}
	for _, name := range names {
		if _, e := engine.ImageRemove(ctx, name, image.RemoveOptions{PruneChildren: true}); cerrdefs.IsConflict(e) {
			continue // a container that was left alone uses it
		} else if gone(e) != nil {
			err = errors.Join(err, e)
			continue
		}
		removed = append(removed, name)
	}
	return removed, err
}

func labelled(what string) filters.Args { return filters.NewArgs(filters.Arg("label", what)) }

// abandoned tells of a run whether its controller is dead, as far as somebody here can know.
func abandoned(engine *client.Client) func(labelledRun) bool {
	here := strings.HasPrefix(engine.DaemonHost(), "unix://")
	return func(r labelledRun) bool {
		who, err := parseController(r.controller)
		return err == nil && who.dead(here)
	}
}

// sweep removes the runs that are doomed.
func sweep(ctx context.Context, engine *client.Client, doomed func(labelledRun) bool) (swept Swept, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*engineBound)
	defer cancel()
	runs, err := runsOf(ctx, engine)
	if err != nil {
		return swept, err
	}
	for _, r := range runs {
		if !doomed(r) {
			swept.Living = append(swept.Living, r.name)
			continue
		}
		removed, e := removeAll(ctx, engine, r.name)
		err = errors.Join(err, e)
		swept.Containers = append(swept.Containers, removed.Containers...)
		swept.Volumes = append(swept.Volumes, removed.Volumes...)
		swept.Networks = append(swept.Networks, removed.Networks...)
	}
	return swept, err
}

type labelledRun struct{ name, controller string }

// runsOf lists the runs of which anything is left.
func runsOf(ctx context.Context, engine *client.Client) (runs []labelledRun, err error) {
	add := func(l map[string]string) {
		r := labelledRun{l[labelRun], l[labelController]}
		if r.name != "" && !slices.ContainsFunc(runs, func(o labelledRun) bool { return o.name == r.name }) {
			runs = append(runs, r)
		}
	}
	containers, err := engine.ContainerList(ctx, container.ListOptions{All: true, Filters: labelled(labelRun)})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers {
		add(c.Labels)
	}
	volumes, err := engine.VolumeList(ctx, volume.ListOptions{Filters: labelled(labelRun)})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	for _, v := range volumes.Volumes {
		add(v.Labels)
	}
	networks, err := engine.NetworkList(ctx, dockernet.ListOptions{Filters: labelled(labelRun)})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range networks {
		add(n.Labels)
	}
	return runs, nil
}

func removeRun(ctx context.Context, engine *client.Client, run string) error {
	_, err := removeAll(ctx, engine, run)
	return err
}

// removeAll removes whatever carries the run's label. What somebody else has removed meanwhile is gone, too.
func removeAll(ctx context.Context, engine *client.Client, run string) (removed Swept, err error) {
	mine := labelled(labelRun + "=" + run)
	containers, err := engine.ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
	if err != nil {
		return removed, fmt.Errorf("list containers: %w", err)
	}
	errs := make([]error, len(containers))
	var all sync.WaitGroup
	for i, c := range containers {
		all.Go(func() { errs[i] = removeContainer(ctx, engine, c.ID) })
	}
	all.Wait()
	note := func(names *[]string, name string, e error) {
		if e == nil {
			*names = append(*names, name)
		}
		err = errors.Join(err, e)
	}
	for i, c := range containers {
		note(&removed.Containers, strings.TrimPrefix(strings.Join(c.Names, " "), "/"), errs[i])
	}
	volumes, e := engine.VolumeList(ctx, volume.ListOptions{Filters: mine})
	err = errors.Join(err, e)
	for _, v := range volumes.Volumes {
		note(&removed.Volumes, v.Name, removeVolume(ctx, engine, v.Name))
	}
	networks, e := engine.NetworkList(ctx, dockernet.ListOptions{Filters: mine})
	err = errors.Join(err, e)
	for _, n := range networks {
		note(&removed.Networks, n.Name, gone(insist(ctx, func() error { return engine.NetworkRemove(ctx, n.ID) })))
	}
	return removed, err
}

// removeContainer kills and removes, also one that is frozen: not every engine kills that, but one that does not thaw it may.
func removeContainer(ctx context.Context, engine *client.Client, id string) error {
	var thawed error
	if c, err := engine.ContainerInspect(ctx, id); err == nil && c.State != nil && c.State.Paused {
		thawed = thaw(ctx, engine, id)
	}
	for {
		err := gone(engine.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true}))
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || !strings.Contains(err.Error(), "already in progress"):
			return errors.Join(thawed, err)
		}
		// Somebody else is at it, another sweep as a rule. Until it is done what the container uses cannot be removed.
		select {
		case <-time.After(removalPause):
		case <-ctx.Done():
		}
	}
}

const removalPause = 20 * time.Millisecond

// removeVolume tries again where it is in use: the engine denies a container that it has removed a moment before it lets go of its volumes.
func removeVolume(ctx context.Context, engine *client.Client, name string) error {
	return gone(insist(ctx, func() error { return engine.VolumeRemove(ctx, name, true) }))
}

// gone is no error where there is nothing any more.
func gone(err error) error {
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return err
}
