package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"assize/cluster/skew"
)

// bystander is a process that does nothing.
func bystander(t *testing.T) (pid string) {
	t.Helper()
	if err := skew.Able(); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return strconv.Itoa(cmd.Process.Pid)
}

func TestSkewOfAProcess(t *testing.T) {
	pid := bystander(t)
	const when = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`
	for _, c := range []struct{ flags, want string }{
		{"--wall +1h --mono 5s", `process ` + pid + `  wall ` + when + `, off by 1h0m0s, rate 1\n +mono \S+, off by 5s, rate 1\n`},
		{"--rate 1.01", `process ` + pid + `  wall ` + when + `, off by 1h0m0\.\d+s, rate 1\.01\n +mono \S+, off by 5\.\d+s, rate 1\.01\n`},
		{"--wall-rate 0.5 --mono-rate 2", `(?s).*wall .*, rate 0\.5\n.*mono .*, rate 2\n`},
		{"--rate 1", `.*wall ` + when + `, off by 0s, rate 1\n +mono \S+, off by \S+s, rate 1\n`},
		{"--undo", `process ` + pid + ` reads its clocks as it did before\n`},
		{"--undo", `process ` + pid + ` reads its clocks as it did before\n`},
	} {
		status, stdout, stderr := call(t, append([]string{"skew", "--pid", pid}, strings.Fields(c.flags)...)...)
		if status != exitValid || stderr != "" || !regexp.MustCompile(`^`+c.want+`$`).MatchString(stdout) {
			t.Errorf("%s: exit %d, stdout %q, stderr %q, want %q", c.flags, status, stdout, stderr, c.want)
		}
	}
	status, _, stderr := call(t, "skew", "--pid", "99999999", "--undo")
	if status != exitBroken || !strings.Contains(stderr, "there is no such process") {
		t.Errorf("exit %d, stderr %q", status, stderr)
	}
}

func TestStrobeLastsUntilCtrlC(t *testing.T) {
	pid := bystander(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		ended <- assize(ctx, []string{"assize", "skew", "--pid", pid, "--wall", "1h", "--strobe", "5ms"}, in, &stderr)
		in.Close()
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "wall jumps by 1h0m0s and back every 5ms; Ctrl-C ends that" {
			interrupt()
		}
	}
	if status := <-ended; status != exitValid {
		t.Errorf("exit %d: %s", status, &stderr)
	}
	if _, stdout, _ := call(t, "skew", "--pid", pid, "--mono", "0s", "--rate", "1"); !strings.Contains(stdout, "off by 0s, rate 1") {
		t.Errorf("afterwards %q", stdout)
	}
}
