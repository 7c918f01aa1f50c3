package etcd

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"assize/machine"
)

// memory is a Host of one node that leads itself, on a store and without a disk.
type memory struct {
	mu      sync.Mutex
	store   *machine.Store
	newer   chan struct{}
	conns   uint64
	gone    []uint64
	asked   []machine.Command
	status  machine.Status
	outcome *machine.Result // instead of executing
	silent  bool            // never answers
}

func newMemory(keep int) *memory {
	return &memory{
		store: machine.NewStore(keep), newer: make(chan struct{}),
		status: machine.Status{ID: 1, Role: machine.Leader, Leader: 1, Term: 7, Voters: []int{1, 2, 3}},
	}
}

func (m *memory) Connect() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns++
	return m.conns
}

func (m *memory) Gone(conn uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = append(m.gone, conn)
	m.wake()
}

// wake whoever waits for something to happen. Under mu.
func (m *memory) wake() {
	close(m.newer)
	m.newer = make(chan struct{})
}

func (m *memory) Do(ctx context.Context, conn uint64, c machine.Command) (machine.Result, error) {
	// What a real host would send is what is executed.
	c, err := machine.DecodeCommand(c.Encode())
	if err != nil {
		return machine.Result{}, err
	}
	m.mu.Lock()
	silent := m.silent
	m.mu.Unlock()
	if silent {
		<-ctx.Done()
		return machine.Result{}, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if conn == 0 {
		return machine.Result{}, errors.New("a request without a connection")
	}
	if len(m.asked) < 1000 { // a benchmark asks without end
		m.asked = append(m.asked, c)
	}
	if m.outcome != nil {
		return *m.outcome, nil
	}
	before := m.store.Revision()
	r := m.execute(c)
	r.Term, r.Index = m.status.Term, m.status.Applied
	if m.store.Revision() != before {
		m.status.Applied++
		m.wake()
	}
	return r, nil
}

func (m *memory) execute(c machine.Command) machine.Result {
	done := machine.Result{Outcome: machine.Done, Revision: m.store.Revision()}
	switch c.Kind {
	case machine.CommandTransfer:
		m.status.Leader, m.status.Role = c.Node, machine.Follower
		return done
	case machine.CommandJoin:
		m.status.Voters = append(m.status.Voters, c.Node)
		return done
	case machine.CommandLeave:
		for i, id := range m.status.Voters {
			if id == c.Node {
				m.status.Voters = append(m.status.Voters[:i:i], m.status.Voters[i+1:]...)
				return done
			}
		}
		return machine.Result{Outcome: machine.Refused, Reason: "member not found"}
	}
	if c.ReadOnly() {
		return m.store.Read(c)
	}
	return m.store.Apply(c)
}

func (m *memory) Status() machine.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	s.Revision, s.Hash, s.Commit = m.store.Revision(), m.store.Hash(), s.Applied
	return s
}

func (m *memory) Clocks() (time.Time, time.Duration) { return time.Unix(1000, 5), 77 * time.Second }

func (m *memory) Counters() map[string]uint64 { return map[string]uint64{"syncs": 3} }

func (m *memory) Applied() (int64, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store.Revision(), m.newer
}

func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// await blocks until the condition, which is looked at under the lock whenever something has happened, is true.
func (m *memory) await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	bound := time.After(10 * time.Second)
	for {
		m.mu.Lock()
		ok, newer := condition(), m.newer
		m.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-newer:
		case <-bound:
			t.Fatalf("%s did not come to pass", what)
		}
	}
}

// serve the host on a port of loopback until the test ends.
func serve(t testing.TB, h Host) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Serve(l, h)
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}
