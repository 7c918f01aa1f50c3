//go:build !linux

package docker

import (
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

// processID of a process that lives. A pid that is used again passes for the process that had it before: too much is then left, never too
// little.
func processID(pid int) string {
	p, err := os.FindProcess(pid)
	if err != nil || p.Signal(syscall.Signal(0)) != nil {
		return ""
	}
	return fmt.Sprintf("%d-", pid)
}
