package local

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"time"
)

// attributes: the kernel kills the node when we die, and a Ctrl-C on the terminal reaches us only.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// killed tells whether SIGKILL ended the process.
func killed(s *os.ProcessState) bool {
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
