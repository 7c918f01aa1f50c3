package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/machine"
)

// puppet does what it is told, and remembers the steps.
type puppet struct {
	config machine.Config
	steps  []machine.Event
	next   func(n int, e machine.Event) machine.Effects
}

func (p *puppet) Status() machine.Status {
	return machine.Status{ID: p.config.ID, Role: machine.Follower}
}

func (p *puppet) Step(e machine.Event) machine.Effects {
	p.steps = append(p.steps, e)
	if p.next == nil {
		return machine.Effects{}
	}
	return p.next(len(p.steps), e)
}

// puppets hosts n of them; the latest of each node is kept.
func puppets(n int, w Weather, next func(id, n int, e machine.Event) machine.Effects) (*Sim, []*puppet) {
	made := make([]*puppet, n+1)
	return New(Config{Seed: 1, Nodes: n, Weather: w, Options: machine.Options{Tick: 10 * time.Millisecond}, New: func(c machine.Config) machine.Machine {
		p := &puppet{config: c}
		p.next = func(step int, e machine.Event) machine.Effects { return next(c.ID, step, e) }
		made[c.ID] = p
		return p
	}}), made
}

// TestEffectsWaitForTheirSync: every second step logs; what it sends arrives no earlier than a sync later, and nothing overtakes it. It is
// so for hosts that step while a sync is under way and for those that do not, and a crash lets nothing out.
func TestEffectsWaitForTheirSync(t *testing.T) {
	const least = 8 * time.Millisecond // of the syncs drawn around the mean
	for _, pipelined := range []bool{false, true} {
		var s *Sim
		stepped := map[byte]time.Duration{}
		var got []byte
		s, made := puppets(2, Weather{Sync: 20 * time.Millisecond}, func(id, n int, e machine.Event) machine.Effects {
			if id == 2 {
				if e.Message != nil {
					b := e.Message.Body[0]
					got = append(got, b)
					if took := s.Now() - stepped[b]; b%2 == 1 && took < least {
						t.Errorf("pipelined %v: what step %d sent was there after %v", pipelined, b, took)
					}
				}
				return machine.Effects{}
			}
			stepped[byte(n)] = s.Now()
			fx := machine.Effects{Send: []machine.Message{{From: 1, To: 2, Body: []byte{byte(n)}}}}
			if n%2 == 1 {
				fx.Log = [][]byte{{byte(n)}}
			}
			return fx
		})
		s.nodes[0].pipelined = pipelined
		s.Run(func() {
			s.Sleep(time.Second)
			for s.nodes[0].disk.written == s.nodes[0].disk.durable {
				s.Sleep(time.Millisecond)
			}
			waiting := len(s.nodes[0].held)
			steps := len(made[1].steps)
			s.Kill(ctx, "n1")
			s.Sleep(time.Second)
			if waiting == 0 || len(got) != steps-waiting || !slices.IsSorted(got) {
				t.Errorf("pipelined %v: of %d messages %d waited, %d arrived: %v", pipelined, steps, waiting, len(got), got)
			}
			s.Start(ctx, "n1")
			var log []byte
			for _, r := range made[1].config.Log {
				log = append(log, r...)
			}
			if want := (len(got) + 1) / 2; len(log) != want {
				t.Errorf("pipelined %v: %d records on disk after the crash, want %d", pipelined, len(log), want)
			}
		})
	}
}

// TestEarlyMessagesDoNotWaitForASync, only for what was to go to the same node before them.
func TestEarlyMessagesDoNotWaitForASync(t *testing.T) {
	const least = 8 * time.Millisecond // of the syncs drawn around the mean
	for _, pipelined := range []bool{false, true} {
		var s *Sim
		took := map[byte]time.Duration{}
		order := map[int]string{}
		var stepped time.Duration
		s, _ = puppets(3, Weather{Sync: 20 * time.Millisecond}, func(id, n int, e machine.Event) machine.Effects {
			if e.Message != nil {
				took[e.Message.Body[0]] = s.Now() - stepped
				order[id] += string(e.Message.Body)
			}
			if id != 1 || n != 1 {
				return machine.Effects{}
			}
			stepped = s.Now()
			return machine.Effects{Log: [][]byte{{1}}, Send: []machine.Message{
				{From: 1, To: 2, Body: []byte("a"), Early: true}, {From: 1, To: 3, Body: []byte("b")}, {From: 1, To: 3, Body: []byte("c"), Early: true},
			}}
		})
		s.nodes[0].pipelined = pipelined
		s.Run(func() { s.Sleep(time.Second) })
		if took['a'] >= least || took['b'] < least || took['c'] < least || order[2] != "a" || len(order[3]) != 2 {
			t.Errorf("pipelined %v: an early message took %v, one that is not %v, one behind that %v", pipelined, took['a'], took['b'], took['c'])
		}
	}
}

func TestDiskLosesWhatWasNotSynced(t *testing.T) {
	record := func(b byte) [][]byte { return [][]byte{{b}, {b + 1}} }
	for _, c := range []struct {
		name    string
		sync    uint64
		survive int
		want    string
	}{
		{"nothing synced, all lost", 0, 0, ""},
		{"the first write synced", 1, 0, "01"},
		{"torn within the second", 1, 1, "012"},
		{"torn before the snapshot's records", 0, 5, "0123"},
		{"torn within the snapshot's records", 0, 5, "0123"},
		{"all survives", 0, 8, "S4567"},
		{"the snapshot survives, what came after is torn", 0, 7, "S456"},
		{"snapshot synced", 3, 0, "S45"},
	} {
		var d disk
		d.write(nil, record('0'))
		d.write(nil, record('2'))
		d.write([]byte("S"), record('4'))
		d.write(nil, record('6'))
		d.sync(c.sync)
		d.crash(c.survive)
		got := string(d.snapshot) + string(slices.Concat(d.log...))
		if got != c.want || len(d.unsynced)+len(d.pending) != 0 {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestCheckpointsBesideTheLog: one takes the place of what was logged up to it, once that is synced and it is due; never that of an installed snapshot.
func TestCheckpointsBesideTheLog(t *testing.T) {
	record := func(b byte) [][]byte { return [][]byte{{b}} }
	for _, c := range []struct {
		name string
		run  func(*disk)
		want string
	}{
		{"not due", func(d *disk) { d.sync(3); d.settle(9) }, "012"},
		{"due, its records not synced", func(d *disk) { d.sync(1); d.settle(50) }, "0"},
		{"due", func(d *disk) { d.sync(2); d.settle(10) }, "St"},
		{"due, and more is synced", func(d *disk) { d.sync(3); d.settle(10) }, "St2"},
		{"due between two syncs", func(d *disk) { d.sync(2); d.settle(10); d.sync(3) }, "St2"},
		{"a crash before it is due", func(d *disk) { d.sync(3); d.crash(0); d.settle(50) }, "012"},
		{"a newer one that is due first", func(d *disk) { d.begin([]byte("T"), record('u'), 5); d.sync(3); d.settle(5); d.settle(10) }, "Tu"},
		{"a newer one, both due", func(d *disk) { d.begin([]byte("T"), record('u'), 20); d.sync(3); d.settle(20) }, "Tu"},
		{"a newer one after it", func(d *disk) {
			d.begin([]byte("T"), nil, 20)
			d.write(nil, record('3'))
			d.sync(4)
			d.settle(10)
			d.settle(20)
		}, "T3"},
		{"one after the other, and a record between", func(d *disk) {
			d.write(nil, record('3'))
			d.begin([]byte("T"), record('u'), 20)
			d.write(nil, record('4'))
			d.sync(4)
			d.settle(10)
			d.sync(5)
			d.settle(20)
		}, "Tu4"},
		{"installed after it", func(d *disk) { d.write([]byte("I"), record('i')); d.sync(4); d.settle(50) }, "Ii"},
		{"installed, not synced", func(d *disk) { d.write([]byte("I"), record('i')); d.sync(3); d.settle(50) }, "St2"},
		{"one after an installed", func(d *disk) {
			d.write([]byte("I"), record('i'))
			d.begin([]byte("T"), record('u'), 20)
			d.write(nil, record('3'))
			d.sync(5)
			d.settle(20)
		}, "Tu3"},
	} {
		var d disk
		d.write(nil, record('0'))
		d.write(nil, record('1'))
		d.begin([]byte("S"), record('t'), 10)
		d.write(nil, record('2'))
		c.run(&d)
		if got := string(d.snapshot) + string(slices.Concat(d.log...)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestInstalledSnapshotHasNoOtherRecords: a host that kept to the letter would lose them.
func TestInstalledSnapshotHasNoOtherRecords(t *testing.T) {
	s, _ := puppets(1, Weather{}, func(int, int, machine.Event) machine.Effects {
		return machine.Effects{Snapshot: []byte("s"), Installed: true, Log: [][]byte{{1}}}
	})
	if err := s.Run(func() { s.Sleep(time.Second) }); err == nil || !strings.Contains(err.Error(), "no records but its tail") {
		t.Errorf("got %v", err)
	}
}

func TestClocks(t *testing.T) {
	const s = int64(time.Second)
	c := newClock(1, 0)
	c.offset, c.wall = 0, 0
	c.restart(2 * s)
	check := func(now, wall, mono int64) {
		t.Helper()
		if w, m := c.read(now); w != wall || m != mono {
			t.Errorf("at %d s: wall %v, mono %v, want %v, %v", now/s, time.Duration(w), time.Duration(m), time.Duration(wall), time.Duration(mono))
		}
	}
	check(3*s, 3*s, 1*s)
	c.skew(3*s, cluster.Skew{Wall: 10 * time.Second, Mono: -3 * time.Second})
	check(4*s, 14*s, -1*s)
	c.skew(4*s, cluster.Skew{WallRate: 1, MonoRate: -0.5})
	check(6*s, 18*s, 0)
	c.skew(6*s, cluster.Skew{Wall: 5 * time.Second, Strobe: time.Second})
	check(6*s+s/2, 23*s+s/2, s/2)
	check(7*s+s/2, 19*s+s/2, 3*s/2)
	c.skew(8*s, cluster.Skew{})
	check(9*s, 9*s, 3*s)
	if got := c.until(9*s, 5*s); got != 2*s {
		t.Errorf("until 5 s: %d", got)
	}
}

func TestNaturalDriftIsBounded(t *testing.T) {
	least, most := 2.0, 0.0
	for i := range uint64(1000) {
		c := newClock(stream(1, streamClock, i), 0.02)
		least, most = min(least, c.monoRate), max(most, c.monoRate)
	}
	if most-least > 0.02 || most-least < 0.019 {
		t.Errorf("rates from %v to %v, want them to fill 0.02 and no more", least, most)
	}
}

func TestTicksGoByTheMonotonicClock(t *testing.T) {
	s, made := puppets(3, Weather{}, func(int, int, machine.Event) machine.Effects { return machine.Effects{} })
	s.Run(func() {
		s.Sleep(100 * time.Millisecond)
		count := func(d time.Duration) (n [4]int) {
			before := [4]int{0, len(made[1].steps), len(made[2].steps), len(made[3].steps)}
			s.Sleep(d)
			for i := 1; i < 4; i++ {
				n[i] = len(made[i].steps) - before[i]
			}
			return n
		}
		s.Skew(ctx, "n2", cluster.Skew{MonoRate: 1})
		s.Skew(ctx, "n3", cluster.Skew{MonoRate: -0.5})
		if got := count(time.Second); got != [4]int{0, 100, 200, 50} {
			t.Errorf("ticks %v, want 100 200 50", got[1:])
		}
		s.Skew(ctx, "n1", cluster.Skew{Mono: 10 * time.Second})
		s.Skew(ctx, "n2", cluster.Skew{Mono: -500 * time.Millisecond})
		if got := count(0); got != [4]int{0, 1, 0, 0} {
			t.Errorf("ticks %v at once, want one after the jump forward", got[1:])
		}
		if got := count(time.Second); got[2] < 49 || got[2] > 51 || got[1] < 99 {
			t.Errorf("ticks %v, want 100 and, half of the time frozen, 50", got[1:])
		}
		s.Skew(ctx, "n2", cluster.Skew{Mono: -time.Hour})
		s.Skew(ctx, "n2", cluster.Skew{})
		if got := count(time.Second); got[2] < 99 {
			t.Errorf("%d ticks after mending, want 100", got[2])
		}
	})
}

// TestEntryThatMadeARevision: not every revision is made by an entry, and the last entries may not have been told of.
func TestEntryThatMadeARevision(t *testing.T) {
	var c court
	for i, revision := range []int64{0, 5, 6, 1 << 32, 0, 0} {
		c.at(uint64(i)).revision = revision
	}
	beyond := uint64(len(c.applied))
	for revision, want := range map[int64]uint64{5: 1, 6: 2, 7: beyond, 1 << 32: 3, 1<<32 + 1: beyond} {
		if got := c.made(revision); got != want {
			t.Errorf("revision %d: made by entry %d, want %d", revision, got, want)
		}
	}
}

// emptyLog has no entry.
type emptyLog struct{}

func (emptyLog) Entry(uint64) (uint64, []byte, bool) { return 0, nil, false }
func (emptyLog) Changed() uint64                     { return 0 }

// TestReplyThatRestsOnNoEntry: that a handover came about is known to a server that has just started and has applied nothing.
func TestReplyThatRestsOnNoEntry(t *testing.T) {
	var c court
	c.at(0)
	c.acknowledged(&Sim{}, &node{id: 1, inspector: emptyLog{}}, machine.Entry{Term: 10})
	if len(c.violations) > 0 {
		t.Errorf("got %q, want no violation", c.violations)
	}
	if c.acknowledged(&Sim{}, &node{id: 1, inspector: emptyLog{}}, machine.Entry{Term: 10, Index: 1}); len(c.violations) != 1 {
		t.Errorf("got %q, want a violation: nobody has applied the entry", c.violations)
	}
}
