package skew

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"assize/cluster"
)

// Rewriting a whole function with what it is anyhow, while all threads are in it most of the time.
func TestThreadsAreSteppedOutOfTheWay(t *testing.T) {
	mustBeAble(t)
	g := everyClock(t)
	c := attached(t, g.pid)
	if err := c.Undo(); err != nil {
		t.Fatal(err)
	}
	mem, err := os.OpenFile("/proc/"+strconv.Itoa(g.pid)+"/mem", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	o := order{Pid: g.pid}
	for _, p := range c.image.patches {
		o.Writes = append(o.Writes, write{c.base + int64(p.at), bytes.Clone(c.image.pristine[p.at:min(p.at+900, c.image.code)])})
	}
	before := g.sample(t)
	steps, again := 0, 0
	for steps == 0 {
		out, err := o.carryOut(mem)
		if err != nil {
			t.Fatal(err)
		}
		steps, again = steps+out.Steps, again+out.Again
	}
	g.goes(t, 1)
	if got := g.sample(t).back() - before.back(); got != 0 {
		t.Errorf("%d clocks stepped back", got)
	}
	t.Logf("%d steps, %d times again", steps, again)
}

// While one thread cannot stop the others go on, and no signal to them is lost.
func TestThreadThatDoesNotStopHoldsNobody(t *testing.T) {
	mustBeAble(t)
	g := waiter(t)
	var child, sent int64
	for child == 0 {
		child = g.sample(t).others[1]
	}
	send := func() {
		for range 100 {
			if syscall.Kill(g.pid, 40) == nil {
				sent++
			}
		}
	}
	var c *Clock
	done := make(chan error, 1)
	go func() {
		var err error
		c, err = Attach(g.pid)
		done <- err
	}()
	for _, tracer := statusOf(g.pid); tracer == "0" && len(done) == 0; _, tracer = statusOf(g.pid) {
		send()
	}
	for range 20 {
		send()
		g.sample(t)
	}
	if len(done) > 0 {
		t.Fatalf("who cannot stop a thread did not wait for it: %v", <-done)
	}
	if err := syscall.Kill(int(child), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mustSet(t, c, cluster.Skew{Wall: time.Hour})
	ahead(t, g.sample(t), time.Hour)
	for end := time.Now().Add(10 * time.Second); ; {
		if got := g.sample(t).others[2]; got == sent {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d signals came, %d were sent", got, sent)
		}
	}
}

func TestTracedProcessSaysByWhom(t *testing.T) {
	mustBeAble(t)
	runtime.LockOSThread() // it is this thread that traces
	defer runtime.UnlockOSThread()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	want := fmt.Sprintf("it is being traced by %d,", syscall.Gettid())
	if c, err := Attach(cmd.Process.Pid); err == nil {
		c.Close()
		t.Error("attached to a process that is being traced")
	} else if !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// sleeper is a process of one thread, and who traces it: this test's thread.
func sleeper(t *testing.T) (*exec.Cmd, *tracer) {
	t.Helper()
	mustBeAble(t)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mem.Close() })
	return cmd, &tracer{order: order{Pid: cmd.Process.Pid}, mem: mem, threads: map[int]syscall.Signal{}, seized: map[int]bool{}}
}

// A thread that a signal has interrupted in the bytes will come back there: its stack says so.
func TestWhoWillComeBackIsInTheWay(t *testing.T) {
	cmd, tracer := sleeper(t)
	pid := cmd.Process.Pid
	if err := tracer.hold(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	defer tracer.release()
	sp, _, err := position(pid)
	if err != nil {
		t.Fatal(err)
	}
	stack := make([]byte, 1<<10)
	n, _ := tracer.mem.ReadAt(stack, sp)
	for at := 0; at+8 <= n; at += 8 {
		back := int64(binary.NativeEndian.Uint64(stack[at:]))
		if back < 1<<16 { // no address
			continue
		}
		tracer.Writes = []write{{At: back - 1, Bytes: make([]byte, 2)}}
		if err := tracer.clear(pid); err != errInTheWay {
			t.Errorf("%#x at %d of its stack: %v, want %v", back, at, err, errInTheWay)
		}
	}
	tracer.Writes = []write{{At: 1 << 62, Bytes: make([]byte, 2)}}
	if err := tracer.clear(pid); err != nil {
		t.Error(err)
	}
}

// A signal that is on its way to a thread as it stops gets there when it goes on.
func TestSignalOnItsWayArrives(t *testing.T) {
	cmd, tracer := sleeper(t)
	pid := cmd.Process.Pid
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	tracer.seized[pid] = true
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := tracer.hold(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	tracer.release()
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
	cmd.Wait()
	if w := cmd.ProcessState.Sys().(syscall.WaitStatus); !w.Signaled() || w.Signal() != syscall.SIGUSR1 {
		t.Errorf("it ended with %v, want %v", cmd.ProcessState, syscall.SIGUSR1)
	}
}
