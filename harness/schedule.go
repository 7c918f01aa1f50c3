package harness

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Schedule draws what the plan leaves open, from its seed alone: first the weather, then the list of faults. A plan that has been
// scheduled is repeated by itself, whatever a later version of this function would draw.
func Schedule(p *Plan) {
	if p.Weather == (Weather{}) {
		p.Weather = weather(Stream(p.Seed, "weather"), p.Election)
	}
	if p.Faults != nil {
		return
	}
	p.Faults = []Fault{}
	for _, name := range p.Nemesis {
		p.Faults = append(p.Faults, faults(Stream(p.Seed, "faults "+name), *p, name)...)
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return int(a.At - b.At) })
	for i := range p.Faults {
		p.Faults[i].ID = i + 1
	}
}

// weather is drawn wide: a run in which everything is mildly bad finds less than many runs of which each is bad in its own way. Links may be
// so slow that elections overlap, and so uneven that many messages take longer than an election time-out.
func weather(r *rand.Rand, election time.Duration) Weather {
	return Weather{
		Every:     between(r, 8*election, 40*election),
		Hold:      between(r, 2*election, 16*election),
		Delay:     between(r, election/1000, election/15),
		Spread:    0.2 + r.Float64(),
		Loss:      sometimes(r, 0.05),
		Duplicate: sometimes(r, 0.05),
		Sync:      between(r, 50*time.Microsecond, 5*time.Millisecond),
		Tear:      r.Float64(),
		Drift:     sometimes(r, 0.02),
		Snapshot:  int(between(r, 4, 1000)),
	}
}

// between is log-uniform: small values are as likely as great ones.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), r.Float64()))
}

// sometimes is 0 half of the time, else uniform up to most.
func sometimes(r *rand.Rand, most float64) float64 {
	if x := r.Float64(); x > 0.5 {
		return most * (2*x - 1)
	}
	return 0
}

// faults of one nemesis: one after the other, at least one, so that no run claims to have stood what it was never put to.
func faults(r *rand.Rand, p Plan, name string) (list []Fault) {
	first := time.Duration((0.1 + 0.5*r.Float64()) * float64(p.Time))
	hold := func() time.Duration { return p.Weather.Hold/4 + exponential(r, p.Weather.Hold*3/4) }
	// Clients have a moment first: in a storm that begins with everything down some kind of operation may never succeed.
	for at := min(3*p.Election, p.Time/10) + exponential(r, p.Weather.Every); at < p.Time; {
		f := Fault{Name: name, At: at, For: hold(), Draw: r.Uint64()}
		list = append(list, f)
		at += f.For + exponential(r, p.Weather.Every)
	}
	if list == nil {
		list = []Fault{{Name: name, At: first, For: hold(), Draw: r.Uint64()}}
	}
	return list
}

func exponential(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(mean))
}
