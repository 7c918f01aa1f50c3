package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/nemesis"
	"assize/workloads"
)

// fake is a cluster of one store that all nodes share. It lives in the virtual time of a synctest bubble.
type fake struct {
	start   time.Time
	wg      sync.WaitGroup
	skipped atomic.Int64 // of time, while nothing ran

	mu         sync.Mutex
	nodes      []string
	values     map[string]int
	position   uint64
	down       map[string]bool
	dials      map[string]int
	violated   []string
	lapsed     []string
	answer     func(node string, t history.Txn) error // nil: as a true store would
	lag        uint64                                 // how far the position that an answer carries is behind, every second answer
	answers    int
	mute       bool        // no node knows a leader
	behind     func() bool // n3 has not applied all
	quorum     []string
	quorumMute bool
	beyond     error // why no quorum can be mended; nil: one can
	mended     bool
}

func newFake(nodes int) *fake {
	f := &fake{start: time.Now(), values: map[string]int{}, down: map[string]bool{}, dials: map[string]int{}}
	for i := range nodes {
		f.nodes = append(f.nodes, fmt.Sprintf("n%d", i+1))
	}
	return f
}

func (f *fake) Now() time.Duration    { return time.Since(f.start) + time.Duration(f.skipped.Load()) }
func (f *fake) Sleep(d time.Duration) { <-time.After(d) }
func (f *fake) Go(fn func())          { f.wg.Go(fn) }
func (f *fake) Wait()                 { f.wg.Wait() }
func (f *fake) Close() error          { return nil }

func (f *fake) Nodes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.nodes...)
}

func (f *fake) Dial(_ context.Context, node string, o cluster.Options) (cluster.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down[node] {
		return nil, fmt.Errorf("dial %s: %w, %w", node, cluster.ErrRefused, cluster.ErrNotDone)
	}
	f.dials[node]++
	return &fakeClient{f: f, node: node, timeout: o.Timeout, gone: make(chan bool)}, nil
}

func (f *fake) Start(_ context.Context, node string) error { f.set(node, false); return nil }
func (f *fake) Kill(_ context.Context, node string) error  { f.set(node, true); return nil }

func (f *fake) set(node string, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[node] = down
	f.mended = f.mended || !down
}

func (f *fake) Status(_ context.Context, node string) (cluster.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down[node] {
		return cluster.Status{}, fmt.Errorf("%s is down", node)
	}
	s := cluster.Status{Role: "follower", Leader: "n1", Term: 1, Commit: f.position, Applied: f.position, Hash: 42, Position: 1<<32 + f.position}
	if node == "n1" {
		s.Role = "leader"
	}
	if f.mute {
		s.Leader = ""
	}
	if f.behind != nil && node == "n3" && f.behind() {
		s.Applied--
	}
	return s, nil
}

func (f *fake) Violations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.violated
	f.violated = nil
	return v
}

func (f *fake) Lapsed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lapsed
	f.lapsed = nil
	return l
}

type fakeClient struct {
	f       *fake
	node    string
	timeout time.Duration
	gone    chan bool
	once    sync.Once
}

var (
	errLost  = errors.New("connection lost")
	errStuck = errors.New("stuck")
)

func (c *fakeClient) Close() error { c.once.Do(func() { close(c.gone) }); return nil }

// Do takes a millisecond, a lost answer the whole time-out, and a stuck client does not come back before it is closed.
func (c *fakeClient) Do(_ context.Context, t history.Txn) (cluster.Answer, error) {
	c.f.Sleep(time.Millisecond)
	if c.f.answer != nil {
		switch err := c.f.answer(c.node, t); {
		case errors.Is(err, errStuck):
			<-c.gone
			return cluster.Answer{}, err
		case errors.Is(err, errLost):
			c.f.Sleep(c.timeout)
			return cluster.Answer{}, err
		case err != nil:
			return cluster.Answer{}, err
		}
	}
	f := c.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down[c.node] || f.quorumMute && f.quorum != nil && !f.mended {
		return cluster.Answer{}, fmt.Errorf("%s: %w, %w", c.node, cluster.ErrRefused, cluster.ErrNotDone)
	}
	out := append(history.Txn(nil), t...)
	m := &out[len(out)-1]
	switch m.F {
	case history.Read:
		m.Out = []int{f.values[m.Key]}
	case history.CAS:
		if f.values[m.Key] != m.In[0] {
			return cluster.Answer{}, fmt.Errorf("compare failed: %w", cluster.ErrNotDone)
		}
		fallthrough
	case history.Write:
		f.values[m.Key] = m.In[len(m.In)-1]
		f.position++
	}
	a := cluster.Answer{Txn: out, Version: f.position, Position: f.position}
	if f.answers++; f.answers%2 == 0 && m.F == history.Read && a.Position > f.lag {
		a.Position -= f.lag
	}
	return a, nil
}

// quorate is a fake that can mend a quorum.
type quorate struct{ *fake }

func (q quorate) MendQuorum(context.Context, uint64) ([]string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.beyond != nil {
		return nil, q.beyond
	}
	q.quorum, q.mended = q.nodes[:len(q.nodes)/2+1], false
	for i, n := range q.nodes {
		q.down[n] = i >= len(q.quorum)
	}
	return q.quorum, nil
}

// killer kills the last node.
func killer() nemesis.Nemesis {
	return nemesis.Nemesis{
		Name: "kill",
		Can:  func(cluster.Cluster) error { return nil },
		Break: func(ctx context.Context, c cluster.Cluster, _ *rand.Rand) (history.Fault, error) {
			nodes := c.Nodes()
			return history.Fault{What: "killed", Nodes: nodes[len(nodes)-1:], Held: true}, c.Kill(ctx, nodes[len(nodes)-1])
		},
		Mend: func(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
			for _, n := range c.Nodes() {
				if err := c.Start(ctx, n); err != nil {
					return history.Fault{}, err
				}
			}
			return history.Fault{What: "started", Held: true}, nil
		},
	}
}

func plan() Plan {
	p := Plan{Seed: 7, Time: 5 * time.Second, Rate: 200, Clients: 4, Nodes: 3, Timeout: 200 * time.Millisecond, Faults: []Fault{}}
	p.Fill()
	return p
}

func setup(f *fake, p Plan, n ...nemesis.Nemesis) Setup {
	w, _ := workloads.Find(p.Workload)
	return Setup{Plan: p, Cluster: f, Workload: w, Nemeses: n, Recorder: history.NewRecorder(nil, f.Now)}
}

// trial runs a plan on a fake in virtual time and returns the history.
func trial(t *testing.T, p Plan, change func(*fake, *Setup), wrap ...func(context.Context) context.Context) (ops []history.Op, f *fake) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f = newFake(p.Nodes)
		s := setup(f, p)
		if change != nil {
			change(f, &s)
		}
		ctx := t.Context()
		for _, w := range wrap {
			ctx = w(ctx)
		}
		if s.Progress == nil {
			s.Progress = func(Progress) {}
		}
		if err := Run(ctx, s); err != nil {
			t.Fatal(err)
		}
		f.Wait()
		ops = s.Recorder.Ops()
	})
	if _, err := history.Pair(ops); err != nil {
		t.Fatalf("the history is malformed: %v", err)
	}
	return ops, f
}
