package main

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/cluster/agent"
	"assize/daemon/etcd"
	"assize/docker"
	"assize/history"
	"assize/report"
)

func needsDocker(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs whole clusters in containers")
	}
	if _, err := docker.Find(t.Context()); err != nil {
		t.Skip(err)
	}
}

// TestDockerRunEndsValid, with every fault that there is, and each of its nodes' recordings replays.
func TestDockerRunEndsValid(t *testing.T) {
	needsDocker(t)
	var dir, stdout, stderr string
	status := exitUnknown
	// A run that shows nothing, because a fault did not take hold, is run again; an invalid one is final.
	for seed := 5; status == exitUnknown && seed < 8; seed++ {
		dir = filepath.Join(t.TempDir(), "run"+strconv.Itoa(seed))
		status, stdout, stderr = call(t, "run", "--cluster", "docker", "--nodes", "3", "--nemesis", "kill,pause,partition,clock,shape", "--time", "20s", "--seed", strconv.Itoa(seed), "--record", "--out", dir)
		t.Logf("seed %d: %s", seed, strings.SplitN(stdout, "\n", 2)[0])
	}
	if status != exitValid || !strings.HasPrefix(stdout, "VALID  linearizable: raft, docker, register, 20 s, seed ") {
		t.Fatalf("exit %d\n%s%s", status, stdout, stderr)
	}
	var env report.Env
	b, err := os.ReadFile(filepath.Join(dir, report.EnvFile))
	if err != nil || json.Unmarshal(b, &env) != nil || !slices.Contains(env.Powers, "crash") || !strings.Contains(strings.Join(env.Choices, "; "), "Docker Engine") {
		t.Errorf("%v: %s", err, b)
	}
	files, err := filepath.Glob(filepath.Join(dir, "nodes", "*", "data", "record", "*.rec"))
	if err != nil || len(files) < 3 {
		t.Fatalf("recordings %v, %v", files, err)
	}
	if status, stdout, stderr := call(t, append([]string{"node", "replay"}, files...)...); status != exitValid {
		t.Errorf("replay: exit %d\n%s%s", status, stdout, stderr)
	}
	flip(t, files[0])
	if status, stdout, _ := call(t, "node", "replay", files[0]); status == exitValid {
		t.Errorf("a flipped bit is not noticed:\n%s", stdout)
	}
	if _, again, _ := call(t, "check", dir); strings.SplitN(again, "\n", 2)[0] != strings.SplitN(stdout, "\n", 2)[0] {
		t.Errorf("check says\n%s", again)
	}
}

// flip a bit in the middle of a file.
func flip(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKilledControllerOfContainers: the nodes heal by themselves, the record is judged, and clean leaves nothing. ASSIZE_KILLS says how often, each at a
// random moment of the storm.
func TestKilledControllerOfContainers(t *testing.T) {
	needsDocker(t)
	kills := 1
	if s := os.Getenv("ASSIZE_KILLS"); s != "" {
		kills, _ = strconv.Atoi(s)
	}
	for k := range kills {
		dir := filepath.Join(t.TempDir(), strconv.Itoa(k))
		cmd := exec.Command(os.Args[0], "run", "--cluster", "docker", "--nodes", "3", "--nemesis", "kill,pause,partition,clock,shape",
			"--time", "10m", "--grace", "2s", "--seed", strconv.Itoa(k+1), "--out", dir)
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		eventually(t, "the controller records answers", func() bool {
			b, _ := os.ReadFile(filepath.Join(dir, report.HistoryFile))
			return strings.Count(string(b), `"ok"`) > 100
		})
		moment := time.Duration(rand.Int64N(int64(8 * time.Second)))
		<-time.After(moment) // any moment will do
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		run := runOf(t, dir)
		nodesHeal(t, run)
		t.Logf("killed %v after the first answers; faults then: %s", moment.Round(time.Millisecond), lastFault(t, dir))
		if status, stdout, stderr := call(t, "check", dir); status == exitUsage || status == exitBroken || status == exitInvalid {
			t.Errorf("check: exit %d\n%s%s", status, stdout, stderr)
		}
		status, stdout, stderr := call(t, "clean")
		if status != exitValid || !strings.Contains(stdout, "removed container assize-"+run+"-n1\n") {
			t.Errorf("clean: exit %d\n%s%s", status, stdout, stderr)
		}
		for _, list := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q"}} {
			out, err := exec.Command("docker", append(list, "--filter", "label=assize.run="+run)...).Output()
			if err != nil || len(out) > 0 {
				t.Errorf("docker %v: %v: %s", list, err, out)
			}
		}
	}
}

// runOf is the label of a run's containers.
func runOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, report.EnvFile))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`containers assize-([a-z0-9]+)-n1`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no containers in %s", b)
	}
	return string(m[1])
}

func lastFault(t *testing.T, dir string) string {
	t.Helper()
	ops, err := history.ReadFile(filepath.Join(dir, report.HistoryFile))
	if err != nil {
		t.Fatal(err)
	}
	open := map[int]string{}
	for _, op := range ops {
		if f := op.Fault; f != nil {
			open[f.ID] = f.What
			if f.Mended {
				delete(open, f.ID)
			}
		}
	}
	var what []string
	for _, w := range open {
		what = append(what, w)
	}
	return strings.Join(what, "; ")
}

// nodesHeal waits until every container runs, no agent has anything in force, every server goes on, and a write succeeds.
func nodesHeal(t *testing.T, run string) {
	t.Helper()
	eventually(t, "all containers run, unfrozen", func() bool {
		out, err := exec.Command("docker", "ps", "--filter", "label=assize.run="+run, "--filter", "status=running", "--format", "{{.Names}} {{.Status}}").Output()
		return err == nil && strings.Count(string(out), "\n") == 3 && !strings.Contains(string(out), "Paused")
	})
	for _, node := range []string{"n1", "n2", "n3"} {
		name := "assize-" + run + "-" + node
		// To ask the agent would be to be a controller: it would not be silent.
		eventually(t, node+" heals", func() bool {
			out, err := exec.Command("docker", "logs", name).Output()
			return err == nil && strings.Contains(string(out), "agent: healed: the controller has been silent for 2s")
		})
		s := agentState(t, name)
		if !s.Running || s.Paused || len(s.Packets.From)+len(s.Packets.To)+len(s.Packets.Shaped) != 0 || s.Skew != (cluster.Skew{}) {
			t.Errorf("%s has healed to %+v", node, s)
		}
	}
	out, err := exec.Command("docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "assize-"+run+"-n1").Output()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a write succeeds", func() bool {
		c, err := etcd.Dial(t.Context(), strings.TrimSpace(string(out))+":2379", cluster.Options{Timeout: time.Second})
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = c.Do(t.Context(), history.Txn{{F: history.Write, Key: "healed", In: []int{1}}})
		return err == nil
	})
}

// agentState asks an agent as somebody would who has only the engine. The zero State: it did not answer.
func agentState(t *testing.T, container string) agent.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", "exec", "-i", container, "/assize", "agent", "attach", "--dir", "/data")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cancel()
	s, _ := agent.Connect(both{out, in}, nil).State(ctx)
	return s
}

// both ends of a command as one stream.
type both struct {
	io.Reader
	io.WriteCloser
}
