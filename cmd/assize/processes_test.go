package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"assize/checkers"
	"assize/report"
)

// onProcesses runs five real processes and returns the verdict.
func onProcesses(t *testing.T, args ...string) report.Verdict {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	status, stdout, stderr := call(t, append([]string{"run", "--cluster", "local", "--nodes", "5", "--out", dir}, args...)...)
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

func validOnProcesses(t *testing.T, args ...string) {
	t.Helper()
	if v := onProcesses(t, args...); v.Verdict != report.Valid {
		t.Errorf("%v: got %s, want %s: %s\n%s", args, v.Verdict, report.Valid, v.Headline, report.Text(v, ""))
	}
}

func TestR1OnProcesses(t *testing.T) {
	convictedOnProcesses(t, 8, "--read", "leader", "--nemesis", "pause", "--rate", "300", "--time", "10s")
}

func TestR2OnProcesses(t *testing.T) {
	validOnProcesses(t, "--read", "readindex", "--nemesis", allNemeses, "--time", "10s", "--seed", "1")
}

func TestR3OnProcessesWithTrueClocks(t *testing.T) {
	validOnProcesses(t, "--read", "lease", "--nemesis", "kill,pause,partition", "--time", "10s", "--seed", "2")
}

func TestR4OnProcesses(t *testing.T) {
	convictedOnProcesses(t, 5, "--read", "local", "--nemesis", "partition", "--time", "8s")
}
