//go:build !linux

package skew

import (
	"errors"
	"fmt"
	"runtime"
)

var errSystem = fmt.Errorf("clock skew works on Linux, not on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// outcome of a stop of the process.
type outcome struct{}

// Able tells why clocks cannot be falsified here, nil where they can.
func Able() error { return errSystem }

// Attach puts the replacement into the process, or finds it there. What the process reads does not change yet.
func Attach(int) (*Clock, error) { return nil, errSystem }

func (c *Clock) restore() error { return errSystem }

func truth() (t [lines]int64, err error) { return t, errSystem }

func reached([lines]int64) error { return errSystem }
