package zk

import (
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"assize/machine"
	"assize/machine/jute"
)

// Long enough never to pass by itself, short where a test waits for it.
const (
	long  = 20 * time.Second
	short = 50 * time.Millisecond
)

// toy is a host whose machine is a map. It answers at once, one request after the other.
type toy struct {
	mu     sync.Mutex
	change *sync.Cond
	nodes  map[string]*node
	zxid   int64
	open   map[uint64]*caller
	conns  uint64
	gone   []uint64
	asked  []jute.Request
	hello  []string // addresses
	asks   []jute.ConnectRequest
	report machine.Report
	status machine.Status
	dir    string
	held   chan struct{} // Report blocks until it is closed; nil: it does not

	silent   bool                                         // requests are not answered
	reject   bool                                         // sessions have expired
	shut     bool                                         // it does not serve
	override func(q jute.Request) (body []byte, end bool) // what is answered; body nil: as usual
}

type caller struct {
	told    func([]byte, bool)
	greeted bool
}

type node struct {
	data []byte
	stat jute.Stat
}

func newToy() *toy {
	h := &toy{nodes: map[string]*node{}, open: map[uint64]*caller{}}
	h.change = sync.NewCond(&h.mu)
	h.report = machine.Report{Serving: true, Mode: machine.Standalone, Nodes: 5, Tick: 500 * time.Millisecond}
	h.status = machine.Status{ID: 1, Role: machine.Leader, Term: 7, Leader: 1, Voters: []int{1, 2, 3}, Commit: 9}
	return h
}

func (h *toy) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// await something that the host sees.
func (h *toy) await(t testing.TB, what string, seen func() bool) {
	t.Helper()
	timer := time.AfterFunc(long, func() { h.set(func() { t.Errorf("%s did not come", what) }); h.change.Broadcast() })
	defer timer.Stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	for !seen() && !t.Failed() {
		h.change.Wait()
	}
}

func (h *toy) Open(told func([]byte, bool)) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns++
	h.open[h.conns] = &caller{told: told}
	return h.conns
}

func (h *toy) Send(conn uint64, body []byte) error {
	h.mu.Lock()
	defer h.change.Broadcast()
	defer h.mu.Unlock()
	c := h.open[conn]
	if c == nil {
		return net.ErrClosed
	}
	if !c.greeted {
		c.greeted = true
		h.greet(conn, c, body)
		return nil
	}
	q, err := jute.DecodeRequest(body)
	if err != nil {
		h.tell(conn, c, nil, true)
		return nil
	}
	h.asked = append(h.asked, q)
	if h.silent && q.Op != jute.Ping {
		return nil
	}
	if h.override != nil {
		if body, end := h.override(q); body != nil || end {
			h.tell(conn, c, body, end)
			return nil
		}
	}
	r := h.answer(&q)
	h.tell(conn, c, r.Encode(q.Op), q.Op == jute.CloseSession)
	return nil
}

func (h *toy) tell(conn uint64, c *caller, body []byte, end bool) {
	c.told(body, end)
	if end {
		delete(h.open, conn)
	}
}

func (h *toy) greet(conn uint64, c *caller, body []byte) {
	address, payload, err := jute.Introduced(body)
	q, bad := jute.DecodeConnectRequest(payload)
	if err != nil || bad != nil || h.shut {
		h.tell(conn, c, nil, true)
		return
	}
	h.hello, h.asks = append(h.hello, address), append(h.asks, q)
	r := jute.ConnectResponse{Timeout: q.Timeout, Session: int64(conn), Password: make([]byte, 16), HasReadOnly: q.HasReadOnly}
	if q.Session != 0 {
		r.Session = q.Session
	}
	if h.reject {
		r.Timeout, r.Session = 0, 0
	}
	h.tell(conn, c, r.Encode(), h.reject)
}

func (h *toy) answer(q *jute.Request) jute.Response {
	r := jute.Response{Xid: q.Xid, Path: q.Path}
	n := h.nodes[q.Path]
	if q.Op.Writes() {
		h.zxid++
	}
	r.Zxid = h.zxid
	switch {
	case q.Op == jute.Create && n != nil:
		r.Err = jute.NodeExists
	case q.Op == jute.Create && path.Dir(q.Path) != "/" && h.nodes[path.Dir(q.Path)] == nil:
		r.Err = jute.NoNode
	case q.Op == jute.Create && q.Flags == jute.FlagEphemeralSeq:
		r.Path = fmt.Sprintf("%s%010d", q.Path, h.zxid)
	case q.Op == jute.Create:
		h.nodes[q.Path] = &node{q.Data, jute.Stat{Czxid: h.zxid, Mzxid: h.zxid}}
	case q.Op == jute.Sync || q.Op == jute.Ping || q.Op == jute.CloseSession || q.Op == jute.SetWatches:
	case n == nil:
		r.Err = jute.NoNode
	case q.Op == jute.SetData && q.Version != -1 && q.Version != n.stat.Version:
		r.Err = jute.BadVersion
	case q.Op == jute.SetData:
		n.data, n.stat.Mzxid = q.Data, h.zxid
		n.stat.Version++
		r.Stat = n.stat
	case q.Op == jute.Delete:
		delete(h.nodes, q.Path)
	case q.Op == jute.Exists:
		r.Stat = n.stat
	case q.Op == jute.GetData:
		r.Data, r.Stat = n.data, n.stat
	case q.Op == jute.GetChildren2:
		for _, p := range slices.Sorted(maps.Keys(h.nodes)) {
			if path.Dir(p) == q.Path {
				r.Children = append(r.Children, path.Base(p))
			}
		}
		slices.Reverse(r.Children)
	default:
		r.Err = jute.Unimplemented
	}
	return r
}

func (h *toy) Gone(conn uint64) {
	h.mu.Lock()
	defer h.change.Broadcast()
	defer h.mu.Unlock()
	delete(h.open, conn)
	h.gone = append(h.gone, conn)
}

func (h *toy) Status() machine.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

func (h *toy) Clocks() (time.Time, time.Duration) { return time.Unix(1000, 5), 77 * time.Second }

func (h *toy) Counters() map[string]uint64 { return map[string]uint64{"syncs": 3} }

func (h *toy) Dir() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dir
}

func (h *toy) Report(bool) (machine.Report, bool) {
	h.mu.Lock()
	held := h.held
	h.mu.Unlock()
	if held != nil {
		<-held
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.report, h.report.Mode != ""
}

// serve clients until the test ends, by which time all of them must be gone.
func serve(t testing.TB, h *toy) (address string) { return serveWithin(t, h, usual) }

func serveWithin(t testing.TB, h *toy, b bounds) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- newFront(l.Addr(), h, b).serve(l) }()
	t.Cleanup(func() {
		l.Close()
		select {
		case <-done:
		case <-time.After(long):
			t.Error("the front end does not stop")
		}
		h.set(func() {
			if uint64(len(h.gone)) != h.conns {
				t.Errorf("%d connections came, %v went", h.conns, h.gone)
			}
		})
	})
	return l.Addr().String()
}
