package agent

import (
	"errors"
	"fmt"
	"time"

	"assize/cluster"
	"assize/cluster/packets"
)

// What this agent falsifies by.
type (
	filter interface {
		Apply(packets.Set) error
		Counts() ([]packets.Count, error)
		Close() error // heals
	}
	clock interface {
		Set(cluster.Skew) error
		Close() error // leaves the clock as it is
	}
	powers struct {
		sweep     func(table string) error
		open      func(table string) (filter, error)
		abilities func() packets.Abilities
		able      func() error // to falsify clocks
		attach    func(pid int) (clock, error)
		rebased   func(cluster.Skew, time.Duration) cluster.Skew
	}
)

var errNoTable = errors.New("this agent was started without a table for its packet filter")

// faults are the active set. One caller at a time.
type faults struct {
	powers
	table string

	filter filter // nil: no packet has been touched since the last healing
	set    packets.Set
	before []packets.Count // of the set, before it was last applied anew

	clock clock // of the life that runs; nil: it is as the kernel has it
	skew  cluster.Skew
	turn  uint64        // of skew, as its controller counts; 0: none, or it has been healed
	since time.Time     // of skew
	stood time.Duration // how far ahead the wall clock was when skew was set
}

func untouched(s packets.Set) bool { return len(s.From) == 0 && len(s.To) == 0 && len(s.Shaped) == 0 }

// inForce tells whether what was applied is in force, whatever else has failed.
func inForce(err error) bool { return err == nil || errors.Is(err, packets.ErrUncleared) }

// filterPackets replaces the set.
func (f *faults) filterPackets(s packets.Set) error {
	if f.filter == nil {
		if untouched(s) {
			return nil
		}
		if f.table == "" {
			return errNoTable
		}
		opened, err := f.open(f.table)
		if err != nil {
			return err
		}
		f.filter = opened
	}
	err := f.filter.Apply(s)
	if inForce(err) {
		f.set, f.before = s, nil
	}
	return err
}

// renew applies the set as it is: the server is about to start, and whatever it stands on may have changed. The counts go on.
func (f *faults) renew() error {
	if f.filter == nil || untouched(f.set) {
		return nil
	}
	counts, err := f.counts()
	if err != nil {
		return err
	}
	err = f.filter.Apply(f.set)
	if inForce(err) { // its counters have begun anew
		f.before = counts
	}
	return err
}

// counts since the set was given.
func (f *faults) counts() ([]packets.Count, error) {
	if f.filter == nil {
		return nil, nil
	}
	now, err := f.filter.Counts()
	if err != nil {
		return nil, err
	}
	for _, b := range f.before {
		now = added(now, b)
	}
	return now, nil
}

func added(counts []packets.Count, more packets.Count) []packets.Count {
	for i := range counts {
		if c := &counts[i]; c.To == more.To {
			c.Held, c.Lost, c.Spilled = c.Held+more.Held, c.Lost+more.Lost, c.Spilled+more.Spilled
			c.Duplicated, c.Cut = c.Duplicated+more.Duplicated, c.Cut+more.Cut
			return counts
		}
	}
	return append(counts, more)
}

// skewClocks of the process; 0: none runs, and only the next ones are meant.
func (f *faults) skewClocks(s cluster.Skew, pid int, now time.Time) error {
	var stepped error
	if s == (cluster.Skew{}) {
		if f.clock != nil {
			if stepped = f.clock.Set(s); stepped != nil && !errors.Is(stepped, cluster.ErrStepped) {
				return stepped
			}
		}
		f.skew, f.stood = s, 0
		return stepped
	}
	if pid != 0 {
		if err := f.grip(pid); err != nil {
			return err
		}
		if stepped = f.clock.Set(s); stepped != nil && !errors.Is(stepped, cluster.ErrStepped) {
			return stepped
		}
	}
	f.stood = f.ahead(now)
	f.skew, f.since = s, now
	return stepped
}

func (f *faults) grip(pid int) error {
	if f.clock != nil {
		return nil
	}
	c, err := f.attach(pid)
	if err != nil {
		return err
	}
	f.clock = c
	return nil
}

// ahead is by how much the skewed wall clock is; a strobe's jumps, which go both ways, do not count.
func (f *faults) ahead(now time.Time) time.Duration {
	if f.skew == (cluster.Skew{}) {
		return 0
	}
	d := f.stood + time.Duration(float64(now.Sub(f.since))*f.skew.WallRate)
	if f.skew.Strobe == 0 {
		d += f.skew.Wall
	}
	return d
}

// inherit gives a new life the clocks that the one before would have.
func (f *faults) inherit(pid int, now time.Time) error {
	if f.skew == (cluster.Skew{}) {
		return nil
	}
	if err := f.grip(pid); err != nil {
		return err
	}
	s := f.rebased(f.skew, now.Sub(f.since))
	if s.Strobe == 0 {
		s.Wall += f.stood
	} else if f.stood != 0 { // a strobe's jumps are around where the clock stands
		if err := f.clock.Set(cluster.Skew{Wall: f.stood}); err != nil && !errors.Is(err, cluster.ErrStepped) {
			return err
		}
	}
	if err := f.clock.Set(s); !errors.Is(err, cluster.ErrStepped) { // no clock of this life had been read
		return err
	}
	return nil
}

// release the clocks of a life that has ended.
func (f *faults) release() error {
	c := f.clock
	f.clock = nil
	if c == nil {
		return nil
	}
	return c.Close()
}

// heal everything, as far as it goes; what could not be healed is active still.
func (f *faults) heal() error {
	var errs []error
	if f.filter != nil {
		err := f.filter.Close()
		if inForce(err) {
			f.set, f.before = packets.Set{}, nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("heal packets: %w", err))
		} else {
			f.filter = nil
		}
	}
	if err := f.skewClocks(cluster.Skew{}, 0, time.Time{}); err != nil && !errors.Is(err, cluster.ErrStepped) {
		errs = append(errs, fmt.Errorf("mend clocks: %w", err))
	} else {
		f.turn = 0
	}
	return errors.Join(errs...)
}
