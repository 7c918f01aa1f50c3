package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"assize/harness"
	"assize/history"
	"assize/report"
	"assize/targets"
)

// mostKept directories are written: a planted flaw would fill the disk otherwise.
const mostKept = 50

// sweepGC is the collector's percentage while many seeds run: a run's live heap is a few megabytes, and at the default the collector would
// begin anew every few milliseconds.
const sweepGC = 400

// summary of many seeds.
type summary struct {
	Seeds      int           `json:"seeds"`
	Operations int           `json:"operations"`
	Virtual    time.Duration `json:"virtual"`
	Real       time.Duration `json:"real"`
	Alarms     int           `json:"alarms"`
	Unknown    int           `json:"unknown"` // or inconclusive
	Broken     int           `json:"broken"`
	Kept       []string      `json:"kept,omitempty"` // directories
	// What a claim says must come out: violated by one seed at least, or holding on each.
	Expect     *report.Expectation `json:"expect,omitempty"`
	Met        int                 `json:"met,omitempty"` // seeds that came out so
	AsExpected bool                `json:"asExpected,omitempty"`
}

// sweep is a run over many seeds.
type sweep struct {
	job
	first, last uint64
	mu          sync.Mutex
	next        uint64
	over        bool // last may be the greatest number there is
	sum         summary
	began       time.Time
	told        time.Time
	terminal    bool
}

func parseSeeds(s string) (first, last uint64, err error) {
	a, b, both := strings.Cut(s, ":")
	first, errA := strconv.ParseUint(a, 10, 64)
	last, errB := strconv.ParseUint(b, 10, 64)
	if !both || errA != nil || errB != nil || first > last {
		return 0, 0, usage("--seeds: %q is not A:B with two whole numbers from 0 on, the first not above the second, such as 1:1000", s)
	}
	return first, last, nil
}

func runSeeds(c *cli.Context, j job) error {
	first, last, err := parseSeeds(c.String("seeds"))
	if err != nil {
		return err
	}
	if c.IsSet("seed") || c.IsSet("plan") {
		return usage("--seeds cannot be combined with --seed or --plan")
	}
	if j.plan, err = planFromFlags(c, j.expect, first); err != nil {
		return err
	}
	if j.plan.Cluster != simKind {
		return usage("--seeds runs in the simulator only; --cluster must be auto or %s, not %q", simKind, j.plan.Cluster)
	}
	if _, err := os.Stat(j.out); j.out != "" && err != nil { // it is needed only where a seed is kept, and to be known before
		if err := os.MkdirAll(j.out, 0o777); err != nil {
			return usage("--out: %v", err)
		}
		os.Remove(j.out)
	}
	s := &sweep{job: j, first: first, last: last, next: first, began: time.Now(), told: time.Now(), terminal: terminal(j.stderr)}
	defer debug.SetGCPercent(debug.SetGCPercent(sweepGC))
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() { s.work(c.Context) })
	}
	all.Wait()
	return s.conclude(interrupted(c.Context))
}

// work takes one seed after the other.
func (s *sweep) work(ctx context.Context) {
	for !interrupted(ctx) {
		s.mu.Lock()
		seed, over := s.next, s.over
		s.next++
		s.over = over || seed == s.last
		s.mu.Unlock()
		if over {
			return
		}
		p := s.plan
		p.Seed = seed
		v, ops, err := s.try(&p)
		s.take(p, v, ops, err)
	}
}

// try one seed, all of it in memory. The error is the test's own failure; the verdict on what was recorded until then has a word, if it came to one. A panic is the test's own fault, and one seed's: the others go on.
func (s *sweep) try(p *harness.Plan) (v report.Verdict, ops []history.Op, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	t, _ := targets.Find(p.Target)
	*p = withWeather(*p)
	c, host, err := open(context.Background(), t, *p, "", nil)
	if err != nil {
		return v, nil, err
	}
	nemeses, err := scheduled(p, c)
	if err != nil {
		return v, nil, err
	}
	recorder := history.NewRecorder(nil, c.Now)
	broken := errors.Join(conduct(context.Background(), setup(*p, c, nemeses, recorder), host), c.Close())
	ops = recorder.Ops()
	v, err = judge(*p, ops, nil, s.expect, broken)
	return v, ops, errors.Join(broken, err)
}

// take up the outcome of a seed: count it, and keep and tell of it if it is not valid.
func (s *sweep) take(p harness.Plan, v report.Verdict, ops []history.Op, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Seeds++
	s.sum.Operations += v.Counts.Operations
	s.sum.Virtual += v.Counts.Time
	if err == nil && v.AsExpected {
		s.sum.Met++
	}
	switch {
	case err != nil:
		s.sum.Broken++
	case v.Verdict == report.Invalid:
		s.sum.Alarms++
	case v.Verdict != report.Valid:
		s.sum.Unknown++
	}
	if err != nil || v.Verdict != report.Valid {
		dir, kept := s.keep(p, v, ops)
		switch {
		case err == nil:
			s.say(fmt.Sprintf("%s  seed %d: %s%s", v.Verdict, p.Seed, v.Headline, dir))
		case v.Recorded != "":
			s.say(fmt.Sprintf("%s  seed %d: %v; what was recorded is %s: %s%s", report.Broken, p.Seed, err, v.Recorded, v.Headline, dir))
		default:
			s.say(fmt.Sprintf("%s  seed %d: %v%s", report.Broken, p.Seed, err, dir))
		}
		if kept != nil {
			s.say(fmt.Sprintf("%s  seed %d could not be saved: %v", report.Broken, p.Seed, kept))
			s.sum.Broken++
		}
	}
	s.progress()
}

// keep writes the directory of a seed.
func (s *sweep) keep(p harness.Plan, v report.Verdict, ops []history.Op) (where string, err error) {
	if len(s.sum.Kept) == mostKept {
		return "", nil
	}
	out := ""
	if s.out != "" {
		out = vacant(filepath.Join(s.out, fmt.Sprintf("seed-%d", p.Seed)))
	}
	dir, err := runDir(out, p)
	if err != nil {
		return "", err
	}
	if err := report.Begin(dir, p, report.Environment(nil, nil, nil)); err != nil {
		return "", err
	}
	var b []byte
	for _, op := range ops {
		b = append(op.Append(b), '\n')
	}
	if err := os.WriteFile(filepath.Join(dir, report.HistoryFile), b, 0o666); err != nil {
		return "", err
	}
	s.sum.Kept = append(s.sum.Kept, dir)
	if v.Verdict == "" { // nobody came to one
		return "  " + dir, nil
	}
	return "  " + dir, report.Save(dir, v)
}

// say prints a line of its own.
func (s *sweep) say(line string) {
	if s.terminal && !s.quiet {
		fmt.Fprint(s.stderr, "\r\x1b[K")
	}
	if s.json {
		fmt.Fprintln(s.stderr, line)
		return
	}
	fmt.Fprintln(s.stdout, line)
}

func (s *sweep) progress() {
	every := 10 * time.Second
	if s.terminal {
		every = 100 * time.Millisecond
	}
	if s.quiet || time.Since(s.told) < every {
		return
	}
	s.told = time.Now()
	line := fmt.Sprintf("%d/%d seeds  %.0f s  alarms %d unknown %d broken %d", s.sum.Seeds, s.last-s.first+1, time.Since(s.began).Seconds(), s.sum.Alarms, s.sum.Unknown, s.sum.Broken)
	if s.terminal {
		fmt.Fprintf(s.stderr, "\r\x1b[?7l%s\x1b[K\x1b[?7h", line)
		return
	}
	fmt.Fprintln(s.stderr, line)
}

// conclude prints the summary. The worst seed decides.
func (s *sweep) conclude(interrupted bool) error {
	if s.terminal && !s.quiet {
		fmt.Fprint(s.stderr, "\r\x1b[K")
	}
	s.sum.Real = time.Since(s.began)
	if s.expect != (report.Expectation{}) {
		s.sum.Expect = &s.expect
		s.sum.AsExpected = s.sum.Met > 0 && (s.expect.Violated || s.sum.Met == s.sum.Seeds)
	}
	word, err := report.Valid, error(nil)
	switch {
	case s.sum.Broken > 0:
		word, err = report.Broken, status(exitBroken)
	case s.sum.Alarms > 0:
		word, err = report.Invalid, status(exitInvalid)
	case s.sum.Unknown > 0 || s.sum.Seeds == 0:
		word, err = report.Unknown, status(exitUnknown)
	}
	if s.json {
		b, e := json.MarshalIndent(s.sum, "", "  ")
		if e != nil {
			return e
		}
		fmt.Fprintf(s.stdout, "%s\n", b)
		return err
	}
	stopped := ""
	if interrupted {
		stopped = ", interrupted"
	}
	fmt.Fprintf(s.stdout, "%s  %s, %s, %s: %d seeds%s, %d operations, %.0f virtual s in %.1f s, %d alarms, %d unknown, %d broken\n",
		word, s.plan.Target, s.plan.Cluster, s.plan.Workload, s.sum.Seeds, stopped, s.sum.Operations, s.sum.Virtual.Seconds(), s.sum.Real.Seconds(),
		s.sum.Alarms, s.sum.Unknown, s.sum.Broken)
	if s.sum.Expect != nil {
		not, what := "not as", "holds"
		if s.sum.AsExpected {
			not = "as"
		}
		if s.expect.Violated {
			what = "violated"
		}
		fmt.Fprintf(s.stdout, "  %s claim %s expects: %s on %d of %d seeds\n", not, s.expect.Claim, what, s.sum.Met, s.sum.Seeds)
	}
	return err
}
