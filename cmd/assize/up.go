package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"assize/cluster/local"
	"assize/harness"
	"assize/targets"
)

func upCommand() *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "start a cluster on this machine, print its endpoints, and keep it up until Ctrl-C",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "target", Value: "raft", Usage: "system: " + strings.Join(targets.Names(), ", ")},
			&cli.StringFlag{Name: "nodes", Value: "3", Usage: "`number` of nodes"},
			&cli.StringFlag{Name: "observers", Usage: "`number` of further nodes, without a vote (targets: " + strings.Join(targets.Observed(), ", ") + ")", DefaultText: "0"},
			&cli.StringFlag{Name: "read", Usage: "`mode`: what a linearizable read rests on", DefaultText: "the target's first"},
			&cli.StringFlag{Name: "flaw", Usage: "planted `flaw`"},
			&cli.DurationFlag{Name: "election", Usage: "least election time-out; a longer one sees fewer elections on a busy machine", DefaultText: "the target's"},
			&cli.BoolFlag{Name: "record", Usage: "every node records its input, below --out: see assize node replay"},
			&cli.StringFlag{Name: "out", Usage: "`DIR` for the nodes' data and logs", DefaultText: "a temporary one"},
		},
		Action: up,
	}
}

func up(c *cli.Context) error {
	if c.Args().Present() {
		return usage("up takes no arguments, got %q", c.Args().First())
	}
	p := harness.Plan{Target: c.String("target"), Cluster: localKind, Read: c.String("read"), Flaw: c.String("flaw"), Record: c.Bool("record"), Election: c.Duration("election")}
	if err := errors.Join(number(c, "nodes", &p.Nodes), count(c, "observers", &p.Observers)); err != nil {
		return wrong{err}
	}
	fill(&p)
	if err := validate(p); err != nil {
		return usage("--%w", err)
	}
	dir := c.String("out")
	if p.Record && dir == "" {
		return usage("--record needs --out: what is recorded in a temporary directory is gone with it")
	}
	if dir == "" {
		made, err := os.MkdirTemp("", "assize-up-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(made)
		dir = made
	}
	t, _ := targets.Find(p.Target)
	running, _, err := openLocal(c.Context, t, p, dir, nil)
	if err != nil {
		return fmt.Errorf("start the cluster: %w", err)
	}
	defer running.Close()
	var endpoints []string
	for _, node := range running.Nodes() {
		address, err := running.(*local.Cluster).Address(node)
		if err != nil {
			return err
		}
		endpoints = append(endpoints, address)
		fmt.Fprintf(c.App.Writer, "%s  %s\n", node, address)
	}
	fmt.Fprintf(c.App.Writer, "logs are in %s\ntry     %s\nCtrl-C  stops it\n", dir, fmt.Sprintf(t.Try, strings.Join(endpoints, ",")))
	<-c.Context.Done()
	return running.Close()
}
