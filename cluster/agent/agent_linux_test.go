package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assize/cluster"
	"assize/cluster/packets"
)

func serving(w *ward, args ...string) []string {
	return append([]string{"server", w.dir}, args...)
}

func TestHeldServerStartsWhenToldAndLivesAreCounted(t *testing.T) {
	w := startWard(t, "-hold")
	r, ends := w.connect()
	if s := stateOf(t, r); s.Running || s.Life != 0 || s.Pid != 0 || s.Abilities.Means != "feints" || s.SkewLack != "feints only" {
		t.Errorf("before the start: %+v", s)
	}
	must(t, r.Kill(t.Context()))
	must(t, r.Start(t.Context(), serving(w, "a", "b")))
	w.until("serving [a b]")
	must(t, r.Start(t.Context(), serving(w, "c"))) // it runs
	s := stateOf(t, r)
	if !s.Running || s.Life != 1 || !slices.Equal(s.Args, serving(w, "a", "b")) {
		t.Errorf("state %+v", s)
	}
	must(t, r.Kill(t.Context()))
	if syscall.Kill(s.Pid, 0) != syscall.ESRCH {
		t.Errorf("process %d is there after Kill", s.Pid)
	}
	want := End{Life: 1, Status: "signal: killed", Killed: true, Asked: true}
	if got := next(t, ends, "the end"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	must(t, r.Kill(t.Context()))
	must(t, r.Start(t.Context(), serving(w, "c")))
	w.until("serving [c]")
	if s := stateOf(t, r); !s.Running || s.Life != 2 || s.Paused {
		t.Errorf("state %+v", s)
	}
}

func TestUnexpectedDeathIsToldOnceAndAlsoLater(t *testing.T) {
	w := startWard(t, "-hold")
	r, ends := w.connect()
	must(t, r.Start(t.Context(), serving(w)))
	w.order(r, "exit")
	w.until("last words")
	w.until("agent: the server ended with exit status 3")
	want := End{Life: 1, Status: "exit status 3"}
	if got := next(t, ends, "the end"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	must(t, r.Start(t.Context(), serving(w)))
	must(t, r.Close())
	<-r.Done()

	// One that only looks does not take the news away from those who listen.
	stream, _ := w.attach()
	defer stream.Close()
	fmt.Fprintln(stream, `{"id":7,"do":"write","name":"order","content":"ZXhpdA=="}`)
	if lines := linesOf(stream); !lines.Scan() || lines.Text() != `{"id":7}` {
		t.Errorf("answer %q", lines.Text())
	}
	w.until("agent: the server ended with exit status 3")

	later, ends := w.connect()
	want.Life = 2
	if got := next(t, ends, "the end while nobody was attached"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	must(t, later.Start(t.Context(), serving(w)))
	must(t, later.Kill(t.Context()))
	if got := next(t, ends, "the third end"); got.Life != 3 {
		t.Errorf("got %+v: the second was told twice", got)
	}
}

// That a session was told and broke before it could note that is no reason for the news to be lost: another one is told that listens already, or
// the next that does.
func TestEndThatNobodyNotedIsToldAgain(t *testing.T) {
	w := startWard(t, "-hold")
	for _, c := range []struct {
		life  uint64
		there bool
	}{{1, false}, {2, true}} {
		var ends chan End
		if c.there {
			var r *Remote
			r, ends = w.connect()
			stateOf(t, r) // it listens, for it says so first
		}
		deaf, cmd := w.attach()
		fmt.Fprintln(deaf, `{"id":1,"do":"listen"}`)
		fmt.Fprintf(deaf, `{"id":2,"do":"start","args":["server",%q]}`+"\n", w.dir)
		fmt.Fprintln(deaf, `{"id":3,"do":"kill"}`)
		lines := linesOf(deaf)
		for told := 0; told < 1; {
			if !lines.Scan() {
				t.Fatal("the session has ended")
			}
			told += strings.Count(lines.Text(), `"ended"`)
		}
		cmd.Process.Kill()
		if !c.there {
			_, ends = w.connect()
		}
		if got := next(t, ends, "the end"); got.Life != c.life {
			t.Errorf("got %+v", got)
		}
	}
}

func TestPauseStopsAllThreads(t *testing.T) {
	w := startWard(t, "-hold")
	r, _ := w.connect()
	for _, step := range []func(context.Context) error{r.Pause, r.Resume} {
		if err := step(t.Context()); !errors.Is(err, ErrDown) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("of a server that is down: %v", err)
		}
	}
	must(t, r.Start(t.Context(), serving(w)))
	w.until("serving")
	pid := stateOf(t, r).Pid
	for range 2 {
		must(t, r.Pause(t.Context()))
		threads, err := tasks(pid)
		must(t, err)
		if len(threads) < 2 || slices.ContainsFunc(threads, func(p process) bool { return !p.stopped() }) {
			t.Errorf("threads %v", threads)
		}
	}
	if s := stateOf(t, r); !s.Paused || !s.Running {
		t.Errorf("state %+v", s)
	}
	must(t, r.Start(t.Context(), nil)) // it runs, in a way
	for range 2 {
		must(t, r.Resume(t.Context()))
	}
	w.order(r, "print going on")
	w.until("going on")
	if s := stateOf(t, r); s.Paused || s.Pid != pid {
		t.Errorf("state %+v", s)
	}
	must(t, r.Pause(t.Context()))
	must(t, r.Kill(t.Context()))
	must(t, r.Start(t.Context(), serving(w, "anew")))
	w.until("serving [anew]")
}

func TestActiveSetOutlivesTheServer(t *testing.T) {
	w := startWard(t, "-hold")
	w.until("swept assize_agent_test")
	r, _ := w.connect()
	set := packets.Set{From: []packets.Peer{{Address: netip.MustParseAddr("10.0.0.2"), Ports: []uint16{7000}}}}
	must(t, r.Packets(t.Context(), set))
	w.until("feint: packets from [{10.0.0.2 [7000]}] to []")
	must(t, r.Skew(t.Context(), 0, cluster.Skew{Wall: time.Hour}))
	must(t, r.Start(t.Context(), serving(w)))
	for _, want := range []string{"packets from [{10.0.0.2", "clock wall 1h0m0s rate 0 strobe 0s"} {
		w.until(want)
	}
	must(t, r.Skew(t.Context(), 0, cluster.Skew{Wall: 2 * time.Hour, WallRate: 0.5, Strobe: time.Second}))
	w.until("clock wall 2h0m0s rate 0.5 strobe 1s")
	must(t, r.Kill(t.Context()))
	must(t, r.Start(t.Context(), serving(w)))
	for _, want := range []string{"clock let go", "packets from [{10.0.0.2", "clock wall 1h0m0s rate 0 strobe 0s", "clock wall 2h0m0s rate 0.5 strobe 1s"} {
		w.until(want)
	}
	if s := stateOf(t, r); !reflect.DeepEqual(s.Packets, set) || s.Skew.WallRate != 0.5 {
		t.Errorf("state %+v", s)
	}
	if err := r.Packets(t.Context(), packets.Set{Shaped: []packets.Shaped{{Shape: cluster.Shape{Loss: 2}}}}); err == nil {
		t.Error("nonsense was applied")
	}
	must(t, r.Skew(t.Context(), 0, cluster.Skew{}))
	w.until("clock wall 0s rate 0 strobe 0s")
	must(t, r.Packets(t.Context(), packets.Set{}))
	w.until("packets from [] to []")
	must(t, r.Kill(t.Context()))
	must(t, r.Start(t.Context(), serving(w, "healed")))
	for line := ""; !strings.Contains(line, "serving [healed]"); {
		if line = next(t, w.lines, "the start"); strings.Contains(line, "feint: packets") || strings.Contains(line, "feint: clock wall") {
			t.Errorf("after healing: %s", line)
		}
	}
}

// A skew that a controller asks for again, since it has heard nothing of the first time, makes the clocks jump once.
func TestSkewOfOneTurnIsSetOnce(t *testing.T) {
	w := startWard(t, "-hold", "-grace", "1s")
	r, _ := w.connect()
	must(t, r.Start(t.Context(), serving(w)))
	must(t, r.Skew(t.Context(), 2, cluster.Skew{Wall: 2 * time.Hour}))
	must(t, r.Skew(t.Context(), 2, cluster.Skew{Wall: 2 * time.Hour}))
	must(t, r.Skew(t.Context(), 1, cluster.Skew{Wall: time.Hour})) // it was overtaken
	must(t, r.Skew(t.Context(), 3, cluster.Skew{Wall: 3 * time.Hour}))
	w.until("clock wall 2h0m0s")
	for line := ""; !strings.Contains(line, "clock wall 3h0m0s"); {
		if line = next(t, w.lines, "the third skew"); strings.Contains(line, "clock wall 2h") || strings.Contains(line, "clock wall 1h") {
			t.Errorf("once more: %s", line)
		}
	}
	// What has been healed is set again.
	must(t, r.Close())
	w.until("agent: healed")
	again, _ := w.connect()
	must(t, again.Skew(t.Context(), 3, cluster.Skew{Wall: 3 * time.Hour}))
	w.until("clock wall 3h0m0s")
}

// A server whose clocks could not be falsified must not run on with true ones, as if the next start had found nothing to do.
func TestServerWithoutItsClocksIsNotLeftRunning(t *testing.T) {
	w := startWard(t, "-hold")
	r, ends := w.connect()
	must(t, r.Skew(t.Context(), 0, cluster.Skew{Wall: time.Hour}))
	must(t, r.Write(t.Context(), "stubborn", nil))
	for life := range uint64(2) {
		if err := r.Start(t.Context(), serving(w)); err == nil || !strings.Contains(err.Error(), "cannot be gripped") {
			t.Errorf("start: %v", err)
		}
		if s := stateOf(t, r); s.Running {
			t.Errorf("state %+v", s)
		}
		if got, want := next(t, ends, "the end"), (End{Life: life + 1, Status: "signal: killed", Killed: true, Asked: true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	must(t, os.Remove(filepath.Join(w.dir, "stubborn")))
	must(t, r.Start(t.Context(), serving(w)))
	w.until("clock wall 1h0m0s")
}

// The feint has lost n packets at its n-th count: 1, then 2 that a restart must not forget, and 3 after it.
func TestCountsOutliveTheServer(t *testing.T) {
	w := startWard(t, "-hold")
	r, _ := w.connect()
	count := func(want uint64) {
		t.Helper()
		got, err := r.Counts(t.Context())
		if must(t, err); want == 0 && len(got) > 0 || want > 0 && (len(got) != 1 || got[0].Lost != want || got[0].Spilled != want) {
			t.Errorf("got %v, want %d lost and as many spilled", got, want)
		}
	}
	set := packets.Set{To: []packets.Peer{{Address: netip.MustParseAddr("10.0.0.2")}}}
	count(0)
	must(t, r.Packets(t.Context(), set))
	count(1)
	must(t, r.Start(t.Context(), serving(w)))
	count(2 + 3)
	must(t, r.Packets(t.Context(), set))
	count(4)
}

func TestOrphansAreReaped(t *testing.T) {
	for _, flags := range [][]string{{"-hold"}, {"-hold", "-isolated"}} {
		t.Run(strings.Join(flags, ""), func(t *testing.T) {
			w := startWard(t, flags...)
			r, _ := w.connect()
			must(t, r.Start(t.Context(), serving(w)))
			w.order(r, "orphan 0.1")
			var pid int
			if _, err := fmt.Sscanf(w.until("orphan"), "orphan %d <nil>", &pid); err != nil {
				t.Fatal(err)
			}
			late := time.Now().Add(patience)
			for zombies(t, w.cmd.Process.Pid) || !isolatedOrGone(flags, pid) {
				if time.Now().After(late) {
					t.Fatal("a zombie is left")
				}
			}
			must(t, r.Kill(t.Context()))
		})
	}
}

// TestServerLeavesNobodyBehind who would keep its ports from its next life.
func TestServerLeavesNobodyBehind(t *testing.T) {
	w := startWard(t, "-hold")
	r, ends := w.connect()
	must(t, r.Start(t.Context(), serving(w)))
	w.order(r, "orphan 300")
	var pid int
	if _, err := fmt.Sscanf(w.until("orphan"), "orphan %d <nil>", &pid); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	all, err := processes()
	must(t, err)
	if !slices.ContainsFunc(all, func(p process) bool { return p.pid == pid && p.parent == w.cmd.Process.Pid }) {
		t.Error("the agent has not inherited it")
	}
	w.order(r, "exit")
	next(t, ends, "the end")
	for late := time.Now().Add(patience); syscall.Kill(pid, 0) != syscall.ESRCH; {
		if time.Now().After(late) {
			t.Fatal("one of its processes has outlived it")
		}
	}
}

func isolatedOrGone(flags []string, pid int) bool {
	return slices.Contains(flags, "-isolated") || syscall.Kill(pid, 0) == syscall.ESRCH
}

// zombies, or children that are about to be some: whatever is not the server.
func zombies(t *testing.T, parent int) bool {
	all, err := processes()
	must(t, err)
	children := 0
	for _, p := range all {
		if p.parent == parent {
			children++
		}
	}
	return children != 1
}

func TestTerminationEndsAll(t *testing.T) {
	for _, flags := range [][]string{{}, {"-isolated"}, {"-hold"}} {
		w := startWard(t, flags...)
		r, ends := w.connect()
		must(t, r.Start(t.Context(), serving(w, "first")))
		w.until("serving [first]")
		must(t, r.Pause(t.Context()))
		must(t, w.cmd.Process.Signal(syscall.SIGTERM))
		w.until("terminated")
		if got, want := next(t, ends, "the end"), (End{Life: 1, Status: "exit status 0", Asked: true}); got != want {
			t.Errorf("%v: got %+v, want %+v", flags, got, want)
		}
		if err := w.end(); err != nil {
			t.Errorf("%v: %v", flags, err)
		}
		next(t, r.Done(), "the session's end")
		if err := r.Kill(t.Context()); err == nil || !strings.Contains(err.Error(), "the agent") {
			t.Errorf("%v: call after the end: %v", flags, err)
		}
	}
}

func TestAgentEndsWithTheServersStatus(t *testing.T) {
	w := startWard(t)
	w.until("serving [first]")
	r, _ := w.connect()
	must(t, r.Kill(t.Context())) // this is no end of its own
	must(t, r.Start(t.Context(), serving(w, "second")))
	w.until("serving [second]")
	w.order(r, "exit")
	if got := w.until("last words"); got != "last words" {
		t.Errorf("line %q: the agent's own lines begin their own", got)
	}
	if err := w.end(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("the agent ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, socketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its socket: %v", err)
	}
}

func TestKilledAgentEndsTheSessionAndLeavesNoServer(t *testing.T) {
	w := startWard(t, "-hold")
	r, _ := w.connect()
	must(t, r.Start(t.Context(), serving(w)))
	pid := stateOf(t, r).Pid
	must(t, w.cmd.Process.Kill())
	next(t, r.Done(), "the session's end")
	if r.Err() == nil {
		t.Error("no reason")
	}
	for _, err := range []error{r.Pause(t.Context()), r.Skew(t.Context(), 0, cluster.Skew{})} {
		if err == nil {
			t.Error("a call without an agent succeeded")
		}
	}
	late := time.Now().Add(patience)
	for syscall.Kill(pid, 0) == nil {
		if time.Now().After(late) {
			t.Fatal("the server has not seen its parent go")
		}
	}
}

func listenSilently(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String() // the kernel takes the connection, and nobody ever answers
}
