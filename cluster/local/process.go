package local

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// spawner starts processes from one thread that lives as long as it: the kernel's signal on the parent's death is sent when the thread
// that forked ends, and Go ends threads at will.
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		defer close(s.done)
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.jobs <- func() { result <- cmd.Start() }
	return <-result
}

func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}

// process is one life of a node.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer // its end tells the node that we are gone
	done  chan struct{}

	mu       sync.Mutex
	expected bool // that it ends
	end      string
}

// launch starts the binary; whatever it prints goes to the journal. told is called when it ends otherwise than by having been killed: also of one
// that was about to die of itself, of a panic whose trace takes time to print, say, when it was to be killed.
func launch(s *spawner, binary string, args []string, j *journal, told func(end string)) (*process, error) {
	cmd := exec.Command(binary, args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = attributes()
	err = s.start(cmd)
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	j.line(fmt.Sprintf("harness: started as process %d", cmd.Process.Pid))
	p := &process{cmd: cmd, stdin: stdin, done: make(chan struct{})}
	go p.watch(out, j, told)
	return p, nil
}

// watch copies the output to its end, then waits for the process.
func (p *process) watch(out *os.File, j *journal, told func(string)) {
	j.copy(out)
	out.Close()
	err := p.cmd.Wait()
	end := "exit status 0"
	if err != nil {
		end = err.Error()
	}
	p.mu.Lock()
	expected := p.expected
	p.end = end
	p.mu.Unlock()
	j.line("harness: ended with " + end)
	if !expected || !killed(p.cmd.ProcessState) {
		told(end)
	}
	close(p.done)
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill returns when the process is gone.
func (p *process) kill() error {
	p.mu.Lock()
	p.expected = true
	p.mu.Unlock()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.cmd.Process.Pid, err)
	}
	bound := time.NewTimer(exitBound)
	defer bound.Stop()
	select {
	case <-p.done:
		return nil
	case <-bound.C:
		return fmt.Errorf("process %d has not ended %v after it was killed", p.cmd.Process.Pid, exitBound)
	}
}

func (p *process) ending() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

// journal is a node's server.log, kept through its restarts.
type journal struct {
	now func() time.Duration

	mu    sync.Mutex
	file  *os.File
	cause []string // from a panic on: a long trace of goroutines follows what matters
	last  []string // the end of it, for the report of an unexpected death
}

const (
	lastLines  = 20
	causeLines = 12
)

func newJournal(path string, now func() time.Duration) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{now: now, file: f}, nil
}

// begin forgets the end of the life before.
func (j *journal) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cause, j.last = nil, nil
}

// line writes one line, stamped. A full disk must not stop a node's output from being read, so errors end here.
func (j *journal) line(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(j.file, "%12.6f %s\n", j.now().Seconds(), s)
	if len(j.cause) > 0 || strings.HasPrefix(s, "panic:") || strings.HasPrefix(s, "fatal error:") {
		if len(j.cause) < causeLines {
			j.cause = append(j.cause, s)
			return
		}
	}
	j.last = append(j.last, s)
	if len(j.last) > lastLines {
		j.last = slices.Delete(j.last, 0, len(j.last)-lastLines)
	}
}

// copy stamps each line at the time it is read. A line longer than the buffer is broken.
func (j *journal) copy(r io.Reader) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		b, err := lines.ReadSlice('\n')
		if len(b) > 0 {
			j.line(strings.TrimRight(string(b), "\r\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// ending is what of this life's output says why it ended.
func (j *journal) ending() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.cause) > 0 {
		return slices.Clone(j.cause)
	}
	return slices.Clone(j.last)
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}
