package sim

import (
	"iter"
	"time"
)

// routine is a coroutine that runs one task after the other. All of them share the one thread: exactly one runs at a time, and it gives
// up the thread only in block.
type routine struct {
	index  uint32
	token  uint32 // of the wake that it waits for
	task   func()
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
}

// halted unwinds a routine whose simulation has ended while it was blocked.
type halted struct{}

// Go starts f concurrently: it runs when whoever calls blocks.
func (s *Sim) Go(f func()) {
	s.running++
	s.launch(f)
}

func (s *Sim) launch(f func()) {
	if s.halting {
		return
	}
	var r *routine
	if n := len(s.idle); n > 0 {
		r = s.idle[n-1]
		s.idle = s.idle[:n-1]
	} else {
		r = &routine{index: uint32(len(s.routines))}
		r.resume, r.stop = iter.Pull(s.live(r))
		s.routines = append(s.routines, r)
	}
	r.task = f
	r.token++
	s.plan(s.now, wake, r.index, r.token)
}

// live is the life of a routine: task, rest, task, rest, until it is stopped.
func (s *Sim) live(r *routine) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		r.yield = yield
		defer func() {
			if p := recover(); p != nil {
				if _, is := p.(halted); !is {
					panic(p)
				}
			}
		}()
		for {
			r.task()
			r.task = nil
			s.idle = append(s.idle, r)
			s.finished()
			if !yield(struct{}{}) {
				return
			}
		}
	}
}

// finished counts a task of Go out and wakes who waits for all of them. The main task, which nobody counted in, ends the run instead.
func (s *Sim) finished() {
	if s.ended {
		return
	}
	s.running--
	if s.running == 0 {
		for _, r := range s.waiting {
			s.plan(s.now, wake, r.index, r.token)
		}
		s.waiting = s.waiting[:0]
	}
}

// run gives the thread to r until it blocks.
func (s *Sim) run(r *routine) {
	before := s.current
	s.current = r
	r.resume()
	s.current = before
}

// block gives up the thread until the routine is run again.
func (s *Sim) block() {
	if !s.self().yield(struct{}{}) {
		panic(halted{})
	}
}

// self is the routine that has the thread. Only one may block; one that is being unwound may do so no more.
func (s *Sim) self() *routine {
	if s.halting {
		panic(halted{})
	}
	if s.current == nil {
		panic("sim: blocking outside of Run")
	}
	return s.current
}

// Now is the virtual time since the run began.
func (s *Sim) Now() time.Duration { return time.Duration(s.now) }

// Sleep blocks for virtual time.
func (s *Sim) Sleep(d time.Duration) {
	r := s.self()
	r.token++
	s.plan(s.now+int64(max(d, 0)), wake, r.index, r.token)
	s.block()
}

// Wait blocks until all that Go started is done. It is for the main task.
func (s *Sim) Wait() {
	if s.running == 0 {
		return
	}
	r := s.self()
	r.token++
	s.waiting = append(s.waiting, r)
	s.block()
}
