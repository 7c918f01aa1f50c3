package harness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/nemesis"
	"assize/workloads"
)

// Setup is what a plan has been turned into.
type Setup struct {
	Plan     Plan // filled and scheduled
	Cluster  cluster.Cluster
	Workload workloads.Workload
	Nemeses  []nemesis.Nemesis // that the plan's faults name
	Synced   bool              // each read is asked for behind a sync, in one transaction with it
	Recorder *history.Recorder
	Progress func(Progress) // every 100 ms of the World's time; may be nil
	Observe  func(Sample)   // what nodes said of themselves; may be nil
}

// Progress of a run.
type Progress struct {
	Phase          string
	At             time.Duration // since the storm began
	OK, Fail, Info int           // completions so far
	Leader         string        // empty: none known
	Term           uint64
	Active         []history.Fault
}

// Sample is a node's Status at one time. Role is empty where the node did not answer.
type Sample struct {
	Time    time.Duration `json:"time"`
	Node    string        `json:"node"`
	Role    string        `json:"role"`
	Term    uint64        `json:"term"`
	Leader  string        `json:"leader,omitempty"`
	Commit  uint64        `json:"commit"`
	Applied uint64        `json:"applied"`
}

const (
	pollEvery = 100 * time.Millisecond // nodes' states, invariants, stuck clients
	await     = 20 * time.Millisecond  // between two looks at a condition
	slice     = 500 * time.Millisecond // longest sleep without a look at whether the storm is over
)

// run is one run under way. On a real cluster its loops are goroutines, so mu guards what they share; it is never held while something
// blocks, for in the simulator they are coroutines of one thread.
type run struct {
	Setup
	ctx     context.Context // interruption: ends the storm
	last    context.Context // for what must be done even then
	source  workloads.Source
	workers []*worker
	began   time.Duration
	stood   nemesis.Stand // before the storm

	mu      sync.Mutex
	nodes   []string
	phase   string
	calm    bool // the storm is over
	over    bool // the run is over
	busy    int  // loops under way that the next phase waits for
	loops   int  // pollers under way
	count   [history.Info + 1]int
	done    map[string]int // how often each kind of micro-operation has succeeded; never ranged over
	active  []history.Fault
	leaders map[string]Sample
	polled  map[string]bool

	out sync.Mutex // one callback at a time, none after the end
}

// Run carries out the plan: storm, a quorum, mend, last words. Its error is the test's fault, never the system's: what the system does
// wrong is in the history. An interruption through ctx ends the storm early; all that follows is still done.
func Run(ctx context.Context, s Setup) error {
	r := &run{
		Setup: s, ctx: ctx, last: context.WithoutCancel(ctx), nodes: s.Cluster.Nodes(),
		source:  s.Workload.New(s.Plan.Seed, workloads.Config{Clients: s.Plan.Clients}),
		leaders: map[string]Sample{}, polled: map[string]bool{}, done: map[string]int{},
	}
	for id := range s.Plan.Clients {
		r.workers = append(r.workers, newWorker(r, id))
	}
	loops, err := r.nemeses()
	if err != nil {
		return err
	}
	r.Cluster.Go(r.watch)
	r.settle()
	r.stood = nemesis.Stands(r.last, r.Cluster, r.Plan.Weather.Drift)
	var broken error // which is no reason to leave the cluster as it is, or to keep silent of what the system has done
	if r.storm(loops) {
		broken = r.quorum()
	}
	r.mend()
	note := ""
	if r.settle() {
		r.exercise()
		if r.Workload.Outlive {
			note = r.outlive()
		}
	}
	if !r.settle() {
		note = fmt.Sprintf("the nodes did not agree on a leader and a state within %v", r.patience())
	}
	r.enter(history.PhaseFinal, note)
	r.lastWords()
	r.settle()
	r.states()
	r.stop()
	r.violations()
	r.lapses()
	r.enter(history.PhaseStop, "")
	return errors.Join(broken, r.Recorder.Err())
}

// patience is how long the harness waits for a mended cluster: many elections, and what it takes to dial again.
func (r *run) patience() time.Duration {
	return 40*r.Plan.Election + 3*r.Plan.Timeout
}

// enter records the beginning of a phase.
func (r *run) enter(phase, note string) {
	r.mu.Lock()
	r.phase = phase
	r.mu.Unlock()
	r.Recorder.Record(history.Op{Process: history.Harness, Kind: history.Info, Phase: phase, Note: note})
}

// storm lets clients and faults loose until the plan's time is up or the run is interrupted. False: a nemesis, on a machine that is too busy for it, is
// still at work long after that. The run is inconclusive then, and no quorum can be asked to live.
func (r *run) storm(loops []func()) (over bool) {
	r.enter(history.PhaseStorm, "")
	r.mu.Lock()
	r.began = r.Cluster.Now()
	r.mu.Unlock()
	for _, w := range r.workers {
		r.launch(func() bool { return w.storm(0) })
	}
	for _, loop := range loops {
		r.launch(func() bool { loop(); return true })
	}
	r.pause(math.MaxInt64)
	r.mu.Lock()
	r.calm = true
	r.mu.Unlock()
	const bound = time.Minute
	if over = r.idle(bound + 3*r.Plan.Timeout); !over {
		r.unmended("storm", "end the storm", fmt.Sprintf("a nemesis is still at work %v after the end", bound))
	}
	return over
}

// launch starts a loop that the next phase waits for. It returns false where it has been abandoned, and counted out, already.
func (r *run) launch(loop func() bool) {
	r.mu.Lock()
	r.busy++
	r.mu.Unlock()
	r.Cluster.Go(func() {
		if loop() {
			r.mu.Lock()
			r.busy--
			r.mu.Unlock()
		}
	})
}

// idle waits until all that was launched is done.
func (r *run) idle(bound time.Duration) bool {
	return r.until(bound, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.busy == 0
	})
}

// until looks at a condition again and again. Its own sleeps go on after an interruption.
func (r *run) until(bound time.Duration, condition func() bool) bool {
	for v := r.vigil(); ; {
		if condition() {
			return true
		}
		if v.look(r.Cluster.Now()) >= bound {
			return false
		}
		r.Cluster.Sleep(await)
	}
}

// pause sleeps until a time of the World; it returns false when the storm is over.
func (r *run) pause(until time.Duration) bool {
	for {
		if r.ctx.Err() != nil || r.isCalm() {
			return false
		}
		now := r.Cluster.Now()
		switch end := r.began + r.Plan.Time; {
		case now >= end:
			return false
		case now >= until:
			return true
		default:
			r.Cluster.Sleep(min(until-now, end-now, slice))
		}
	}
}

func (r *run) isCalm() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calm
}

// members are the present nodes, as of the last poll.
func (r *run) members() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nodes
}

// quorum mends a random quorum and nothing else, and asks operations of it until a write and a read have succeeded. One that could not be mended by the
// system's doing, or a fault's, makes the run inconclusive, as a fault does that was not seen mended; if it was because a server cannot start, the
// cluster tells of that. The error is the test's own.
func (r *run) quorum() error {
	q, able := r.Cluster.(cluster.Quorum)
	if !able || r.ctx.Err() != nil {
		return nil
	}
	nodes, err := q.MendQuorum(r.last, Stream(r.Plan.Seed, "quorum").Uint64())
	if err != nil {
		r.unmended("quorum", "mend a quorum", "failed: "+err.Error())
		if errors.Is(err, cluster.ErrSystem) {
			return nil
		}
		return fmt.Errorf("mend a quorum: %w", err)
	}
	bound := r.patience()
	who := strings.Join(nodes, " ")
	r.enter(history.PhaseQuorum, fmt.Sprintf("%s must answer within %v", who, bound))
	wrote, read := false, false
	for i, w := range r.workers[:min(len(nodes), len(r.workers))] {
		r.launch(func() bool {
			for v := r.vigil(); v.look(r.Cluster.Now()) < bound; {
				kind, txn, gone := w.call(w.generation, nodes[i], nil)
				if gone {
					return false
				}
				r.mu.Lock()
				wrote = wrote || kind == history.OK && !txn.ReadOnly()
				read = read || kind == history.OK && txn.ReadOnly()
				done := wrote && read
				r.mu.Unlock()
				if done {
					return true
				}
				r.Cluster.Sleep(await)
			}
			return true
		})
	}
	r.idle(bound + 3*r.Plan.Timeout)
	r.mu.Lock()
	answered := wrote && read
	r.mu.Unlock()
	if !answered {
		r.violation(fmt.Sprintf("liveness: the mended quorum %s did not answer a write and a read within %v", who, bound))
	}
	return nil
}

// settle waits until all nodes know one leader and have applied all that anyone knows to be committed, so that last words are not judged
// while a node is still catching up.
func (r *run) settle() bool {
	return r.until(r.patience(), func() bool {
		leader, commit, applied := "", uint64(0), []uint64(nil)
		nodes := r.Cluster.Nodes()
		for _, node := range nodes {
			s, err := r.Cluster.Status(r.last, node)
			if err != nil || s.Leader == "" || leader != "" && s.Leader != leader {
				return false
			}
			leader, commit, applied = s.Leader, max(commit, s.Commit), append(applied, s.Applied)
		}
		return slices.Contains(nodes, leader) && slices.Min(applied) >= commit && slices.Min(applied) == slices.Max(applied)
	})
}

// often enough has a kind of operation succeeded to be judged: what judgements compare are two of a kind, of one thing, and workloads that have some need two of two.
const often = 3

// exercise asks on, of the mended cluster, until each kind of the workload's operations has succeeded often enough: in a storm that leaves clients few moments a compare-and-set may have met
// nothing but values that were never written. It makes no difference to a system that does not do what is asked of it, and none to a run that has been interrupted.
func (r *run) exercise() {
	nodes, bound := r.Cluster.Nodes(), r.patience()
	if r.ctx.Err() != nil || r.exercised() {
		return
	}
	for i, w := range r.workers {
		r.launch(func() bool {
			for v := r.vigil(); !r.exercised() && v.look(r.Cluster.Now()) < bound; {
				if _, _, gone := w.call(w.generation, nodes[i%len(nodes)], nil); gone {
					return false
				}
				r.Cluster.Sleep(await)
			}
			return true
		})
	}
	r.idle(bound + 3*r.Plan.Timeout)
	r.settle()
}

// exercised tells whether each kind of operation has succeeded often enough.
func (r *run) exercised() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(r.Workload.Kinds, func(kind string) bool { return r.done[kind] < often })
}

// lastWords asks every node for the workload's final operations: each worker asks the nodes that would be its own.
func (r *run) lastWords() {
	final, nodes := r.source.Final(), r.Cluster.Nodes()
	for i, w := range r.workers[:min(len(nodes), len(r.workers))] {
		r.launch(func() bool {
			for n := i; n < len(nodes); n += len(r.workers) {
				if !r.ask(w, nodes[n], final) {
					return false
				}
			}
			return true
		})
	}
	r.idle(time.Duration(len(nodes)/len(r.workers)+1) * (r.patience() + 3*r.Plan.Timeout))
}

// ask the node for each operation until it is answered or patience ends; false where the worker has been abandoned.
func (r *run) ask(w *worker, node string, final []history.Txn) bool {
	v := r.vigil()
	for _, txn := range final {
		for {
			kind, _, gone := w.call(w.generation, node, txn)
			if gone {
				return false
			}
			if kind == history.OK {
				break
			}
			if v.look(r.Cluster.Now()) >= r.patience() {
				return true
			}
			r.Cluster.Sleep(2 * await)
		}
	}
	return true
}

// states records what every node says of the state that it has applied.
func (r *run) states() {
	for _, node := range r.Cluster.Nodes() {
		state := &history.State{Node: node}
		if s, err := r.Cluster.Status(r.last, node); err != nil {
			state.Note = err.Error()
		} else {
			state.Applied, state.Hash = s.Position, s.Hash
		}
		r.Recorder.Record(history.Op{Process: history.Harness, Kind: history.Info, Node: node, State: state})
	}
}

// stop ends the pollers. After it no callback is called.
func (r *run) stop() {
	for _, w := range r.workers {
		w.hangUp()
		w.passport.forget()
	}
	r.out.Lock()
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.out.Unlock()
	r.until(2*time.Second, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.loops == 0
	})
}
