package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// process as /proc/PID/stat tells of it.
type process struct {
	pid, parent, group int
	state              byte
}

// parseStat reads what stands before and behind the command's name, which may itself hold spaces and brackets.
func parseStat(b []byte) (process, error) {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || shut < open {
		return process{}, errors.New("a process's stat without a name")
	}
	rest := bytes.Fields(b[shut+1:])
	if len(rest) < 3 || len(rest[0]) != 1 {
		return process{}, errors.New("a process's stat without a state")
	}
	pid, err1 := strconv.Atoi(string(bytes.TrimSpace(b[:open])))
	parent, err2 := strconv.Atoi(string(rest[1]))
	group, err3 := strconv.Atoi(string(rest[2]))
	return process{pid, parent, group, rest[0][0]}, errors.Join(err1, err2, err3)
}

// processes that there are, as this process's /proc shows them.
func processes() ([]process, error) { return listed("/proc/[0-9]*/stat") }

// tasks are the threads of a process.
func tasks(pid int) ([]process, error) { return listed(fmt.Sprintf("/proc/%d/task/[0-9]*/stat", pid)) }

func listed(pattern string) ([]process, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	var all []process
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has gone meanwhile
		}
		p, err := parseStat(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// zombie has ended and waits for its parent to see.
func (p process) zombie() bool { return p.state == 'Z' || p.state == 'X' }

// stopped as by SIGSTOP.
func (p process) stopped() bool { return p.state == 'T' }

// allStopped tells whether every thread of a process group is stopped; noneStopped whether every one is free to go.
func allStopped(group int) (bool, error) { return every(group, process.stopped) }

func noneStopped(group int) (bool, error) {
	return every(group, func(p process) bool { return !p.stopped() })
}

func every(group int, is func(process) bool) (bool, error) {
	all, err := processes()
	if err != nil {
		return false, err
	}
	for _, p := range all {
		if p.group != group {
			continue
		}
		threads, err := tasks(p.pid)
		if err != nil {
			return false, err
		}
		for _, t := range threads {
			if !t.zombie() && !is(t) {
				return false, nil
			}
		}
	}
	return true, nil
}

// statusWords are those of os.ProcessState.
func statusWords(w syscall.WaitStatus) string {
	switch {
	case w.Exited():
		return fmt.Sprintf("exit status %d", w.ExitStatus())
	case w.CoreDump():
		return fmt.Sprintf("signal: %v (core dumped)", w.Signal())
	}
	return fmt.Sprintf("signal: %v", w.Signal())
}

// exitCode is what a shell would make of it.
func exitCode(w syscall.WaitStatus) int {
	if w.Signaled() {
		return 128 + int(w.Signal())
	}
	return w.ExitStatus()
}
