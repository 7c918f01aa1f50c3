package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assize/report"
)

// TestMain makes the test's own executable the one binary: of nodes, and of controllers that are to be interrupted or killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"node", "run", "up", "agent"}, os.Args[1]) {
		main()
	}
	os.Exit(m.Run())
}

func TestLocalRunEndsValid(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	status, stdout, stderr := call(t, "run", "--cluster", "local", "--nodes", "3", "--time", "5s", "--out", dir)
	if status != exitValid || !strings.HasPrefix(stdout, "VALID  linearizable: raft, local, register, 5 s, seed ") {
		t.Fatalf("exit %d\n%s%s", status, stdout, stderr)
	}
	for _, name := range []string{"nodes/n1/server.log", "nodes/n2/server.log", "nodes/n3/server.log", report.StatusFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if status, again, _ := call(t, "check", dir); status != exitValid || strings.SplitN(again, "\n", 2)[0] != strings.SplitN(stdout, "\n", 2)[0] {
		t.Errorf("check: exit %d\n%s", status, again)
	}
}

// controller starts a long run as a process of its own and returns when clients have got answers.
func controller(t *testing.T) (cmd *exec.Cmd, dir string, stdout, stderr *bytes.Buffer) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "run")
	cmd = exec.Command(os.Args[0], "run", "--cluster", "local", "--nodes", "3", "--time", "10m", "--out", dir)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	eventually(t, "the controller records answers", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, report.HistoryFile))
		return bytes.Count(b, []byte(`"ok"`)) > 100
	})
	return cmd, dir, stdout, stderr
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !condition(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// nodesOf lists the processes that have the run's directory on their command line, but for the controller.
func nodesOf(t *testing.T, dir string) (ids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, []byte(dir)) && bytes.Contains(b, []byte("\x00node\x00")) {
			ids = append(ids, filepath.Base(filepath.Dir(path)))
		}
	}
	return ids
}

func TestInterruptEndsWithAVerdict(t *testing.T) {
	cmd, dir, stdout, stderr := controller(t)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if !strings.Contains(stderr.String(), "mending, then judging what was recorded; again to stop at once") {
		t.Errorf("stderr %s", stderr)
	}
	// It is inconclusive where the first fault had not come yet.
	statuses := map[string]int{report.Valid: exitValid, report.Unknown: exitUnknown, report.Inconclusive: exitUnknown}
	word, _, _ := strings.Cut(stdout.String(), " ")
	if want, able := statuses[word]; !able || cmd.ProcessState.ExitCode() != want {
		t.Errorf("exit %d\n%s", cmd.ProcessState.ExitCode(), stdout)
	}
	if _, err := os.Stat(filepath.Join(dir, report.VerdictFile)); err != nil {
		t.Error(err)
	}
}

// The first may be that the terminal is closed.
func TestSecondInterruptStopsAtOnce(t *testing.T) {
	cmd, dir, _, stderr := controller(t)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// The second signal counts only when the first has been taken up.
	eventually(t, "the mending begins", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, report.HistoryFile))
		return bytes.Contains(b, []byte(`"mend"`))
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != exitBroken {
		t.Errorf("exit %d, want %d\n%s", status, exitBroken, stderr)
	}
	eventually(t, "no node is left", func() bool { return len(nodesOf(t, dir)) == 0 })
}

func TestKilledControllerLeavesNoNodesAndARecordThatCanBeJudged(t *testing.T) {
	cmd, dir, _, _ := controller(t)
	if got := len(nodesOf(t, dir)); got != 3 {
		t.Fatalf("%d nodes, want 3", got)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	eventually(t, "no node is left", func() bool { return len(nodesOf(t, dir)) == 0 })
	status, stdout, stderr := call(t, "check", dir)
	if status != exitUnknown || !strings.HasPrefix(stdout, "UNKNOWN  ") {
		t.Errorf("exit %d\n%s%s", status, stdout, stderr)
	}
}
