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
	err := application(stdout, stderr).RunContext(ctx, args)
	var s status
	var w wrong
	switch {
	case err == nil:
		return exitValid
	case errors.As(err, &s):
		return int(s)
	case errors.As(err, &w):
		fmt.Fprintf(stderr, "assize: %s\n", oneLine(err))
		return exitUsage
	}
	fmt.Fprintf(stderr, "%s  %v\n", report.Broken, err)
	return exitBroken
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
