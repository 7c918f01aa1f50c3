package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"assize/cluster"
	"assize/cluster/skew"
)

func skewCommand() *cli.Command {
	return &cli.Command{
		Name:  "skew",
		Usage: "falsify the clocks of one running process of this machine, and of no other",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "pid", Usage: "the `process`"},
			&cli.StringFlag{Name: "wall", Usage: "jump of the wall clock, such as +1h or -250ms: a `duration`"},
			&cli.StringFlag{Name: "mono", Usage: "jump of the monotonic clock: a `duration`"},
			&cli.StringFlag{Name: "rate", Usage: "of both clocks: a `number`, 1 is true, 1.01 is 1 % fast, 0.5 is half as fast", DefaultText: "1"},
			&cli.StringFlag{Name: "wall-rate", Usage: "rate of the wall clock alone: a `number`", DefaultText: "1"},
			&cli.StringFlag{Name: "mono-rate", Usage: "rate of the monotonic clock alone: a `number`", DefaultText: "1"},
			&cli.StringFlag{Name: "strobe", Usage: "let the wall clock jump by --wall and back with this period, until Ctrl-C: a `duration`"},
			&cli.BoolFlag{Name: "undo", Usage: "leave the process as it was found"},
		},
		Action: skewProcess,
	}
}

// skewFlags change the clocks; --rate 1 mends them.
var skewFlags = []string{"wall", "mono", "rate", "wall-rate", "mono-rate", "strobe"}

// skewOf what is asked for.
func skewOf(c *cli.Context) (s cluster.Skew, err error) {
	for name, to := range map[string]*time.Duration{"wall": &s.Wall, "mono": &s.Mono, "strobe": &s.Strobe} {
		if !c.IsSet(name) {
			continue
		}
		if *to, err = time.ParseDuration(c.String(name)); err != nil {
			return s, fmt.Errorf("--%s: %q is not a duration, such as +1h, -250ms or 5s", name, c.String(name))
		}
	}
	for name, to := range map[string][]*float64{
		"rate": {&s.WallRate, &s.MonoRate}, "wall-rate": {&s.WallRate}, "mono-rate": {&s.MonoRate},
	} {
		if !c.IsSet(name) {
			continue
		}
		rate, err := strconv.ParseFloat(c.String(name), 64)
		if err != nil || !(rate >= 0.001 && rate <= 1000) {
			return s, fmt.Errorf("--%s: %q is not a number from 0.001 to 1000", name, c.String(name))
		}
		for _, r := range to {
			*r = rate - 1
		}
	}
	switch {
	case c.IsSet("rate") && (c.IsSet("wall-rate") || c.IsSet("mono-rate")):
		return s, errors.New("--rate cannot be combined with --wall-rate or --mono-rate")
	case c.IsSet("strobe") && s.Strobe < time.Millisecond:
		return s, fmt.Errorf("--strobe: %v is not a period of at least 1ms", s.Strobe)
	case c.IsSet("strobe") && s.Wall == 0:
		return s, errors.New("--strobe needs --wall, by how much the clock is to jump")
	}
	return s, nil
}

func skewProcess(c *cli.Context) error {
	if c.Args().Present() {
		return usage("skew takes no arguments, got %q", c.Args().First())
	}
	pid, err := strconv.Atoi(c.String("pid"))
	if err != nil || pid < 1 {
		return usage("--pid: %q is not the number of a process", c.String("pid"))
	}
	s, err := skewOf(c)
	if err != nil {
		return wrong{err}
	}
	var given []string
	for _, name := range skewFlags {
		if c.IsSet(name) {
			given = append(given, name)
		}
	}
	switch undo := c.Bool("undo"); {
	case undo && given != nil:
		return usage("skew: --undo cannot be combined with --%s", given[0])
	case !undo && given == nil:
		return usage("skew needs --undo, or what to do to the clocks, one or more of --%s", strings.Join(skewFlags, ", --"))
	}
	clock, err := skew.Attach(pid)
	if err != nil {
		return err
	}
	defer clock.Close()
	if c.Bool("undo") {
		if err := clock.Undo(); err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "process %d reads its clocks as it did before\n", pid)
		return nil
	}
	if err := clock.Set(s); err != nil {
		return err
	}
	if err := tellClocks(c.App.Writer, pid, clock); err != nil {
		return err
	}
	if s.Strobe == 0 {
		return nil
	}
	fmt.Fprintf(c.App.Writer, "wall jumps by %v and back every %v; Ctrl-C ends that\n", s.Wall, s.Strobe)
	<-c.Context.Done()
	return clock.Close()
}

// tellClocks says what the process's clocks read.
func tellClocks(w io.Writer, pid int, clock *skew.Clock) error {
	r, err := clock.Read()
	if err != nil {
		return err
	}
	const layout = "2006-01-02 15:04:05.000"
	fmt.Fprintf(w, "process %d  wall %s, off by %v, rate %.6g\n", pid, r.Wall.Format(layout), r.Wall.Sub(r.True).Round(time.Microsecond), 1+r.WallRate)
	fmt.Fprintf(w, "%*s  mono %v, off by %v, rate %.6g\n", len("process ")+len(strconv.Itoa(pid)), "", r.Mono, (r.Mono - r.TrueMono).Round(time.Microsecond), 1+r.MonoRate)
	return nil
}
