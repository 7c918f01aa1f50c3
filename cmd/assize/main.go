// Command assize puts a replicated system on trial: it starts a cluster, drives clients at it, breaks things, records every operation and
// judges the record.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"assize/report"
)

// Exit statuses.
const (
	exitValid   = 0
	exitInvalid = 1
	exitUnknown = 2
	exitUsage   = 64
	exitBroken  = 70
)

func main() {
	ctx, stop := interruptible()
	defer stop()
	os.Exit(assize(ctx, os.Args, os.Stdout, os.Stderr))
}

// interruptible is done at the first Ctrl-C, or when the terminal is closed. At the second this process ends at once. Nodes that are processes end with it; containers go on, healed, until
// clean or the next run removes them.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup has it ignored
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		<-signals
		cancel()
		<-signals
		fmt.Fprintln(os.Stderr, "stopped at once; check judges what was recorded, and clean removes the containers that are left, if it ran in some")
		os.Exit(exitBroken)
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

// status is an error that is none: it only says how the process is to exit.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// wrong is a wrong use of the command line.
type wrong struct{ error }

func usage(format string, args ...any) error { return wrong{fmt.Errorf(format, args...)} }

// assize runs one command line and returns its exit status.
func assize(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := application(stdout, stderr)
	err := misgiven(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	var s status
	var w wrong
	var helpless cli.ExitCoder // only help's: there is nothing by that name
	switch {
	case err == nil:
		return exitValid
	case errors.As(err, &s):
		return int(s)
	case errors.As(err, &w), errors.As(err, &helpless):
		fmt.Fprintf(stderr, "assize: %s\n", oneLine(err))
		return exitUsage
	}
	fmt.Fprintf(stderr, "%s  %v\n", report.Broken, err)
	return exitBroken
}

// misgiven tells of a flag that is given twice, of which the last would win, or whose value is empty, which would be as if it had not been given. What node and agent are given is given by programs.
func misgiven(app *cli.App, args []string) error {
	i := slices.IndexFunc(app.Commands, func(c *cli.Command) bool { return len(args) > 1 && c.Name == args[1] })
	if i < 0 || app.Commands[i].Name == "node" || app.Commands[i].Hidden {
		return nil
	}
	given := map[string]bool{}
	for rest := args[2:]; len(rest) > 0 && strings.HasPrefix(rest[0], "-") && rest[0] != "--"; rest = rest[1:] {
		name, value, whole := strings.Cut(strings.TrimLeft(rest[0], "-"), "=")
		f := slices.IndexFunc(app.Commands[i].Flags, func(f cli.Flag) bool { return f.Names()[0] == name })
		if f < 0 {
			return nil // it is told what is wrong with that
		}
		if _, is := app.Commands[i].Flags[f].(*cli.BoolFlag); !is && !whole {
			if len(rest) == 1 {
				return nil
			}
			rest, value = rest[1:], rest[1]
		} else if is && !whole {
			value = "true"
		}
		if given[name] {
			return usage("--%s is given twice", name)
		}
		if given[name] = true; value == "" {
			return usage("--%s: the value is empty", name)
		}
	}
	return nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func application(stdout, stderr io.Writer) *cli.App {
	commands := []*cli.Command{
		runCommand(), checkCommand(), listCommand(), upCommand(), cleanCommand(), skewCommand(), nodeCommand(), agentCommand(), wardenCommand(),
	}
	misused := func(words ...string) cli.OnUsageErrorFunc {
		return func(_ *cli.Context, err error, _ bool) error {
			return usage("%v; see %s --help", err, strings.Join(append([]string{"assize"}, words...), " "))
		}
	}
	for _, c := range commands {
		c.OnUsageError = misused(c.Name)
		for _, sub := range c.Subcommands {
			sub.OnUsageError = misused(c.Name, sub.Name)
		}
	}
	return &cli.App{
		Name:           "assize",
		Usage:          "put a replicated system on trial",
		Commands:       commands,
		Writer:         stdout,
		ErrWriter:      stderr,
		HideVersion:    true,
		OnUsageError:   misused(),
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowAppHelp(c)
			}
			var names []string
			for _, command := range c.App.Commands {
				if !command.Hidden {
					names = append(names, command.Name)
				}
			}
			return usage("unknown command %q; commands are %s", c.Args().First(), strings.Join(names, ", "))
		},
	}
}

// exit status of a verdict; nil for a valid one.
func exit(verdict string) error {
	switch verdict {
	case report.Valid:
		return nil
	case report.Invalid:
		return status(exitInvalid)
	case report.Broken:
		return status(exitBroken)
	}
	return status(exitUnknown)
}
