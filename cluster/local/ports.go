package local

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports for the nodes are taken from below the range that systems give to outgoing connections (from 32768 on Linux, from 49152
// elsewhere): a port in that range is soon somebody's while its node is down.
const (
	lowestPort  = 15000
	highestPort = 32000
)

// hold takes a free loopback port and keeps it until the listener is closed, which happens just before the node takes it over.
func hold() (net.Listener, error) {
	for range 64 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return l, nil
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	return l, nil
}
