package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports for the nodes are taken from below the range that systems give to outgoing connections (from 32768 on Linux, from 49152
// elsewhere): a port in that range is soon somebody's while its node is down.
const (
	lowestPort  = 15000
	highestPort = 32000
)

// claim keeps a loopback port from others. Nobody listens on it: whoever connects is refused.
//
// It is held from the choice of the port to the node's start, and again whenever the node is down. Otherwise the node of another run on this
// machine could take the port meanwhile, and our clients would talk to that.
type claim struct {
	port    int
	release func()
}

func (c claim) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

// choose claims a free port.
func choose() (claim, error) {
	var last error
	for range 256 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		release, err := hold(port)
		if err == nil {
			return claim{port, release}, nil
		}
		last = err
	}
	return claim{}, fmt.Errorf("find a free port: %w", last)
}

// listen takes a free port for ourselves.
func listen() (net.Listener, error) {
	var errs []error
	for range 8 {
		c, err := choose()
		if err != nil {
			return nil, err
		}
		c.release()
		l, err := net.Listen("tcp", c.address())
		if err == nil {
			return l, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
