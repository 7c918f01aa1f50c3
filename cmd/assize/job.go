package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"assize/checkers"
	"assize/cluster"
	"assize/harness"
	"assize/history"
	"assize/nemesis"
	"assize/report"
	"assize/targets"
	"assize/workloads"
)

// job is one run to be done, and how to tell of it.
type job struct {
	plan           harness.Plan
	out            string
	quiet, json    bool
	expect         report.Expectation
	stdout, stderr io.Writer
}

// run does the whole job: cluster, storm, verdict.
func (j job) run(ctx context.Context) (err error) {
	defer context.AfterFunc(ctx, func() {
		fmt.Fprintln(j.stderr, "\nmending, then judging what was recorded; again to stop at once")
	})()
	t, _ := targets.Find(j.plan.Target)
	dir, err := runDir(j.out, j.plan)
	if err != nil {
		return err
	}
	p := withWeather(j.plan)
	c, host, err := open(ctx, t, p, dir, teller(j.stderr, j.quiet))
	if err != nil {
		return fmt.Errorf("start the cluster: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }() // what is left behind is to be known, whatever else went wrong
	nemeses, err := scheduled(&p, c)
	if err != nil {
		os.Remove(dir) // only if it is empty
		return err
	}
	if err := report.Begin(dir, p, report.Environment(powers(c))); err != nil {
		return err
	}
	ops, broken := j.record(ctx, dir, p, c, host, nemeses)
	if err := c.Close(); err != nil {
		broken = errors.Join(broken, fmt.Errorf("stop the cluster: %w", err))
	}
	v, err := judge(p, ops, samplesOf(dir), j.expect, broken)
	if err != nil {
		return fmt.Errorf("%w; what was recorded is in %s", errors.Join(broken, err), dir)
	}
	return j.conclude(dir, v)
}

// scheduled completes the plan for this cluster.
func scheduled(p *harness.Plan, c cluster.Cluster) ([]nemesis.Nemesis, error) {
	nemeses, err := nemesesFor(c, p.Nemesis)
	if err != nil {
		return nil, flagged(err)
	}
	names := []string{}
	for _, n := range nemeses {
		names = append(names, n.Name)
	}
	schedule(p, names)
	return nemeses, nil
}

// record runs the harness and keeps what happens in the directory. In the simulator, which nobody needs to kill, lines are written in
// bulk; elsewhere each at once.
func (j job) record(ctx context.Context, dir string, p harness.Plan, c cluster.Cluster, host func(func()) error, nemeses []nemesis.Nemesis) ([]history.Op, error) {
	file, err := os.Create(filepath.Join(dir, report.HistoryFile))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	states, err := os.Create(filepath.Join(dir, report.StatusFile))
	if err != nil {
		return nil, err
	}
	defer states.Close()
	var w io.Writer = file
	bulk := bufio.NewWriterSize(file, 1<<16)
	if p.Cluster == simKind {
		w = bulk
	}
	recorder := history.NewRecorder(w, c.Now)
	shown := newProgress(j.stderr, j.quiet, p)
	lines := bufio.NewWriter(states)
	s := setup(p, c, nemeses, recorder)
	s.Progress = func(h harness.Progress) {
		lines.Flush()
		shown.update(h)
	}
	encoder := json.NewEncoder(lines)
	s.Observe = func(s harness.Sample) { encoder.Encode(s) }
	err = conduct(ctx, s, host)
	shown.end()
	for _, flush := range []func() error{bulk.Flush, lines.Flush} {
		if e := flush(); err == nil {
			err = e
		}
	}
	return recorder.Ops(), err
}

func setup(p harness.Plan, c cluster.Cluster, nemeses []nemesis.Nemesis, r *history.Recorder) harness.Setup {
	w, _ := workloads.Find(p.Workload)
	t, _ := targets.Find(p.Target)
	return harness.Setup{Plan: p, Cluster: c, Workload: w, Nemeses: nemeses, Synced: slices.Contains(t.Synced, p.Read), Recorder: r}
}

// conduct runs the harness in the cluster's world.
func conduct(ctx context.Context, s harness.Setup, host func(func()) error) error {
	var err error
	if e := host(func() { err = harness.Run(ctx, s) }); e != nil {
		return e
	}
	return err
}

// judge puts the history to the checkers of the workload and of the target. broken is how the test itself failed, which says nothing against what it has recorded.
func judge(p harness.Plan, ops []history.Op, samples []harness.Sample, expect report.Expectation, broken error) (report.Verdict, error) {
	w, _ := workloads.Find(p.Workload)
	t, _ := targets.Find(p.Target)
	var list []checkers.Checker
	for _, name := range judgements(p) {
		k, known := checkers.Find(name)
		if !known {
			return report.Verdict{}, fmt.Errorf("workload %s on target %s wants a checker %q, which there is not", w.Name, t.Name, name)
		}
		list = append(list, k)
	}
	c := report.Case{Plan: p, Ops: ops, Samples: samples, Checkers: list, Kinds: w.Kinds, Expect: expect}
	if broken != nil {
		c.Broken = broken.Error()
	}
	return report.Judge(c)
}

// judgements are the names of the checkers that a run of the plan is put to.
func judgements(p harness.Plan) []string {
	w, _ := workloads.Find(p.Workload)
	t, _ := targets.Find(p.Target)
	if p.Strategy == harness.Pinned || p.Carry { // else a client is another session at each server, and nobody promises it anything of them all
		return slices.Concat(w.Checkers, t.Checkers[w.Name])
	}
	return w.Checkers
}

// conclude saves the verdict and prints it.
func (j job) conclude(dir string, v report.Verdict) error {
	if err := report.Save(dir, v); err != nil {
		return fmt.Errorf("save the verdict: %w", err)
	}
	if !j.json {
		fmt.Fprint(j.stdout, report.Text(v, dir))
		return exit(v.Verdict)
	}
	b, err := report.JSON(v)
	if err != nil {
		return err
	}
	j.stdout.Write(b)
	return exit(v.Verdict)
}
