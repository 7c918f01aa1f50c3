//go:build !linux

package docker

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// identity of this machine; its lives cannot be told apart.
func identity() (machine, boot string) {
	machine, _ = os.Hostname()
	return strings.ReplaceAll(machine, "/", "_"), ""
}

// processID of a process. A pid that is used again passes for the process that had it before: too much is then left, never too little.
func processID(pid int) string { return fmt.Sprintf("%d-", pid) }

// ended tells whether there is certainly no such process. That it may not be signalled, being another user's, is no such sign.
func ended(pid int, _ string) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	return errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
