//go:build !linux

package local

import (
	"net"
	"strconv"
)

// hold only sees that the port is free: how to keep it without listening on it differs from system to system. A node that finds its port taken
// gets another.
func hold(port int) (release func(), err error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return func() {}, l.Close()
}
