//go:build !unix

package local

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// attributes: there is no signal on the parent's death; the node's standard input ends.
func attributes() *syscall.SysProcAttr { return nil }

func (p *process) pause(context.Context) error {
	return errors.New("this system cannot stop a process")
}
func (p *process) resume() error { return nil }

// killed cannot be told from an exit here.
func killed(*os.ProcessState) bool { return true }

func (p *process) ended() bool { return false }
