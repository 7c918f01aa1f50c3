//go:build !linux

package packets

import "errors"

var errLinux = errors.New("packets can be dropped and shaped on Linux only")

// Filter exists on Linux only.
type Filter struct{}

// Probe says that nothing can be done here.
func Probe() Abilities {
	why := errLinux.Error()
	return Abilities{Drop: why, Loss: why, Rate: why, Delay: why, Duplicate: why, Means: "none"}
}

// Open fails.
func Open(string) (*Filter, error) { return nil, errLinux }

// Apply fails.
func (*Filter) Apply(Set) error { return errLinux }

// Counts fails.
func (*Filter) Counts() ([]Count, error) { return nil, errLinux }

// Close has nothing to do.
func (*Filter) Close() error { return nil }

// Sweep has nothing to do.
func Sweep(string) error { return nil }
