package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"assize/cluster/agent"
)

func TestAgentCommandLine(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"agent", "agent takes the server's arguments, behind --; only with --hold they can come later"},
		{"agent --hold --grace -1s", "--grace: -1s is below 0"},
		{"agent --hold --grace soon", `invalid value "soon" for flag -grace`},
		{"agent --frob", "flag provided but not defined: -frob; see assize agent --help"},
		{"agent attach more", `attach takes no arguments, got "more"`},
		{"agent attach --frob", "flag provided but not defined: -frob; see assize agent attach --help"},
	} {
		status, stdout, stderr := call(t, strings.Fields(c.args)...)
		if status != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "assize: "+c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q, want %d and %q", c.args, status, stdout, stderr, exitUsage, c.want)
		}
	}
}

// duplex is a process's standard input and output.
type duplex struct {
	io.Reader
	io.WriteCloser
}

// attachTo the agent of a directory as an engine's exec does.
func attachTo(t *testing.T, dir string) (*agent.Remote, *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bridge := exec.Command(self, "agent", "attach", "--dir", dir)
	stdin, err := bridge.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := bridge.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bridge.Start(); err != nil {
		t.Fatal(err)
	}
	return agent.Connect(duplex{stdout, stdin}, nil), bridge
}

func TestAgentRunsANode(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a node's agent runs on Linux only")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := exec.Command(self, "agent", "--dir", dir, "--table", "", "--", "node", "--id", "1", "--dir", dir, "--peer", "127.0.0.1:0", "--client", "127.0.0.1:0", "--voters", "1")
	out, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Process.Kill() })
	lines := bufio.NewScanner(out)
	until := func(what string) string {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), what) {
				return lines.Text()
			}
		}
		t.Fatalf("it never said %q", what)
		return ""
	}
	var peer string
	for _, pair := range strings.Fields(until("ready ")) {
		if k, v, _ := strings.Cut(pair, "="); k == "peer" {
			peer = v
		}
	}

	r, bridge := attachTo(t, dir)
	if s, err := r.State(t.Context()); err != nil || !s.Running || s.Args[0] != "node" || s.Grace != 10*time.Second {
		t.Errorf("state %+v, %v", s, err)
	}
	trips, err := r.Probe(t.Context(), []agent.Target{{Address: peer, Wait: 30 * time.Second, Times: 50}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range trips[0] {
		if d < 0 {
			t.Fatalf("a node did not hang up on rubbish: trips %v", trips[0])
		}
	}
	if err := w.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until("stopped ")
	for lines.Scan() { // to the end
	}
	if err := w.Wait(); err != nil {
		t.Error(err)
	}
	<-r.Done()
	if err := bridge.Wait(); err != nil {
		t.Errorf("attach: %v", err)
	}
}

func TestAgentEndsWithTheStatusOfItsServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a node's agent runs on Linux only")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(self, "agent", "--dir", t.TempDir(), "--table", "", "--", "node", "--id", "0", "--dir", ".", "--peer", ":0", "--client", ":0").Output()
	var w *exec.ExitError
	if !errors.As(err, &w) || w.ExitCode() != exitUsage {
		t.Errorf("ended with %v, %q, want exit status %d", err, out, exitUsage)
	}
	if !strings.Contains(string(out), "assize: --id 0: ids begin with 1\n") {
		t.Errorf("the server's complaint is not in %q", out)
	}
}
