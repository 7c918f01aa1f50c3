package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"assize/cluster/agent"
)

func agentCommand() *cli.Command {
	dir := &cli.StringFlag{Name: "dir", Value: "/data", Usage: "`directory` of the node's data, in which the agent listens"}
	return &cli.Command{
		Name:            "agent",
		Usage:           "the first process of a node's container: runs this executable with ARGS as the server and does to it what a controller says",
		ArgsUsage:       "-- ARGS",
		Hidden:          true,
		HideHelpCommand: true,
		Flags: []cli.Flag{
			dir,
			&cli.DurationFlag{Name: "grace", Value: 10 * time.Second, Usage: "heal when the controller has been silent for so long; 0: never"},
			&cli.BoolFlag{Name: "hold", Usage: "do not start the server before a controller says so, and stay when it ends"},
			&cli.StringFlag{Name: "table", Value: "assize", Usage: "`name` of the packet filter's table"},
		},
		Action: runAgent,
		Subcommands: []*cli.Command{{
			Name:   "attach",
			Usage:  "join standard input and output to the agent of this container",
			Flags:  []cli.Flag{dir},
			Action: attach,
		}},
	}
}

func runAgent(c *cli.Context) error {
	switch grace := c.Duration("grace"); {
	case grace < 0:
		return usage("--grace: %v is below 0", grace)
	case !c.Bool("hold") && !c.Args().Present():
		return usage("agent takes the server's arguments, behind --; only with --hold they can come later")
	}
	code, err := agent.Run(c.Context, agent.Config{
		Args: c.Args().Slice(), Dir: c.String("dir"), Table: c.String("table"), Grace: c.Duration("grace"), Hold: c.Bool("hold"), Output: c.App.Writer,
	})
	if err != nil {
		return err
	}
	if code != 0 {
		return status(code)
	}
	return nil
}

func attach(c *cli.Context) error {
	if c.Args().Present() {
		return usage("attach takes no arguments, got %q", c.Args().First())
	}
	return agent.Attach(c.Context, c.String("dir"), c.App.Reader, c.App.Writer)
}
