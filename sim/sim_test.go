package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/machine"
)

var ctx = context.Background()

// in runs main in a cluster of toys in fair weather.
func in(t *testing.T, change func(*Config), main func(s *Sim)) {
	t.Helper()
	c := toyConfig(7, "")
	c.Weather = Weather{Delay: time.Millisecond, Sync: time.Millisecond}
	if change != nil {
		change(&c)
	}
	s := New(c)
	if err := s.Run(func() { main(s) }); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func dial(t *testing.T, s *Sim, node string) cluster.Client {
	t.Helper()
	c, err := s.Dial(ctx, node, patient)
	if err != nil {
		t.Fatalf("dial %s: %v", node, err)
	}
	return c
}

func TestQueueIsOrderedByTimeThenByPlanning(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var q queue
	var want []event
	for i := range 3000 {
		at := int64(r.IntN(200))
		q.plan(at, kind(r.IntN(9)), uint32(i), 0)
		want = append(want, event{at: at, arg: uint32(i)})
		if r.IntN(3) == 0 {
			slices.SortStableFunc(want, func(a, b event) int { return int(a.at - b.at) })
			got, _ := q.next()
			if got.at != want[0].at || got.arg != want[0].arg {
				t.Fatalf("got %d at %d, want %d at %d", got.arg, got.at, want[0].arg, want[0].at)
			}
			want = want[1:]
		}
	}
	slices.SortStableFunc(want, func(a, b event) int { return int(a.at - b.at) })
	for _, w := range want {
		if got, ok := q.next(); !ok || got.at != w.at || got.arg != w.arg {
			t.Fatalf("got %d at %d, want %d at %d", got.arg, got.at, w.arg, w.at)
		}
	}
	if _, ok := q.next(); ok {
		t.Error("an empty queue has an event")
	}
}

func TestDelaysAreLognormal(t *testing.T) {
	q := lognormal(10*time.Millisecond, 0.5)
	var logs []float64
	for i := range uint64(200_000) {
		logs = append(logs, math.Log(float64(q.at(draw(5, i)))/1e7))
	}
	mean, square := 0.0, 0.0
	for _, l := range logs {
		mean += l / float64(len(logs))
		square += l * l / float64(len(logs))
	}
	if math.Abs(mean) > 0.01 || math.Abs(math.Sqrt(square)-0.5) > 0.01 {
		t.Errorf("logarithms of delays have mean %.3f and deviation %.3f, want 0 and 0.5", mean, math.Sqrt(square))
	}
}

// trace is a run as a list of what its clients saw and when.
func trace(c Config) (lines []string) {
	s := New(c)
	s.Run(func() {
		for i := range 3 {
			s.Go(func() {
				for n := range 60 {
					line, err := s.Dial(ctx, "n1", cluster.Options{Timeout: 200 * time.Millisecond})
					if err == nil {
						var a cluster.Answer
						a, err = line.Do(ctx, put(100*i+n))
						lines = append(lines, fmt.Sprint(s.Now(), i, n, a, err))
						line.Close()
					}
					s.Sleep(15 * time.Millisecond)
				}
			})
		}
		s.Sleep(300 * time.Millisecond)
		s.Kill(ctx, "n1")
		s.Sleep(100 * time.Millisecond)
		s.Start(ctx, "n1")
		s.Wait()
	})
	return lines
}

func TestSameSeedSameRun(t *testing.T) {
	a, b, c := trace(toyConfig(3, "")), trace(toyConfig(3, "")), trace(toyConfig(4, ""))
	if !slices.Equal(a, b) {
		t.Error("one seed gave two runs")
	}
	if slices.Equal(a, c) || len(a) < 100 {
		t.Errorf("two seeds gave one run, or next to nothing happened: %d operations", len(a))
	}
}

// A message's fate depends on its link and its number in it alone: so taking one message out of a run does not reshuffle the others.
func TestDrawsAreKeyed(t *testing.T) {
	fates := func(others int) (at []int64) {
		s := New(toyConfig(5, ""))
		for i := range 20 {
			for range others {
				s.send(s.nodes[1], machine.Message{From: 2, To: 3})
				s.anyDelay()
			}
			before := len(s.heap)
			s.send(s.nodes[0], machine.Message{From: 1, To: 2, Body: []byte{byte(i)}})
			at = append(at, int64(len(s.heap)-before))
			for _, m := range s.mail {
				if m.To == 2 && len(m.Body) > 0 && m.Body[0] == byte(i) {
					at = append(at, int64(m.Body[0]))
				}
			}
		}
		return at
	}
	if a, b := fates(0), fates(3); !reflect.DeepEqual(a, b) {
		t.Errorf("fates changed with other messages: %v, %v", a, b)
	}
}

func TestLossAndDuplication(t *testing.T) {
	c := toyConfig(6, "")
	c.Weather.Loss, c.Weather.Duplicate = 0.2, 0.1
	s := New(c)
	before := len(s.heap)
	const sent = 10_000
	for range sent {
		s.send(s.nodes[0], machine.Message{From: 1, To: 2})
	}
	if got, want := float64(len(s.heap)-before)/sent, 0.8*1.1; math.Abs(got-want) > 0.02 {
		t.Errorf("%.3f of the messages arrive, want %.3f", got, want)
	}
}

func TestCutIsSilenceInOneDirection(t *testing.T) {
	in(t, nil, func(s *Sim) {
		c := dial(t, s, "n1")
		s.Sleep(100 * time.Millisecond)
		links := []cluster.Link{{From: "n2", To: "n1"}, {From: "n3", To: "n1"}}
		if err := s.Cut(ctx, links); err != nil {
			t.Fatal(err)
		}
		began := s.Now()
		dead, err := s.Reach(ctx)
		if err != nil || !slices.Equal(dead, links) || s.Now() == began {
			t.Errorf("dead links %v after %v, %v, want %v", dead, s.Now()-began, err, links)
		}
		s.Sleep(100 * time.Millisecond)
		if _, err := c.Do(ctx, put(1)); err == nil || errors.Is(err, cluster.ErrNotDone) {
			t.Errorf("a write without answers from the others: %v, want nobody to know", err)
		}
		if got := s.nodes[1].status.Last; got != 1 {
			t.Errorf("n2 has %d entries, want the one that came the other way", got)
		}
		s.Cut(ctx, nil)
		if dead, _ := s.Reach(ctx); dead != nil {
			t.Errorf("after healing %v are dead", dead)
		}
		if _, err := dial(t, s, "n1").Do(ctx, put(2)); err != nil {
			t.Errorf("after healing: %v", err)
		}
	})
}

func TestShapeDelaysAndLoses(t *testing.T) {
	in(t, nil, func(s *Sim) {
		all := []cluster.Link{{From: "n1", To: "n2"}, {From: "n1", To: "n3"}}
		s.Shape(ctx, all, cluster.Shape{Delay: 300 * time.Millisecond})
		s.Sleep(100 * time.Millisecond)
		c, began := dial(t, s, "n1"), s.Now()
		if _, err := c.Do(ctx, put(1)); err != nil || s.Now()-began < 300*time.Millisecond {
			t.Errorf("a write over slow links took %v, %v", s.Now()-began, err)
		}
		s.Shape(ctx, all, cluster.Shape{Loss: 1})
		if dead, _ := s.Reach(ctx); !slices.Equal(dead, all) {
			t.Errorf("links that lose all: %v are dead", dead)
		}
		s.Shape(ctx, nil, cluster.Shape{})
		began = s.Now()
		if _, err := c.Do(ctx, put(2)); err != nil || s.Now()-began > 100*time.Millisecond {
			t.Errorf("a write over healed links took %v, %v", s.Now()-began, err)
		}
		if err := s.Shape(ctx, all, cluster.Shape{Loss: 2}); err == nil {
			t.Error("a loss of 2 was taken")
		}
	})
}

func TestClientsOfTheDead(t *testing.T) {
	in(t, nil, func(s *Sim) {
		s.Sleep(100 * time.Millisecond)
		c := dial(t, s, "n1")
		var during error
		s.Go(func() {
			s.Cut(ctx, []cluster.Link{{From: "n2", To: "n1"}, {From: "n3", To: "n1"}})
			_, during = c.Do(ctx, put(1))
		})
		s.Sleep(50 * time.Millisecond)
		began := s.Now()
		s.Kill(ctx, "n1")
		s.Wait()
		if during == nil || errors.Is(during, cluster.ErrNotDone) || s.Now() == began || s.Now()-began > 100*time.Millisecond {
			t.Errorf("a write under way when its node was killed: %v after %v", during, s.Now()-began)
		}
		if _, err := c.Do(ctx, put(2)); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("a write over a broken connection: %v", err)
		}
		if _, err := s.Dial(ctx, "n1", patient); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("dial: %v", err)
		}
		if _, err := s.Status(ctx, "n1"); !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("status: %v", err)
		}
		s.Cut(ctx, nil)
		s.Start(ctx, "n1")
		s.Sleep(100 * time.Millisecond)
		if _, err := c.Do(ctx, put(3)); !errors.Is(err, cluster.ErrNotDone) {
			t.Errorf("an old connection to a new process: %v", err)
		}
		if _, err := dial(t, s, "n1").Do(ctx, put(4)); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	})
}

func TestDefiniteErrors(t *testing.T) {
	in(t, nil, func(s *Sim) {
		s.Sleep(100 * time.Millisecond)
		if _, err := dial(t, s, "n2").Do(ctx, put(1)); !errors.Is(err, cluster.ErrNotDone) {
			t.Errorf("refused: %v", err)
		}
		c := dial(t, s, "n1")
		cas := put(1)
		cas[0].F, cas[0].In = "cas", []int{5, 6}
		if _, err := c.Do(ctx, cas); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, machine.ErrCompare) {
			t.Errorf("failed compare: %v", err)
		}
		a, err := c.Do(ctx, put(8))
		if err != nil || a.Note != "term 1 index 2" || a.Version == 0 {
			t.Errorf("got %+v, %v", a, err)
		}
		if a, err = c.Do(ctx, get); err != nil || !slices.Equal(a.Txn[0].Out, []int{8}) {
			t.Errorf("got %+v, %v", a, err)
		}
		if _, err := s.Dial(ctx, "n9", patient); err == nil || !strings.Contains(err.Error(), "n9 is no member: [n1 n2 n3]") {
			t.Errorf("dial n9: %v", err)
		}
	})
}

func TestPausedNodesFindTheirMailLater(t *testing.T) {
	in(t, nil, func(s *Sim) {
		s.Sleep(100 * time.Millisecond)
		c := dial(t, s, "n1")
		s.Pause(ctx, "n1")
		if _, err := s.Status(ctx, "n1"); err == nil || errors.Is(err, cluster.ErrRefused) {
			t.Errorf("status of a paused node: %v", err)
		}
		ticks := s.nodes[0].machine.(*toy).ticks
		began := s.Now()
		if _, err := c.Do(ctx, put(1)); err == nil || errors.Is(err, cluster.ErrNotDone) || s.Now()-began != patient.Timeout {
			t.Errorf("a write to a paused node: %v after %v", err, s.Now()-began)
		}
		if got := s.nodes[0].machine.(*toy).ticks; got != ticks {
			t.Errorf("%d ticks while paused", got-ticks)
		}
		s.Resume(ctx, "n1")
		s.Sleep(10 * time.Millisecond) // a sync may come first
		if got := s.nodes[0].machine.(*toy).ticks; got != ticks+1 {
			t.Errorf("%d ticks on resuming, want the one that was missed", got-ticks)
		}
		s.Sleep(100 * time.Millisecond)
		if got := s.nodes[0].status.Applied; got != 1 {
			t.Errorf("applied %d, want the write whose client is gone", got)
		}
	})
}

func TestRunSeesADeadlock(t *testing.T) {
	s := New(toyConfig(1, ""))
	err := s.Run(func() {
		for _, n := range s.Nodes() {
			s.Kill(ctx, n)
		}
		s.block()
	})
	if err == nil || !strings.Contains(err.Error(), "everything waits") {
		t.Errorf("got %v", err)
	}
}

func TestRunUnwindsWhatIsBlocked(t *testing.T) {
	unwound := 0
	in(t, nil, func(s *Sim) {
		for range 5 {
			s.Go(func() {
				defer func() { unwound++; s.Sleep(1) }()
				s.Sleep(time.Hour)
			})
		}
		s.Sleep(time.Second)
	})
	if unwound != 5 {
		t.Errorf("%d of 5 were unwound", unwound)
	}
}
