package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// servers is a cluster of processes on this machine.
type servers struct {
	name      string
	protocol  protocol
	endpoints []string // of clients
	processes []*exec.Cmd
	stdins    []io.Closer
	logs      []*bytes.Buffer
	stopped   bool
}

const (
	replicas   = 3
	readyBound = 30 * time.Second
)

// freeAddresses returns n addresses on loopback that were free a moment ago.
func freeAddresses(n int) (addresses []string, err error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// build this tree's binary.
func build(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "assize")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "assize/cmd/assize").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build assize: %w\n%s", err, out)
	}
	return binary, nil
}

// patient are ZooKeeper's own time-outs, by default: a ping every half tick of 2 s, and 5 ticks without one are the end. Ours are short, and where a disk
// that is busy with this very load takes longer the leader is another one.
var patient = []string{"--heartbeat", "1s", "--election", "10s"}

// startAssize starts nodes of ours with their defaults but for more, the first ones as voters. Their clients are those of p.
func startAssize(c comparison, name, target string, p protocol, voters, observers int, more ...string) (*servers, error) {
	n := voters + observers
	a, err := freeAddresses(2 * n)
	if err != nil {
		return nil, err
	}
	peers, clients := a[:n], a[n:]
	s := &servers{name: name, protocol: p, endpoints: clients}
	var all, ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint(i+1))
		all = append(all, fmt.Sprintf("%d=%s", i+1, peers[i]))
	}
	for i, id := range ids {
		own := strings.ReplaceAll(name, " ", "-") + "-" + id
		args := []string{
			"node", "--target", target, "--id", id, "--dir", filepath.Join(c.dir, own), "--peer", peers[i], "--client", clients[i],
			"--voters", strings.Join(ids[:voters], ","), "--observers", strings.Join(ids[voters:], ","),
			"--peers", strings.Join(slices.Delete(slices.Clone(all), i, i+1), ","), "--seed", id,
		}
		args = append(args, more...)
		if c.profile != "" {
			args = append(args, "--profile", filepath.Join(c.profile, own+".cpu"))
		}
		if err := s.start(c.binary, args...); err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

// startEtcd starts three nodes of the etcd that is installed, with their defaults.
func startEtcd(dir string) (*servers, error) {
	binary, err := exec.LookPath("etcd")
	if err != nil {
		return nil, errors.New("etcd is not installed: apt-get install etcd-server")
	}
	a, err := freeAddresses(2 * replicas)
	if err != nil {
		return nil, err
	}
	peers, clients := a[:replicas], a[replicas:]
	var cluster []string
	for i := range replicas {
		cluster = append(cluster, fmt.Sprintf("e%d=http://%s", i+1, peers[i]))
	}
	s := &servers{name: "etcd", protocol: etcd, endpoints: clients}
	for i := range replicas {
		peer, client := "http://"+peers[i], "http://"+clients[i]
		err := s.start(binary, "--name", fmt.Sprint("e", i+1), "--data-dir", filepath.Join(dir, fmt.Sprint("etcd", i+1)),
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--listen-client-urls", client, "--advertise-client-urls", client,
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", "new", "--log-level", "error", "--logger", "zap")
		if err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

// Where Debian has ZooKeeper, and its main class.
const (
	zooKeeperJar  = "/usr/share/java/zookeeper.jar"
	zooKeeperMain = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
)

// startZooKeeper starts three servers of the ZooKeeper that is installed, in a Java machine with its defaults, as Debian's JAVA_OPTS="" has it. Without a
// binding slf4j logs nothing.
func startZooKeeper(dir string) (*servers, error) {
	java, err := exec.LookPath("java")
	if _, jar := os.Stat(zooKeeperJar); err != nil || jar != nil {
		return nil, errors.New("ZooKeeper is not installed: apt-get install zookeeper")
	}
	a, err := freeAddresses(3 * replicas)
	if err != nil {
		return nil, err
	}
	clients := a[2*replicas:]
	lines := []string{"tickTime=2000", "initLimit=10", "syncLimit=5", "admin.enableServer=false", "4lw.commands.whitelist=srvr"}
	for i := range replicas {
		_, election, _ := net.SplitHostPort(a[replicas+i])
		lines = append(lines, fmt.Sprintf("server.%d=%s:%s", i+1, a[i], election))
	}
	s := &servers{name: "zookeeper", protocol: zookeeper, endpoints: clients}
	for i, address := range clients {
		home := filepath.Join(dir, fmt.Sprint("zookeeper", i+1))
		_, port, _ := net.SplitHostPort(address)
		own := append(slices.Clone(lines), "dataDir="+home, "clientPortAddress=127.0.0.1", "clientPort="+port)
		config := filepath.Join(home, "zoo.cfg")
		if err := errors.Join(os.MkdirAll(home, 0o777), os.WriteFile(filepath.Join(home, "myid"), []byte(fmt.Sprint(i+1)), 0o666),
			os.WriteFile(config, []byte(strings.Join(own, "\n")+"\n"), 0o666),
			s.start(java, "-cp", zooKeeperJar, zooKeeperMain, config)); err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

// memory is what is resident of all processes together, in bytes; 0 where this system does not tell.
func (s *servers) memory() (bytes int) {
	for _, p := range s.processes {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Process.Pid))
		if fields := strings.Fields(string(b)); len(fields) > 1 {
			pages, _ := strconv.Atoi(fields[1])
			bytes += pages * os.Getpagesize()
		}
	}
	return bytes
}

func (s *servers) start(binary string, args ...string) error {
	log := new(bytes.Buffer)
	p := exec.Command(binary, args...)
	p.Stdout, p.Stderr = log, log
	stdin, err := p.StdinPipe() // its end ends a node of ours
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	s.processes, s.stdins, s.logs = append(s.processes, p), append(s.stdins, stdin), append(s.logs, log)
	return nil
}

// ready waits until some node leads.
func (s *servers) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		_, err := s.protocol.leader(ctx, s.endpoints)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w", s.name, readyBound, err)
		case <-poll.C:
		}
	}
}

// stop ends the processes; those that do not end when asked are killed. Idempotent.
func (s *servers) stop() {
	if s.stopped {
		return
	}
	s.stopped = true
	for _, p := range s.processes {
		p.Process.Signal(syscall.SIGTERM)
	}
	for i, p := range s.processes {
		kill := time.AfterFunc(5*time.Second, func() { p.Process.Kill() })
		p.Wait()
		kill.Stop()
		s.stdins[i].Close()
	}
}

// last lines of what the nodes have said, for the report of a failure. After stop only.
func (s *servers) last() string {
	var b strings.Builder
	for i, log := range s.logs {
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		from := max(0, len(lines)-5)
		if panicked := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "panic:") }); panicked >= 0 {
			from = panicked
		}
		fmt.Fprintf(&b, "%s %d:\n  %s\n", s.name, i+1, strings.Join(lines[from:min(len(lines), from+20)], "\n  "))
	}
	return b.String()
}
