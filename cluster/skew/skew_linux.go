package skew

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// own is our own vDSO, which is everybody's: what is different in another process somebody has changed.
var own = sync.OnceValues(func() (image, error) {
	r, err := replacementFor(runtime.GOARCH)
	if err != nil {
		return image{}, err
	}
	start, end, err := mapping(os.Getpid())
	if err != nil {
		return image{}, err
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return image{}, err
	}
	defer mem.Close()
	b := make([]byte, end-start)
	if _, err := mem.ReadAt(b, start); err != nil {
		return image{}, fmt.Errorf("read the vDSO: %w", err)
	}
	return plan(b, r)
})

// errNoVDSO: in a process that is just becoming a program the vDSO is mapped last.
var errNoVDSO = errors.New("it has no vDSO and reads its clocks by system calls")

// mapping of the vDSO in a process.
func mapping(pid int) (start, end int64, err error) {
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH):
			return 0, 0, errors.New("there is no such process")
		case err != nil:
			return 0, 0, err
		case len(b) == 0:
			return 0, 0, errors.New("it has ended, or is one of the kernel's own")
		}
		start, end, err = vdsoIn(string(b))
		if !errors.Is(err, errNoVDSO) || time.Since(begun) > time.Second {
			return start, end, err
		}
	}
}

// vdsoIn the text of /proc/PID/maps.
func vdsoIn(maps string) (start, end int64, err error) {
	for m := range strings.Lines(maps) {
		if !strings.HasSuffix(m, " [vdso]\n") {
			continue
		}
		if _, err := fmt.Sscanf(m, "%x-%x ", &start, &end); err != nil || start <= 0 || end <= start || end-start > 1<<20 {
			return 0, 0, fmt.Errorf("cannot make sense of its mapping %q", m)
		}
		return start, end, nil
	}
	return 0, 0, errNoVDSO
}

// Able tells why clocks cannot be falsified here, nil where they can. It tries it, once, on a process of its own.
func Able() error { return able() }

var able = sync.OnceValue(func() error {
	if _, err := own(); err != nil {
		return err
	}
	idle := exec.Command("/proc/self/exe")
	idle.Args = []string{idleName}
	in, err := idle.StdinPipe()
	if err != nil {
		return err
	}
	if err := idle.Start(); err != nil {
		return fmt.Errorf("start a process to try clock skew on: %w", err)
	}
	defer func() {
		in.Close()
		idle.Wait()
	}()
	// We are told of the exec when its files have been closed, which the kernel does before it gives it a vDSO.
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, _, err := mapping(idle.Process.Pid); err == nil {
			break
		}
	}
	c, err := Attach(idle.Process.Pid)
	if err != nil {
		return fmt.Errorf("tried on a process of our own: %w", err)
	}
	return c.Undo()
})

// Attach puts the replacement into the process, or finds it there. What the process reads does not change yet.
func Attach(pid int) (*Clock, error) {
	c, err := attach(pid)
	if err != nil {
		return nil, fmt.Errorf("skew process %d: %w", pid, err)
	}
	return c, nil
}

func attach(pid int) (*Clock, error) {
	i, err := own()
	if err != nil {
		return nil, err
	}
	start, end, err := mapping(pid)
	if err != nil {
		return nil, err
	}
	if err := sameTime(pid); err != nil {
		return nil, err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open its memory: %w", err)
	}
	c := &Clock{pid: pid, mem: mem, image: i, base: start, at: start + int64(i.data())}
	b := make([]byte, end-start)
	if _, err := mem.ReadAt(b, start); err != nil {
		mem.Close()
		return nil, gone(err)
	}
	patched, err := i.patched(b)
	if err == nil && patched {
		_, _, err = c.load()
	} else if err == nil {
		err = c.install()
	}
	if err != nil {
		mem.Close()
		return nil, err
	}
	return c, nil
}

// install the code, where nothing leads to yet, and then the jumps there.
func (c *Clock) install() error {
	data := append(header(), make([]byte, dataSize-len(header()))...)
	for turn := range sets {
		copy(data[setsAt+turn*setSize:], truthfulSet().encode())
	}
	code := append(append([]byte{}, c.image.replacement.code...), data...)
	if _, err := c.mem.WriteAt(code, c.base+int64(c.image.code)); err != nil {
		return fmt.Errorf("write its memory: %w", err)
	}
	return c.redirect(func(p patch) []byte { return p.new })
}

// restore the functions of the kernel.
func (c *Clock) restore() error { return c.redirect(func(p patch) []byte { return p.old }) }

func (c *Clock) redirect(to func(patch) []byte) error {
	o := order{Pid: c.pid}
	for _, p := range c.image.patches {
		o.Writes = append(o.Writes, write{c.base + int64(p.at), to(p)})
	}
	var err error
	c.holdup, err = o.carryOut(c.mem)
	return err
}

// sameTime: in another time namespace the monotonic clock is another one, and ours says nothing about it.
func sameTime(pid int) error {
	ours, err := os.Readlink("/proc/self/ns/time")
	if err != nil {
		return nil // the kernel has no time namespaces
	}
	if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", pid)); err != nil {
		return err
	} else if its != ours {
		return errors.New("it is in another time namespace")
	}
	return nil
}

// truth is what the clocks read, by system call: our own vDSO may lie.
func truth() (t [lines]int64, err error) {
	for i, id := range [lines]int32{wall: unix.CLOCK_REALTIME, mono: unix.CLOCK_MONOTONIC, raw: unix.CLOCK_MONOTONIC_RAW, boot: unix.CLOCK_BOOTTIME} {
		if t[i], err = reading(id); err != nil {
			return t, err
		}
	}
	return t, nil
}

func reading(id int32) (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return ts.Nano(), nil
}

// reached returns when all clocks have reached t, also the coarse ones, which lag behind.
func reached(t [lines]int64) error {
	for {
		w, err := reading(unix.CLOCK_REALTIME_COARSE)
		if err != nil {
			return err
		}
		m, err := reading(unix.CLOCK_MONOTONIC_COARSE)
		if err != nil {
			return err
		}
		// A wall clock that somebody sets back meanwhile is not waited for.
		if m >= t[mono] && (w >= t[wall] || m >= t[mono]+int64(margin)) {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}
