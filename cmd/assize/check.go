package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"assize/history"
	"assize/report"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "judge a recorded run again: everything that comes after the history",
		ArgsUsage: "DIR",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print verdict.json instead of the summary"},
			&cli.StringFlag{Name: "expect", Usage: "what a claim says must come out, e.g. `R1=violated` or R2=holds; see assize list", DefaultText: "as the run was told"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usage("check takes one argument, the run's directory; got %d", c.NArg())
			}
			expect, err := parseExpectation(c.String("expect"))
			if err != nil {
				return err
			}
			j := job{json: c.Bool("json"), expect: expect, stdout: c.App.Writer, stderr: c.App.ErrWriter}
			return j.check(c.Args().First())
		},
	}
}

func (j job) check(dir string) error {
	for _, name := range []string{report.PlanFile, report.HistoryFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return usage("%s is not the directory of a run: %v", dir, err)
		}
	}
	p, err := readPlan(filepath.Join(dir, report.PlanFile))
	if err != nil {
		return err
	}
	ops, err := history.ReadFile(filepath.Join(dir, report.HistoryFile))
	if err != nil {
		return err
	}
	expect, broken := before(dir)
	if j.expect == (report.Expectation{}) {
		j.expect = expect
	} else if err := speaksTo(p, j.expect); err != nil {
		return err
	}
	v, err := judge(p, ops, samplesOf(dir), j.expect, broken)
	if err != nil {
		return err
	}
	return j.conclude(dir, v)
}

// before is what no history says: what the run had been told to expect, and how the test itself had failed, as far as it came to a verdict.
func before(dir string) (e report.Expectation, broken error) {
	var v report.Verdict
	b, err := os.ReadFile(filepath.Join(dir, report.VerdictFile))
	if err != nil || json.Unmarshal(b, &v) != nil {
		return e, nil
	}
	if v.Expect != nil {
		e = *v.Expect
	}
	if v.Broken != "" {
		broken = errors.New(v.Broken)
	}
	return e, broken
}
