package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/workloads"
)

// A refused client waits, twice as long each time.
const (
	leastBackOff = 50 * time.Millisecond
	mostBackOff  = time.Second
)

// worker is one client: a succession of processes, each of which ends with an operation of which nobody knows what became of it. A process is
// also a session, and nothing but a carried position links two connections: without one, a process ends with its connection, for a
// server that has restarted may have forgotten what it had shown, and a pinned process ends when it has to ask another server. Where the
// workload has sessions that outlive connections, the worker has one, whatever its process: see passport.
type worker struct {
	run  *run
	id   int
	draw *rand.Rand

	// Guarded by run.mu: the watch abandons a worker that is stuck in a call and starts another generation of it.
	generation int
	process    int
	n          int    // operations asked
	turn       int    // nodes chosen
	node       string // of a pinned client
	asked      string // node that this process asked last
	lines      []line
	seen       uint64 // greatest position that this process has seen
	refused    int    // times in a row
	open       *call
	passport   *passport // nil: the workload has no sessions
}

// line is a connection to a node.
type line struct {
	node   string
	client cluster.Client
}

// call is an operation under way.
type call struct {
	seen  bool          // by the watch
	since time.Duration // when it was first seen, in the time of the watch's vigil
	op    history.Op
}

func newWorker(r *run, id int) *worker {
	w := &worker{run: r, id: id, process: id, draw: Stream(r.Plan.Seed, "client", uint64(id))}
	if r.Workload.Session > 0 {
		w.passport = &passport{Session: cluster.Session{Timeout: r.Workload.Session}}
	}
	return w
}

// storm issues operations until the storm is over; false where the worker has been abandoned meanwhile.
func (w *worker) storm(generation int) bool {
	mean := float64(w.run.Plan.Clients) / w.run.Plan.Rate * float64(time.Second)
	next := w.run.Cluster.Now() + time.Duration(mean*w.draw.Float64())
	for w.run.pause(next) {
		if _, _, gone := w.call(generation, w.choose(), nil); gone {
			return false
		}
		now := w.run.Cluster.Now()
		next = max(now, next+time.Duration(mean*(0.5+w.draw.Float64())))
		if w.passport != nil {
			next = max(next, now+w.passport.stayAway())
		}
		if w.refused > 0 {
			wait := min(leastBackOff<<min(w.refused-1, 10), mostBackOff)
			next = max(next, now+wait/2+time.Duration(w.draw.Int64N(int64(wait))))
		}
	}
	return true
}

// choose a node by the plan's strategy. A pinned client leaves its node only when that is no member any more, one with a session when it has
// lost its connection.
func (w *worker) choose() string {
	nodes := w.run.members()
	if w.passport != nil && len(w.lines) > 0 {
		return w.lines[0].node
	}
	w.turn++
	switch w.run.Plan.Strategy {
	case RoundRobin:
		return nodes[(w.id+w.turn)%len(nodes)]
	case Random:
		return nodes[w.draw.IntN(len(nodes))]
	}
	if w.node == "" || !slices.Contains(nodes, w.node) {
		w.node = nodes[w.id%len(nodes)]
	}
	return w.node
}

// connect returns the connection to a node, a new one where there is none.
func (w *worker) connect(node string) (cluster.Client, error) {
	for _, l := range w.lines {
		if l.node == node {
			return l.client, nil
		}
	}
	o := cluster.Options{Read: w.run.Plan.Read, Timeout: w.run.Plan.Timeout}
	if w.passport != nil {
		o.Session = &w.passport.Session
	}
	client, err := w.run.Cluster.Dial(w.run.last, node, o)
	if err == nil {
		w.lines = append(w.lines, line{node, client})
	}
	return client, err
}

// call asks one operation of a node and records it: txn, or the next of the workload where txn is nil. Without a connection nothing is
// asked and nothing recorded (Fail). gone: the worker was abandoned while it waited, and its owner must end.
func (w *worker) call(generation int, node string, txn history.Txn) (kind history.Kind, asked history.Txn, gone bool) {
	r := w.run
	if w.asked != node && w.asked != "" {
		switch {
		case w.passport != nil:
			w.part()
		case r.Plan.Strategy == Pinned && !r.Plan.Carry:
			w.hangUp()
		}
	}
	client, err := w.connect(node)
	r.mu.Lock()
	if w.generation != generation {
		r.mu.Unlock()
		return history.Fail, nil, true
	}
	if err != nil {
		w.refused++
		r.mu.Unlock()
		return history.Fail, nil, false
	}
	if w.passport != nil && !w.passport.open {
		r.mu.Unlock()
		_, gone = w.do(generation, client, node, history.Txn{{F: history.Connect}})
		r.mu.Lock()
		if gone || !w.passport.open {
			r.mu.Unlock()
			return history.Fail, nil, gone
		}
	}
	if txn == nil {
		txn = r.source.Next(w.id, w.n)
		w.n++
	}
	leaves := w.passport != nil && txn[0].F == workloads.Leave
	if r.Synced && !leaves && txn.ReadOnly() {
		txn = slices.Concat(history.Txn{{F: history.Sync, Key: txn[0].Key}}, txn)
	}
	r.mu.Unlock()
	if leaves {
		w.leave(txn[0].In[0])
		return history.Fail, txn, false
	}
	kind, gone = w.do(generation, client, node, txn)
	return kind, txn, gone
}

// do one operation, which is recorded.
func (w *worker) do(generation int, client cluster.Client, node string, txn history.Txn) (kind history.Kind, gone bool) {
	r := w.run
	r.mu.Lock()
	if w.generation != generation {
		r.mu.Unlock()
		return history.Fail, true
	}
	w.asked = node
	op := history.Op{Process: w.process, Kind: history.Invoke, Txn: txn, Node: node, Session: w.session()}
	w.open = &call{op: op}
	r.Recorder.Record(op)
	r.mu.Unlock()

	answer, err := client.Do(r.last, txn)

	r.mu.Lock()
	if w.generation != generation {
		r.mu.Unlock()
		return history.Info, true
	}
	w.open = nil
	for _, told := range answer.Told {
		r.Recorder.Record(history.Op{Process: op.Process, Kind: history.Notify, Txn: history.Txn{told}, Node: node, Session: op.Session})
	}
	op = w.complete(op, answer, err)
	w.record(op)
	if errors.Is(err, cluster.ErrNonsense) {
		// As an operation it is one that failed, or of which nobody knows: no judgement of values would see it.
		r.violation(fmt.Sprintf("%s gave an answer that makes no sense: %v", node, err))
	}
	broken := w.after(op, err)
	r.mu.Unlock()
	for _, c := range broken {
		c.Close()
	}
	return op.Kind, false
}

// complete says what an answer means for its operation.
func (w *worker) complete(op history.Op, a cluster.Answer, err error) history.Op {
	if err != nil {
		op.Kind, op.Note = history.Info, err.Error()
		// A read that failed has changed nothing: it need not stay concurrent with everything after it.
		if errors.Is(err, cluster.ErrNotDone) || op.Txn.ReadOnly() {
			op.Kind = history.Fail
		}
		return op
	}
	if w.run.Plan.Carry && a.Position < w.seen && op.Txn.ReadOnly() {
		op.Kind, op.Note = history.Fail, fmt.Sprintf("refused by the client: position %d, it has seen %d", a.Position, w.seen)
		return op
	}
	w.seen = max(w.seen, a.Position)
	op.Kind, op.Txn, op.Version, op.Position, op.Note = history.OK, a.Txn, a.Version, a.Position, a.Note
	if w.passport != nil {
		op.Session = a.Session
	}
	return op
}

// after a completion: which connections are to be closed, which process goes on, whether to back off.
func (w *worker) after(op history.Op, err error) (broken []cluster.Client) {
	switch {
	case op.Kind == history.Info:
		broken = w.succeed()
	case w.passport != nil && w.passport.stamp(op):
		broken = w.drop("")
	case err != nil && (errors.Is(err, cluster.ErrRefused) || !errors.Is(err, cluster.ErrNotDone)):
		if w.run.Plan.Carry || w.passport != nil {
			broken = w.drop(op.Node)
		} else {
			broken = w.succeed()
		}
	}
	if err != nil && (errors.Is(err, cluster.ErrRefused) || op.Txn[0].F == history.Connect) {
		w.refused++
	} else {
		w.refused = 0
	}
	return broken
}

// drop takes the connection to a node, or all of them, out of use. The caller closes them.
func (w *worker) drop(node string) (dropped []cluster.Client) {
	if w.passport != nil {
		w.passport.open = false
	}
	w.lines = slices.DeleteFunc(w.lines, func(l line) bool {
		if node == "" || l.node == node {
			dropped = append(dropped, l.client)
			return true
		}
		return false
	})
	return dropped
}

// succeed ends the process; the worker goes on as the next, with nothing of it. The caller holds run.mu and closes the connections.
func (w *worker) succeed() (dropped []cluster.Client) {
	w.process += w.run.Plan.Clients
	w.seen, w.asked = 0, ""
	return w.drop("")
}

// hangUp ends the process and closes its connections.
func (w *worker) hangUp() {
	w.run.mu.Lock()
	lines := w.succeed()
	w.run.mu.Unlock()
	for _, c := range lines {
		c.Close()
	}
}

// record a completion and count it. The caller holds run.mu.
func (w *worker) record(op history.Op) {
	w.run.count[op.Kind]++
	if op.Kind == history.OK {
		for _, m := range op.Txn {
			w.run.done[m.F]++
		}
	}
	w.run.Recorder.Record(op)
}

// abandon ends a call that has outlived its deadline by far: the operation is indeterminate, the process is over, and whoever is stuck in
// the call finds, should it ever return, that it has been replaced. The caller holds run.mu.
func (w *worker) abandon(why string) (stuck []cluster.Client) {
	op := w.open.op
	op.Kind, op.Note = history.Info, why
	if op.Txn.ReadOnly() {
		op.Kind = history.Fail
	}
	w.open = nil
	w.record(op)
	w.generation++
	stuck = w.succeed()
	if w.passport != nil { // what the call is told, should it return, nobody would know of: its session owes it to nobody
		w.passport.forget()
		w.passport = w.passport.anew()
	}
	return stuck
}
