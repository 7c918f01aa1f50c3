//go:build !linux

package agent

import (
	"context"
	"errors"
)

// Run needs Linux.
func Run(context.Context, Config) (status int, err error) {
	return 0, errors.New("a node's agent runs in a Linux container only")
}
