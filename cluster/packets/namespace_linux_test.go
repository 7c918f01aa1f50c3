package packets

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	inside = "ASSIZE_PACKETS_INSIDE" // this process has a network namespace of its own
	doomed = "ASSIZE_PACKETS_DOOMED" // this process is there to be killed with a filter in force
)

// TestMain runs the tests again in a network namespace of their own, so that what they do reaches nobody.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(doomed) != "":
		die()
	case os.Getenv(inside) != "" || os.Geteuid() != 0:
		os.Exit(m.Run())
	}
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Args[0] = os.Args[0]
	again.Env = append(os.Environ(), inside+"=1")
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the signal comes when the thread that started it ends
	if err := again.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "no network namespace of our own:", err)
		os.Exit(m.Run())
	}
	again.Wait()
	os.Exit(again.ProcessState.ExitCode())
}

// wire is an interface of this process's namespace, whose other end is in another.
type wire struct {
	t         testing.TB
	link      netlink.Link
	near, far netip.Addr
	near6     netip.Addr
	far6      netip.Addr
	work      chan func()
}

var wires atomic.Int32

func newWire(t testing.TB) *wire {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("needs root and a network namespace of its own")
	}
	n := byte(wires.Add(1))
	addr := func(host byte) (netip.Addr, netip.Addr) {
		return netip.AddrFrom4([4]byte{10, 77, n, host}), netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 7: n, 15: host})
	}
	w := &wire{t: t, work: make(chan func())}
	w.near, w.near6 = addr(1)
	w.far, w.far6 = addr(2)
	there := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
		}
		fd, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
		}
		there <- fd
		for f := range w.work {
			f()
		}
	}()
	ns := <-there
	defer unix.Close(ns)
	name, peer := fmt.Sprintf("near%d", n), fmt.Sprintf("far%d", n)
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer, PeerNamespace: netlink.NsFd(ns)}))
	w.link = up(t, name, w.near, w.near6)
	up(t, "lo")
	w.there(func() { up(t, "lo"); up(t, peer, w.far, w.far6) })
	t.Cleanup(func() {
		netlink.LinkDel(w.link)
		close(w.work)
	})
	for _, ends := range [][2]netip.Addr{{w.near, w.far}, {w.near6, w.far6}} {
		near, far := w.udpOf(ends[0], ends[1])
		near.WriteToUDPAddrPort([]byte("who has"), where(far)) // what is sent before the answer waits in a queue that is soon full
		if !hears(far, true) {
			t.Fatal("nothing passes the wire")
		}
	}
	return w
}

func up(t testing.TB, name string, addresses ...netip.Addr) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	for _, a := range addresses {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		ip := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
		must(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: ip, Flags: unix.IFA_F_NODAD}))
	}
	must(t, netlink.LinkSetUp(link))
	return link
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// there does something in the far namespace. Sockets that are made there stay there.
func (w *wire) there(f func()) {
	done := make(chan bool)
	w.work <- func() { f(); close(done) }
	<-done
}

// open opens a filter of this namespace.
func (w *wire) open() *Filter {
	w.t.Helper()
	f, err := Open(fmt.Sprintf("packets_test_%d", wires.Load()))
	must(w.t, err)
	w.t.Cleanup(func() {
		if err := f.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return f
}

func apply(t testing.TB, f *Filter, s Set) {
	t.Helper()
	must(t, f.Apply(s))
}

func count(t testing.TB, f *Filter) Count {
	t.Helper()
	all, err := f.Counts()
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("counts of %d peers, want one", len(all))
	}
	return all[0]
}

// udp sockets, near and far.
func (w *wire) udp() (near, far *net.UDPConn) { return w.udpOf(w.near, w.far) }

func (w *wire) udpOf(a, b netip.Addr) (near, far *net.UDPConn) {
	w.t.Helper()
	var err error
	near, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	must(w.t, err)
	w.there(func() { far, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(b, 0))) })
	must(w.t, err)
	for _, c := range []*net.UDPConn{near, far} {
		raw, err := c.SyscallConn()
		must(w.t, err)
		raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20) })
		w.t.Cleanup(func() { c.Close() })
	}
	return near, far
}

func where(c net.PacketConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// silence is how long a test listens to it.
const silence = 200 * time.Millisecond

// hears tells what comes out of a socket; patiently, if it should.
func hears(c net.Conn, should bool) bool {
	wait := silence
	if should {
		wait = 20 * time.Second
	}
	c.SetReadDeadline(time.Now().Add(wait))
	_, err := c.Read(make([]byte, 64))
	return err == nil
}

// tcp is a connection from near to far, or from far to near, to port 7000 there.
func (w *wire) tcp(fromFar bool) (dialer, listener net.Conn) {
	w.t.Helper()
	here := func(f func()) { f() }
	dials, listens, at := here, w.there, w.far
	if fromFar {
		dials, listens, at = w.there, here, w.near
	}
	var l net.Listener
	var err error
	listens(func() { l, err = net.Listen("tcp", netip.AddrPortFrom(at, 7000).String()) })
	must(w.t, err)
	defer l.Close()
	dials(func() { dialer, err = net.DialTimeout("tcp", l.Addr().String(), 20*time.Second) })
	must(w.t, err)
	listener, err = l.Accept()
	must(w.t, err)
	w.t.Cleanup(func() { dialer.Close(); listener.Close() })
	return dialer, listener
}
