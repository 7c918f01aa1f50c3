package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// servers is a cluster of three processes on this machine.
type servers struct {
	name      string
	endpoints []string // of clients
	processes []*exec.Cmd
	stdins    []io.Closer
	logs      []*bytes.Buffer
	stopped   bool
}

const (
	replicas   = 3
	readyBound = 20 * time.Second
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

// startAssize builds this tree's binary, unless one is given, and starts three nodes of it, with their defaults.
func startAssize(ctx context.Context, binary, dir, profile string) (*servers, error) {
	if binary == "" {
		binary = filepath.Join(dir, "assize")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "assize/cmd/assize").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build assize: %w\n%s", err, out)
		}
	}
	a, err := freeAddresses(2 * replicas)
	if err != nil {
		return nil, err
	}
	peers, clients := a[:replicas], a[replicas:]
	s := &servers{name: "assize", endpoints: clients}
	for i := range replicas {
		var others []string
		for j := range replicas {
			if i != j {
				others = append(others, fmt.Sprintf("%d=%s", j+1, peers[j]))
			}
		}
		args := []string{
			"node", "--id", fmt.Sprint(i + 1), "--dir", filepath.Join(dir, fmt.Sprint("assize", i+1)), "--peer", peers[i],
			"--client", clients[i], "--voters", "1,2,3", "--peers", strings.Join(others, ","), "--seed", fmt.Sprint(i + 1),
		}
		if profile != "" {
			args = append(args, "--profile", filepath.Join(profile, fmt.Sprint("assize", i+1, ".cpu")))
		}
		if err := s.start(binary, args...); err != nil {
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
	s := &servers{name: "etcd", endpoints: clients}
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
		_, err := leader(ctx, s.endpoints)
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
		fmt.Fprintf(&b, "%s %d:\n  %s\n", s.name, i+1, strings.Join(lines[max(0, len(lines)-5):], "\n  "))
	}
	return b.String()
}
