package docker

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// identity of this machine and of its present life.
func identity() (machine, boot string) {
	machine = word("/etc/machine-id")
	if machine == "" {
		machine, _ = os.Hostname()
	}
	if space, err := os.Readlink("/proc/self/ns/pid"); err == nil {
		machine += "." + strings.Trim(space, "pid:[]")
	}
	return strings.ReplaceAll(machine, "/", "_"), word("/proc/sys/kernel/random/boot_id")
}

func word(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// processID of a process that lives, and empty for one that does not: a zombie does not.
func processID(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The command's name may hold spaces and brackets; behind it come the state and, as the 20th, the time of the start.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fmt.Sprintf("%d-%s", pid, fields[19])
}
