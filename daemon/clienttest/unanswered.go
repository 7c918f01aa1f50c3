package clienttest

import (
	"errors"
	"net"
	"testing"

	"assize/cluster"
)

// Unanswered tests dialling where nobody answers: a process that is stopped, for which the kernel still takes connections, and a port where nobody
// listens. Nothing has been done then. nobody is such a port's address.
func Unanswered(t *testing.T, dial func(address string) error) (nobody string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"a stopped process", "a port where nobody listens"} {
		if err := dial(l.Addr().String()); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("dial of %s: %v", where, err)
		}
		l.Close()
	}
	return l.Addr().String()
}
