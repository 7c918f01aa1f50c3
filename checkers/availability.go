package checkers

import (
	"fmt"
	"slices"
	"time"

	"assize/history"
)

var availability = Checker{
	Name:     "availability",
	Question: "for how long did nothing succeed, and how soon did the system answer again after each fault?",
	Doc: "measured, not judged. A gap is a time without an operation that succeeds which is ten times as long as the median distance of two " +
		"successes and at least 100 ms. Recovery is from a fault, or from its mending, to the first success of an operation asked for after it. " +
		"Latencies are of operations that succeeded. All in the storm",
	Check: checkAvailability,
}

const (
	leastGap  = 100 * time.Millisecond
	gapFactor = 10
)

func checkAvailability(h []history.Op, _ Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	from, to := entered(h, history.PhaseStorm), len(h)
	if from < 0 {
		from = 0
	} else {
		to = left(h, from)
	}
	r := Result{Verdict: Valid, Unit: "operations", Figures: map[string]float64{}}
	if len(h) == 0 {
		r.Note = "nothing was recorded"
		return r, nil
	}
	began, ended := h[from].Time, h[min(to, len(h)-1)].Time
	var done []time.Duration
	var latencies []time.Duration
	for _, c := range t.calls {
		if c.Invoke < from || c.Invoke >= to {
			continue
		}
		r.Judged++
		if c.Kind == history.OK && c.Complete < to {
			done = append(done, h[c.Complete].Time)
			latencies = append(latencies, t.between(c.Invoke, c.Complete))
		}
	}
	slices.Sort(done)
	slices.Sort(latencies)
	r.Figures["storm_s"] = (ended - began).Seconds()
	r.Figures["ok"] = float64(len(done))
	if len(done) == 0 {
		r.Figures["longest_gap_s"], r.Figures["total_gap_s"] = (ended - began).Seconds(), (ended - began).Seconds()
		r.Note = fmt.Sprintf("nothing succeeded in %s", seconds(ended-began))
		return r, nil
	}
	longest, total, gaps := gapsIn(began, ended, done)
	r.Figures["longest_gap_s"], r.Figures["total_gap_s"], r.Figures["gaps"] = longest.Seconds(), total.Seconds(), float64(gaps)
	for _, p := range []int{50, 90, 99, 100} {
		r.Figures[fmt.Sprintf("latency_p%d_ms", p)] = percentile(latencies, p).Seconds() * 1000
	}
	r.Note = fmt.Sprintf("%s without success of %s in all, the longest %s; latency %s median, %s at 99 %%", plural(gaps, "gap"), seconds(total), seconds(longest),
		percentile(latencies, 50).Round(time.Microsecond), percentile(latencies, 99).Round(time.Microsecond))
	t.recoveries(from, to, r.Figures)
	return r, nil
}

// gapsIn finds the gaps between successes, the times before the first and after the last included.
func gapsIn(began, ended time.Duration, done []time.Duration) (longest, total time.Duration, gaps int) {
	distances := make([]time.Duration, 0, len(done)+1)
	last := began
	for _, d := range done {
		distances = append(distances, d-last)
		last = d
	}
	distances = append(distances, ended-last)
	slices.Sort(distances)
	least := max(leastGap, gapFactor*percentile(distances, 50))
	for _, d := range distances {
		if d >= least {
			longest, total, gaps = max(longest, d), total+d, gaps+1
		}
	}
	return longest, total, gaps
}

// percentile by the nearest rank; sorted is not empty.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// recoveries measures how soon after each fault, and after each mending, an operation asked for since then succeeded.
func (t trial) recoveries(from, to int, figures map[string]float64) {
	for at := from; at < to; at++ {
		f := t.h[at].Fault
		if f == nil || !f.Held {
			continue
		}
		name := "broken"
		if f.Mended {
			name = "mended"
		}
		next := -1
		for _, c := range t.after(at) {
			if c.Kind == history.OK && c.Complete < to && (next < 0 || c.Complete < next) {
				next = c.Complete
			}
		}
		if next < 0 {
			figures["unrecovered_"+name]++
			continue
		}
		took := t.between(at, next).Seconds()
		figures[fmt.Sprintf("f%d_%s_to_ok_s", f.ID, name)] = took
		most := name + "_to_ok_most_s"
		figures[most] = max(figures[most], took)
	}
}

// after gives the calls asked for after an event, as far as the earliest success among them can be.
func (t trial) after(at int) []history.Call {
	first, _ := slices.BinarySearchFunc(t.calls, at, func(c history.Call, at int) int { return c.Invoke - at })
	end := len(t.h)
	for i, c := range t.calls[first:] {
		if c.Invoke > end {
			return t.calls[first : first+i]
		}
		if c.Kind == history.OK {
			end = min(end, c.Complete)
		}
	}
	return t.calls[first:]
}
