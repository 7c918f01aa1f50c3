package agent

import (
	"context"
	"errors"
)

// Run runs the agent, and the server as its child.
func Run(context.Context, Config) (status int, err error) {
	return 0, errors.New("not yet")
}
