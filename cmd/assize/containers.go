package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"assize/cluster"
	"assize/docker"
	"assize/harness"
	"assize/targets"
)

const (
	dockerKind = "docker"
	localKind  = "local"
	autoKind   = "auto"
)

// choose resolves auto: containers where an engine answers, otherwise processes.
func choose(ctx context.Context, say func(string)) string {
	engine, err := docker.Find(ctx)
	if err != nil {
		say(fmt.Sprintf("cluster local, since %v", err))
		return localKind
	}
	say(fmt.Sprintf("cluster docker, since Docker Engine %s answers", engine.Version))
	return dockerKind
}

// teller says lines of progress to w, or nothing.
func teller(w io.Writer, quiet bool) func(string) {
	if quiet {
		return func(string) {}
	}
	return func(line string) { fmt.Fprintln(w, line) }
}

func openDocker(ctx context.Context, t targets.Target, p harness.Plan, dir string, say func(string)) (cluster.Cluster, func(func()) error, error) {
	c, err := docker.New(ctx, docker.Config{
		System: t.System, Dir: dir, Nodes: p.Nodes, Observers: p.Observers, Seed: p.Seed, Settings: settings(t, p), Grace: p.Grace,
		Disconnect: p.Cut == harness.CutDisconnect, Progress: say,
	})
	if err != nil {
		return nil, nil, err
	}
	return c, func(run func()) error { run(); return nil }, nil
}

func cleanCommand() *cli.Command {
	return &cli.Command{
		Name:  "clean",
		Usage: "remove the containers, volumes and networks that killed runs have left behind",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "also those of runs that may still be under way, here or on another machine of the same engine"},
			&cli.BoolFlag{Name: "images", Usage: "also the nodes' images"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("clean takes no arguments, got %q", c.Args().First())
			}
			swept, err := docker.Clean(c.Context, c.Bool("all"), c.Bool("images"))
			for _, kind := range []struct {
				name  string
				names []string
			}{{"container", swept.Containers}, {"volume", swept.Volumes}, {"network", swept.Networks}, {"image", swept.Images}} {
				for _, name := range kind.names {
					fmt.Fprintf(c.App.Writer, "removed %s %s\n", kind.name, name)
				}
			}
			if len(swept.Living) > 0 {
				fmt.Fprintf(c.App.Writer, "left alone, since their controllers may be at work: runs %s; --all removes them, too\n", strings.Join(swept.Living, ", "))
			}
			if err == nil && len(swept.Containers)+len(swept.Volumes)+len(swept.Networks)+len(swept.Images)+len(swept.Living) == 0 {
				fmt.Fprintln(c.App.Writer, "nothing is left of any run")
			}
			return err
		},
	}
}

// wardenCommand outlives a killed controller; see docker.Watch.
func wardenCommand() *cli.Command {
	return &cli.Command{
		Name:   docker.WardenCommand,
		Usage:  "thaw and start a run's containers when its controller, at the other end of standard input, has died",
		Hidden: true,
		Flags:  []cli.Flag{&cli.StringFlag{Name: "run", Required: true}, &cli.DurationFlag{Name: "grace", Required: true}},
		Action: func(c *cli.Context) error {
			return docker.Watch(c.Context, c.App.Reader, c.String("run"), c.Duration("grace"))
		},
	}
}
