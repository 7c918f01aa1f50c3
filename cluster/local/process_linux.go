package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"assize/cluster/skew"
)

// attributes: the kernel kills the node when we die, and a Ctrl-C on the terminal reaches us only.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// killed tells whether SIGKILL ended the process.
func killed(s *os.ProcessState) bool {
	if s == nil {
		return true // a tracer has seen it, which only ever sees its death in the midst of a fault
	}
	w, ok := s.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == syscall.SIGKILL
}

// pause stops the process and returns when all of it has stopped.
func (p *process) pause() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return p.await(true)
}

func (p *process) resume() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	return p.await(false)
}

// await the process's state, as the kernel tells it.
func (p *process) await(stopped bool) error {
	pid := p.cmd.Process.Pid
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		state, err := stateOf(pid)
		if err != nil {
			return err
		}
		if (state == 'T') == stopped {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("process %d is in state %c, want stopped: %v", pid, state, stopped)
		}
	}
}

// ended tells whether all that is left of it is its status, or nearly so: one that is ending loses its memory first.
func (p *process) ended() bool {
	state, err := stateOf(p.cmd.Process.Pid)
	if err != nil || state == 'Z' || state == 'X' {
		return true
	}
	pages, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	return err != nil || bytes.HasPrefix(pages, []byte("0 "))
}

// stateOf reads the field behind the command's name, which may itself hold spaces and brackets.
func stateOf(pid int) (byte, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	at := bytes.LastIndexByte(b, ')') + 2
	if at < 2 || at >= len(b) {
		return 0, fmt.Errorf("process %d: cannot read its state", pid)
	}
	return b[at], nil
}

// wait for the end of the process. Only when the kernel says that it has ended is it waited for: earlier that would take the stops of a traced child, which
// the skewing of clocks makes of ours, for its end, and take them from the tracer, another thread of ours.
func (p *process) wait() error {
	fd, err := unix.PidfdOpen(p.cmd.Process.Pid, 0)
	if err != nil {
		return p.cmd.Wait() // an old kernel, see ableToSkew, or it has ended already
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	err = p.cmd.Wait()
	if errors.Is(err, unix.ECHILD) {
		return errors.New("signal: killed, as a tracer has seen") // the thread that traced it was told in our stead
	}
	return err
}

// ableToSkew tells why clocks cannot be falsified here.
func ableToSkew() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("this kernel has no descriptors of processes: %w", err)
	}
	unix.Close(fd)
	return skew.Able()
}
