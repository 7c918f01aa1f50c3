// Command load drives an etcd v3 or a ZooKeeper server with writes and reads over a number of connections and says how many a second it has answered. It
// compares three local nodes of ours with three of the etcd or ZooKeeper that is installed, on the same machine in the same run.
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
		Name: "load", Usage: "count the requests a second that a server answers", HideVersion: true,
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
			&cli.StringFlag{Name: "protocol", Value: etcd.name, Usage: list(protocols, nameOfProtocol)},
			&cli.StringFlag{Name: "operation", Usage: "of " + list(protocols, func(p protocol) string { return p.name + ": " + strings.Join(p.operations, ", ") }), DefaultText: "a write"},
			&cli.IntFlag{Name: "connections", Value: 1},
			&cli.DurationFlag{Name: "time", Value: 5 * time.Second},
			&cli.StringFlag{Name: "to", Value: toLeader, Usage: toLeader + ", or " + toAll + " endpoints in turn"},
		},
		Action: func(c *cli.Context) error {
			p, err := find("protocol", protocols, nameOfProtocol, c.String("protocol"))
			if err != nil {
				return err
			}
			l := load{
				protocol: p, endpoints: strings.Split(c.String("endpoints"), ","), operation: c.String("operation"), connections: c.Int("connections"),
				time: c.Duration("time"), to: c.String("to"),
			}
			if l.operation == "" {
				l.operation = p.operations[0]
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
		Usage: "measure several systems in turn",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "with", Value: list(contests, nameOfContest), Usage: "`contests`, one after the other"},
			&cli.DurationFlag{Name: "time", Value: 3 * time.Second, Usage: "of each measurement"},
			&cli.IntFlag{Name: "rounds", Value: 3, Usage: "measurements of each kind; the median counts"},
			&cli.StringFlag{Name: "to", Value: toLeader, Usage: toLeader + ", or " + toAll + " endpoints in turn"},
			&cli.StringFlag{Name: "assize", Usage: "`binary` to measure", DefaultText: "built from this tree"},
			&cli.StringFlag{Name: "profile", Usage: "write CPU profiles of our nodes into this `directory`"},
			&cli.StringFlag{Name: "dir", Usage: "`directory` for the nodes' data", DefaultText: "a temporary one"},
		},
		Action: func(c *cli.Context) error {
			var chosen []contest
			for _, name := range strings.Split(c.String("with"), ",") {
				k, err := find("contest", contests, nameOfContest, name)
				if err != nil {
					return err
				}
				chosen = append(chosen, k)
			}
			return compare(c.Context, c.App.Writer, comparison{
				contests: chosen, time: c.Duration("time"), rounds: c.Int("rounds"), to: c.String("to"), binary: c.String("assize"),
				profile: c.String("profile"), dir: c.String("dir"),
			})
		},
	}
}

func nameOfProtocol(p protocol) string { return p.name }

func nameOfContest(k contest) string { return k.name }

// list of names, in words.
func list[T any](all []T, name func(T) string) string {
	var names []string
	for _, one := range all {
		names = append(names, name(one))
	}
	return strings.Join(names, ",")
}

func find[T any](kind string, all []T, name func(T) string, wanted string) (T, error) {
	for _, one := range all {
		if name(one) == wanted {
			return one, nil
		}
	}
	var none T
	return none, fmt.Errorf("%s %q is not known; there are %s", kind, wanted, list(all, name))
}
