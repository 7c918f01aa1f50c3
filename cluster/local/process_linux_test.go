package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"assize/cluster"
)

func TestPausedNodeHangsAndGoesOn(t *testing.T) {
	c, _ := newTown(t, 2)
	pid := heard(t, c, "n1").Pid
	for range 2 {
		if err := c.Pause(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
	}
	n, _ := c.place("n1")
	if n.Answering() {
		t.Error("a stopped node cannot answer")
	}
	if state, err := stateOf(pid); err != nil || state != 'T' {
		t.Errorf("process state %c, %v, want stopped", state, err)
	}
	if _, err := c.Status(t.Context(), "n1"); err == nil || errors.Is(err, cluster.ErrRefused) {
		t.Errorf("status of a stopped node: %v, want a time-out", err)
	}
	for range 2 {
		if err := c.Resume(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
	}
	if got := heard(t, c, "n1").Pid; got != pid {
		t.Errorf("process %d, want the same as before, %d", got, pid)
	}
	// Kill ends stopped ones, too, and the next life is not stopped.
	if err := c.Pause(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(t.Context(), "n1"); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("pause of a node that is down: %v", err)
	}
	if err := c.Resume(t.Context(), "n1"); err != nil {
		t.Errorf("resume of a node that is down: %v", err)
	}
	for _, step := range []func(context.Context, string) error{c.Start, c.Pause, c.Kill, c.Start} {
		if err := step(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
	}
	if !n.Answering() {
		t.Error("the next life is not stopped")
	}
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
}

func init() { further["stick"] = stick }

// stick has a thread wait in the kernel for the end of the child that it returns; of all signals only SIGKILL ends that.
func stick() int {
	debug.SetGCPercent(-1) // which would wait for that thread
	runtime.GOMAXPROCS(runtime.NumCPU() + 2)
	var child atomic.Int32 // the kernel's to write, in the parent before that begins to wait
	go func() {
		runtime.LockOSThread()
		id, _, _ := syscall.RawSyscall(syscall.SYS_CLONE, unix.CLONE_VFORK|unix.CLONE_PARENT_SETTID|uintptr(syscall.SIGCHLD), 0, uintptr(unsafe.Pointer(&child)))
		if id != 0 {
			return
		}
		syscall.RawSyscall(syscall.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0)
		for {
			syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	}()
	for child.Load() == 0 {
		runtime.Gosched()
	}
	return int(child.Load())
}

// A process has stopped when its last thread has, and one that was not seen to goes on when it is resumed.
func TestPauseThatIsNotSeenIsTakenBack(t *testing.T) {
	c, _ := newTown(t, 1)
	pid := heard(t, c, "n1").Pid
	address, _ := c.Address("n1")
	var answer string
	if err := ask(t.Context(), address, "stick", &answer); err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(answer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Pause(ctx, "n1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("pause of a process with a thread that does not stop: %v", err)
	}
	if n, _ := c.place("n1"); n.Answering() {
		t.Error("it is believed to answer")
	}
	if err := c.Resume(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if got := heard(t, c, "n1").Pid; got != pid {
		t.Errorf("process %d, want the same as before, %d", got, pid)
	}
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(t.Context(), "n1"); err != nil {
		t.Errorf("pause of a process of which all threads stop: %v", err)
	}
}

// While a node is down another run's must not get its port, lest our clients talk to that.
func TestPortsOfANodeThatIsDownAreHeld(t *testing.T) {
	c, _ := newTown(t, 1)
	n, _ := c.place("n1")
	peer, client := n.Addresses()
	for range 2 {
		if err := c.Kill(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{peer, client} {
			if l, err := net.Listen("tcp", address); err == nil {
				l.Close()
				t.Errorf("%s is free", address)
			}
			if conn, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
				if err == nil {
					conn.Close()
				}
				t.Errorf("somebody listens at %s: %v", address, err)
			}
		}
		if err := c.Start(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
		if p, _ := n.Addresses(); p != peer {
			t.Errorf("it is at %s, want %s as before", p, peer)
		}
	}
}

func TestCloseLeavesNoProcess(t *testing.T) {
	c, _ := newTown(t, 3)
	var pids []int
	for _, n := range c.Nodes() {
		pids = append(pids, heard(t, c, n).Pid)
	}
	if err := c.Pause(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range pids {
		if lives(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	if err := c.Start(t.Context(), "n1"); err == nil {
		t.Error("started a node of a closed cluster")
	}
}

// lives: a zombie does not.
func lives(pid int) bool {
	state, err := stateOf(pid)
	return err == nil && state != 'Z' && state != 'X'
}

func TestKilledControllerLeavesNoProcess(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	controller := exec.Command(own, "controller", t.TempDir())
	controller.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := controller.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := newSpawner()
	defer s.close()
	if err := s.start(controller); err != nil {
		t.Fatal(err)
	}
	var pids []int
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		var pid int
		if _, err := fmt.Sscan(lines.Text(), &pid); err != nil {
			t.Errorf("controller says %q", lines.Text())
		}
		pids = append(pids, pid)
	}
	if len(pids) != 3 {
		t.Fatalf("processes %v, want three", pids)
	}
	for _, pid := range pids {
		if !lives(pid) {
			t.Errorf("process %d is gone too early", pid)
		}
	}
	if err := controller.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := controller.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("controller ended with %v", err)
	}
	clock, _ := newTown(t, 1)
	for _, pid := range pids {
		until(t, clock, fmt.Sprintf("end of process %d", pid), func() bool { return !lives(pid) })
	}
}
