package sim

import (
	"context"
	"time"

	"assize/cluster"
)

const (
	silence  = 50 * time.Millisecond // how long a probe of a link listens to silence
	attempts = 3                     // of a probe on a link that loses messages
	interval = 2 * time.Millisecond  // between two probes of one link
)

// probe of a link, sent at a time: how long it takes there and back, negative where it gets lost. Its draws are its own, and it takes nothing of
// a limited rate, so that looking changes nothing: whether a fault is probed or not, all messages fare alike. free is when the link has sent all.
func (s *Sim) probe(l *link, to *node, at int64, free *int64) int64 {
	l.probes++
	h := draw(mix(l.key), l.probes)
	if l.cut || s.loses(l, h) {
		return -1
	}
	late := int64(0)
	if l.shaped {
		var ok bool
		if late, ok = l.slow(at, probeBytes, h, free); !ok {
			return -1
		}
	}
	s.doubles(l, h)
	if !to.up || to.paused {
		return -1
	}
	return late + max(s.delays.at(h), leastDelay) + max(s.delays.at(mix(h)), leastDelay)
}

// Reach sends a probe over each link between members at once. A probe gets through where the link carries it, in one of a few attempts, and
// the target is up and not paused. It takes a round trip, or as long as it listens to silence. A probe waits until a link of limited rate takes it: one whose queue is
// always full loses what comes in between, and carries all the same.
func (s *Sim) Reach(context.Context) ([]cluster.Link, error) {
	wait := int64(0)
	var dead []cluster.Link
	for _, from := range s.nodes {
		for _, to := range s.nodes {
			if from == to || !from.member || !to.member {
				continue
			}
			l := &from.links[to.index]
			at, free, took := s.now, l.free, int64(-1)
			if l.shaped && l.shape.Rate > 0 {
				at = max(at, free-backlog)
			}
			for attempt := 0; attempt < attempts && took < 0; attempt++ {
				took = s.probe(l, to, at, &free)
			}
			if took >= 0 {
				took += at - s.now
			} else {
				dead = append(dead, cluster.Link{From: from.name, To: to.name})
				took = int64(silence)
			}
			wait = max(wait, took)
		}
	}
	s.Sleep(time.Duration(wait))
	return dead, nil
}

// Trips sends probes over links, those of one link close behind each other. See cluster.Shaper.
func (s *Sim) Trips(_ context.Context, links []cluster.Link, probes int) ([]cluster.Trip, error) {
	trips := make([]cluster.Trip, len(links))
	wait := int64(0)
	for i, name := range links {
		trips[i] = cluster.Trip{Link: name, Times: make([]time.Duration, probes)}
		l := s.link(name)
		to, _ := s.member(name.To)
		free := int64(0)
		if l != nil {
			free = l.free
		}
		for p := range probes {
			at, took := s.now+int64(p)*int64(interval), int64(-1)
			if l != nil {
				took = s.probe(l, to, at, &free)
			}
			trips[i].Times[p] = time.Duration(took)
			if took < 0 {
				took = int64(silence)
			}
			wait = max(wait, at-s.now+took)
		}
	}
	s.Sleep(time.Duration(wait))
	for i, name := range links {
		if l := s.link(name); l != nil {
			trips[i].Held, trips[i].Lost, trips[i].Duplicated = l.done.held, l.done.lost, l.done.doubled
		}
	}
	return trips, nil
}
