package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"assize/daemon"
	"assize/machine"
	"assize/targets"
)

func replayCommand() *cli.Command {
	return &cli.Command{
		Name:      "replay",
		Usage:     "run the machine over what nodes have recorded, and compare all that it does",
		ArgsUsage: "FILE or DIR ...",
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usage("%v; see assize node replay --help", err)
		},
		Action: func(c *cli.Context) error {
			names, err := recordings(c.Args().Slice())
			if err != nil {
				return err
			}
			return replayAll(c, names)
		},
	}
}

// recordings are the named files, and those below the named directories, by number where they differ in nothing else.
func recordings(args []string) (names []string, err error) {
	if len(args) == 0 {
		return nil, usage("node replay needs recordings, or directories of them such as a run's")
	}
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, usage("%v", err)
		}
		if !info.IsDir() {
			names = append(names, arg)
			continue
		}
		var found []string
		err = filepath.WalkDir(arg, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.HasSuffix(path, daemon.RecordSuffix) {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, usage("below %s there is no *%s; nodes record with --record", arg, daemon.RecordSuffix)
		}
		slices.SortStableFunc(found, func(a, b string) int {
			if c := strings.Compare(filepath.Dir(a), filepath.Dir(b)); c != 0 {
				return c
			}
			return lifeOf(a) - lifeOf(b)
		})
		names = append(names, found...)
	}
	return names, nil
}

// lifeOf is the number in a recording's name.
func lifeOf(path string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), daemon.RecordSuffix))
	return n
}

// replayAll prints what comes of each. The worst decides the exit status: a difference, then damage, then what is no recording. A life that was
// over before anything came of it has nothing to compare; alone it proves nothing.
func replayAll(c *cli.Context, names []string) error {
	own := daemon.ThisBuild()
	var equal, differ, damaged, bare int
	var foreign error
	for _, name := range names {
		fmt.Fprintln(c.App.Writer, name)
		replay, err := replayFile(c.App.Writer, name, own)
		switch {
		case errors.Is(err, daemon.ErrNoRecording):
			fmt.Fprintf(c.App.Writer, "  %v\n", err)
			foreign = wrong{fmt.Errorf("%s: %w", name, err)}
		case err != nil:
			fmt.Fprintf(c.App.Writer, "  DAMAGED  %v\n", err)
			damaged++
		case replay.Difference != nil:
			differ++
		case replay.Compared == 0:
			bare++
		default:
			equal++
		}
	}
	if len(names) > 1 {
		fmt.Fprintf(c.App.Writer, "%d recordings: %d replay, %d differ, %d damaged\n", len(names), equal, differ, damaged)
	}
	switch {
	case differ > 0:
		return status(exitInvalid)
	case damaged > 0, bare > 0 && equal == 0:
		return status(exitUnknown)
	}
	return foreign
}

func replayFile(w io.Writer, name string, own daemon.Build) (replay daemon.Replay, err error) {
	f, err := os.Open(name)
	if err != nil {
		return replay, err
	}
	defer f.Close()
	r, err := daemon.OpenRecording(f)
	if err != nil {
		return replay, err
	}
	fmt.Fprintf(w, "  n%d, life %d, %s, recorded by %s\n", r.Config.ID, r.Life, r.Target, r.Build)
	if r.Build != own {
		fmt.Fprintf(w, "  this is another build, %s: compared all the same\n", own)
	}
	t, known := targets.Find(r.Target)
	if !known {
		return replay, fmt.Errorf("there is no target %q here; targets are %s", r.Target, strings.Join(targets.Names(), ", "))
	}
	replay, err = r.Replay(t.New)
	tell(w, replay, err == nil)
	return replay, err
}

// tell prints what was replayed; whole: to the recording's end.
func tell(w io.Writer, r daemon.Replay, whole bool) {
	e := r.Events
	fmt.Fprintf(w, "  %d batches of %d events: %d ticks, %d messages, %d requests, %d ends of connections\n",
		r.Batches, e.Total(), e.Ticks, e.Messages, e.Requests, e.Gone)
	if r.Batches > 0 {
		fmt.Fprintf(w, "  from %s on, for %.3f s by the node's monotonic clock\n", r.From.Wall.UTC().Format(time.RFC3339Nano), (r.To.Mono - r.From.Mono).Seconds())
	}
	if d := r.Difference; d != nil {
		tellDifference(w, d)
		return
	}
	if !whole {
		fmt.Fprintf(w, "  up to there: %d effects, hash equal\n", r.Effects)
		return
	}
	if r.Compared == 0 {
		fmt.Fprintln(w, "  ends before anything came of it, as after a kill: nothing was compared")
		return
	}
	switch r.End {
	case daemon.Between:
		fmt.Fprintf(w, "  ends behind batch %d, as after a kill\n", r.Batches)
	case daemon.Within:
		fmt.Fprintf(w, "  ends within batch %d, as after a kill\n", r.Batches)
	}
	s := r.Status
	fmt.Fprintf(w, "  %s in term %d, commit %d, applied %d\n", s.Role, s.Term, s.Commit, s.Applied)
	fmt.Fprintf(w, "  replays: %d effects, hash equal\n", r.Effects)
}

// mostTold events of a batch are printed.
const mostTold = 20

func tellDifference(w io.Writer, d *daemon.Difference) {
	what := fmt.Sprintf("batch %d, at offset %d, after %v", d.Batch, d.At, d.Reading.Mono)
	if d.Batch == 0 {
		what = "the machine as it is made of its log"
	}
	switch {
	case d.Panic != "" && d.Recorded == nil:
		fmt.Fprintf(w, "  PANICS  %s, with which the recording ends: %s\n", what, d.Panic)
	case d.Panic != "":
		fmt.Fprintf(w, "  DIFFERS  %s, panics here: %s\n", what, d.Panic)
		outcome(w, "recorded", d.Recorded)
	default:
		fmt.Fprintf(w, "  DIFFERS  %s\n", what)
		outcome(w, "recorded", d.Recorded)
		outcome(w, "replayed", &d.Replayed)
	}
	for i := range d.Events[:min(len(d.Events), mostTold)] {
		fmt.Fprintf(w, "    %s\n", inWords(&d.Events[i]))
	}
	if more := len(d.Events) - mostTold; more > 0 {
		fmt.Fprintf(w, "    and %d events more\n", more)
	}
}

func outcome(w io.Writer, who string, o *daemon.Outcome) {
	t, s := o.Tally, o.Status
	fmt.Fprintf(w, "    %s: hash %x: %d logged, %d snapshots, %d sent, %d replied, %d applied; %s in term %d, leader %d, last %d, commit %d, applied %d, state %x\n",
		who, o.Hash, t.Logged, t.Snapshots, t.Sent, t.Replied, t.Applied, s.Role, s.Term, s.Leader, s.Last, s.Commit, s.Applied, s.Hash)
}

func inWords(e *machine.Event) string {
	switch {
	case e.Message != nil:
		return fmt.Sprintf("message from n%d, %s", e.Message.From, body(e.Message.Body))
	case e.Request != nil:
		return fmt.Sprintf("request %d of connection %x, %s", e.Request.Seq, e.Request.Conn, body(e.Request.Body))
	case e.Gone != 0:
		return fmt.Sprintf("connection %x has ended", e.Gone)
	}
	return "tick"
}

func body(b []byte) string {
	const most = 32
	more := ""
	if len(b) > most {
		more = ".."
	}
	return fmt.Sprintf("%d bytes: %x%s", len(b), b[:min(len(b), most)], more)
}
