package docker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/daemon/etcd"
	"assize/history"
)

// compose is the command that this machine has for it, the old one or the engine's plugin.
func compose(t *testing.T) []string {
	t.Helper()
	if _, err := exec.LookPath("docker-compose"); err == nil {
		return []string{"docker-compose"}
	}
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	t.Skip("there is neither docker-compose (Debian: docker-compose) nor docker's compose plugin")
	return nil
}

// TestComposeFile: what people start by hand works as its first lines say.
func TestComposeFile(t *testing.T) {
	engine, err := Find(t.Context())
	if err != nil {
		t.Skip(err)
	}
	words := compose(t)
	dir, project := t.TempDir(), fmt.Sprintf("assizetest%d", os.Getpid())
	for _, name := range []string{"Dockerfile", "compose.yaml", ".dockerignore"} {
		b, err := os.ReadFile(name)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "assize"), program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+engine.Arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(ctx context.Context, args ...string) string {
		args = slices.Concat(words[1:], []string{"-p", project, "-f", filepath.Join(dir, "compose.yaml")}, args)
		cmd := exec.CommandContext(ctx, words[0], args...)
		cmd.Env = append(os.Environ(), "ASSIZE_N1=0", "ASSIZE_N2=0", "ASSIZE_N3=0", "ASSIZE_IMAGE="+project)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s %v: %v: %s", words[0], args, err, out)
		}
		return string(out)
	}
	t.Cleanup(func() { run(context.Background(), "down", "-v", "--rmi", "all") })
	run(t.Context(), "up", "-d", "--build")
	if t.Failed() {
		return
	}
	for _, node := range []string{"n1", "n2", "n3"} {
		address := strings.TrimSpace(run(t.Context(), "port", node, "2379"))
		if engine.Host != "127.0.0.1" {
			t.Skipf("ports are published at %s on the engine's machine only", address)
		}
		eventually(t, "a write through "+node+" at "+address, func() bool {
			c, err := etcd.Dial(t.Context(), address, cluster.Options{Timeout: time.Second})
			if err != nil {
				return false
			}
			defer c.Close()
			_, err = c.Do(t.Context(), history.Txn{{F: history.Write, Key: "hello", In: []int{1}}})
			return err == nil
		})
	}
	// Clocks can be bent by hand, from within.
	if runtime.GOARCH == engine.Arch {
		out := run(t.Context(), "exec", "-T", "n1", "/assize", "skew", "--pid", "1", "--wall", "1h")
		if !strings.Contains(out, "off by 1h0m0") {
			t.Errorf("skew of process 1 of n1: %s", out)
		}
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !done(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: never", what)
		}
	}
}
