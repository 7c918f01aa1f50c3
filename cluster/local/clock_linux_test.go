package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assize/cluster"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// skewable is a town whose clocks can be falsified.
func skewable(t *testing.T, nodes int) *Cluster {
	t.Helper()
	c, _ := newTown(t, nodes)
	if err := c.Lack(cluster.Skews); err != nil {
		t.Skip(err)
	}
	return c
}

// ahead: the node's wall clock is ahead by so many minutes.
func ahead(t *testing.T, c *Cluster, node string, want time.Duration, when string) {
	t.Helper()
	if got := time.Until(heard(t, c, node).Wall).Round(time.Minute); got != want {
		t.Errorf("%s: %s is %v ahead, want %v", when, node, got, want)
	}
}

func again(t *testing.T, c *Cluster, node string) {
	t.Helper()
	must(t, c.Kill(t.Context(), node))
	must(t, c.Start(t.Context(), node))
}

func TestClocksOfOneProcessLie(t *testing.T) {
	c := skewable(t, 2)
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	ahead(t, c, "n1", time.Hour, "skewed")
	ahead(t, c, "n2", 0, "skewed")
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	ahead(t, c, "n1", 2*time.Hour, "again")
	for range 2 { // it lasts through restarts
		again(t, c, "n1")
		ahead(t, c, "n1", 2*time.Hour, "restarted")
	}
	must(t, c.Pause(t.Context(), "n1"))
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{}))
	must(t, c.Resume(t.Context(), "n1"))
	ahead(t, c, "n1", 0, "mended while it was stopped")
	must(t, c.Kill(t.Context(), "n1"))
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: -time.Hour}))
	must(t, c.Start(t.Context(), "n1"))
	ahead(t, c, "n1", -time.Hour, "skewed while it was down")
	must(t, c.Kill(t.Context(), "n1"))
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: -time.Hour}))
	must(t, c.Start(t.Context(), "n1"))
	ahead(t, c, "n1", -2*time.Hour, "skewed once more while it was down")
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: 2 * time.Second, Strobe: 5 * time.Millisecond}))
	ahead(t, c, "n1", -2*time.Hour, "strobing")
	again(t, c, "n1")
	ahead(t, c, "n1", -2*time.Hour, "restarted while it was strobing")
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	again(t, c, "n1")
	ahead(t, c, "n1", -time.Hour, "restarted after a jump that ended the strobe")
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{}))
	again(t, c, "n1")
	ahead(t, c, "n1", 0, "restarted after it was mended")
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
}

func TestLiesAddUp(t *testing.T) {
	h, start := time.Hour, time.Unix(1e9, 0)
	var l lies
	for _, c := range []struct {
		at     time.Duration
		s      cluster.Skew
		until  time.Duration
		ahead  time.Duration
		afresh []cluster.Skew
	}{
		{0, cluster.Skew{Wall: h, Mono: h}, 2 * h, h, []cluster.Skew{{Wall: h}}},
		{2 * h, cluster.Skew{Wall: h, WallRate: 0.5, MonoRate: 1}, 4 * h, 3 * h, []cluster.Skew{{Wall: 3 * h, WallRate: 0.5, MonoRate: 1}}},
		{4 * h, cluster.Skew{Wall: 9 * h, WallRate: -0.5, Strobe: 1}, 8 * h, h, []cluster.Skew{{Wall: h}, {Wall: 9 * h, WallRate: -0.5, Strobe: 1}}},
		{8 * h, cluster.Skew{MonoRate: 2}, 9 * h, h, []cluster.Skew{{Wall: h, MonoRate: 2}}},
		{9 * h, cluster.Skew{}, 10 * h, 0, []cluster.Skew{{}}},
		{10 * h, cluster.Skew{Wall: -h}, 11 * h, -h, []cluster.Skew{{Wall: -h}}},
	} {
		l = l.then(c.s, start.Add(c.at))
		now := start.Add(c.until)
		if got := l.ahead(now); got != c.ahead {
			t.Errorf("%v after %+v the wall clock is ahead by %v, want %v", c.until, c.s, got, c.ahead)
		}
		if got := l.afresh(now); !slices.Equal(got, c.afresh) {
			t.Errorf("%v after %+v a new life is told %+v, want %+v", c.until, c.s, got, c.afresh)
		}
	}
}

func TestSkewThatCannotBeChangesNothing(t *testing.T) {
	c := skewable(t, 1)
	refused := func(when string) {
		t.Helper()
		for _, s := range []cluster.Skew{{WallRate: -1}, {Strobe: time.Microsecond}, {Wall: math.MaxInt64}} {
			if err := c.Skew(t.Context(), "n1", s); err == nil {
				t.Errorf("%s: %+v was set", when, s)
			}
		}
	}
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	refused("while it runs")
	ahead(t, c, "n1", time.Hour, "after refusals")
	must(t, c.Kill(t.Context(), "n1"))
	refused("while it is down")
	must(t, c.Start(t.Context(), "n1"))
	ahead(t, c, "n1", time.Hour, "restarted after refusals")
}

// A quorum is judged by what it does with true clocks.
func TestQuorumHasItsClocksSetRight(t *testing.T) {
	for _, direct := range []bool{false, true} {
		w := &town{members: []string{"n1", "n2", "n3"}}
		c, err := New(t.Context(), Config{System: w.system(), Dir: t.TempDir(), Nodes: 3, Direct: direct})
		must(t, err)
		defer c.Close()
		if err := c.Lack(cluster.Skews); err != nil {
			t.Skip(err)
		}
		for _, n := range c.Nodes() {
			must(t, c.Skew(t.Context(), n, cluster.Skew{Wall: time.Hour}))
		}
		must(t, c.Pause(t.Context(), "n1"))
		must(t, c.Kill(t.Context(), "n2"))
		kept, err := c.MendQuorum(t.Context(), 7)
		must(t, err)
		for _, n := range c.Nodes() {
			want := time.Hour
			if slices.Contains(kept, n) {
				want = 0
			}
			must(t, c.Start(t.Context(), n))
			ahead(t, c, n, want, "after a quorum was mended")
		}
		// One that may have become a member is kept as well, though no fault can name it.
		ctx, cancel := context.WithCancel(t.Context())
		w.join = func(context.Context, string, int, string) error {
			cancel()
			return errors.New("no answer")
		}
		if name, err := c.Join(ctx); err == nil {
			t.Fatalf("%s joined", name)
		}
		must(t, c.Alone(t.Context(), c.Everybody(), nil))
	}
}

// strike kills the process as nobody who asked the Cluster would.
func strike(t *testing.T, life *process) {
	life.mu.Lock()
	life.expected = true
	life.mu.Unlock()
	if err := syscall.Kill(life.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// unseen has the node's process die and do be done while nobody has seen its end yet.
func unseen(t *testing.T, p *place, do func()) {
	t.Helper()
	strike(t, p.process)
	<-p.process.done
	set := func(life *process) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.process = life
	}
	dead := p.process
	set(&process{cmd: dead.cmd, stdin: dead.stdin, done: make(chan struct{})})
	do()
	set(dead)
}

// What was asked for while the process was dying, its next life does, whichever clock the dead one had.
func TestSkewOfADyingProcessIsForTheNext(t *testing.T) {
	c := skewable(t, 1)
	p, _ := c.place("n1")
	for _, mended := range []bool{false, true} {
		if mended { // so that there is a clock already
			must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Minute}))
			must(t, c.Skew(t.Context(), "n1", cluster.Skew{}))
		}
		unseen(t, p, func() { must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour})) })
		must(t, c.Start(t.Context(), "n1"))
		ahead(t, c, "n1", time.Hour, "skewed while it was dying")
		must(t, c.Skew(t.Context(), "n1", cluster.Skew{}))
	}
}

// A life that ends before it could be skewed takes no jump with it.
func TestLifeThatEndsAtOnceLosesNoJump(t *testing.T) {
	c := skewable(t, 1)
	p, _ := c.place("n1")
	for range 2 {
		must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	}
	unseen(t, p, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		must(t, p.inherit())
	})
	must(t, c.Start(t.Context(), "n1"))
	ahead(t, c, "n1", 2*time.Hour, "after a life that ended at once")
}

// TestDeathUnderATracerIsSeen: a process that dies while it is being skewed leaves nobody hanging, is no violation, and what was asked for its
// next life does.
func TestDeathUnderATracerIsSeen(t *testing.T) {
	c := skewable(t, 1)
	p, _ := c.place("n1")
	under := 0
	for round := range 20 {
		life := p.process // a tracer is needed only for one whose clocks nobody has touched
		done := make(chan error, 1)
		go func() { done <- c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}) }()
		for round%4 > 0 && len(done) == 0 {
			if tracer(life.cmd.Process.Pid) {
				under++
				break
			}
		}
		strike(t, life)
		must(t, <-done)
		<-life.done
		if got := life.Ending(); got != "signal: killed" {
			t.Errorf("it ended with %q", got)
		}
		must(t, c.Start(t.Context(), "n1"))
		ahead(t, c, "n1", time.Hour, "after a death under a tracer")
		must(t, c.Skew(t.Context(), "n1", cluster.Skew{}))
		again(t, c, "n1")
	}
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
	t.Logf("%d died under the tracer", under)
}

// tracer tells whether the process has one.
func tracer(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(b), "TracerPid:\t0\n")
}
