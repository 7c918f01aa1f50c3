package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/docker/docker/api/types/container"
)

// warden is a process that outlives a killed controller: no agent can thaw the container that it is frozen in, or start one that was killed.
type warden struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   string
}

// WardenCommand is the subcommand of our binary that calls Watch.
const WardenCommand = "warden"

// allIsWell is what a controller says that ends by itself.
const allIsWell = "done\n"

// wardenLog is what a warden complains of, in the run's directory: its controller, which could pass it on, is dead.
const wardenLog = "warden.log"

func appoint(binary, dir, run string, grace time.Duration) (*warden, error) {
	w := &warden{cmd: exec.Command(binary, WardenCommand, "--run", run, "--grace", grace.String()), log: filepath.Join(dir, wardenLog)}
	w.cmd.SysProcAttr = apart()
	err := os.MkdirAll(dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("start the warden: %w", err)
	}
	log, err := os.Create(w.log)
	if err != nil {
		return nil, fmt.Errorf("start the warden: %w", err)
	}
	defer log.Close()
	w.cmd.Stderr = log
	stdin, err := w.cmd.StdinPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the warden: %w", err)
	}
	w.stdin = stdin
	return w, nil
}

// dismiss the warden: there is nothing left to watch over.
func (w *warden) dismiss() {
	if w == nil {
		return
	}
	io.WriteString(w.stdin, allIsWell)
	w.stdin.Close()
	w.cmd.Wait()
	if info, err := os.Stat(w.log); err == nil && info.Size() == 0 {
		os.Remove(w.log)
	}
}

// Bounds on a warden's patience: the machine may have been brought to a standstill by the very run whose controller it has killed.
const (
	wardenBound = 10 * time.Minute
	wardenPause = time.Second
)

// Watch is the warden's work. in is the other end of the controller's pipe; when it ends without a word the controller is dead, and after
// the grace the run's containers are thawed and started. What fails is tried again for minutes.
func Watch(ctx context.Context, in io.Reader, run string, grace time.Duration) error {
	words, _ := io.ReadAll(io.LimitReader(in, int64(len(allIsWell))))
	if string(words) == allIsWell {
		return nil
	}
	select {
	case <-time.After(grace):
	case <-ctx.Done():
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wardenBound)
	defer cancel()
	for {
		err := free(ctx, run)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(wardenPause):
		case <-ctx.Done():
			return fmt.Errorf("free the containers of run %s: %w", run, err)
		}
	}
}

// free thaws and starts a run's containers, each whatever has become of the others.
func free(ctx context.Context, run string) error {
	engine, _, err := connect(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*engineBound)
	defer cancel()
	list, err := engine.ContainerList(ctx, container.ListOptions{All: true, Filters: labelled(labelRun + "=" + run)})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	errs := make([]error, len(list))
	for i, c := range list {
		switch c.State {
		case container.StatePaused:
			errs[i] = gone(thaw(ctx, engine, c.ID))
		case container.StateExited:
			errs[i] = gone(engine.ContainerStart(ctx, c.ID, container.StartOptions{}))
		}
	}
	return errors.Join(errs...)
}
