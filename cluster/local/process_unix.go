//go:build unix && !linux

package local

import (
	"context"
	"os"
	"syscall"
)

// attributes: a Ctrl-C on the terminal reaches us only. There is no signal on the parent's death; the node's standard input ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// killed tells whether SIGKILL ended the process.
func killed(s *os.ProcessState) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == syscall.SIGKILL
}

func (p *process) pause(context.Context) error { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) resume() error               { return p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *process) ended() bool { return false }
