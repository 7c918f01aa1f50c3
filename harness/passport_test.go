package harness

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"assize/cluster"
	"assize/history"
)

// lodge is a fake whose clients have sessions.
type lodge struct {
	*fake
	t         *testing.T
	mu        sync.Mutex
	given     uint64
	ended     map[uint64]bool
	open      map[uint64]int // connections of a session
	forgotten int
	calls     int
	stuck     bool   // one call does not come back before its connection is closed
	lost      uint64 // its session
}

// guest is one connection.
type guest struct {
	l    *lodge
	node string
	o    cluster.Options
	on   uint64
	once sync.Once
	gone chan struct{}
}

func (l *lodge) Dial(_ context.Context, node string, o cluster.Options) (cluster.Client, error) {
	if o.Session == nil || o.Session.Timeout != 2*time.Second {
		l.t.Errorf("dialed with the session %+v", o.Session)
	}
	return &guest{l: l, node: node, o: o, gone: make(chan struct{})}, nil
}

func (g *guest) Close() error {
	g.once.Do(func() {
		close(g.gone)
		g.l.mu.Lock()
		defer g.l.mu.Unlock()
		g.l.open[g.on]--
	})
	return nil
}

// Do answers nearly all; now and then it loses a connection, and a session has ended.
func (g *guest) Do(_ context.Context, t history.Txn) (cluster.Answer, error) {
	l := g.l
	l.Sleep(time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	id, _ := g.o.Session.State.(uint64)
	if l.stuck && l.lost == 0 && l.calls > 50 && t[0].F == history.Read && id != 0 {
		l.lost = id
		l.mu.Unlock()
		<-g.gone
		l.mu.Lock()
	}
	out := append(history.Txn(nil), t...)
	switch t[0].F {
	case history.Connect:
		if l.ended[id] {
			out[0].Out = []int{0}
			return cluster.Answer{Txn: out, Session: id}, nil
		}
		if id == 0 {
			l.given++
			id = l.given
			g.o.Session.State, g.o.Session.Forget = id, func() { l.mu.Lock(); defer l.mu.Unlock(); l.forgotten++ }
		}
		if g.on = id; l.open[id] != 0 {
			l.t.Errorf("session %d has %d connections already", id, l.open[id])
		}
		l.open[id]++
		out[0].Out = []int{1500}
		return cluster.Answer{Txn: out, Session: id}, nil
	case history.Close:
		l.ended[id] = true
	case history.CreateSequential:
		out[0].Out = []int{l.calls}
	}
	if g.on == 0 {
		l.t.Errorf("%v before the connection is open", t)
	}
	a := cluster.Answer{Txn: out, Version: uint64(l.calls), Position: uint64(l.calls), Session: id}
	if l.calls%10 == 0 {
		a.Told = history.Txn{{F: history.Changed, Key: fmt.Sprint("k", l.calls)}}
	}
	switch l.calls % 50 {
	case 25:
		return cluster.Answer{Session: id, Told: a.Told}, errLost
	case 49:
		l.ended[id] = true
		return cluster.Answer{}, fmt.Errorf("%w, %w", cluster.ErrRefused, cluster.ErrNotDone)
	}
	return a, nil
}

func TestSessionsGoThroughProcessesAndNodes(t *testing.T) {
	p := plan()
	p.Workload, p.Strategy = "session", ""
	p.Fill()
	if p.Strategy != RoundRobin {
		t.Errorf("strategy %s", p.Strategy)
	}
	l := &lodge{t: t, ended: map[uint64]bool{}, open: map[uint64]int{}}
	ops, _ := trial(t, p, func(f *fake, s *Setup) { l.fake, s.Cluster = f, l })
	processes, nodes := map[uint64]map[int]bool{}, map[uint64]map[string]bool{}
	told, refused, rest, final := 0, 0, -1, -1
	for i, op := range ops {
		switch {
		case op.Phase == history.PhaseRest:
			rest = i
		case op.Phase == history.PhaseFinal:
			final = i
		case op.Kind == history.Notify:
			told++
			if next := ops[i+1]; next.Process != op.Process || next.Kind == history.Invoke || next.Kind == history.Notify {
				t.Errorf("what was told stands before %+v", next)
			}
		case op.Process >= 0 && op.Session != 0:
			if processes[op.Session] == nil {
				processes[op.Session], nodes[op.Session] = map[int]bool{}, map[string]bool{}
			}
			processes[op.Session][op.Process], nodes[op.Session][op.Node] = true, true
		case op.Kind == history.OK && op.Session == 0:
			t.Errorf("an answer to no session: %+v", op)
		}
		if op.Kind == history.OK && op.Txn[0].F == history.Connect && op.Txn[0].Out[0] == 0 {
			refused++
		}
	}
	most, furthest := 0, 0
	for id := range processes {
		most, furthest = max(most, len(processes[id])), max(furthest, len(nodes[id]))
	}
	if most < 2 || furthest < 2 || told == 0 || refused == 0 {
		t.Errorf("a session was of up to %d processes and %d nodes, %d notices, %d told that they had ended", most, furthest, told, refused)
	}
	if rest < 0 || final < rest || ops[final].Time-ops[rest].Time < 4*2*time.Second || ops[final].Note != "" {
		t.Errorf("rest at %d, final at %d", rest, final)
	}
	for _, op := range ops[max(rest, 0):max(final, 0)] {
		if op.Process >= 0 {
			t.Errorf("%+v while sessions are left alone", op)
		}
	}
	if l.forgotten != int(l.given) {
		t.Errorf("%d of %d sessions were forgotten", l.forgotten, l.given)
	}
}

// TestSessionOfAnAbandonedClientEnds: nobody knows what it is told meanwhile.
func TestSessionOfAnAbandonedClientEnds(t *testing.T) {
	p := plan()
	p.Workload, p.Strategy = "session", ""
	p.Fill()
	l := &lodge{t: t, ended: map[uint64]bool{}, open: map[uint64]int{}, stuck: true}
	ops, _ := trial(t, p, func(f *fake, s *Setup) { l.fake, s.Cluster = f, l })
	abandoned := -1
	for i, op := range ops {
		switch {
		case op.Process >= 0 && strings.HasPrefix(op.Note, "abandoned"):
			abandoned = i
		case abandoned >= 0 && op.Session == l.lost:
			t.Errorf("event %d, %v of process %d, is of the session of the client that was abandoned at %d", i, op.Kind, op.Process, abandoned)
		}
	}
	if abandoned < 0 || ops[abandoned].Session != l.lost {
		t.Errorf("abandoned at %d, session %d was stuck", abandoned, l.lost)
	}
}
