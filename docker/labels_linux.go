package docker

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
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

// processID of a process; empty where it has ended or cannot be seen.
func processID(pid int) string {
	start, zombie, err := began(pid)
	if err != nil || zombie {
		return ""
	}
	return fmt.Sprintf("%d-%s", pid, start)
}

// ended tells whether the process that began then certainly lives no more: a zombie does not, nor does one whose pid is another's now. One that /proc does
// not show may be hidden from this user, or this process may have no file left to look with.
func ended(pid int, start string) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	now, zombie, err := began(pid)
	return err == nil && (zombie || start != "" && now != start)
}

// began tells when a process was started, in the kernel's words.
func began(pid int) (start string, zombie bool, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false, err
	}
	// The command's name may hold spaces and brackets; behind it come the state and, as the 20th, the time of the start.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return "", false, fmt.Errorf("process %d is %q", pid, b)
	}
	return fields[19], fields[0] == "Z" || fields[0] == "X", nil
}
