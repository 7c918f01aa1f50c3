//go:build unix && !linux

package local

import "syscall"

// attributes: a Ctrl-C on the terminal reaches us only. There is no signal on the parent's death; the node's standard input ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func (p *process) pause() error  { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
