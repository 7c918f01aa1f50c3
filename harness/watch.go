package harness

import (
	"fmt"
	"slices"
	"time"

	"assize/cluster"
	"assize/history"
)

// watch looks every 100 ms at what can happen at any time: broken invariants, stuck clients, new members. It tells of the run's progress.
func (r *run) watch() {
	r.loop(func() {
		v := r.vigil()
		// A client that was stopped with us comes back as soon as we both go on: no more than this, or it would be found stuck before it can.
		v.most = 10 * pollEvery
		for !r.isOver() {
			r.violations()
			r.lapses()
			r.rescue(v.look(r.Cluster.Now()))
			r.enrol()
			r.tell()
			r.Cluster.Sleep(pollEvery)
		}
	})
}

// loop counts a poller in and out: stop waits for them.
func (r *run) loop(body func()) {
	r.mu.Lock()
	r.loops++
	r.mu.Unlock()
	body()
	r.mu.Lock()
	r.loops--
	r.mu.Unlock()
}

func (r *run) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// violations records what should never happen and has.
func (r *run) violations() {
	if w, able := r.Cluster.(cluster.Watcher); able {
		for _, what := range w.Violations() {
			r.violation(what)
		}
	}
}

// lapses records which faults did not last. They make the run inconclusive, as one does that did not take hold.
func (r *run) lapses() {
	if l, able := r.Cluster.(cluster.Lapser); able {
		for _, what := range l.Lapsed() {
			r.unmended("lapse", "a fault did not last", what)
		}
	}
}

func (r *run) violation(what string) {
	r.Recorder.Record(history.Op{Process: history.Harness, Kind: history.Info, Phase: history.PhaseViolation, Note: what})
}

// rescue abandons clients that do not come back. A client keeps its own deadline; one that is late by as much again, and a second, is stuck.
// now is of the watch's vigil: clients that were stopped with us are not stuck.
func (r *run) rescue(now time.Duration) {
	patience := 2*r.Plan.Timeout + 10*pollEvery
	var stuck []cluster.Client
	var again []func() bool
	r.mu.Lock()
	for _, w := range r.workers {
		if w.open == nil {
			continue
		}
		if !w.open.seen {
			w.open.seen, w.open.since = true, now
		}
		if now-w.open.since < patience {
			continue
		}
		stuck = append(stuck, w.abandon(fmt.Sprintf("abandoned: the client did not come back within %v", patience))...)
		r.busy--
		if generation := w.generation; !r.calm {
			again = append(again, func() bool { return w.storm(generation) })
		}
	}
	r.mu.Unlock()
	for _, loop := range again {
		r.launch(loop)
	}
	for _, c := range stuck {
		r.Cluster.Go(func() { c.Close() })
	}
}

// enrol takes note of the present members and starts to ask new ones for their state, if anyone wants to know.
func (r *run) enrol() {
	nodes := r.Cluster.Nodes()
	r.mu.Lock()
	if len(nodes) > 0 {
		r.nodes = nodes
	}
	r.mu.Unlock()
	if r.Observe == nil && r.Progress == nil {
		return
	}
	for _, node := range nodes {
		r.mu.Lock()
		known := r.polled[node]
		r.polled[node] = true
		r.mu.Unlock()
		if !known {
			r.Cluster.Go(func() { r.loop(func() { r.poll(node) }) })
		}
	}
}

// poll asks one node for its state for as long as it is a member: a node that does not answer holds up nobody else's poll.
func (r *run) poll(node string) {
	silent := false
	for !r.isOver() && slices.Contains(r.members(), node) {
		s, err := r.Cluster.Status(r.last, node)
		sample := Sample{Time: r.Cluster.Now(), Node: node}
		if err == nil {
			sample.Role, sample.Term, sample.Leader, sample.Commit, sample.Applied = s.Role, s.Term, s.Leader, s.Commit, s.Applied
		}
		// A silent node is worth one line, not ten a second.
		if err == nil || !silent {
			r.observe(sample)
		}
		silent = err != nil
		r.Cluster.Sleep(pollEvery)
	}
	r.mu.Lock()
	delete(r.polled, node)
	delete(r.leaders, node)
	r.mu.Unlock()
}

func (r *run) observe(s Sample) {
	r.mu.Lock()
	r.leaders[s.Node] = s
	r.mu.Unlock()
	r.out.Lock()
	defer r.out.Unlock()
	if r.Observe != nil && !r.isOver() {
		r.Observe(s)
	}
}

// tell of the progress. The leader is the one that calls itself so in the highest term.
func (r *run) tell() {
	if r.Progress == nil {
		return
	}
	r.mu.Lock()
	p := Progress{
		Phase: r.phase, At: r.Cluster.Now() - r.began, Active: r.active,
		OK: r.count[history.OK], Fail: r.count[history.Fail], Info: r.count[history.Info],
	}
	for _, node := range r.nodes {
		if s := r.leaders[node]; s.Role == "leader" && s.Term >= p.Term {
			p.Leader, p.Term = node, s.Term
		}
	}
	r.mu.Unlock()
	r.out.Lock()
	defer r.out.Unlock()
	if !r.isOver() {
		r.Progress(p)
	}
}
