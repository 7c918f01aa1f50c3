package skew

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"assize/cluster"
)

const slack = 2000 // ns: Redis tells microseconds, and sums are rounded

func mustBeAble(t testing.TB) {
	t.Helper()
	if err := Able(); err != nil {
		t.Skip(err)
	}
}

func attached(t testing.TB, pid int) *Clock {
	t.Helper()
	c, err := Attach(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustSet(t testing.TB, c *Clock, s cluster.Skew) {
	t.Helper()
	if err := c.Set(s); err != nil {
		t.Fatal(err)
	}
}

// within: got must lie between the two, which no delay of the test can falsify.
func within(t *testing.T, what string, got, from, to int64) {
	t.Helper()
	if got < from-slack || got > to+slack {
		t.Errorf("%s: got %d, want from %d to %d: off by %v", what, got, from, to, time.Duration(max(from-got, got-to)))
	}
}

// ahead: the wall clock is ahead of the truth by d.
func ahead(t *testing.T, s sample, d time.Duration) {
	t.Helper()
	within(t, "wall clock", s.wall, s.before[wall]+int64(d), s.after[wall]+int64(d))
}

// goes: the clocks go at a rate. It takes samples until their distance is so large beside their length that another rate would be noticed.
func (g *target) goes(t *testing.T, rate float64) {
	t.Helper()
	times := func(d int64) int64 { return int64(math.Round(float64(d) * rate)) }
	for a := g.sample(t); ; {
		b := g.sample(t)
		least, most := b.before[mono]-a.after[mono], b.after[mono]-a.before[mono]
		if most-least > least/5 || least < int64(10*time.Millisecond) {
			if b.after[mono]-b.before[mono] < (a.after[mono]-a.before[mono])/2 {
				a = b
			}
			continue
		}
		within(t, "wall clock's way", b.wall-a.wall, times(b.before[wall]-a.after[wall]), times(b.after[wall]-a.before[wall]))
		if g.tells {
			within(t, "monotonic clock's way", b.mono()-a.mono(), times(least), times(most))
		}
		return
	}
}

// cycle through everything.
func (g *target) cycle(t *testing.T) outcome {
	t.Helper()
	c := attached(t, g.pid)
	before := g.sample(t)
	ahead(t, before, 0)
	mustSet(t, c, cluster.Skew{Wall: time.Hour, Mono: 5 * time.Second})
	hour := g.sample(t)
	ahead(t, hour, time.Hour)
	if g.tells {
		within(t, "monotonic clock's jump", hour.mono()-before.mono()-5e9, hour.before[mono]-before.after[mono], hour.after[mono]-before.before[mono])
	}
	g.goes(t, 1)
	mustSet(t, c, cluster.Skew{WallRate: 1, MonoRate: 1})
	g.goes(t, 2)
	mustSet(t, c, cluster.Skew{WallRate: -0.5, MonoRate: -0.5})
	g.goes(t, 0.5)
	mustSet(t, c, cluster.Skew{})
	ahead(t, g.sample(t), 0)
	g.goes(t, 1)
	if err := c.Undo(); err != nil {
		t.Fatal(err)
	}
	g.goes(t, 1)
	ahead(t, g.sample(t), 0)
	return c.holdup
}

// cycles is how many each target goes through.
func cycles(t *testing.T) int {
	n := 5
	if s := os.Getenv("ASSIZE_SKEW_CYCLES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		n = 2
	}
	return n
}

func TestAnHourAheadAtDoubleAndHalfSpeedAndBackUnderLoad(t *testing.T) {
	mustBeAble(t)
	for name, open := range map[string]func(testing.TB) *target{
		"Go":    func(t testing.TB) *target { return staticGo(t, "2") },
		"Java":  java,
		"C":     everyClock,
		"Redis": redis,
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t)
			var total time.Duration
			var last outcome
			steps, again := 0, 0
			n := cycles(t)
			for range n {
				last = g.cycle(t)
				total, steps, again = total+last.Held, steps+last.Steps, again+last.Again
				if t.Failed() {
					return
				}
			}
			t.Logf("%d cycles of %d threads, held %v on the average to undo; %d steps, %d times again", n, last.Threads, total/time.Duration(n), steps, again)
			select {
			case err := <-g.ended:
				t.Errorf("the process has ended: %v", err)
			default:
			}
		})
	}
}

func TestHostAndNeighbourAreUntouched(t *testing.T) {
	mustBeAble(t)
	g, neighbour := staticGo(t, "1"), staticGo(t, "0")
	before := truly(t)
	mustSet(t, attached(t, g.pid), cluster.Skew{Wall: time.Hour, MonoRate: 1})
	ahead(t, g.sample(t), time.Hour)
	ahead(t, neighbour.sample(t), 0)
	neighbour.goes(t, 1)
	a, ours, b := truly(t), time.Now().UnixNano(), truly(t)
	within(t, "our own wall clock", ours, a[wall], b[wall])
	if d := time.Duration(b[wall] - b[mono] - before[wall] + before[mono]); d.Abs() > time.Minute {
		t.Errorf("the host's wall clock has moved by %v", d)
	}
	ahead(t, staticGo(t, "0").sample(t), 0) // one that has started since
}

// Each clock that there is to read, in one program.
func TestEveryClock(t *testing.T) {
	mustBeAble(t)
	g := everyClock(t)
	c := attached(t, g.pid)
	ids := []string{mono: "CLOCK_MONOTONIC", raw: "CLOCK_MONOTONIC_RAW", boot: "CLOCK_BOOTTIME"}
	tai := g.sample(t)
	offset := (tai.others[7] - tai.wall + 5e8) / 1e9 * 1e9
	for _, s := range []cluster.Skew{{Wall: -90 * time.Minute, Mono: 3 * time.Second}, {WallRate: 9, MonoRate: 1}, {}} {
		mustSet(t, c, s)
		got := g.sample(t)
		_, now, err := c.load()
		if err != nil {
			t.Fatal(err)
		}
		for i := mono; i <= boot; i++ {
			within(t, ids[i], got.others[i-mono], now.lines[i].at(got.before[i]), now.lines[i].at(got.after[i]))
		}
		w := now.lines[wall]
		from, to, scale := w.at(got.before[wall]), w.at(got.after[wall]), int64(1+s.WallRate)
		within(t, "CLOCK_REALTIME", got.wall, from, to)
		within(t, "CLOCK_REALTIME_COARSE", got.others[3], from-2e7*scale, to)
		within(t, "CLOCK_MONOTONIC_COARSE", got.others[4], now.lines[mono].at(got.before[mono]-2e7), now.lines[mono].at(got.after[mono]))
		within(t, "gettimeofday", got.others[5], from-1000*scale, to)
		within(t, "time", got.others[6], from/1e9*1e9, to)
		within(t, "CLOCK_TAI, which is left alone", got.others[7], got.before[wall]+offset, got.after[wall]+offset)
		if got.back() != 0 {
			t.Errorf("%+v: %d clocks stepped back, or calls did not fail", s, got.back())
		}
	}
}

// A rate that falls is where a clock would step back if it did not hold from one moment on for all threads.
func TestMonotonicNeverStepsBack(t *testing.T) {
	mustBeAble(t)
	g := everyClock(t)
	c := attached(t, g.pid)
	for i := range 20 {
		mustSet(t, c, cluster.Skew{Wall: -time.Hour, Mono: time.Duration(i) * time.Second, MonoRate: []float64{9, -0.9}[i%2]})
	}
	mustSet(t, c, cluster.Skew{})
	if got := g.sample(t).back(); got != 0 {
		t.Errorf("it stepped back %d times", got)
	}
}

func TestTurnThatIsLateIsTold(t *testing.T) {
	at := truly(t)
	if err := before(at); !errors.Is(err, cluster.ErrStepped) {
		t.Errorf("after the moment: %v", err)
	}
	at[mono] += int64(time.Hour)
	if err := before(at); err != nil {
		t.Errorf("before the moment: %v", err)
	}
}

func TestStrobe(t *testing.T) {
	mustBeAble(t)
	g := staticGo(t, "1")
	c := attached(t, g.pid)
	mustSet(t, c, cluster.Skew{Wall: time.Hour, Mono: time.Second, Strobe: 3 * time.Millisecond})
	for there, back := 0, 0; there < 3 || back < 3; {
		s := g.sample(t)
		if s.wall > s.after[wall]+int64(time.Minute) {
			ahead(t, s, time.Hour)
			there = min(there, back) + 1
		} else {
			ahead(t, s, 0)
			back = min(there, back) + 1
		}
		if t.Failed() {
			return
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	ahead(t, g.sample(t), 0)
	// A strobe whose tool was killed has left the clock displaced: what is set next does not build on that.
	c = attached(t, g.pid)
	_, now, err := c.load()
	if err == nil {
		err = c.replace(now.displace(truly(t)[wall], int64(time.Hour)))
	}
	if err != nil {
		t.Fatal(err)
	}
	ahead(t, g.sample(t), time.Hour)
	c = attached(t, g.pid)
	mustSet(t, c, cluster.Skew{Wall: time.Minute})
	ahead(t, g.sample(t), time.Minute)
}

// A second tool finds what the first has done, adds to it, and undoes it to the byte.
func TestLaterToolGoesOn(t *testing.T) {
	mustBeAble(t)
	g := staticGo(t, "1")
	mustSet(t, attached(t, g.pid), cluster.Skew{Wall: time.Hour})
	c := attached(t, g.pid)
	ahead(t, g.sample(t), time.Hour)
	mustSet(t, c, cluster.Skew{Wall: time.Minute, MonoRate: 0.25})
	ahead(t, g.sample(t), time.Hour+time.Minute)
	r, err := c.Read()
	if err != nil || r.Wall.Sub(r.True) != time.Hour+time.Minute || r.MonoRate != 0.25 || r.WallRate != 0 || r.Mono <= r.TrueMono {
		t.Errorf("it reads %+v, %v", r, err)
	}
	if err := c.Undo(); err != nil {
		t.Fatal(err)
	}
	i, err := own()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, i.code)
	mem, err := os.Open("/proc/" + strconv.Itoa(g.pid) + "/mem")
	if err == nil {
		_, err = mem.ReadAt(b, c.base)
		mem.Close()
	}
	if err != nil || !bytes.Equal(b, i.pristine[:i.code]) {
		t.Errorf("not as before: %v", err)
	}
	ahead(t, g.sample(t), 0)
	if err := c.Set(cluster.Skew{}); err == nil {
		t.Error("a clock that was undone could be set")
	}
}

func TestStoppedProcessIsSkewedAndStaysStopped(t *testing.T) {
	mustBeAble(t)
	g := staticGo(t, "2")
	g.sample(t)
	stop(t, g.pid)
	c := attached(t, g.pid)
	mustSet(t, c, cluster.Skew{Wall: time.Hour})
	stops(t, g.pid)
	if err := syscall.Kill(g.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	ahead(t, g.sample(t), time.Hour)
	stop(t, g.pid)
	if err := c.Undo(); err != nil {
		t.Fatal(err)
	}
	stops(t, g.pid)
	if err := syscall.Kill(g.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	ahead(t, g.sample(t), 0)
	select {
	case err := <-g.ended:
		t.Errorf("who waits for the end of the process was told of its stops: %v", err)
	default:
	}
}

func TestSeveralAtOnce(t *testing.T) {
	mustBeAble(t)
	var all sync.WaitGroup
	var targets []*target
	for i := range 4 {
		g := staticGo(t, "1")
		targets = append(targets, g)
		all.Go(func() {
			c, err := Attach(g.pid)
			if err == nil {
				defer c.Close()
				err = c.Set(cluster.Skew{Wall: time.Duration(i) * time.Hour})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, g := range targets {
		ahead(t, g.sample(t), time.Duration(i)*time.Hour)
	}
}

// A process that has only just been started is not whole yet.
func TestNewbornProcess(t *testing.T) {
	mustBeAble(t)
	for range 10 {
		g := staticGo(t, "0")
		mustSet(t, attached(t, g.pid), cluster.Skew{Wall: time.Hour})
		ahead(t, g.sample(t), time.Hour)
	}
}

func TestMaps(t *testing.T) {
	for _, c := range []struct {
		maps       string
		start, end int64
	}{
		{"", 0, 0},
		{"7ffd1000-7ffd3000 rw-p 00000000 00:00 0    [stack]\n7f3abe7e1000-7f3abe7e3000 r-xp 00000000 00:00 0    [vdso]\n", 0x7f3abe7e1000, 0x7f3abe7e3000},
		{"rubbish [vdso]\n", 0, 0},
		{"2-1 r-xp [vdso]\n", 0, 0},
		{"1-fffffffff r-xp [vdso]\n", 0, 0},
		{"1-2 r-xp /tmp/a [vdso] b\n", 0, 0},
	} {
		start, end, err := vdsoIn(c.maps)
		if start != c.start || end != c.end || (err == nil) != (end > 0) {
			t.Errorf("%q: got %x to %x, %v", c.maps, start, end, err)
		}
	}
}

func FuzzMaps(f *testing.F) {
	f.Add("7f3abe7e1000-7f3abe7e3000 r-xp 00000000 00:00 0    [vdso]\n")
	f.Fuzz(func(t *testing.T, maps string) {
		if start, end, err := vdsoIn(maps); err == nil && (start <= 0 || end <= start) {
			t.Errorf("%q: got %x to %x", maps, start, end)
		}
	})
}

func TestWhatCannotBeSkewed(t *testing.T) {
	mustBeAble(t)
	g := staticGo(t, "0")
	c := attached(t, g.pid)
	for _, s := range []cluster.Skew{
		{WallRate: -1}, {MonoRate: -2}, {MonoRate: 1e6}, {WallRate: math.NaN()}, {Strobe: -1}, {Strobe: time.Microsecond}, {Wall: math.MaxInt64},
	} {
		if err := c.Set(s); err == nil {
			t.Errorf("%+v was set", s)
		}
		if err := Valid(s, 0); err == nil {
			t.Errorf("%+v is said to be valid", s)
		}
	}
	// What is within the limits by itself may be beyond them where the clock stands.
	decades := 60 * 365 * 24 * time.Hour
	if err := Valid(cluster.Skew{Wall: decades}, 0); err != nil {
		t.Error(err)
	}
	if err := Valid(cluster.Skew{Wall: decades}, decades); err == nil {
		t.Error("jumps without end are said to be valid")
	}
	ahead(t, g.sample(t), 0)
	syscall.Kill(g.pid, syscall.SIGKILL)
	g.ended <- <-g.ended // it has been waited for
	for what, err := range map[string]error{
		"set": c.Set(cluster.Skew{Wall: time.Hour}), "undo": c.Undo(),
	} {
		if err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("%s of a process that has ended: %v", what, err)
		}
	}
	if _, err := Attach(g.pid); err == nil || !strings.Contains(err.Error(), "no such process") {
		t.Errorf("attach to a process that has ended: %v", err)
	}
}
