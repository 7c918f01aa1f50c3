package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assize/report"
)

// simulate runs one seed into a directory and returns its history.
func simulate(t *testing.T, want int, args ...string) (dir string, recorded []byte) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "run")
	status, stdout, stderr := call(t, append([]string{"run", "--cluster", "sim", "--quiet", "--out", dir}, args...)...)
	if status != want {
		t.Fatalf("%v: exit %d, want %d\n%s%s", args, status, want, stdout, stderr)
	}
	recorded, err := os.ReadFile(filepath.Join(dir, report.HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	return dir, recorded
}

func TestSameSeedGivesTheSameBytes(t *testing.T) {
	for workload, target := range map[string]string{"register": "raft", "set": "raft", "session": "zab", "watch": "zab"} {
		args := []string{"--target", target, "--workload", workload, "--nemesis", "all", "--time", "10s"}
		_, one := simulate(t, exitValid, append(args, "--seed", "11")...)
		dir, again := simulate(t, exitValid, append(args, "--seed", "11")...)
		_, other := simulate(t, exitValid, append(args, "--seed", "12")...)
		if !bytes.Equal(one, again) {
			t.Errorf("%s: the same seed gave two histories", workload)
		}
		if bytes.Equal(one, other) {
			t.Errorf("%s: two seeds gave the same history", workload)
		}
		out := filepath.Join(t.TempDir(), "again")
		if status, stdout, stderr := call(t, "run", "--quiet", "--plan", filepath.Join(dir, report.PlanFile), "--out", out); status != exitValid {
			t.Fatalf("exit %d\n%s%s", status, stdout, stderr)
		}
		if planned, err := os.ReadFile(filepath.Join(out, report.HistoryFile)); err != nil || !bytes.Equal(one, planned) {
			t.Errorf("%s: %v: the plan did not repeat the history", workload, err)
		}
	}
}

// TestNoNemesisByFlagAndByPlan: none is a word in both.
func TestNoNemesisByFlagAndByPlan(t *testing.T) {
	_, flag := simulate(t, exitValid, "--nemesis", "none", "--seed", "1", "--time", "2s")
	name := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(name, []byte(`{"cluster": "sim", "nemesis": ["none"], "seed": 1, "time": 2000000000}`), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "run")
	if status, stdout, stderr := call(t, "run", "--quiet", "--plan", name, "--out", out); status != exitValid {
		t.Fatalf("exit %d\n%s%s", status, stdout, stderr)
	}
	if plan, err := os.ReadFile(filepath.Join(out, report.HistoryFile)); err != nil || !bytes.Equal(flag, plan) {
		t.Errorf("%v: the plan without a nemesis gave another history than the flags", err)
	}
}

func TestEveryFileOfARunIsThere(t *testing.T) {
	dir, _ := simulate(t, exitValid, "--seed", "1", "--time", "5s")
	for _, name := range []string{report.PlanFile, report.EnvFile, report.HistoryFile, report.StatusFile, report.VerdictFile, report.SummaryFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckRepeatsTheVerdict(t *testing.T) {
	dir, _ := simulate(t, exitInvalid, "--seed", "3", "--time", "20s", "--read", "local", "--expect", "R1=violated")
	before, err := os.ReadFile(filepath.Join(dir, report.SummaryFile))
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, _ := call(t, "check", dir)
	first := func(text string) string { head, _, _ := strings.Cut(text, "\n"); return head }
	if status != exitInvalid || first(stdout) != first(string(before)) || !strings.Contains(stdout, "as claim R1 expects") {
		t.Errorf("exit %d, the run said\n%s\ncheck says\n%s", status, before, stdout)
	}
	if !strings.Contains(stdout, "read k") || !strings.Contains(stdout, "acknowledged at") {
		t.Errorf("the conviction does not name its operations:\n%s", stdout)
	}
	// A controller that was killed leaves less: what is there is judged, and never found valid.
	path := filepath.Join(dir, report.HistoryFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)/20], 0o666); err != nil {
		t.Fatal(err)
	}
	if status, stdout, stderr := call(t, "check", dir); status != exitUnknown && status != exitInvalid {
		t.Errorf("exit %d\n%s%s", status, stdout, stderr)
	}
}

func TestSeedsEndInASummary(t *testing.T) {
	out := filepath.Join(t.TempDir(), "seeds")
	status, stdout, stderr := call(t, "run", "--seeds", "1:20", "--time", "5s", "--nemesis", "all", "--out", out)
	if status != exitValid || !strings.HasPrefix(stdout, "VALID  raft, sim, register: 20 seeds, ") || !strings.Contains(stdout, "0 alarms, 0 unknown, 0 broken\n") {
		t.Errorf("exit %d\n%s%s", status, stdout, stderr)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("directories of valid seeds were kept")
	}
	status, stdout, stderr = call(t, "run", "--seeds", "1:8", "--read", "local", "--out", out)
	entries, err := os.ReadDir(out)
	if status != exitInvalid || err != nil || len(entries) == 0 || strings.Count(stdout, "INVALID  seed ") != len(entries) {
		t.Errorf("exit %d, %d directories, %v\n%s%s", status, len(entries), err, stdout, stderr)
	}
}

// TestSeedsAreHeldToAClaim: one seed that convicts is what "violated" expects, and "holds" is for each of them.
func TestSeedsAreHeldToAClaim(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--seeds 1:8 --read leader --nemesis pause,partition --expect R1=violated", "\n  as claim R1 expects: violated on 1 of 8 seeds\n"},
		{"--seeds 1:3 --nemesis none --time 2s --expect R1=violated", "\n  not as claim R1 expects: violated on 0 of 3 seeds\n"},
		{"--seeds 1:3 --nemesis none --time 2s --expect R2=holds", "\n  as claim R2 expects: holds on 3 of 3 seeds\n"},
		{"--seeds 1:8 --read leader --nemesis pause,partition --expect R2=holds", "\n  not as claim R2 expects: holds on 7 of 8 seeds\n"},
	} {
		_, stdout, stderr := call(t, append([]string{"run", "--out", t.TempDir()}, strings.Fields(c.args)...)...)
		if !strings.Contains(stdout, c.want) {
			t.Errorf("%s: got\n%s%swant %q", c.args, stdout, stderr, c.want)
		}
	}
	_, stdout, _ := call(t, "run", "--out", t.TempDir(), "--json", "--seeds", "1:3", "--nemesis", "none", "--time", "2s", "--expect", "R2=holds")
	var sum summary
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil || sum.Met != 3 || !sum.AsExpected || sum.Expect == nil || sum.Expect.Claim != "R2" {
		t.Errorf("%v: %s", err, stdout)
	}
}
