package packets

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"assize/cluster"
)

const doomedTable = "packets_test_doomed"

// die applies a filter to the peer named by the environment and waits to be killed.
func die() {
	peer := netip.MustParseAddr(os.Getenv(doomed))
	f, err := Open(doomedTable)
	if err == nil {
		err = f.Apply(Set{
			From:   []Peer{{peer, []uint16{7000}}},
			Shaped: []Shaped{{Peer{Address: peer}, cluster.Shape{Delay: time.Minute, Rate: 1e6}}},
		})
	}
	fmt.Println(err)
	select {}
}

func TestSweepAfterKill(t *testing.T) {
	w := newWire(t)
	inFar, in := w.tcp(true)
	near, far := w.udp()
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), doomed+"="+w.far.String())
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	defer func() { child.Process.Kill(); child.Wait() }()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "<nil>\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	near.WriteToUDPAddrPort([]byte("held"), where(far))
	if hears(far, false) {
		t.Error("a packet passes that should be held")
	}
	must(t, child.Process.Kill())
	child.Wait()

	// The rules are still there, but a queue where nobody listens any more lets packets pass.
	near.WriteToUDPAddrPort([]byte("passes"), where(far))
	if !hears(far, true) {
		t.Error("the dead process's queue holds packets")
	}
	passes(t, inFar, in, false)
	own, err := ownRoot(w.link.Attrs().Index, majorOf(doomedTable))
	if err != nil || !own {
		t.Errorf("the dead process's queueing discipline is there: %v, %v", own, err)
	}

	must(t, Sweep(doomedTable))
	if !hears(in, true) {
		t.Error("what was cut off does not arrive after the sweep")
	}
	for _, q := range queuesOf(t, w.link) {
		if q.Attrs().Handle != 0 {
			t.Errorf("left behind: %v", q)
		}
	}
	must(t, Sweep(doomedTable)) // and once more where nothing is
}

func queuesOf(t testing.TB, link netlink.Link) []netlink.Qdisc {
	t.Helper()
	all, err := queues(link.Attrs().Index)
	must(t, err)
	return all
}
