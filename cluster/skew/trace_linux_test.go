package skew

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
