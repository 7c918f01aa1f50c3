//go:build !unix

package daemon

import (
	"errors"
	"runtime"
)

// lock refuses: without a lock that a process's death frees, two nodes could share a directory.
func lock(string) (func(), error) {
	return nil, errors.New("nodes do not run on " + runtime.GOOS)
}
