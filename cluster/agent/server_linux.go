package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	drainBound = time.Second      // for the output of a server that has ended: somebody whom it has left behind may hold the pipe
	exitBound  = 10 * time.Second // a killed process leaves when its last system call, perhaps an fsync, returns
	stopBound  = 10 * time.Second // so does one that is to stop
	reapEvery  = time.Second      // beside the kernel's signal
)

// server is the agent's child through all its lives.
type server struct {
	binary string
	voice  *voice
	ended  func(l *life) // called for each when it has ended and what it printed has been passed on

	mu    sync.Mutex
	lives uint64
	life  *life // the last one; nil before the first
}

// life of the server: one process.
type life struct {
	number  uint64
	pid     int
	stdin   *os.File      // its end tells the server that we are gone
	drained chan struct{} // its output has ended
	done    chan struct{} // it has ended and ended has been called

	// Under the server's mu.
	gone, asked, paused bool
	end                 End
	code                int
}

// start begins a life; nil if there is one.
func (s *server) start(args []string) (*life, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != nil && !s.life.gone {
		return nil, nil
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return nil, err
	}
	defer stdout.Close()
	// Not os/exec: the reaper would be faster than its Wait, and take the status.
	pid, err := syscall.ForkExec(s.binary, append([]string{s.binary}, args...), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{in.Fd(), stdout.Fd(), stdout.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		stdin.Close()
		out.Close()
		return nil, fmt.Errorf("start %s: %w", s.binary, err)
	}
	s.lives++
	l := &life{number: s.lives, pid: pid, stdin: stdin, drained: make(chan struct{}), done: make(chan struct{})}
	s.life = l
	go func() {
		defer close(l.drained)
		defer out.Close()
		s.voice.pass(out)
	}()
	return l, nil
}

// running life; nil if there is none.
func (s *server) running() *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil || s.life.gone {
		return nil
	}
	return s.life
}

func (s *server) isPaused(l *life) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.paused
}

// reapAll takes leave of whatever has ended, until ctx is done: as the first process of a container we inherit all orphans.
func (s *server) reapAll(ctx context.Context) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	again := time.NewTicker(reapEvery)
	defer again.Stop()
	for {
		if err := s.reap(); err != nil {
			s.voice.say("%v", err)
		}
		select {
		case <-children:
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// reap looks for zombies before it waits for them: the server's process group is to be killed while the zombie still keeps the group's number from being
// anybody else's. Tracers are processes of their own, and the kernel shows a traced server's death to its tracer and then to us.
func (s *server) reap() error {
	all, err := processes()
	if err != nil {
		return fmt.Errorf("look for ended processes: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.life
	if l != nil && l.gone {
		l = nil
	}
	for _, p := range all {
		if !p.zombie() || p.parent != os.Getpid() {
			continue
		}
		if l != nil && p.pid == l.pid {
			syscall.Kill(-l.pid, syscall.SIGKILL) // whom it leaves behind would keep its ports
		}
		var w syscall.WaitStatus
		got, err := syscall.Wait4(p.pid, &w, syscall.WNOHANG, nil)
		if err == nil && got == p.pid && l != nil && got == l.pid {
			s.finish(l, End{Status: statusWords(w), Killed: w.Signaled() && w.Signal() == syscall.SIGKILL}, exitCode(w))
			l = nil
		}
	}
	return nil
}

// finish a life. Under mu.
func (s *server) finish(l *life, end End, code int) {
	end.Life, end.Asked = l.number, l.asked
	l.gone, l.paused, l.end, l.code = true, false, end, code
	go func() {
		bound := time.NewTimer(drainBound)
		defer bound.Stop()
		select {
		case <-l.drained:
		case <-bound.C:
		}
		l.stdin.Close()
		s.ended(l)
		close(l.done)
	}()
}

// kill returns when the server has been reaped.
func (s *server) kill() error {
	s.mu.Lock()
	l := s.life
	if l != nil && !l.gone {
		l.asked = true
		if err := syscall.Kill(-l.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.mu.Unlock()
			return fmt.Errorf("kill process %d: %w", l.pid, err)
		}
	}
	s.mu.Unlock()
	if l == nil || l.over(exitBound) {
		return nil
	}
	return fmt.Errorf("process %d has not ended %v after it was killed", l.pid, exitBound)
}

// over tells whether the life has ended within the bound.
func (l *life) over(bound time.Duration) bool {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-l.done:
		return true
	case <-timer.C:
		return false
	}
}

// pause or resume, and return when all threads of the server's process group have stopped, or go on.
func (s *server) pause() error  { return s.steer(syscall.SIGSTOP, true, allStopped) }
func (s *server) resume() error { return s.steer(syscall.SIGCONT, false, noneStopped) }

func (s *server) steer(with syscall.Signal, paused bool, reached func(group int) (bool, error)) error {
	s.mu.Lock()
	l := s.life
	if l == nil || l.gone {
		s.mu.Unlock()
		return ErrDown
	}
	err := syscall.Kill(-l.pid, with)
	if err == nil {
		l.paused = paused
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("send process %d %v: %w", l.pid, with, err)
	}
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(stopBound); ; <-poll.C {
		there, err := reached(l.pid)
		switch {
		case s.running() != l:
			return ErrDown
		case there || err != nil:
			return err
		case time.Now().After(end):
			return fmt.Errorf("process %d has not obeyed %v for %v", l.pid, with, stopBound)
		}
	}
}

// terminate asks the server to end, and kills it when it does not within the bound. It returns the status of its
// last life, 0 where that had been killed before.
func (s *server) terminate(bound time.Duration) int {
	s.mu.Lock()
	l := s.life
	if l == nil {
		s.mu.Unlock()
		return 0
	}
	killed := l.asked
	if !l.gone {
		l.asked = true
		syscall.Kill(l.pid, syscall.SIGTERM)
		syscall.Kill(-l.pid, syscall.SIGCONT) // a stopped one would not hear
	}
	s.mu.Unlock()
	if !l.over(bound) {
		s.voice.say("the server has not ended within %v; killed", bound)
		if err := s.kill(); err != nil {
			s.voice.say("%v", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if killed {
		return 0
	}
	return l.code
}

// voice is the agent's output, shared with the server.
type voice struct {
	mu     sync.Mutex
	w      io.Writer
	within bool // a line of the server
}

// say prints one line of our own.
func (v *voice) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.within {
		fmt.Fprintln(v.w)
		v.within = false
	}
	fmt.Fprintf(v.w, "agent: "+format+"\n", args...) // nobody is left to hear of an error
}

// pass on what the server prints, in whole lines up to the buffer's length. An output that takes no more must not stop the server.
func (v *voice) pass(r io.Reader) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		b, err := lines.ReadSlice('\n')
		if len(b) > 0 {
			v.mu.Lock()
			v.w.Write(b)
			v.within = b[len(b)-1] != '\n'
			v.mu.Unlock()
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
