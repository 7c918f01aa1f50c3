package agent

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"assize/cluster"
	"assize/cluster/packets"
)

// The test binary is also the agent's, the server's and the engine's exec's program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "agent":
			os.Exit(runAgent(os.Args[2:]))
		case "attach":
			if err := Attach(context.Background(), os.Args[2], os.Stdin, os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "server":
			os.Exit(runServer(os.Args[2], os.Args[3:]))
		}
	}
	os.Exit(m.Run())
}

func runAgent(args []string) int {
	f := flag.NewFlagSet("agent", flag.ExitOnError)
	c := Config{Table: "assize_agent_test"}
	f.StringVar(&c.Dir, "dir", "", "")
	f.DurationVar(&c.Grace, "grace", 0, "")
	f.BoolVar(&c.Hold, "hold", false, "")
	isolated, real := f.Bool("isolated", false, "in namespaces of its own"), f.Bool("real", false, "touch packets and clocks")
	f.Parse(args)
	c.Args = f.Args()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if *isolated {
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 90
		}
	}
	p := pretence(os.Stdout, c.Dir)
	if *real {
		p = kernel
	}
	code, err := run(ctx, c, p)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 91
	}
	return code
}

// settle makes new namespaces fit to live in.
func settle() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	return errors.Join(err,
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("proc", "/proc", "proc", 0, ""))
}

// feint says what would be done.
type feint struct {
	mu  sync.Mutex
	w   io.Writer
	set int
	dir string // of the agent
}

func (f *feint) say(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.w, format+"\n", args...)
	return nil
}

func (f *feint) Apply(s packets.Set) error {
	if len(s.Shaped) > 0 && s.Shaped[0].Shape.Loss > 1 {
		return errors.New("more than everything is lost")
	}
	return f.say("feint: packets from %v to %v", s.From, s.To)
}

func (f *feint) Close() error { return f.say("feint: packets pass") }

// Counts: one more packet has been lost, and one spilled, at each call.
func (f *feint) Counts() ([]packets.Count, error) {
	f.set++
	return []packets.Count{{Lost: uint64(f.set), Spilled: uint64(f.set)}}, nil
}

type feintClock struct {
	*feint
	pid int
}

func (c feintClock) Set(s cluster.Skew) error {
	return c.say("feint: clock wall %v rate %v strobe %v", s.Wall.Round(time.Hour), s.WallRate, s.Strobe)
}

func (c feintClock) Close() error { return c.say("feint: clock let go") }

// stubborn clocks are those of an agent in whose directory somebody has said so.
func (f *feint) stubborn() bool {
	_, err := os.Stat(filepath.Join(f.dir, "stubborn"))
	return f.dir != "" && err == nil
}

func pretence(w io.Writer, dir string) powers {
	f := &feint{w: w, dir: dir}
	return powers{
		sweep:     func(table string) error { return f.say("feint: swept %s", table) },
		open:      func(string) (filter, error) { return &feint{w: w}, nil },
		abilities: func() packets.Abilities { return packets.Abilities{Means: "feints"} },
		able:      func() error { return errors.New("feints only") },
		attach: func(pid int) (clock, error) {
			if f.stubborn() {
				return nil, errors.New("its clocks cannot be gripped")
			}
			return feintClock{f, pid}, nil
		},
		rebased: func(s cluster.Skew, elapsed time.Duration) cluster.Skew {
			if s.Strobe == 0 {
				s.Wall += time.Duration(float64(elapsed) * s.WallRate)
			}
			s.Mono = 0
			return s
		},
	}
}

// runServer obeys the file "order" in its directory, which it removes first.
func runServer(dir string, args []string) int {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM)
	go func() {
		<-ends
		fmt.Println("terminated")
		os.Exit(0)
	}()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(9)
	}()
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		fmt.Println("listening at", l.Addr())
		go hangUp(l)
	}
	fmt.Println("serving", args)
	for ; ; time.Sleep(2 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(dir, "order"))
		if err != nil {
			continue
		}
		os.Remove(filepath.Join(dir, "order"))
		verb, rest, _ := strings.Cut(string(b), " ")
		switch verb {
		case "print":
			fmt.Println(rest)
		case "wall":
			fmt.Println("wall", time.Now().Unix())
		case "exit":
			fmt.Print("last words")
			return 3
		case "orphan":
			orphan(rest)
		}
	}
}

// orphan leaves a process behind for so many seconds whose parent, our child, has ended.
func orphan(seconds string) {
	out, err := exec.Command("/bin/sh", "-c", "sleep "+seconds+" >/dev/null 2>&1 & echo $!").Output()
	fmt.Println("orphan", strings.TrimSpace(string(out)), err)
}

// hangUp on all that greet.
func hangUp(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			io.ReadFull(conn, make([]byte, len(rubbish)))
		}()
	}
}

// ward is an agent in a process of its own.
type ward struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	lines chan string // of its output
	ended chan error
}

func startWard(t *testing.T, flags ...string) *ward {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &ward{t: t, dir: t.TempDir(), lines: make(chan string, 1<<14), ended: make(chan error, 1)}
	words := append([]string{"agent", "-dir", w.dir}, flags...)
	if !strings.Contains(strings.Join(flags, " "), "-hold") {
		words = append(words, "--", "server", w.dir, "first")
	}
	w.cmd = exec.Command(own, words...)
	w.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if strings.Contains(strings.Join(flags, " "), "-isolated") {
		if os.Getuid() != 0 {
			t.Skip("only root can make namespaces")
		}
		w.cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
	}
	var complaints strings.Builder
	w.cmd.Stderr = &complaints
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			w.lines <- lines.Text()
		}
		close(w.lines)
		w.ended <- w.cmd.Wait()
	}()
	t.Cleanup(func() {
		w.cmd.Process.Signal(syscall.SIGTERM)
		for range w.lines {
		}
		if complaints.Len() > 0 {
			t.Errorf("the agent complains: %s", complaints.String())
		}
	})
	return w
}

// patience is for what must come; nothing but its never coming explains that it takes longer.
const patience = 30 * time.Second

// until returns the next line that contains this.
func (w *ward) until(want string) string {
	w.t.Helper()
	late := time.After(patience)
	var seen []string
	for {
		select {
		case line, ok := <-w.lines:
			if strings.Contains(line, want) && ok {
				return line
			}
			if seen = append(seen, line); ok {
				continue
			}
		case <-late:
		}
		w.t.Fatalf("%q never came; lines were\n%s", want, strings.Join(seen, "\n"))
	}
}

// untilBoth reads until both have come, in whatever order.
func (w *ward) untilBoth(one, other string) {
	w.t.Helper()
	for found := map[bool]bool{}; len(found) < 2; {
		line := next(w.t, w.lines, one+" and "+other)
		if strings.Contains(line, one) || strings.Contains(line, other) {
			found[strings.Contains(line, one)] = true
		}
	}
}

// end waits until the agent has ended.
func (w *ward) end() error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(patience):
		w.t.Fatal("the agent does not end")
		return nil
	}
}

// pipes is a stream over a process's standard input and output.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// attach as an engine's exec would.
func (w *ward) attach() (io.ReadWriteCloser, *exec.Cmd) {
	w.t.Helper()
	cmd := exec.Command(w.cmd.Path, "attach", w.dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	return pipes{out, in}, cmd
}

// connect a controller. Ends are passed on to the channel.
func (w *ward) connect() (*Remote, chan End) {
	w.t.Helper()
	ends := make(chan End, 100)
	stream, _ := w.attach()
	r := Connect(stream, func(e Event) {
		if e.Ended != nil {
			ends <- *e.Ended
		}
	})
	w.t.Cleanup(func() { r.Close() })
	return r, ends
}

// order the server to do something.
func (w *ward) order(r *Remote, order string) {
	w.t.Helper()
	must(w.t, r.Write(w.t.Context(), "order", []byte(order)))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// next of a channel, which must come.
func next[T any](t *testing.T, c <-chan T, what string) (x T) {
	t.Helper()
	select {
	case x = <-c:
	case <-time.After(patience):
		t.Fatalf("%s never came", what)
	}
	return x
}

func stateOf(t *testing.T, r *Remote) State {
	t.Helper()
	s, err := r.State(t.Context())
	must(t, err)
	return s
}
