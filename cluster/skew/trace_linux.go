package skew

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tracer is a process of its own, this same executable. If it were ourselves, the stops of a process that is our child would be seen by
// whoever in this process waits for its end, and taken for that. And when a tracer ends, for whatever reason, the kernel lets all go on that
// it has stopped.
const (
	tracerName = "assize-skew-tracer"
	idleName   = "assize-skew-idle"
)

func init() {
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case tracerName:
		runTracer(os.Stdin, os.Stdout)
		os.Exit(0)
	case idleName:
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
}

// order to the tracer: what to write while all threads are stopped, none of them in the midst of the bytes.
type order struct {
	Pid    int
	Writes []write
}

type write struct {
	At    int64
	Bytes []byte
}

// outcome of an order.
type outcome struct {
	Error   string
	Threads int
	Steps   int           // of threads out of the way
	Again   int           // how often a thread was in the way that could not be stepped out of it
	Held    time.Duration // from the first thread's stop to the last one's going on
}

const (
	memFile  = 3 // the tracer's file that is the process's memory
	patience = 5 * time.Second
	// holdBound is how long the threads that have stopped wait for those that have not, at the first try.
	holdBound = 100 * time.Millisecond
	// stepBound of one instruction. It is long, as who gives up here leaves a thread that the trap of its step kills.
	stepBound = 30 * time.Second
)

func (o order) carryOut(mem *os.File) (outcome, error) {
	in, err := json.Marshal(o)
	if err != nil {
		return outcome{}, err
	}
	var out, noise bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Args, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = []string{tracerName}, bytes.NewReader(in), &out, &noise, []*os.File{mem}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	if err := cmd.Start(); err != nil {
		return outcome{}, fmt.Errorf("start the tracer: %w", err)
	}
	ended := cmd.Wait() // where this process is the init of a container its reaper may have been faster
	var answer outcome
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return answer, fmt.Errorf("the tracer ended without an answer: %w, %v: %s", err, ended, strings.TrimSpace(noise.String()))
	}
	if answer.Error != "" {
		return answer, errors.New(answer.Error)
	}
	return answer, nil
}

func runTracer(in io.Reader, out io.Writer) {
	runtime.LockOSThread() // only the thread that has seized another may command it
	var o order
	answer := outcome{}
	err := json.NewDecoder(in).Decode(&o)
	if err == nil {
		answer, err = trace(o, os.NewFile(memFile, "memory"))
	}
	if err != nil {
		answer.Error = err.Error()
	}
	json.NewEncoder(out).Encode(answer)
}

// What another try may find otherwise.
var (
	errInTheWay  = errors.New("a thread is in the way") // it is to come back into the midst of the bytes
	errUnstopped = errors.New("it waits in the kernel, or is becoming another program")
)

func trace(o order, mem *os.File) (outcome, error) {
	t := tracer{order: o, mem: mem, deadline: time.Now().Add(patience), threads: map[int]syscall.Signal{}, seized: map[int]bool{}}
	for bound := holdBound; ; {
		begun := time.Now()
		err := t.hold(begun.Add(bound))
		t.outcome.Threads = len(t.threads)
		if err == nil {
			err = t.write()
		}
		t.release()
		t.outcome.Held = time.Since(begun)
		switch {
		case errors.Is(err, errUnstopped):
			bound *= 2 // the machine may be so busy that they need it
		case !errors.Is(err, errInTheWay):
			return t.outcome, err
		}
		if !t.rest() {
			return t.outcome, err
		}
		t.outcome.Again++
	}
}

type tracer struct {
	order
	mem      *os.File
	deadline time.Time
	threads  map[int]syscall.Signal // that are stopped, and which signal each was to get at that moment
	seized   map[int]bool           // that are to stop, but have not been seen to
	outcome  outcome
}

// hold all threads, or give up at the end. Those that are running may start others, so it is done when there is none that is not known.
func (t *tracer) hold(end time.Time) error {
	for {
		if err := t.seizeAll(); err != nil {
			return err
		}
		if len(t.seized) == 0 {
			break
		}
		for pause := 10 * time.Microsecond; len(t.seized) > 0; pause = min(2*pause, time.Millisecond) {
			if t.look() {
				continue
			}
			if time.Now().After(end) {
				for tid := range t.seized {
					return fmt.Errorf("its thread %d does not stop: %w", tid, errUnstopped)
				}
			}
			time.Sleep(pause)
		}
	}
	if len(t.threads) == 0 {
		return errors.New("the process has ended")
	}
	return nil
}

// seizeAll threads that are not known yet.
func (t *tracer) seizeAll() error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", t.Pid))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		if _, known := t.threads[tid]; known || t.seized[tid] {
			continue
		}
		if there, err := seize(tid); err != nil {
			return err
		} else if there {
			t.seized[tid] = true
		}
	}
	return nil
}

// look which of those that are to stop have. All are looked at in turn: a process that is being killed has its first thread end last, when
// the ends of all others have been seen.
func (t *tracer) look() (some bool) {
	for tid := range t.seized {
		signal, stopped := halted(tid)
		if !stopped {
			continue
		}
		some = true
		delete(t.seized, tid)
		if signal != ended {
			t.threads[tid] = signal
		}
	}
	return some
}

// rest while another try is of no use; false: there is no time for one. A thread that did not stop cannot be let go, but whatever it waits for
// must not keep all others from running.
func (t *tracer) rest() bool {
	for {
		time.Sleep(time.Millisecond)
		if time.Now().After(t.deadline) {
			return false
		}
		if len(t.seized) == 0 || t.look() {
			return true
		}
	}
}

// seize a thread and have it stop. One that has ended meanwhile is not there.
func seize(tid int) (there bool, err error) {
	err = unix.PtraceSeize(tid)
	if err == nil {
		err = unix.PtraceInterrupt(tid)
	}
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		state, tracer := statusOf(tid)
		if dead(state) {
			return false, nil
		}
		if tracer != "0" {
			return false, fmt.Errorf("it is being traced by %s, such as a debugger", tracer)
		}
		return false, fmt.Errorf("trace it: %w (it takes the same user, or the capability SYS_PTRACE; kernel.yama.ptrace_scope may forbid it)", err)
	}
	return true, nil
}

// statusOf a thread: its state, none where there is no such thread, and who traces it.
func statusOf(tid int) (state, tracer string) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	for field := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(field, ":")
		switch name {
		case "State":
			state = strings.TrimSpace(value)
		case "TracerPid":
			tracer = strings.TrimSpace(value)
		}
	}
	return state, tracer
}

// dead: a process's first thread that has ended stays until all have.
func dead(state string) bool { return state == "" || state[0] == 'Z' || state[0] == 'X' }

// ended is no signal.
const ended syscall.Signal = -1

// halted tells whether a thread has stopped, and the signal that is on its way to it: none, where it is the stop that we asked for, or that of a process
// that is stopped anyhow.
func halted(tid int) (syscall.Signal, bool) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || got == tid && !status.Stopped():
			return ended, true
		case got == tid && status>>16 == unix.PTRACE_EVENT_STOP:
			return 0, true
		case got == tid:
			return status.StopSignal(), true
		}
		if state, _ := statusOf(tid); dead(state) {
			return ended, true
		}
		return 0, false
	}
}

// write and see it written.
func (t *tracer) write() error {
	for tid := range t.threads {
		if err := t.clear(tid); err != nil {
			return err
		}
	}
	for _, w := range t.Writes {
		if _, err := t.mem.WriteAt(w.Bytes, w.At); err != nil {
			return fmt.Errorf("write its memory: %w", err)
		}
		b := make([]byte, len(w.Bytes))
		if _, err := t.mem.ReadAt(b, w.At); err != nil {
			return fmt.Errorf("read its memory: %w", err)
		}
		if !bytes.Equal(b, w.Bytes) {
			return fmt.Errorf("at %#x there is %x after %x was written", w.At, b, w.Bytes)
		}
	}
	return nil
}

// within the bytes, but for their beginning: who has not begun goes by what is there then.
func (o order) within(address int64) bool {
	for _, w := range o.Writes {
		if w.At < address && address < w.At+int64(len(w.Bytes)) {
			return true
		}
	}
	return false
}

// frames is how much of a thread's stack may lie between what it does and what a signal interrupted it in.
const frames = 64 << 10

// clear the bytes of a thread. Where a signal has interrupted it there, it is in the signal's handler now and will come back.
func (t *tracer) clear(tid int) error {
	sp, pc, err := position(tid)
	if err != nil {
		return err
	}
	for t.within(pc) {
		if err := t.step(tid); err != nil {
			return err
		}
		if _, there := t.threads[tid]; !there {
			return nil
		}
		if sp, pc, err = position(tid); err != nil {
			return err
		}
	}
	stack := make([]byte, frames)
	n, _ := t.mem.ReadAt(stack, sp)
	for ; n >= 8; n -= 8 {
		if t.within(int64(binary.NativeEndian.Uint64(stack[n-8:]))) {
			return errInTheWay
		}
	}
	return nil
}

// position of a thread that is stopped.
func position(tid int) (sp, pc int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 3 {
		return 0, 0, fmt.Errorf("thread %d is %q, want stopped", tid, b)
	}
	var at [2]uint64
	for i, f := range fields[len(fields)-2:] {
		if at[i], err = strconv.ParseUint(f, 0, 64); err != nil {
			return 0, 0, err
		}
	}
	return int64(at[0]), int64(at[1]), nil
}

// step a thread by one instruction, all signals blocked: a handler would have to come back here.
func (t *tracer) step(tid int) (err error) {
	t.outcome.Steps++
	var mask uint64
	blocked := ^uint64(1 << (unix.SIGTRAP - 1))
	if err := ptrace(unix.PTRACE_GETSIGMASK, tid, 8, uintptr(unsafe.Pointer(&mask))); err != nil {
		return fmt.Errorf("step thread %d: %w", tid, err)
	}
	if err := ptrace(unix.PTRACE_SETSIGMASK, tid, 8, uintptr(unsafe.Pointer(&blocked))); err != nil {
		return fmt.Errorf("step thread %d: %w", tid, err)
	}
	defer func() {
		restored := ptrace(unix.PTRACE_SETSIGMASK, tid, 8, uintptr(unsafe.Pointer(&mask)))
		if _, there := t.threads[tid]; there && err == nil && restored != nil {
			err = fmt.Errorf("step thread %d: %w", tid, restored)
		}
	}()
	if err := ptrace(unix.PTRACE_SINGLESTEP, tid, 0, 0); err != nil {
		return fmt.Errorf("step thread %d: %w", tid, err)
	}
	end := time.Now().Add(stepBound) // whatever is left until the deadline
	for pause := 10 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		signal, stopped := halted(tid)
		switch {
		case stopped && signal == ended:
			delete(t.threads, tid)
			return nil
		case stopped && signal != 0 && signal != unix.SIGTRAP: // that which cannot be blocked
			t.threads[tid] = signal
			return nil
		case stopped:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("step thread %d: no instruction takes %v", tid, stepBound)
		}
		time.Sleep(pause)
	}
}

// release all threads that have stopped, each with the signal that it was to get. One that is being killed cannot be released, and need not. Nor can
// one that has not stopped: it may do so for a signal at any moment, which a release that knows nothing of it would take away. It is for the
// next try, and at our end the kernel lets it go, signal and all.
func (t *tracer) release() {
	t.look()
	for tid, signal := range t.threads {
		if ptrace(unix.PTRACE_DETACH, tid, 0, uintptr(signal)) != nil {
			unix.Wait4(tid, nil, unix.WALL|unix.WNOHANG, nil)
		}
	}
	clear(t.threads)
}

func ptrace(request, tid int, address, data uintptr) error {
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), address, data, 0, 0); e != 0 {
		return e
	}
	return nil
}
