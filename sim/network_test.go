package sim

import (
	"math"
	"slices"
	"testing"
	"time"

	"assize/cluster"
	"assize/machine"
)

var there = []cluster.Link{{From: "n2", To: "n3"}}

// trip sends that many probes from n2 to n3, between which no toy says anything.
func trip(t *testing.T, s *Sim, probes int) cluster.Trip {
	t.Helper()
	trips, err := s.Trips(ctx, there, probes)
	if err != nil || len(trips) != 1 || trips[0].Link != there[0] || len(trips[0].Times) != probes {
		t.Fatalf("trips %+v, %v", trips, err)
	}
	return trips[0]
}

func quickest(t cluster.Trip) time.Duration {
	least := time.Hour
	for _, d := range t.Times {
		if d >= 0 {
			least = min(least, d)
		}
	}
	return least
}

func TestTripsShowWhatAShapeDoes(t *testing.T) {
	const probes = 1000
	near := func(got uint64, part float64) bool { return math.Abs(float64(got)/probes-part) < 0.05 }
	for _, c := range []struct {
		shape cluster.Shape
		shown func(trip cluster.Trip) bool
	}{
		{cluster.Shape{}, func(trip cluster.Trip) bool {
			return slices.Max(trip.Times) < 20*time.Millisecond && trip.Held+trip.Lost+trip.Duplicated == 0
		}},
		{cluster.Shape{Delay: 100 * time.Millisecond}, func(trip cluster.Trip) bool {
			return slices.Min(trip.Times) > 100*time.Millisecond && slices.Max(trip.Times) < 120*time.Millisecond && trip.Held == probes && trip.Lost == 0
		}},
		{cluster.Shape{Delay: 100 * time.Millisecond, Jitter: 80 * time.Millisecond}, func(trip cluster.Trip) bool {
			d := slices.Sorted(slices.Values(trip.Times))
			middle, spread := d[probes/2], d[probes*3/4]-d[probes/4]
			return middle > 135*time.Millisecond && middle < 150*time.Millisecond && spread > 35*time.Millisecond && spread < 45*time.Millisecond
		}},
		{cluster.Shape{Loss: 0.3}, func(trip cluster.Trip) bool {
			silent := len(slices.DeleteFunc(slices.Clone(trip.Times), func(d time.Duration) bool { return d >= 0 }))
			return near(trip.Lost, 0.3) && silent == int(trip.Lost) && trip.Held == 0
		}},
		{cluster.Shape{Duplicated: 0.4}, func(trip cluster.Trip) bool {
			return near(trip.Duplicated, 0.4) && slices.Min(trip.Times) >= 0 && trip.Lost == 0
		}},
		// A probe of 116 bytes takes 29 ms, and the next one comes 2 ms after it.
		{cluster.Shape{Rate: 4000}, func(trip cluster.Trip) bool {
			return trip.Times[0] > 29*time.Millisecond && trip.Times[0] < 40*time.Millisecond &&
				trip.Times[10] > 11*29*time.Millisecond-20*time.Millisecond && slices.Max(trip.Times) < time.Second+60*time.Millisecond &&
				trip.Lost > 0 && trip.Held+trip.Lost == probes
		}},
	} {
		in(t, nil, func(s *Sim) {
			if err := s.Shape(ctx, there, c.shape); err != nil {
				t.Fatal(err)
			}
			began := s.Now()
			trip := trip(t, s, probes)
			if !c.shown(trip) {
				t.Errorf("%+v: trips from %v to %v, %d held, %d lost, %d duplicated", c.shape, quickest(trip), slices.Max(trip.Times), trip.Held, trip.Lost, trip.Duplicated)
			}
			if took := s.Now() - began; took < slices.Max(trip.Times) {
				t.Errorf("trips of up to %v took %v", slices.Max(trip.Times), took)
			}
		})
	}
}

func TestWeatherIsNotTheShapesDoing(t *testing.T) {
	in(t, func(c *Config) { c.Weather.Loss, c.Weather.Duplicate = 0.3, 0.3 }, func(s *Sim) {
		if trip := trip(t, s, 100); trip.Lost+trip.Duplicated > 0 || slices.Min(trip.Times) >= 0 {
			t.Errorf("foul weather and no shape: %+v", trip)
		}
	})
}

func TestTripsOfTheDeadAndOfTheHealed(t *testing.T) {
	in(t, nil, func(s *Sim) {
		silent := func(what string) {
			t.Helper()
			if trip := trip(t, s, 5); slices.Max(trip.Times) >= 0 {
				t.Errorf("%s answered: %v", what, trip.Times)
			}
		}
		s.Cut(ctx, there)
		silent("a cut link")
		s.Cut(ctx, nil)
		s.Pause(ctx, "n3")
		silent("a paused node")
		s.Resume(ctx, "n3")
		s.Kill(ctx, "n3")
		silent("a dead node")
		s.Start(ctx, "n3")
		s.Shape(ctx, there, cluster.Shape{Loss: 1})
		silent("a link that loses all")
		s.Shape(ctx, nil, cluster.Shape{})
		if trip := trip(t, s, 5); slices.Min(trip.Times) < 0 || trip.Lost > 0 {
			t.Errorf("a healed link: %+v", trip)
		}
		if trips, err := s.Trips(ctx, []cluster.Link{{From: "n1", To: "n9"}}, 2); err != nil || slices.Max(trips[0].Times) >= 0 {
			t.Errorf("a node that there is not: %+v, %v", trips, err)
		}
	})
}

// arrivals sends messages from n1 to n2 and returns their numbers as they arrive, and when.
func arrivals(s *Sim, messages, size int, gap time.Duration) (numbers []int, at []time.Duration) {
	for i := range messages {
		body := make([]byte, size)
		body[0], body[1] = byte(i), byte(i>>8)
		s.now = int64(i) * int64(gap)
		s.send(s.nodes[0], machine.Message{From: 1, To: 2, Body: body})
	}
	for {
		e, ok := s.next()
		if !ok {
			return numbers, at
		}
		if e.kind() == message && len(s.mail[e.arg].Body) == size {
			b := s.mail[e.arg].Body
			numbers, at = append(numbers, int(b[0])|int(b[1])<<8), append(at, time.Duration(e.at))
		}
	}
}

func shaped(shape cluster.Shape) *Sim {
	c := toyConfig(5, "")
	c.Weather = Weather{Delay: time.Millisecond}
	s := New(c)
	s.Shape(ctx, []cluster.Link{{From: "n1", To: "n2"}}, shape)
	return s
}

func TestRateIsKeptAndALongQueueLoses(t *testing.T) {
	const messages, size = 300, 1000 - header
	numbers, at := arrivals(shaped(cluster.Shape{Rate: 50_000}), messages, size, 0)
	// One second's work is 50 messages, and the one that is begun.
	if len(numbers) != 51 {
		t.Errorf("%d messages came through, want 51", len(numbers))
	}
	if last := slices.Max(at); last < time.Second || last > 1100*time.Millisecond {
		t.Errorf("the last one came after %v, want a second and 20 ms", last)
	}
	if numbers, _ = arrivals(shaped(cluster.Shape{Rate: 50_000}), messages, size, 25*time.Millisecond); len(numbers) != messages {
		t.Errorf("%d of %d messages came through a link that has the rate for all", len(numbers), messages)
	}
}

// TestFullQueueIsNoSilence: a link that has more to carry than it can is slow, and neither cut nor dead.
func TestFullQueueIsNoSilence(t *testing.T) {
	s := shaped(cluster.Shape{Rate: 2000})
	if err := s.Run(func() {
		for i := range 200 { // 16 kB/s
			s.post(s.link(cluster.Link{From: "n1", To: "n2"}), machine.Message{From: 1, To: 2, Body: make([]byte, 800)}, uint64(i))
			s.Sleep(50 * time.Millisecond)
			if dead, err := s.Reach(ctx); err != nil || len(dead) > 0 {
				t.Fatalf("probe %d: dead are %v, error %v", i, dead, err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestJitterReorders(t *testing.T) {
	const messages = 300
	overtaken := func(shape cluster.Shape) (n int) {
		numbers, _ := arrivals(shaped(shape), messages, 10, 20*time.Millisecond)
		if len(numbers) != messages {
			t.Errorf("%+v: %d of %d messages came", shape, len(numbers), messages)
		}
		for i := range numbers[1:] {
			if numbers[i+1] < numbers[i] {
				n++
			}
		}
		return n
	}
	if n := overtaken(cluster.Shape{Delay: 50 * time.Millisecond}); n > 0 {
		t.Errorf("%d of %d overtook others on an even link", n, messages)
	}
	if n := overtaken(cluster.Shape{Delay: 50 * time.Millisecond, Jitter: 100 * time.Millisecond}); n < messages/10 {
		t.Errorf("only %d of %d overtook others on an uneven link", n, messages)
	}
}

// What waits on slow links is no flood, however much it is: they lose what they cannot keep.
func TestSlowLinksAreNoFlood(t *testing.T) {
	s := shaped(cluster.Shape{Delay: time.Minute})
	for range 2 * mostMail {
		s.send(s.nodes[0], machine.Message{From: 1, To: 2})
	}
	if v := s.Violations(); v != nil {
		t.Error(v)
	}
	if l := s.nodes[0].links[1]; l.done.lost != 2*mostMail-mostSlowed || l.done.held != mostSlowed {
		t.Errorf("%+v of %d", l.done, 2*mostMail)
	}
	for at := range s.mail {
		s.arrive(uint32(at))
	}
	if s.slowed != 0 {
		t.Errorf("%d are still counted", s.slowed)
	}
}

// Whoever looks at the links changes nothing: all messages fare alike, so that a run without its faults, or without their probes, is the same.
func TestLookingChangesNothing(t *testing.T) {
	fates := func(look bool) (at []event) {
		in(t, func(c *Config) { c.Weather = Weather{Delay: time.Millisecond, Spread: 1, Loss: 0.1, Duplicate: 0.1} }, func(s *Sim) {
			s.Shape(ctx, append(there, cluster.Link{From: "n1", To: "n2"}), cluster.Shape{Rate: 20_000, Loss: 0.1})
			if look {
				s.Reach(ctx)
				s.Trips(ctx, there, 100)
			}
			s.Sleep(time.Second - s.Now())
			s.queue = queue{}
			for i := range 500 {
				s.send(s.nodes[1], machine.Message{From: 2, To: 3, Body: make([]byte, 10)})
				s.now += int64(i)
			}
			for e, ok := s.next(); ok; e, ok = s.next() {
				at = append(at, event{at: e.at})
			}
			s.plan(s.now, wake, s.current.index, s.current.token+1)
		})
		return at
	}
	if blind, seeing := fates(false), fates(true); !slices.Equal(blind, seeing) || len(blind) == 0 {
		t.Errorf("%d messages fare otherwise than %d when the links are looked at", len(seeing), len(blind))
	}
}
