package local

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"assize/cluster"
)

func TestTripsShowWhatALinkDoes(t *testing.T) {
	c, _ := newTown(t, 2)
	there, back := cluster.Link{From: "n1", To: "n2"}, cluster.Link{From: "n2", To: "n1"}
	const probes = 6
	trips := func() (one, other cluster.Trip) {
		t.Helper()
		trips, err := c.Trips(t.Context(), []cluster.Link{back, there}, probes)
		if err != nil || len(trips) != 2 || trips[0].Link != back || trips[1].Link != there {
			t.Fatalf("%+v, %v", trips, err)
		}
		if trips[0].Held+trips[0].Lost > 0 || slices.Min(trips[0].Times) < 0 {
			t.Errorf("nothing was done to the other link: %+v", trips[0])
		}
		return trips[1], trips[0]
	}
	for _, s := range []struct {
		shape cluster.Shape
		shown func(cluster.Trip) bool
	}{
		{cluster.Shape{}, func(trip cluster.Trip) bool { return trip.Held+trip.Lost == 0 && slices.Min(trip.Times) >= 0 }},
		{cluster.Shape{Delay: 60 * time.Millisecond}, func(trip cluster.Trip) bool {
			return slices.Min(trip.Times) >= 60*time.Millisecond && trip.Held == probes && trip.Lost == 0
		}},
		{cluster.Shape{Loss: 0.7}, func(trip cluster.Trip) bool {
			return slices.Max(trip.Times) >= retransmit && trip.Lost > 0 && trip.Held == 0
		}},
		// Each probe has 64 bytes, which take 128 ms; the last one waits for all others.
		{cluster.Shape{Rate: 500}, func(trip cluster.Trip) bool {
			return slices.Max(trip.Times) >= probes*128*time.Millisecond-probes*(interval+50*time.Millisecond) && trip.Held == probes && trip.Lost == 0
		}},
		{cluster.Shape{}, func(trip cluster.Trip) bool { return trip.Held+trip.Lost == 0 && slices.Min(trip.Times) >= 0 }},
	} {
		if err := c.Shape(t.Context(), []cluster.Link{there}, s.shape); err != nil {
			t.Fatal(err)
		}
		if one, other := trips(); !s.shown(one) {
			t.Errorf("%+v: %+v, the other link %+v", s.shape, one, other)
		}
	}
}

func TestTripsThatNobodyAnswers(t *testing.T) {
	c, _ := newTown(t, 2)
	there := cluster.Link{From: "n1", To: "n2"}
	silent := func(what string, link cluster.Link) {
		t.Helper()
		trips, err := c.Trips(t.Context(), []cluster.Link{link}, 3)
		if err != nil || len(trips) != 1 || len(trips[0].Times) != 3 || slices.Max(trips[0].Times) >= 0 {
			t.Errorf("%s: %+v, %v, want no answer", what, trips, err)
		}
	}
	silent("a stranger's link", cluster.Link{From: "n1", To: "n9"})
	if err := c.Cut(t.Context(), []cluster.Link{there}); err != nil {
		t.Fatal(err)
	}
	silent("a cut link", there)
	if err := c.Cut(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	silent("a link to a stopped node", there)
	if err := c.Kill(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	silent("a link to a killed node", there)
}

func TestRateIsKeptByWhatPasses(t *testing.T) {
	r, from, to := ends(t)
	const size, rate = 20_000, 100_000
	r.setShape(cluster.Shape{Rate: rate})
	began := time.Now()
	if _, err := from.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if took, want := time.Since(began), size*time.Second/rate; took < want {
		t.Errorf("%d bytes passed in %v, want no less than %v", size, took, want)
	}
	if held, _ := r.doings(); held < 4 {
		t.Errorf("%d bytes passed in %d pieces", size, held)
	}
}

func TestDueTimesOfALimitedRate(t *testing.T) {
	r := &relay{random: rand.New(rand.NewPCG(1, 2))}
	if got := r.piece(); got != chunkBytes {
		t.Errorf("an unlimited link takes %d bytes at once", got)
	}
	r.setShape(cluster.Shape{Rate: 1000})
	now := time.Now()
	for i := range 5 {
		// Two connections share the link: neither waits for what is due to the other, but the link has one rate.
		held, pause := r.due(term{}, 500)
		due, wait := held.at, time.Until(pause.at)
		sent := time.Duration(i+1) * 500 * time.Millisecond
		if due.Before(now.Add(sent)) {
			t.Errorf("piece %d is due after %v, want no less than %v", i, due.Sub(now), sent)
		}
		if want := sent > backlog+100*time.Millisecond; want != (wait > 0) && (want || sent < backlog) {
			t.Errorf("after %v of work the sender has to wait %v", sent, wait)
		}
	}
	for rate, want := range map[float64]int{1: leastPiece, 1000: leastPiece, 20_000: 1000, 1e12: chunkBytes} {
		r.setShape(cluster.Shape{Rate: rate})
		if got := r.piece(); got != want {
			t.Errorf("at %v bytes a second it takes %d at once, want %d", rate, got, want)
		}
	}
}

func TestWhatProcessesLack(t *testing.T) {
	for _, c := range []struct {
		direct bool
		lacks  []cluster.Power
	}{
		{false, []cluster.Power{cluster.Freeze, cluster.Crash, cluster.Duplicate}},
		{true, []cluster.Power{cluster.Freeze, cluster.Crash, cluster.Duplicate, cluster.Cut, cluster.Shapes}},
	} {
		own := &Cluster{config: Config{Direct: c.direct}}
		for _, p := range []cluster.Power{
			cluster.Pause, cluster.Freeze, cluster.Crash, cluster.Cut, cluster.Shapes, cluster.Duplicate, cluster.Skews,
		} {
			if got, want := own.Lack(p) != nil, slices.Contains(c.lacks, p); got != want {
				t.Errorf("direct %v: lacks %s: %v, want %v", c.direct, p, got, want)
			}
		}
		own.lackSkew = errors.New("no way")
		if own.Lack(cluster.Skews) == nil || own.Choices() != nil {
			t.Error("where clocks cannot be falsified it is not lacking")
		}
	}
}
