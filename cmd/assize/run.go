package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"assize/harness"
	"assize/report"
	"assize/targets"
	"assize/workloads"
)

const defaultNemeses = "kill,pause,partition"

// planFlags make a plan; with --plan none of them may be given.
func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "target", Value: "raft", Usage: "system under test: " + strings.Join(targets.Names(), ", ")},
		&cli.StringFlag{Name: "cluster", Value: autoKind, Usage: "where it runs: auto (docker where an engine answers, else local), " + strings.Join(kindNames(), ", ")},
		&cli.StringFlag{Name: "nodes", Usage: "`number` of nodes", DefaultText: "5"},
		&cli.StringFlag{Name: "observers", Usage: "`number` of further nodes, without a vote (targets: " + strings.Join(targets.Observed(), ", ") + ")", DefaultText: "0"},
		&cli.StringFlag{Name: "workload", Value: "register", Usage: "what clients do: " + strings.Join(workloadNames(), ", ")},
		&cli.StringFlag{Name: "nemesis", Value: defaultNemeses, Usage: "what breaks, separated by commas: all (that can), none, " + strings.Join(nemesisNames(), ", ") + "; of the default what can"},
		&cli.StringFlag{Name: "time", Value: "20s", Usage: "`duration` of the storm, e.g. 30s, 2m"},
		&cli.StringFlag{Name: "rate", Value: "100", Usage: "`operations` a second, of all clients"},
		&cli.StringFlag{Name: "clients", Value: "10", Usage: "`number` of clients"},
		&cli.StringFlag{Name: "read", Usage: "`mode`: what a linearizable read rests on; see assize list", DefaultText: "the target's first"},
		&cli.StringFlag{Name: "flaw", Usage: "planted `flaw`; see assize list"},
		&cli.BoolFlag{Name: "record", Usage: "every node records its input: see assize node replay"},
		&cli.StringFlag{Name: "seed", Usage: "`number` that everything is drawn from", DefaultText: "random"},
		&cli.StringFlag{Name: "seeds", Usage: "run the simulator on the seeds `A:B`, both included, on all cores"},
		&cli.StringFlag{Name: "strategy", Usage: "how clients choose a node: " + strings.Join(harness.Strategies, ", "), DefaultText: harness.Pinned + ", or where they have sessions " + harness.RoundRobin},
		&cli.BoolFlag{Name: "carry", Usage: "clients carry the newest position they have seen and refuse older answers"},
		&cli.StringFlag{Name: "cut", Usage: "how links between containers are cut: " + strings.Join(harness.Cuts, ", "), DefaultText: harness.CutPackets},
		&cli.StringFlag{Name: "grace", Value: "10s", Usage: "`duration` for which nodes in containers keep their faults when this process has died"},
		&cli.StringFlag{Name: "timeout", Value: "1s", Usage: "`duration` that a client waits for an answer"},
	}
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "start a cluster, drive clients at it, break it, and judge what was recorded",
		Flags: append(planFlags(),
			&cli.StringFlag{Name: "plan", Usage: "repeat the plan in `FILE`"},
			&cli.StringFlag{Name: "out", Usage: "`DIR` for the run's files", DefaultText: "results/<time>-<target>-<cluster>-<seed>"},
			&cli.BoolFlag{Name: "quiet", Usage: "no progress"},
			&cli.BoolFlag{Name: "json", Usage: "print verdict.json instead of the summary"},
			&cli.StringFlag{Name: "expect", Usage: "what a claim says must come out, e.g. `R1=violated` (of many seeds: by one at least) or R2=holds (by each); see assize list"},
		),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("run takes no arguments, got %q", c.Args().First())
			}
			expect, err := parseExpectation(c.String("expect"))
			if err != nil {
				return err
			}
			j := job{out: c.String("out"), quiet: c.Bool("quiet"), json: c.Bool("json"), expect: expect, stdout: c.App.Writer, stderr: c.App.ErrWriter}
			if c.IsSet("seeds") {
				return runSeeds(c, j)
			}
			if j.plan, err = planOf(c, expect); err != nil {
				return err
			}
			return j.run(c.Context)
		},
	}
}

func workloadNames() (names []string) {
	for _, w := range workloads.Table {
		names = append(names, w.Name)
	}
	return names
}

// planOf reads the plan from --plan or makes it from the flags. Weather and faults are not drawn yet.
func planOf(c *cli.Context, e report.Expectation) (harness.Plan, error) {
	if c.IsSet("plan") {
		for _, f := range planFlags() {
			if name := f.Names()[0]; c.IsSet(name) {
				return harness.Plan{}, usage("--%s cannot be combined with --plan, which says it all; edit the plan instead", name)
			}
		}
		p, err := readPlan(c.String("plan"))
		if err != nil {
			return p, err
		}
		if err := foresee(p); err != nil {
			b, _ := os.ReadFile(c.String("plan"))
			return p, wrong{harness.Locate(c.String("plan"), b, err)}
		}
		return p, speaksTo(p, e)
	}
	if !c.IsSet("seed") {
		return planFromFlags(c, e, uint64(rand.Uint32()))
	}
	seed, err := strconv.ParseUint(c.String("seed"), 10, 64)
	if err != nil {
		return harness.Plan{}, usage("--seed: %q is not a whole number from 0 to 18446744073709551615", c.String("seed"))
	}
	return planFromFlags(c, e, seed)
}

func readPlan(name string) (harness.Plan, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return harness.Plan{}, usage("--plan: %v", err)
	}
	p, err := harness.ParsePlan(name, b)
	if err != nil {
		return p, wrong{err}
	}
	fill(&p)
	if err := validate(p); err != nil {
		return p, wrong{harness.Locate(name, b, err)}
	}
	return p, nil
}

// flagged is what is wrong with a field of a plan as the wrong use of a flag.
func flagged(err error) error {
	var field *harness.FieldError
	if errors.As(err, &field) {
		return usage("--%s: %s", field.Field, field.Reason)
	}
	return err
}

func planFromFlags(c *cli.Context, e report.Expectation, seed uint64) (harness.Plan, error) {
	p := harness.Plan{
		Target: c.String("target"), Cluster: c.String("cluster"), Workload: c.String("workload"), Strategy: c.String("strategy"),
		Carry: c.Bool("carry"), Read: c.String("read"), Flaw: c.String("flaw"), Record: c.Bool("record"), Cut: c.String("cut"),
		Seed: seed,
	}
	p.Nemesis = strings.Split(strings.ReplaceAll(c.String("nemesis"), " ", ""), ",")
	if c.String("nemesis") == "" {
		p.Nemesis = []string{noNemeses}
	}
	err := errors.Join(number(c, "nodes", &p.Nodes), count(c, "observers", &p.Observers), number(c, "clients", &p.Clients), duration(c, "time", &p.Time),
		duration(c, "timeout", &p.Timeout), duration(c, "grace", &p.Grace), float(c, "rate", &p.Rate))
	if err != nil {
		return p, wrong{err}
	}
	auto := p.Cluster == autoKind
	switch known := append([]string{autoKind}, kindNames()...); {
	case auto && c.IsSet("seeds"):
		p.Cluster, auto = simKind, false
	case auto:
		p.Cluster = localKind // until all else is known to be right
	case !slices.Contains(known, p.Cluster):
		return p, usage("--cluster: unknown value %q; allowed are %s", p.Cluster, strings.Join(known, ", "))
	}
	fill(&p)
	if err := validate(p); err != nil {
		return p, flagged(err)
	}
	if err := speaksTo(p, e); err != nil {
		return p, err
	}
	anywhere := p
	anywhere.Cluster = simKind
	if !c.IsSet("nemesis") { // nobody has asked for what a single node cannot have
		p.Nemesis = slices.DeleteFunc(p.Nemesis, func(name string) bool { anywhere.Nemesis = []string{name}; return foresee(anywhere) != nil })
		anywhere.Nemesis = p.Nemesis
	}
	if auto {
		if err := foresee(anywhere); err != nil {
			return p, flagged(err)
		}
		p.Cluster = choose(c.Context, teller(c.App.ErrWriter, c.Bool("quiet")))
	}
	return p, flagged(foresee(p))
}

// fill puts the target's defaults, and then the harness's, where the plan has none.
func fill(p *harness.Plan) {
	if slices.Equal(p.Nemesis, []string{noNemeses}) {
		p.Nemesis = []string{}
	}
	if t, known := targets.Find(p.Target); known || p.Target == "" {
		if p.Target == "" {
			t = targets.Table[0]
		}
		if p.Election == 0 {
			p.Election = t.Defaults.Election
		}
		if p.Heartbeat == 0 {
			p.Heartbeat = t.Defaults.Heartbeat
		}
		if p.Read == "" {
			p.Read = t.Modes[0]
		}
	}
	p.Fill()
}

func validate(p harness.Plan) error {
	t, _ := targets.Find(p.Target)
	nemeses := nemesisNames()
	if len(p.Nemesis) == 1 {
		nemeses = append([]string{allNemeses, noNemeses}, nemeses...)
	}
	err := p.Validate(harness.Allowed{
		Targets: targets.Names(), Observed: targets.Observed(), Clusters: kindNames(), Nemeses: nemeses, Modes: t.Modes, Flaws: t.FlawNames(),
		Workloads: t.Workloads,
	})
	var field *harness.FieldError
	if errors.As(err, &field) {
		field.Reason += elsewhere(p, field.Field)
	}
	if err == nil && p.Record && p.Cluster == simKind {
		err = &harness.FieldError{Field: "record", Reason: "only nodes that are processes record; in the simulator the seed repeats all of a run"}
	}
	return err
}

// elsewhere names the target that allows what the plan's own does not.
func elsewhere(p harness.Plan, field string) string {
	for _, t := range targets.Table {
		has := map[string]bool{
			"workload": slices.Contains(t.Workloads, p.Workload), "read": slices.Contains(t.Modes, p.Read), "flaw": slices.Contains(t.FlawNames(), p.Flaw),
		}
		if has[field] {
			return fmt.Sprintf("; the target %s allows it", t.Name)
		}
	}
	return ""
}

func number(c *cli.Context, name string, into *int) error {
	s := c.String(name)
	if s == "" {
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n == 0 {
		return fmt.Errorf("--%s: %q is not a whole number from 1 on", name, s)
	}
	*into = n
	return nil
}

// count is a number that may be 0.
func count(c *cli.Context, name string, into *int) error {
	if c.String(name) == "0" {
		return nil
	}
	return number(c, name, into)
}

func float(c *cli.Context, name string, into *float64) error {
	x, err := strconv.ParseFloat(c.String(name), 64)
	if err != nil || x == 0 {
		return fmt.Errorf("--%s: %q is not a number above 0", name, c.String(name))
	}
	*into = x
	return nil
}

func duration(c *cli.Context, name string, into *time.Duration) error {
	d, err := time.ParseDuration(c.String(name))
	if err != nil || d == 0 {
		return fmt.Errorf("--%s: %q is not a duration above 0, such as 500ms, 30s or 2m", name, c.String(name))
	}
	*into = d
	return nil
}

func parseExpectation(s string) (report.Expectation, error) {
	if s == "" {
		return report.Expectation{}, nil
	}
	claim, what, _ := strings.Cut(s, "=")
	if claim == "" || what != "holds" && what != "violated" {
		return report.Expectation{}, usage("--expect: %q is not a claim and what it expects, such as R1=violated or R2=holds", s)
	}
	if _, known := report.FindClaim(claim); !known {
		return report.Expectation{}, usage("--expect: unknown claim %q; those that a run can decide are %s", claim, report.ClaimIDs())
	}
	return report.Expectation{Claim: claim, Violated: what == "violated"}, nil
}

// speaksTo tells why a run of the plan cannot come out as expected: nobody judges what the claim is about.
func speaksTo(p harness.Plan, e report.Expectation) error {
	claim, known := report.FindClaim(e.Claim)
	if !known || slices.Contains(judgements(p), claim.Judgement) {
		return nil
	}
	return usage("--expect: claim %s is about the judgement %s, which this run is not put to; its judgements are %s",
		e.Claim, claim.Judgement, strings.Join(judgements(p), ", "))
}

// runDir is where a run's files go: out, which must not hold a run already, or a new directory below results.
func runDir(out string, p harness.Plan) (string, error) {
	if out == "" {
		stamp := time.Now().UTC().Format("20060102T150405Z")
		out = vacant(filepath.Join("results", fmt.Sprintf("%s-%s-%s-%d", stamp, p.Target, p.Cluster, p.Seed)))
	}
	if holdsRun(out) {
		return "", usage("--out: %s already holds a run", out)
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return "", usage("--out: %v", err)
	}
	return out, nil
}

// vacant is dir, or dir with the first number behind it that makes it one that holds no run.
func vacant(dir string) string {
	free := dir
	for n := 2; holdsRun(free); n++ {
		free = fmt.Sprintf("%s.%d", dir, n)
	}
	return free
}

func holdsRun(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, report.HistoryFile))
	return err == nil
}

// schedule draws what the plan leaves open, once it is known which nemeses there are.
func schedule(p *harness.Plan, names []string) {
	p.Nemesis = names
	harness.Schedule(p)
}

// withWeather is the plan with its weather, which the cluster is made of, and without faults drawn.
func withWeather(p harness.Plan) harness.Plan {
	drawn := p
	drawn.Nemesis, drawn.Faults = nil, nil
	harness.Schedule(&drawn)
	p.Weather = drawn.Weather
	return p
}

// samplesOf reads status.jsonl. A torn last line is what a killed controller leaves behind.
func samplesOf(dir string) (samples []harness.Sample) {
	b, err := os.ReadFile(filepath.Join(dir, report.StatusFile))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		var s harness.Sample
		if json.Unmarshal([]byte(line), &s) == nil {
			samples = append(samples, s)
		}
	}
	return samples
}

// interrupted tells whether Ctrl-C has ended ctx.
func interrupted(ctx context.Context) bool { return ctx.Err() != nil }
