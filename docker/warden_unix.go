//go:build unix

package docker

import "syscall"

// apart from the terminal: a Ctrl-C there is the controller's affair.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
