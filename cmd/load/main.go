// Command load drives an etcd v3 server with writes and reads over a number of connections and says how many a second it has answered. It compares three
// local nodes of ours with three of the etcd that is installed, on the same machine in the same run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	app := &cli.App{
		Name: "load", Usage: "count the requests a second that an etcd v3 server answers", HideVersion: true,
		Commands: []*cli.Command{runCommand(), compareCommand()},
	}
	if err := app.RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "measure one server or cluster",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "endpoints", Usage: "`HOST:PORT,...`", Required: true},
			&cli.StringFlag{Name: "operation", Value: put, Usage: strings.Join(operations, ", ")},
			&cli.IntFlag{Name: "connections", Value: 1},
			&cli.DurationFlag{Name: "time", Value: 5 * time.Second},
			&cli.StringFlag{Name: "to", Value: toLeader, Usage: toLeader + ", or " + toAll + " endpoints in turn"},
		},
		Action: func(c *cli.Context) error {
			l := load{
				endpoints: strings.Split(c.String("endpoints"), ","), operation: c.String("operation"), connections: c.Int("connections"),
				time: c.Duration("time"), to: c.String("to"),
			}
			r, err := l.run(c.Context)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "%s, %d connections to %s: %.0f a second, median %v, 99 %% within %v\n",
				l.operation, l.connections, l.to, r.rate, r.median, r.tail)
			return nil
		},
	}
}

func compareCommand() *cli.Command {
	return &cli.Command{
		Name:  "compare",
		Usage: "measure three nodes of ours and three of etcd, in turn",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "time", Value: 3 * time.Second, Usage: "of each measurement"},
			&cli.IntFlag{Name: "rounds", Value: 3, Usage: "measurements of each kind; the median counts"},
			&cli.StringFlag{Name: "to", Value: toLeader, Usage: toLeader + ", or " + toAll + " endpoints in turn"},
			&cli.StringFlag{Name: "assize", Usage: "`binary` to measure", DefaultText: "built from this tree"},
			&cli.StringFlag{Name: "profile", Usage: "write CPU profiles of our nodes into this `directory`"},
			&cli.StringFlag{Name: "dir", Usage: "`directory` for the nodes' data", DefaultText: "a temporary one"},
		},
		Action: func(c *cli.Context) error {
			return compare(c.Context, c.App.Writer, comparison{
				time: c.Duration("time"), rounds: c.Int("rounds"), to: c.String("to"), binary: c.String("assize"),
				profile: c.String("profile"), dir: c.String("dir"),
			})
		},
	}
}
