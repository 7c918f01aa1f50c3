package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/daemon/clienttest"
	"assize/daemon/etcd"
	"assize/daemon/zk"
)

func TestNodeCommandLine(t *testing.T) {
	good := []string{"node", "--id", "1", "--dir", t.TempDir(), "--peer", "127.0.0.1:0", "--client", "127.0.0.1:0"}
	for _, c := range []struct {
		args string
		want string
	}{
		{"--voters 2,3", "contain --id 1"},
		{"--voters 2,3 --observers 4,5 --target zab", "contain --id 1"},
		{"--voters 2,3 --observers 1", "raft has no observers; those that have are zab"},
		{"--voters 1,2 --observers 2 --target zab", "have members in common"},
		{"--observers 1 --target zab", "nobody votes"},
		{"--observers 1 --join --target zab", "--join excludes"},
		{"--voters 2 --observers 1,1 --target zab", "--observers \"1,1\": want different ids"},
		{"", "--join"},
		{"--voters 1,1", "want different ids"},
		{"--voters 1,x", "want different ids"},
		{"--voters 1 --join", "--join excludes --voters"},
		{"--voters 1 --target zzz", "targets are raft"},
		{"--voters 1 --read zzz", "readindex"},
		{"--voters 1 --flaw zzz", "forget-vote"},
		{"--voters 1 --peers 2", "want 2=HOST:PORT"},
		{"--voters 1 --peers x=a:1", "want 2=HOST:PORT"},
		{"--voters 1 --super secret", "want USER:HASH"},
		{"--voters 1 --super :D/InIHSb7yEEbrWz8b9l71RjZJU=", "want USER:HASH"},
		{"--voters 1 --super super:test", "want USER:HASH"},
		{"--voters 1 --id 0", "ids begin with 1"},
		{"--voters 1 --heartbeat soon", "heartbeat"},
		{"--zoo-cfg zoo.cfg", "--zoo-cfg excludes --id"},
	} {
		status, _, stderr := call(t, append(good, strings.Fields(c.args)...)...)
		if status != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, %q, want %q in it", c.args, status, stderr, c.want)
		}
	}
}

// lone is a cluster of one node in a process of its own.
type lone struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *bufio.Scanner
	ready  map[string]string // the pairs of its first line that says so
}

func startLone(t *testing.T, dir string, args ...string) *lone {
	t.Helper()
	return startNode(t, append([]string{"--id", "1", "--dir", dir, "--peer", "127.0.0.1:0", "--client", "127.0.0.1:0", "--voters", "1"}, args...)...)
}

func startNode(t *testing.T, args ...string) *lone {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n := &lone{cmd: exec.Command(self, append([]string{"node"}, args...)...), ready: map[string]string{}}
	stdin, err := n.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := n.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.stdin, n.stderr = stdin, bufio.NewScanner(stderr)
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.cmd.Process.Kill(); n.cmd.Wait() })
	for _, pair := range strings.Fields(n.until(t, "ready")) {
		k, v, _ := strings.Cut(pair, "=")
		n.ready[k] = v
	}
	return n
}

// until returns the next line of that event.
func (n *lone) until(t *testing.T, event string) string {
	t.Helper()
	for n.stderr.Scan() {
		if strings.HasPrefix(n.stderr.Text(), event+" ") {
			return n.stderr.Text()
		}
	}
	t.Fatalf("it never said %q", event)
	return ""
}

func TestNodeEndsWithItsParentsPipe(t *testing.T) {
	n := startLone(t, t.TempDir())
	n.stdin.Close()
	n.until(t, "stopped")
	if err := n.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestNodeStartedByHandIgnoresTheEndOfItsInput(t *testing.T) {
	n := startLone(t, t.TempDir(), "--orphan=false")
	n.stdin.Close()
	if _, err := etcd.Status(t.Context(), n.ready["client"]); err != nil {
		t.Error(err)
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.until(t, "stopped")
	if err := n.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestNodeWhoseDirectoryIsTakenFails(t *testing.T) {
	dir := t.TempDir()
	startLone(t, dir)
	status, _, stderr := call(t, "node", "--id", "1", "--dir", dir, "--peer", "127.0.0.1:0", "--client", "127.0.0.1:0", "--voters", "1")
	if status != exitBroken || !strings.Contains(stderr, "another node uses "+dir) {
		t.Errorf("exit %d, %q", status, stderr)
	}
}

// TestRubbishOnANodesPorts throws bytes at both ports of a real node, raw and behind what a good client and a good peer would say first; the node goes on.
func TestRubbishOnANodesPorts(t *testing.T) {
	n := startLone(t, t.TempDir())
	r := rand.New(rand.NewPCG(5, 5))
	openings := []string{
		"",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", // HTTP/2
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", // and empty settings
		"POST /etcdserverpb.KV/Put HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x26\x00\x00\x00", // the length of a hello
	}
	for i := range 300 {
		address := n.ready[[]string{"peer", "client"}[i%2]]
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		noise := make([]byte, r.IntN(2000))
		for j := range noise {
			noise[j] = byte(r.Uint32())
		}
		io.WriteString(conn, openings[r.IntN(len(openings))]) // it may have hung up already
		conn.Write(noise)
		conn.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if s, err := etcd.Status(ctx, n.ready["client"]); err != nil || s.Role == "" {
		t.Errorf("got %v, %v", s, err)
	}
}

type silence struct{}

func (silence) Printf(string, ...any) {}

// ensemble starts three servers and an observer as ZooKeeper's own files describe them, and gives their clients' addresses when all serve.
func ensemble(t *testing.T, more ...string) (clients []string) {
	t.Helper()
	ports := clienttest.FreePorts(t, 8)
	var members []string
	for i, port := range ports[4:] {
		members = append(members, fmt.Sprintf("server.%d=127.0.0.1:%s:3888:%s", i+1, port, []string{"participant", "observer"}[i/3]))
	}
	for i, port := range ports[:4] {
		dir := t.TempDir()
		data, name := filepath.Join(dir, "data"), filepath.Join(dir, "zoo.cfg")
		lines := slices.Concat([]string{"dataDir=" + data, "clientPortAddress=127.0.0.1", "clientPort=" + port}, members, more)
		err := errors.Join(
			os.Mkdir(data, 0o755), os.WriteFile(filepath.Join(data, "myid"), []byte(strconv.Itoa(i+1)), 0o644),
			os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o644),
		)
		if err != nil {
			t.Fatal(err)
		}
		n := startNode(t, "--zoo-cfg", name)
		clients = append(clients, n.ready["client"])
		if got, want := clients[i], "127.0.0.1:"+port; got != want {
			t.Errorf("clients are served at %s, want %s", got, want)
		}
	}
	for _, c := range clients {
		eventually(t, c+" serves", func() bool {
			s, _ := zk.Ask(t.Context(), c, "srvr")
			return strings.Contains(s, "Mode: ")
		})
	}
	return clients
}

// TestNodeByZooCfg: such servers are one ensemble, whose sessions count in its ticks.
func TestNodeByZooCfg(t *testing.T) {
	if status, _, stderr := call(t, "node", "--zoo-cfg", filepath.Join(t.TempDir(), "zoo.cfg")); status != exitUsage || !strings.Contains(stderr, "no such file") {
		t.Errorf("without the file: exit %d, %q", status, stderr)
	}
	modes := map[string]int{}
	for i, client := range ensemble(t, "tickTime=700", "syncLimit=5") {
		conf, err := zk.Ask(t.Context(), client, "conf")
		if err != nil {
			t.Error(err)
		}
		for _, want := range []string{"tickTime=700\n", "minSessionTimeout=1400\n", "serverId=" + strconv.Itoa(i+1) + "\n"} {
			if !strings.Contains(conf, want) {
				t.Errorf("conf of server %d lacks %q:\n%s", i+1, want, conf)
			}
		}
		mntr, err := zk.Ask(t.Context(), client, "mntr")
		if err != nil || !strings.Contains(mntr, "\nzk_quorum_size\t3\n") {
			t.Errorf("mntr of server %d: %v\n%s", i+1, err, mntr)
		}
		_, mode, _ := strings.Cut(mntr, "\nzk_server_state\t")
		mode, _, _ = strings.Cut(mode, "\n")
		modes[mode]++
	}
	if want := map[string]int{"leader": 1, "follower": 2, "observer": 1}; !maps.Equal(modes, want) {
		t.Errorf("got %v, want %v", modes, want)
	}
}

// TestSuperuser: what an ACL keeps from all others is open to whoever knows the password whose digest the node was given.
func TestSuperuser(t *testing.T) {
	n := startLone(t, t.TempDir(), "--target", "zab", "--super", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=")
	c, events, err := zookeeper.Connect([]string{n.ready["client"]}, 10*time.Second, zookeeper.WithLogger(silence{}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for e := range events {
		if e.State == zookeeper.StateHasSession {
			break // until then the node may not serve, and go-zookeeper gives up what it has not sent
		}
	}
	if _, err := c.Create("/private", []byte("x"), zookeeper.FlagPersistent, zookeeper.DigestACL(zookeeper.PermAll, "somebody", "else")); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		password string
		want     error
	}{{"guess", zookeeper.ErrNoAuth}, {"test", nil}} {
		if err := c.AddAuth("digest", []byte("super:"+x.password)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Get("/private"); !errors.Is(err, x.want) {
			t.Errorf("with the password %q: %v, want %v", x.password, err, x.want)
		}
	}
}
