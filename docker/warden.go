package docker

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/docker/docker/api/types/container"
)

// warden is a process that outlives a killed controller: no agent can thaw the container that it is frozen in, or start one that was killed.
type warden struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// WardenCommand is the subcommand of our binary that calls Watch.
const WardenCommand = "warden"

// allIsWell is what a controller says that ends by itself.
const allIsWell = "done\n"

func appoint(binary, run string, grace time.Duration) (*warden, error) {
	w := &warden{cmd: exec.Command(binary, WardenCommand, "--run", run, "--grace", grace.String())}
	w.cmd.SysProcAttr = apart()
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
}

// Watch is the warden's work. in is the other end of the controller's pipe; when it ends without a word the controller is dead, and after
// the grace the run's containers are thawed and started.
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
	engine, _, err := connect(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	list, err := engine.ContainerList(ctx, container.ListOptions{All: true, Filters: labelled(labelRun + "=" + run)})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range list {
		switch c.State {
		case container.StatePaused:
			err = thaw(ctx, engine, c.ID)
		case container.StateExited:
			err = engine.ContainerStart(ctx, c.ID, container.StartOptions{})
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "warden: %s: %v\n", c.ID, err)
		}
	}
	return nil
}
