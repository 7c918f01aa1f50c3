package local

import (
	"net"
	"syscall"
	"testing"
	"unsafe"
)

// inFlight is what a connection's sender has given to the kernel and its receiver has not read.
func inFlight(t *testing.T, sender, receiver net.Conn) int {
	t.Helper()
	total := 0
	for conn, request := range map[net.Conn]uintptr{sender: syscall.TIOCOUTQ, receiver: syscall.TIOCINQ} {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var n int32
		raw.Control(func(fd uintptr) {
			if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&n))); errno != 0 {
				t.Error(errno)
			}
		})
		total += int(n)
	}
	return total
}

// A target that does not read fills its buffers; a cut must stop even the write that is stuck in them, or its rest would come through as soon as
// the target goes on.
func TestCutStopsAWriteUnderWay(t *testing.T) {
	r, from, to := ends(t)
	const all = 64 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(make([]byte, all))
		sent <- err
	}()
	var relayed net.Conn
	for relayed == nil {
		if n, _ := drain(from); n != 0 { // time for the relay to have its other end
			t.Fatal("the sender hears something")
		}
		r.mu.Lock()
		relayed = r.pipes[0].to
		r.mu.Unlock()
	}
	// All is stuck when nothing more gets into the kernel; the sender has far more than any buffer takes.
	for before := -1; ; {
		if n, _ := drain(from); n != 0 {
			t.Fatal("the sender hears something")
		}
		now := inFlight(t, relayed, to)
		if now == before && now > 0 {
			break
		}
		before = now
	}
	r.set(true)
	if n, _ := drain(from); n != 0 { // time for the stuck write to be given up
		t.Fatal("the sender hears something")
	}
	want := inFlight(t, relayed, to)
	got, _ := drain(to)
	if got != want || got == 0 {
		t.Errorf("%d bytes came after the cut, %d had been sent before", got, want)
	}
	r.set(false)
	for got < all {
		n, _ := drain(to)
		if n == 0 {
			t.Fatalf("%d bytes came, want %d", got, all)
		}
		got += n
	}
	if err := <-sent; err != nil || got != all {
		t.Errorf("%d bytes came of %d, %v", got, all, err)
	}
}
