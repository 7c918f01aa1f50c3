package skew

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sample of a process's clocks, and the truth before and after.
type sample struct {
	before, after [lines]int64
	wall          int64
	others        []int64 // mono, for most, and what else there is; the last is how often a clock stepped back
}

func (s sample) mono() int64 { return s.others[0] }
func (s sample) back() int64 { return s.others[len(s.others)-1] }

// target is a process that tells its clocks, while its threads are reading them all the time.
type target struct {
	pid   int
	ended chan error
	tell  func() ([]int64, error)
	tells bool // a monotonic clock, too
}

func (g *target) sample(t *testing.T) (s sample) {
	t.Helper()
	s.before = truly(t)
	told, err := g.tell()
	s.after = truly(t)
	if err != nil {
		select {
		case err = <-g.ended:
			t.Fatalf("the process has ended: %v", err)
		case <-time.After(10 * time.Second):
			t.Fatalf("the process tells nothing: %v", err)
		}
	}
	s.wall, s.others = told[0], told[1:]
	return s
}

func truly(t *testing.T) [lines]int64 {
	t.Helper()
	now, err := truth()
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// launch a command. Nothing of it is left at the end.
func launch(t testing.TB, cmd *exec.Cmd) *target {
	t.Helper()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &target{pid: cmd.Process.Pid, ended: make(chan error, 1), tells: true}
	done := make(chan struct{})
	go func() {
		g.ended <- cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		select {
		case <-done:
			t.Logf("%s had ended: %v", cmd.Path, cmd.ProcessState)
		default:
		}
		cmd.Process.Kill()
		<-done
	})
	return g
}

// teller is a command that answers each line with its clocks.
func teller(t testing.TB, cmd *exec.Cmd) *target {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, own, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = own
	g := launch(t, cmd)
	own.Close()
	t.Cleanup(func() { out.Close() })
	answers := bufio.NewReader(out)
	g.tell = func() (told []int64, err error) {
		fmt.Fprintln(in)
		line, err := answers.ReadString('\n')
		for _, f := range strings.Fields(line) {
			var v int64
			if _, err := fmt.Sscan(f, &v); err != nil {
				return nil, fmt.Errorf("told %q: %w", line, err)
			}
			told = append(told, v)
		}
		if err == nil && len(told) < 3 {
			err = fmt.Errorf("told %q", line)
		}
		return told, err
	}
	return g
}

// built programs, each once.
var built struct {
	sync.Mutex
	dir  string
	done map[string]bool
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "assize-skew-")
	if err != nil {
		panic(err)
	}
	built.dir, built.done = dir, map[string]bool{}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// build with a command whose last argument but source is where to. The tool is required.
func build(t testing.TB, name string, env []string, command ...string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("%s is not installed", command[0])
	}
	to := filepath.Join(built.dir, name)
	if built.done[name] {
		return to
	}
	for i := range command {
		command[i] = strings.ReplaceAll(command[i], "TO", to)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, b)
	}
	built.done[name] = true
	return to
}

func staticGo(t testing.TB, busy string) *target {
	return teller(t, exec.Command(build(t, "teller", []string{"CGO_ENABLED=0"}, "go", "build", "-o", "TO", "./testdata/teller"), busy))
}

func java(t testing.TB) *target {
	classes := build(t, "classes", nil, "javac", "-d", "TO", "testdata/Clocks.java")
	return teller(t, exec.Command("java", "-Xmx64m", "-cp", classes, "Clocks", "2"))
}

// everyClock is a C program that reads them all: columns raw, boot, ... of testdata/clocks.c.
func everyClock(t testing.TB) *target {
	return teller(t, exec.Command(build(t, "clocks", nil, "gcc", "-O2", "-pthread", "-o", "TO", "testdata/clocks.c"), "2"))
}

// waiter is a C program with a thread that does not stop before another process has been killed: columns child, signals.
func waiter(t testing.TB) *target {
	return teller(t, exec.Command(build(t, "waiter", nil, "gcc", "-O2", "-pthread", "-o", "TO", "testdata/waiter.c")))
}

// redis is Debian's redis-server, whose command TIME tells the wall clock. It is asked all the time by two more connections.
func redis(t testing.TB) *target {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed (Debian: redis-server)")
	}
	dir, err := os.MkdirTemp("", "assize-skew-") // short enough a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	g := launch(t, exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir, "--logfile", filepath.Join(dir, "log")))
	g.tells = false
	var conn net.Conn
	for conn == nil {
		select {
		case err := <-g.ended:
			t.Fatalf("redis-server: %v", err)
		case <-time.After(10 * time.Millisecond):
			conn, _ = net.Dial("unix", socket)
		}
	}
	t.Cleanup(func() { conn.Close() })
	for range 2 {
		load, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { load.Close() })
		go func() {
			answer := make([]byte, len(timeAnswer))
			for err := error(nil); err == nil; {
				if _, err = fmt.Fprint(load, askTime); err == nil {
					_, err = load.Read(answer)
				}
			}
		}()
	}
	answers := bufio.NewReader(conn)
	g.tell = func() ([]int64, error) {
		fmt.Fprint(conn, askTime)
		var answer [5]int64 // *2 $10 seconds $6 microseconds
		for i := range answer {
			line, err := answers.ReadString('\n')
			if err != nil {
				return nil, err
			}
			if answer[i], err = strconv.ParseInt(strings.Trim(line, "*$\r\n"), 10, 64); err != nil {
				return nil, err
			}
		}
		s, us := answer[2], answer[4]
		return []int64{s*1e9 + us*1e3, 0}, nil
	}
	return g
}

const (
	askTime    = "*1\r\n$4\r\nTIME\r\n"
	timeAnswer = "*2\r\n$10\r\n1795599440\r\n$6\r\n344521\r\n"
)

// state of the process as the kernel tells it.
func state(t *testing.T, pid int) byte {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return b[strings.LastIndexByte(string(b), ')')+2]
}

func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stops(t, pid)
}

// stops returns when the process has stopped. One that was let go by a tracer needs a moment until it has again.
func stops(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); state(t, pid) != 'T'; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("its state is %c, want stopped", state(t, pid))
		}
	}
}
