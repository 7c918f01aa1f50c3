package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"assize/cluster/fleet"
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
func launch(s *spawner, binary string, args []string, j *fleet.Journal, told func(end string)) (*process, error) {
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
	j.Line(fmt.Sprintf("harness: started as process %d", cmd.Process.Pid))
	p := &process{cmd: cmd, stdin: stdin, done: make(chan struct{})}
	go p.watch(out, j, told)
	return p, nil
}

// watch copies the output to its end, then waits for the process.
func (p *process) watch(out *os.File, j *fleet.Journal, told func(string)) {
	j.Copy(out)
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
	j.Line("harness: ended with " + end)
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

// Done and Ending are fleet.Life's.
func (p *process) Done() <-chan struct{} { return p.done }

func (p *process) Ending() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}
