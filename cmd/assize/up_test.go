package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// upAndRunning starts `assize up` as a process of its own and returns its endpoints. It is stopped, and must have left nothing, at the end.
func upAndRunning(t *testing.T, args ...string) (endpoints []string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], append([]string{"up", "--out", dir}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after Ctrl-C: %v", err)
		}
		if left := nodesOf(t, dir); len(left) > 0 {
			t.Errorf("processes %v are left behind", left)
		}
	})
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Signal(syscall.SIGKILL) })
	defer stuck.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if node, address, found := strings.Cut(lines.Text(), "  "); found && strings.HasPrefix(node, "n") {
			endpoints = append(endpoints, strings.TrimSpace(address))
		}
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			return endpoints
		}
	}
	t.Fatal("it ended before it was up")
	return nil
}

// etcdctl runs Debian's etcdctl and returns what it prints.
func etcdctl(t *testing.T, input string, endpoint string, args ...string) string {
	t.Helper()
	cmd := exec.Command("etcdctl", append([]string{"--endpoints", endpoint}, args...)...)
	cmd.Env, cmd.Stdin = append(os.Environ(), "ETCDCTL_API=3"), strings.NewReader(input)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("etcdctl %s: %v\n%s", strings.Join(args, " "), err, b)
	}
	return string(b)
}

func TestEtcdctlAgainstUp(t *testing.T) {
	if _, err := exec.LookPath("etcdctl"); err != nil {
		t.Skip("etcdctl is not installed (Debian: etcd-client)")
	}
	endpoints := upAndRunning(t, "--nodes", "3")
	if len(endpoints) != 3 {
		t.Fatalf("got endpoints %v, want three", endpoints)
	}
	all := strings.Join(endpoints, ",")
	// Each command goes to another node than the one before.
	for i, c := range []struct{ input, args, want string }{
		{"", "put greeting hello", "OK\n"},
		{"", "get greeting", "greeting\nhello\n"},
		{"", "put greeting2 ciao", "OK\n"},
		{"", "get --prefix greet", "greeting\nhello\ngreeting2\nciao\n"},
		{"", "get --consistency=s --prefix nothing", ""},
		{"value(\"greeting\") = \"hello\"\n\nput greeting salut\n\nget greeting\n\n", "txn", "SUCCESS\n\nOK\n"},
		{"value(\"greeting\") = \"hello\"\n\nput greeting bye\n\nget greeting\n\n", "txn", "FAILURE\n\ngreeting\nsalut\n"},
		{"", "del greeting2", "1\n"},
		{"", "del greeting2", "0\n"},
		{"", "get --prefix greet", "greeting\nsalut\n"},
	} {
		if got := etcdctl(t, c.input, endpoints[i%3], strings.Fields(c.args)...); got != c.want {
			t.Errorf("etcdctl %s at node %d: got %q, want %q", c.args, i%3+1, got, c.want)
		}
	}
	watches(t, endpoints)
	status := etcdctl(t, "", all, "endpoint", "status")
	if got := strings.Count(status, "\n"); got != 3 || strings.Count(status, "true") != 1 {
		t.Errorf("endpoint status: got\n%swant three lines and one leader", status)
	}
	if got := strings.Count(etcdctl(t, "", endpoints[1], "member", "list"), "started"); got != 3 {
		t.Errorf("member list: got %d started members, want 3", got)
	}
	moves(t, endpoints)
}

// watches sees a change of its past and one that is made while it waits, through two different nodes.
func watches(t *testing.T, endpoints []string) {
	t.Helper()
	cmd := exec.Command("etcdctl", "--endpoints", endpoints[2], "watch", "--rev", "2", "greeting")
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	expect := func(want ...string) {
		for _, w := range want {
			if !lines.Scan() || lines.Text() != w {
				t.Errorf("watch: got %q, want %q", lines.Text(), w)
				return
			}
		}
	}
	expect("PUT", "greeting", "hello", "PUT", "greeting", "salut")
	etcdctl(t, "", endpoints[0], "del", "greeting")
	expect("DELETE", "greeting", "")
}

// moves hands leadership over and sees it arrive.
func moves(t *testing.T, endpoints []string) {
	t.Helper()
	leads := func(i int) (id string, leader bool) {
		fields := strings.Split(etcdctl(t, "", endpoints[i], "endpoint", "status"), ", ")
		if len(fields) < 6 {
			t.Fatalf("endpoint status: %q", fields)
		}
		return fields[1], fields[4] == "true"
	}
	for i := range endpoints {
		if _, leader := leads(i); !leader {
			continue
		}
		heir := (i + 1) % len(endpoints)
		id, _ := leads(heir)
		etcdctl(t, "", endpoints[i], "move-leader", id)
		eventually(t, fmt.Sprintf("member %s leads", id), func() bool {
			_, leader := leads(heir)
			return leader
		})
		return
	}
	t.Error("nobody leads")
}
