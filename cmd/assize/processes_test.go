package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"assize/checkers"
	"assize/harness"
	"assize/report"
)

// onProcesses runs five real nodes and returns the verdict.
func onProcesses(t *testing.T, args ...string) report.Verdict {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	status, stdout, stderr := call(t, append([]string{"run", "--out", dir}, args...)...)
	if status == exitBroken || status == exitUsage {
		t.Fatalf("%v: exit %d\n%s%s", args, status, stdout, stderr)
	}
	b, err := os.ReadFile(filepath.Join(dir, report.VerdictFile))
	if err != nil {
		t.Fatal(err)
	}
	var v report.Verdict
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: %s  %s", args, v.Verdict, v.Headline)
	return v
}

// byPlan runs what a plan says.
func byPlan(t *testing.T, p harness.Plan, args ...string) report.Verdict {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return onProcesses(t, append([]string{"--plan", file}, args...)...)
}

// convictedOnProcesses runs until linearizability is refuted with the operations named.
func convictedOnProcesses(t *testing.T, runs int, args ...string) {
	t.Helper()
	for seed := range runs {
		v := onProcesses(t, append(slices.Clone(args), "--seed", strconv.Itoa(seed+1))...)
		if judgement(v, "linearizable") == checkers.Invalid {
			named(t, v)
			return
		}
	}
	t.Errorf("%v: not convicted in %d runs", args, runs)
}

// validOnProcesses wants a valid run. One that shows nothing, because a fault did not take hold, is run again; an invalid one is final.
func validOnProcesses(t *testing.T, args ...string) {
	t.Helper()
	for seed := range 3 {
		switch v := onProcesses(t, append(slices.Clone(args), "--seed", strconv.Itoa(seed+1))...); v.Verdict {
		case report.Valid:
			return
		case report.Invalid:
			t.Fatalf("%v: %s\n%s", args, v.Headline, report.Text(v, ""))
		}
	}
	t.Errorf("%v: three runs showed nothing", args)
}

func TestR2OnProcesses(t *testing.T) {
	t.Parallel()
	validOnProcesses(t, "--cluster", "local", "--read", "readindex", "--nemesis", allNemeses, "--time", "10s")
}

func TestR3OnProcessesWithTrueClocks(t *testing.T) {
	t.Parallel()
	validOnProcesses(t, "--cluster", "local", "--read", "lease", "--nemesis", "kill,pause,partition", "--time", "10s")
}

func TestR4OnProcesses(t *testing.T) {
	t.Parallel()
	convictedOnProcesses(t, 5, "--cluster", "local", "--read", "local", "--nemesis", "partition", "--time", "8s")
}
