// Package clienttest is what the tests of the clients share. Only tests import it.
package clienttest

import (
	"io"
	"net"
	"testing"
)

// Relay passes bytes on between those who connect to its address and another, until it is cut: all its connections end, and what was under way
// is lost. It takes new ones until the test ends; accepted counts all of them.
func Relay(t *testing.T, to string) (address string, cut func(), accepted func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns := make(chan net.Conn, 100)
	counts := make(chan int, 1)
	counts <- 0
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			counts <- 1 + <-counts
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				return
			}
			conns <- in
			conns <- out
			go io.Copy(in, out)
			go io.Copy(out, in)
		}
	}()
	cut = func() {
		for {
			select {
			case c := <-conns:
				c.Close()
			default:
				return
			}
		}
	}
	accepted = func() int {
		n := <-counts
		counts <- n
		return n
	}
	return l.Addr().String(), cut, accepted
}
