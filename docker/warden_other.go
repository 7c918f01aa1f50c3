//go:build !unix

package docker

import "syscall"

func apart() *syscall.SysProcAttr { return nil }
