package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// stopBound: a thread stops when its last system call, perhaps an fsync, returns.
const stopBound = exitBound

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
func (p *process) pause(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return p.await(ctx, true)
}

func (p *process) resume() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	return p.await(context.Background(), false)
}

// await until all threads have stopped, or none is, as the kernel tells it. It has been seen twice in a row: of a thread that was just being started
// at the first look the second one tells.
func (p *process) await(ctx context.Context, stopped bool) error {
	pid := p.cmd.Process.Pid
	end := time.Now().Add(stopBound)
	for seen := 0; ; time.Sleep(time.Millisecond) {
		states, err := statesOf(pid)
		if err != nil {
			return err
		}
		reached := !slices.Contains(states, 'T')
		if stopped {
			reached = !slices.ContainsFunc(states, func(s byte) bool { return s != 'T' })
		}
		if !reached {
			seen = 0
		} else if seen++; seen == 2 {
			return nil
		}
		if err := ctx.Err(); err != nil || time.Now().After(end) {
			return errors.Join(fmt.Errorf("the threads of process %d are in the states %s, want stopped: %v", pid, states, stopped), err)
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

// stateOf the process's first thread.
func stateOf(pid int) (byte, error) { return state(fmt.Sprintf("/proc/%d/stat", pid)) }

// statesOf all threads that have not ended.
func statesOf(pid int) (states []byte, err error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if s, err := state(path); err == nil && s != 'Z' && s != 'X' {
			states = append(states, s)
		}
	}
	if len(states) == 0 {
		return nil, fmt.Errorf("process %d has ended", pid)
	}
	return states, nil
}

// state is the field behind the command's name, which may itself hold spaces and brackets.
func state(path string) (byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	at := bytes.LastIndexByte(b, ')') + 2
	if at < 2 || at >= len(b) {
		return 0, fmt.Errorf("%s: no state in it", path)
	}
	return b[at], nil
}
