// Package skew falsifies the clocks of any one process of this machine, static or dynamic, without its help and without touching the clocks of
// the host or of its neighbours: it replaces what the process reads its clocks by, the vDSO, in that process alone.
package skew

import (
	"errors"
	"time"

	"assize/cluster"
)

// Able tells why clocks cannot be falsified here, nil where they can.
func Able() error { return errors.ErrUnsupported }

// Means tells in words how it is done, and on which kind of machine that has not been tried.
func Means() string { return "" }

// Clock is the clock of one process.
type Clock struct{}

// Attach puts the replacement into the process, or finds it there. What the process reads does not change yet.
func Attach(pid int) (*Clock, error) { return nil, errors.ErrUnsupported }

// Set falsifies the clock. It is in effect at the return.
func (c *Clock) Set(s cluster.Skew) error { return errors.ErrUnsupported }

// Reading of a process's clocks beside the true ones.
type Reading struct {
	True, Wall         time.Time
	TrueMono, Mono     time.Duration
	WallRate, MonoRate float64 // as in cluster.Skew: 0 is true
}

// Read tells what the process's clocks read now.
func (c *Clock) Read() (Reading, error) { return Reading{}, errors.ErrUnsupported }

// Lasting is what to set on the process that takes the place of this one, also when this one has ended.
func (c *Clock) Lasting() cluster.Skew { return cluster.Skew{} }

// Undo makes the process read its clocks as it did before Attach. The Clock is of no use afterwards.
func (c *Clock) Undo() error { return errors.ErrUnsupported }

// Close leaves the process as it is, but for a strobe, which ends.
func (c *Clock) Close() error { return errors.ErrUnsupported }

// Rebased is what to set on a process that takes the place of one on which s was set a while ago.
func Rebased(s cluster.Skew, elapsed time.Duration) cluster.Skew { return s }
