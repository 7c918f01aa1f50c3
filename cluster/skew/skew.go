// Package skew falsifies the clocks of any one process of this machine, static or dynamic, without its help and without touching the clocks of
// the host or of its neighbours: it replaces what the process reads its clocks by, the vDSO, in that process alone.
//
// It lies to those who ask, not to those who wait: a program that computes a deadline from a falsified clock and has the kernel wait until then
// (as Java does by CLOCK_MONOTONIC) waits too long or not at all, one that has the kernel wait for a while (as Go and Redis do) waits that
// long. Programs that ask the kernel itself, by system call, are told the truth. An exec starts unskewed, a fork inherits what holds then.
//
// The process is stopped for some milliseconds when the replacement is put in and when it is taken out, so that one of its system calls
// may be interrupted, and never in between. One that is stopped already stays so. A reading costs a system call.
package skew

import (
	"fmt"
	"os"
	"sync"
	"time"

	"assize/cluster"
)

// Clock is the clock of one process. Any goroutine may call it. Only one Clock may be used for a process at a time.
type Clock struct {
	pid int
	mem *os.File // the process's memory; it does not become another's when the process ends
	at  int64    // where in there the data are
	// How it was attached.
	image  image
	base   int64 // of the vDSO
	holdup outcome

	mu   sync.Mutex
	calm func() // ends the strobe
}

// Reading of a process's clocks beside the true ones.
type Reading struct {
	True, Wall         time.Time
	TrueMono, Mono     time.Duration
	WallRate, MonoRate float64 // as in cluster.Skew: 0 is true
}

const (
	// margin between the writing of a set and the moment from which it holds: time enough for the writing, also on a busy machine.
	margin = 10 * time.Millisecond
	// slowMargin where a monotonic clock is to go slower, which steps back if the set is in force only later.
	slowMargin = 100 * time.Millisecond
)

// Set falsifies the clock, or mends it, as cluster.Skew says: jumps are added to where the clocks stand. It is in effect at the return, and does
// not stop the process. A strobe goes on until the next Set, Undo or Close. After an error the clock may have been set all the same; after
// one that wraps cluster.ErrStepped it has been.
func (c *Clock) Set(s cluster.Skew) error {
	if err := validate(s); err != nil {
		return fmt.Errorf("skew process %d: %w", c.pid, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calm != nil {
		c.calm()
		c.calm = nil
	}
	if err := c.set(s); err != nil {
		return fmt.Errorf("skew process %d: %w", c.pid, err)
	}
	return nil
}

func (c *Clock) set(s cluster.Skew) error {
	turn, now, err := c.load()
	if err != nil {
		return err
	}
	_, next, err := now.soon(s, 0)
	if err != nil {
		return err
	}
	ahead, slower := margin, next.slower(now)
	if slower {
		ahead = slowMargin
	}
	for ; ; ahead *= 2 {
		at, next, err := now.soon(s, ahead)
		if err != nil {
			return err
		}
		if err := c.write(turn+1, next); err != nil {
			return err
		}
		// The writing may have taken long.
		if t, err := truth(); err != nil {
			return err
		} else if t[mono] > at[mono]-int64(ahead)/5*4 {
			continue
		}
		if err := c.turn(turn + 1); err != nil {
			return err
		}
		var late error
		if slower {
			late = before(at)
		}
		if err := reached(at); err != nil {
			return err
		}
		if s.Strobe > 0 {
			c.calm = c.strobe(next, s)
		}
		return late
	}
}

// soon is what to set now so that s holds a while ahead, and from which true readings on that is.
func (now set) soon(s cluster.Skew, ahead time.Duration) (at [lines]int64, next set, err error) {
	if at, err = truth(); err != nil {
		return at, next, err
	}
	for i := range at {
		at[i] += int64(ahead)
	}
	next, err = now.settled().skewed(at, s)
	return at, next, err
}

// before tells whether it is: a turn may be late though there was time enough when it began. Whoever read the clock between the moment and the turn saw it go on at the
// greater rate.
func before(at [lines]int64) error {
	t, err := truth()
	if err == nil && t[mono] >= at[mono] {
		err = cluster.ErrStepped
	}
	return err
}

// strobe displaces the wall clock and takes that back in turn. The first displacement is there already.
func (c *Clock) strobe(first set, s cluster.Skew) (calm func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(s.Strobe)
		defer tick.Stop()
		settled := first.settled()
		for by, going := int64(0), true; going; by = int64(s.Wall) - by {
			select {
			case <-tick.C:
			case <-stop:
				by, going = 0, false
			}
			t, err := truth()
			if err != nil || c.replace(settled.displace(t[wall], by)) != nil {
				return // it has ended
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// replace the set that is in force.
func (c *Clock) replace(s set) error {
	turn, _, err := c.load()
	if err != nil {
		return err
	}
	if err := c.write(turn+1, s); err != nil {
		return err
	}
	return c.turn(turn + 1)
}

// load what is in force.
func (c *Clock) load() (turn byte, s set, err error) {
	b := make([]byte, dataSize)
	if _, err := c.mem.ReadAt(b, c.at); err != nil {
		return 0, s, gone(err)
	}
	turn = b[turnAt]
	s, err = decode(b[setsAt+int(turn%sets)*setSize:][:setSize])
	return turn, s, err
}

func (c *Clock) write(turn byte, s set) error {
	_, err := c.mem.WriteAt(s.encode(), c.at+setsAt+int64(turn%sets)*setSize)
	return gone(err)
}

// turn to another set: one byte, so that a thread sees it done or not.
func (c *Clock) turn(turn byte) error {
	_, err := c.mem.WriteAt([]byte{turn}, c.at+turnAt)
	return gone(err)
}

func gone(err error) error {
	if err != nil {
		return fmt.Errorf("the process has ended or become another program: %w", err)
	}
	return nil
}

// Read tells what the process's clocks read now.
func (c *Clock) Read() (Reading, error) {
	_, s, err := c.load()
	if err != nil {
		return Reading{}, fmt.Errorf("read the clock of process %d: %w", c.pid, err)
	}
	t, err := truth()
	if err != nil {
		return Reading{}, err
	}
	w, m := s.lines[wall], s.lines[mono]
	return Reading{
		True: time.Unix(0, t[wall]), Wall: time.Unix(0, w.at(t[wall])), TrueMono: time.Duration(t[mono]), Mono: time.Duration(m.at(t[mono])),
		WallRate: w.relative(), MonoRate: m.relative(),
	}, nil
}

// Undo makes the process read its clocks as it did before Attach: its functions are the kernel's, to the byte. What they no longer lead to stays
// in the unused end of the vDSO, for a thread may be on its way through it. The Clock is of no use afterwards.
func (c *Clock) Undo() error {
	defer c.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.restore(); err != nil {
		return fmt.Errorf("undo the skew of process %d: %w", c.pid, err)
	}
	return nil
}

// Close leaves the process as it is, but for a strobe, which ends. Idempotent.
func (c *Clock) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calm != nil {
		c.calm()
		c.calm = nil
	}
	c.mem.Close()
	return nil
}

// Rebased is what to Set on a process that takes the place of one on which s was set a while ago: the wall clock is where it would be, and the
// monotonic clock begins anew. A strobe loses what its wall clock's rate has added.
func Rebased(s cluster.Skew, elapsed time.Duration) cluster.Skew {
	s.Mono = 0
	if s.Strobe == 0 {
		s.Wall += time.Duration(float64(elapsed) * s.WallRate)
	}
	return s
}
