package zk

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"assize/cluster"
	"assize/daemon/clienttest"
	"assize/history"
	"assize/machine"
	"assize/machine/jute"
)

func connect(t testing.TB, address string, o cluster.Options) *client {
	t.Helper()
	c, err := Dial(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*client)
}

func one(f, key string, in ...int) history.Txn { return history.Txn{{F: f, Key: key, In: in}} }

// speak has a client do everything that a workload asks for.
func speak(t *testing.T, c cluster.Client) {
	t.Helper()
	last := map[string]uint64{}
	seen := uint64(0)
	for i, step := range []struct {
		ask      history.Txn
		out      []int
		noEffect bool
	}{
		{one(history.Read, "a"), nil, false},
		{one(history.CAS, "a", 4, 6), nil, true}, // there is no node
		{one(history.Write, "a", 5), nil, false}, // creates it
		{one(history.Read, "a"), []int{5}, false},
		{one(history.Write, "a", -7), nil, false}, // changes it
		{one(history.Read, "a"), []int{-7}, false},
		{one(history.CAS, "a", 4, 6), nil, true},
		{one(history.CAS, "a", -7, 6), nil, false},
		{one(history.Read, "a"), []int{6}, false},
		{one(history.Scan, "s"), nil, false}, // there is no set
		{one(history.Add, "s", 12), nil, false},
		{one(history.Add, "s", 7), nil, false},
		{one(history.Scan, "s"), []int{7, 12}, false},
		{history.Txn{{F: history.Write, Key: "a", In: []int{9}}, {F: history.Write, Key: "b", In: []int{8}}}, nil, true},
		{one(history.Add, "s", -1), nil, true},
		{one(history.Write, "a/b", 1), nil, true},
		{one(history.Write, "a\x00", 1), nil, true}, // no path
	} {
		a, err := c.Do(t.Context(), step.ask)
		if step.noEffect {
			if !errors.Is(err, cluster.ErrNotDone) || errors.Is(err, cluster.ErrRefused) {
				t.Errorf("%d %v: %v, want a plain ErrNotDone", i, step.ask, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d %v: %v", i, step.ask, err)
			continue
		}
		m := step.ask[0]
		if got := a.Txn[0].Out; !reflect.DeepEqual(got, step.out) {
			t.Errorf("%d %v: got %v, want %v", i, step.ask, got, step.out)
		}
		switch {
		case m.F == history.Read && a.Version != last[m.Key]:
			t.Errorf("%d %v: version %d, want the %d of the last write", i, step.ask, a.Version, last[m.Key])
		case m.F == history.Scan && a.Version != 0:
			t.Errorf("%d %v: version %d", i, step.ask, a.Version)
		case m.F != history.Read && m.F != history.Scan && (a.Version <= seen || a.Position != a.Version):
			t.Errorf("%d %v: version %d at position %d, want more than %d", i, step.ask, a.Version, a.Position, seen)
		}
		if m.F != history.Read && m.F != history.Scan {
			last[m.Key] = a.Version
		}
		if a.Position < seen || a.Note != fmt.Sprintf("zxid %#x", a.Position) {
			t.Errorf("%d %v: position %d, note %q after position %d", i, step.ask, a.Position, a.Note, seen)
		}
		seen = max(seen, a.Position)
	}
	// Of an element that is there nobody knows who has added it.
	if a, err := c.Do(t.Context(), one(history.Add, "s", 7)); err == nil || errors.Is(err, cluster.ErrNotDone) || errors.Is(err, cluster.ErrNonsense) {
		t.Errorf("an element for the second time: %+v, %v", a, err)
	}
}

func TestClient(t *testing.T) {
	h := newToy()
	speak(t, connect(t, serve(t, h), cluster.Options{Timeout: long}))
	for _, q := range h.asked {
		if q.Op == jute.Sync {
			t.Errorf("a sync of %s that nobody has asked for", q.Path)
		}
	}
}

// TestReadsBehindSyncs: a sync of the node is answered before the read is asked for, and the answer is that of the read.
func TestReadsBehindSyncs(t *testing.T) {
	h := newToy()
	c := connect(t, serve(t, h), cluster.Options{Timeout: long})
	for _, txn := range []history.Txn{one(history.Write, "a", 5), one(history.Add, "s", 7)} {
		if _, err := c.Do(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		f, key, path string
		op           jute.Op
		out          int
	}{{history.Read, "a", "/r-a", jute.GetData, 5}, {history.Scan, "s", "/s-s", jute.GetChildren2, 7}} {
		sync, read := history.Mop{F: history.Sync, Key: x.key}, history.Mop{F: x.f, Key: x.key}
		before, behind := len(h.asked), 0
		a, err := c.Do(t.Context(), history.Txn{sync, read})
		read.Out = []int{x.out}
		if want := (history.Txn{sync, read}); err != nil || !reflect.DeepEqual(a.Txn, want) || a.Position == 0 {
			t.Errorf("got %+v, %v, want %+v", a, err, want)
		}
		if got := h.asked[before:]; len(got) != 2 || got[0].Op != jute.Sync || got[1].Op != x.op || got[0].Path != x.path || got[1].Path != x.path {
			t.Errorf("%s: %+v was sent", x.f, got)
		}
		h.set(func() {
			h.override = func(q jute.Request) ([]byte, bool) {
				if q.Op != jute.Sync {
					behind++
					return nil, false
				}
				r := jute.Response{Xid: q.Xid, Err: jute.SessionMoved}
				return r.Encode(q.Op), false
			}
		})
		if a, err := c.Do(t.Context(), history.Txn{sync, {F: x.f, Key: x.key}}); err == nil || behind != 0 {
			t.Errorf("a sync that failed: %+v, and %d requests behind it", a, behind)
		}
		h.set(func() { h.override = nil })
	}
}

// TestBetweenTheSteps: what other clients do between a client's requests.
func TestBetweenTheSteps(t *testing.T) {
	h := newToy()
	c := connect(t, serve(t, h), cluster.Options{Timeout: long})
	between := func(op jute.Op, do func()) {
		h.set(func() {
			h.override = func(q jute.Request) ([]byte, bool) {
				if q.Op == op {
					h.override = nil
					do()
				}
				return nil, false
			}
		})
	}
	between(jute.Create, func() { h.nodes["/r-a"] = &node{data: []byte("1")} })
	if _, err := c.Do(t.Context(), one(history.Write, "a", 5)); err != nil || string(h.nodes["/r-a"].data) != "5" {
		t.Errorf("a register that another has created: %v", err)
	}
	between(jute.SetData, func() { h.nodes["/r-a"].stat.Version++ })
	if _, err := c.Do(t.Context(), one(history.CAS, "a", 5, 6)); !errors.Is(err, cluster.ErrNotDone) || errors.Is(err, cluster.ErrRefused) {
		t.Errorf("a register that another has changed: %v", err)
	}
	creates := 0
	h.set(func() {
		h.override = func(q jute.Request) ([]byte, bool) {
			if creates++; creates == 2 {
				h.nodes["/s-s"] = &node{}
			}
			return nil, false
		}
	})
	if _, err := c.Do(t.Context(), one(history.Add, "s", 5)); err != nil || h.nodes["/s-s/00000000000000000005"] == nil {
		t.Errorf("a set that another has created: %v", err)
	}
}

func TestErrorsOfAServer(t *testing.T) {
	h := newToy()
	h.nodes["/r-a"] = &node{data: []byte("1")}
	address := serve(t, h)
	for _, c := range []struct {
		code    jute.Code
		notDone []string // operations; of all others nobody knows
	}{
		{jute.NoAuth, []string{history.Write, history.Add, history.CAS}}, {jute.Unimplemented, []string{history.Write, history.Add, history.CAS}},
		{jute.BadVersion, []string{history.CAS}}, {jute.NodeExists, []string{history.Write}}, {jute.OperationTimeout, nil}, {jute.RequestTimeout, nil},
		{jute.SystemError, nil}, {jute.MarshallingError, nil}, {jute.SessionExpired, nil}, {jute.SessionMoved, nil}, {jute.Throttled, nil}, {-77, nil},
	} {
		h.set(func() {
			h.override = func(q jute.Request) ([]byte, bool) {
				r := jute.Response{Xid: q.Xid, Err: c.code}
				if q.Op == jute.GetData || q.Op == jute.CloseSession {
					return nil, false
				}
				return r.Encode(q.Op), false
			}
		})
		for _, txn := range []history.Txn{one(history.Write, "a", 1), one(history.Add, "a", 1), one(history.CAS, "a", 1, 2)} {
			_, err := connect(t, address, cluster.Options{Timeout: long}).Do(t.Context(), txn)
			want := slices.Contains(c.notDone, txn[0].F)
			if err == nil || errors.Is(err, cluster.ErrNotDone) != want || errors.Is(err, cluster.ErrRefused) || errors.Is(err, cluster.ErrNonsense) {
				t.Errorf("%v, %s: %v; want not done %v", c.code, txn[0].F, err, want)
			}
		}
	}
}

// TestTimeBehindAnAnswer: the caller's time may run out when the answer has come and has not been told yet.
func TestTimeBehindAnAnswer(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	for _, c := range []struct {
		code    jute.Code
		notDone bool
	}{{jute.NoAuth, true}, {jute.NodeExists, false}, {jute.OK, false}} {
		h.set(func() {
			h.override = func(q jute.Request) ([]byte, bool) {
				if q.Op == jute.CloseSession {
					return nil, false
				}
				r := jute.Response{Xid: q.Xid, Zxid: 5, Err: c.code}
				return r.Encode(q.Op), false
			}
		})
		add := one(history.Add, "a", 1)
		a := &attempt{session: connect(t, address, cluster.Options{Timeout: long}).session, txn: add, f: history.Add}
		a.perform(add[0])
		if err := a.abandon(context.DeadlineExceeded); errors.Is(err, cluster.ErrNotDone) != c.notDone {
			t.Errorf("%v: %v; want not done %v", c.code, err, c.notDone)
		}
	}
}

func TestSessionThatIsRefused(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	for what, f := range map[string]func(){"expired": func() { h.reject = true }, "not serving": func() { h.shut, h.reject = true, false }} {
		h.set(f)
		if _, err := Dial(t.Context(), address, cluster.Options{Timeout: long}); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNonsense(t *testing.T) {
	h := newToy()
	h.nodes["/r-a"], h.nodes["/s-a"], h.nodes["/s-a/5"] = &node{data: []byte("x")}, &node{}, &node{}
	c := connect(t, serve(t, h), cluster.Options{Timeout: long})
	for _, txn := range []history.Txn{one(history.Read, "a"), one(history.Scan, "a")} {
		if _, err := c.Do(t.Context(), txn); !errors.Is(err, cluster.ErrNonsense) || errors.Is(err, cluster.ErrNotDone) {
			t.Errorf("%s: got %v, want %v and nothing about its effect", txn[0].F, err, cluster.ErrNonsense)
		}
	}
}

// TestSilentServer: after a time-out nobody knows, unless only a read had been sent; nothing is sent later.
func TestSilentServer(t *testing.T) {
	h := newToy()
	h.silent = true
	address := serve(t, h)
	for _, x := range []struct {
		txn              history.Txn
		notDone, refused bool
	}{{one(history.Write, "a", 1), false, false}, {one(history.Add, "a", 1), false, false}, {one(history.Read, "a"), false, false}, {one(history.CAS, "a", 1, 2), true, true}} {
		c := connect(t, address, cluster.Options{Timeout: long})
		c.timeout = short
		if _, err := c.Do(t.Context(), x.txn); err == nil || errors.Is(err, cluster.ErrNotDone) != x.notDone || errors.Is(err, cluster.ErrRefused) != x.refused {
			t.Errorf("%s that was not answered: %v", x.txn[0].F, err)
		}
		if _, err := c.Do(t.Context(), one(history.Write, "b", 1)); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("a write behind it: %v", err)
		}
		c.session.drop()
	}
	h.await(t, "the end of all", func() bool { return len(h.gone) == 4 })
	for _, q := range h.asked {
		if q.Path == "/r-b" {
			t.Errorf("%+v was sent behind what had no answer", q)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	nobody := clienttest.Unanswered(t, func(address string) error {
		_, err := Dial(t.Context(), address, cluster.Options{Timeout: short})
		return err
	})
	if _, err := Status(t.Context(), nobody); err == nil {
		t.Error("status: no error")
	}
}

// TestBrokenConnection: go-zookeeper would connect again and nobody would know that the next operation went by another connection.
func TestBrokenConnection(t *testing.T) {
	h := newToy()
	address, cut, accepted := clienttest.Relay(t, serve(t, h))
	c := connect(t, address, cluster.Options{Timeout: long})
	if _, err := c.Do(t.Context(), one(history.Write, "a", 1)); err != nil {
		t.Fatal(err)
	}
	before := len(h.asked)
	h.set(func() { h.silent = true })
	done := make(chan error)
	go func() {
		_, err := c.Do(context.Background(), one(history.Write, "a", 2))
		done <- err
	}()
	h.await(t, "the write", func() bool { return len(h.asked) == before+1 })
	cut()
	if err := <-done; err == nil || errors.Is(err, cluster.ErrNotDone) {
		t.Errorf("the write under way: %v", err)
	}
	h.set(func() { h.silent = false })
	h.await(t, "the end of the connection", func() bool { return len(h.gone) == 1 })
	<-c.session.lost
	for range 3 {
		if _, err := c.Do(t.Context(), one(history.Write, "a", 3)); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("a write after that: %v", err)
		}
	}
	// An operation that began a moment before the connection broke gets behind the look at its state.
	a := &attempt{session: c.session, txn: one(history.Write, "a", 4), f: history.Write}
	if _, err := a.write(one(history.Write, "a", 4)[0]); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("a write after that, unseen by the client: %v", err)
	}
	if n := accepted(); n != 1 {
		t.Errorf("the client has connected %d times", n)
	}
	if len(h.asked) != before+1 {
		t.Errorf("%d requests: one has been repeated", len(h.asked))
	}
}

// TestCloseEndsTheSession, so that its server need not keep it until it expires.
func TestCloseEndsTheSession(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	for i := range 3 {
		connect(t, address, cluster.Options{Timeout: long}).Close()
		h.await(t, "the end of the connection", func() bool { return len(h.gone) == i+1 })
	}
	for _, q := range h.asked {
		if q.Op != jute.CloseSession {
			t.Errorf("%+v", q)
		}
	}
	if len(h.asked) != 3 {
		t.Errorf("%d sessions were closed, want 3", len(h.asked))
	}
}

func TestStatusOfANode(t *testing.T) {
	h := newToy()
	h.status.Counters, h.status.Applied, h.status.Position = machine.Counters{Elections: 4}, 9, 7<<32|9
	got, err := Status(t.Context(), serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Wall.Equal(time.Unix(1000, 5)) {
		t.Errorf("wall clock %v", got.Wall)
	}
	if got.Counters["elections"] != 4 || got.Counters["syncs"] != 3 {
		t.Errorf("counters %v", got.Counters)
	}
	if got.Process == 0 {
		t.Error("the process has no name")
	}
	got.Counters, got.Wall, got.Process = nil, time.Time{}, 0
	want := cluster.Status{Role: machine.Leader, Leader: "n1", Term: 7, Commit: 9, Applied: 9, Position: 7<<32 | 9, Members: []string{"n1", "n2", "n3"}, Mono: 77 * time.Second}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
