package zk

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"assize/cluster"
	"assize/daemon/clienttest"
	"assize/history"
	"assize/machine/jute"
)

// traveller is a client that takes its session from connection to connection.
type traveller struct {
	t       *testing.T
	session *cluster.Session
	c       cluster.Client
	timeout time.Duration
}

func travel(t *testing.T) *traveller {
	v := &traveller{t: t, session: &cluster.Session{Timeout: 5 * time.Second}, timeout: long}
	t.Cleanup(func() {
		if v.c != nil {
			v.c.Close()
		}
		if v.session.Forget != nil {
			v.session.Forget()
		}
	})
	return v
}

// to another server, or the same one again.
func (v *traveller) to(address string) (cluster.Answer, error) {
	v.t.Helper()
	if v.c != nil {
		v.c.Close()
	}
	var err error
	if v.c, err = Dial(v.t.Context(), address, cluster.Options{Timeout: v.timeout, Session: v.session}); err != nil {
		v.t.Fatal(err)
	}
	return v.c.Do(v.t.Context(), history.Txn{{F: history.Connect}})
}

// wants this result of an operation, and to be told this before.
func (v *traveller) wants(m history.Mop, session uint64, out []int, told ...history.Mop) cluster.Answer {
	v.t.Helper()
	a, err := v.c.Do(v.t.Context(), history.Txn{m})
	if err != nil || !slices.Equal(a.Txn[0].Out, out) || a.Session != session || !reflect.DeepEqual([]history.Mop(a.Told), told) {
		v.t.Errorf("%+v: got %+v, %v; want %v by session %d, told %v", m, a, err, out, session, told)
	}
	return a
}

// pushes a notification before the answer to the next request of the kind.
func (h *toy) pushes(op jute.Op, e jute.Event) {
	h.set(func() {
		h.override = func(q jute.Request) ([]byte, bool) {
			if q.Op == op {
				h.override = nil
				e.State = jute.StateConnected
				h.open[h.conns].told(e.Encode(), false)
			}
			return nil, false
		}
	})
}

func (h *toy) count(op jute.Op) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range h.asked {
		if q.Op == op {
			n++
		}
	}
	return n
}

func TestSessionGoesOnByAnotherConnection(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	v := travel(t)
	if a, err := v.to(address); err != nil || !slices.Equal(a.Txn[0].Out, []int{5000}) || a.Session != 1 {
		t.Fatalf("connect: %+v, %v", a, err)
	}
	v.wants(history.Mop{F: history.Watch, Key: "a"}, 1, []int{0})
	h.pushes(jute.Create, jute.Event{Type: jute.EventCreated, Path: "/r-a"})
	a := v.wants(history.Mop{F: history.CreateEphemeral, Key: "a", In: []int{7}}, 1, nil, history.Mop{F: history.Created, Key: "a"})
	if a.Version != 1 || h.asked[len(h.asked)-1].Flags != jute.FlagEphemeral {
		t.Errorf("version %d, asked %+v", a.Version, h.asked)
	}
	if _, err := v.c.Do(t.Context(), history.Txn{{F: history.CreateEphemeral, Key: "a", In: []int{8}}}); !errors.Is(err, cluster.ErrNotDone) {
		t.Errorf("created twice: %v", err)
	}
	if a := v.wants(history.Mop{F: history.Watch, Key: "a"}, 1, []int{1}); a.Version != 1 || a.Position != 2 {
		t.Errorf("watch: %+v", a)
	}
	v.wants(history.Mop{F: history.List, Key: "q"}, 1, nil)                                // there is no parent
	v.wants(history.Mop{F: history.CreateSequential, Key: "q", In: []int{9}}, 1, []int{5}) // the first one finds no parent
	// By another connection, with the watch that is left.
	h.pushes(jute.SetWatches, jute.Event{Type: jute.EventDeleted, Path: "/r-a"})
	a, err := v.to(address)
	if want := []history.Mop{{F: history.Deleted, Key: "a"}}; err != nil || a.Session != 1 || !reflect.DeepEqual([]history.Mop(a.Told), want) {
		t.Errorf("connect anew: %+v, %v", a, err)
	}
	if q := h.asks[1]; q.Session != 1 || q.LastZxid != 5 || !slices.Equal(h.asked[len(h.asked)-1].Watches.Data, []string{"/r-a"}) {
		t.Errorf("asked %+v, and %+v", q, h.asked[len(h.asked)-1])
	}
	if _, err := v.to(address); err != nil || h.count(jute.SetWatches) != 1 {
		t.Errorf("%v: watches that had fired were set anew", err)
	}
	v.wants(history.Mop{F: history.Delete, Key: "a"}, 1, nil)
	if a := v.wants(history.Mop{F: history.Close}, 1, nil); a.Version != 7 {
		t.Errorf("close: %+v", a)
	}
	h.set(func() { h.reject = true })
	if a, err := v.to(address); err != nil || !slices.Equal(a.Txn[0].Out, []int{0}) || h.asks[3].Session != 1 {
		t.Errorf("a session that has ended: %+v, %v, asked %+v", a, err, h.asks)
	}
}

// TestLostConnectionIsSeen: what was under way is not known, nothing is sent again, and nothing connects before the harness does.
func TestLostConnectionIsSeen(t *testing.T) {
	h := newToy()
	address, cut, accepted := clienttest.Relay(t, serve(t, h))
	v := travel(t)
	if _, err := v.to(address); err != nil {
		t.Fatal(err)
	}
	h.set(func() { h.silent = true })
	failed := make(chan error)
	go func() {
		_, err := v.c.Do(t.Context(), history.Txn{{F: history.CreateEphemeral, Key: "a", In: []int{1}}})
		failed <- err
	}()
	h.await(t, "the create", func() bool {
		return slices.ContainsFunc(h.asked, func(q jute.Request) bool { return q.Op == jute.Create })
	})
	cut()
	if err := <-failed; err == nil || errors.Is(err, cluster.ErrNotDone) {
		t.Errorf("got %v, want that nobody knows", err)
	}
	if _, err := v.c.Do(t.Context(), history.Txn{{F: history.Delete, Key: "a"}}); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("by a connection that is lost: %v", err)
	}
	if accepted() != 1 {
		t.Errorf("%d connections, and the harness asked for one", accepted())
	}
	h.set(func() { h.silent = false })
	if _, err := v.to(address); err != nil {
		t.Fatal(err)
	}
	v.wants(history.Mop{F: history.Read, Key: "a"}, 1, nil)
	if n := h.count(jute.Create); n != 1 || accepted() != 2 {
		t.Errorf("%d creates by %d connections", n, accepted())
	}
}

// TestLateAnswerIsNotHeard: an operation that has failed for its user leaves no watch behind.
func TestLateAnswerIsNotHeard(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	v := travel(t)
	v.timeout = short
	if _, err := v.to(address); err != nil {
		t.Fatal(err)
	}
	h.set(func() { h.silent = true })
	if _, err := v.c.Do(t.Context(), history.Txn{{F: history.Watch, Key: "a"}}); err == nil || errors.Is(err, cluster.ErrNotDone) {
		t.Fatalf("got %v", err)
	}
	h.set(func() { h.silent = false })
	l := v.c.(*client).session.line
	late := jute.Response{Xid: l.newest, Err: jute.NoNode}
	if _, err := l.understand(late.Encode(jute.Exists)); err == nil {
		t.Error("a late answer is heard")
	}
	v.timeout = long
	if _, err := v.to(address); err != nil || h.count(jute.SetWatches) != 0 {
		t.Errorf("%v, and watches that nobody has left are set anew", err)
	}
}

func TestWhatNeedsASession(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	c := connect(t, address, cluster.Options{Timeout: long})
	for _, m := range []history.Mop{{F: history.Connect}, {F: history.Close}, {F: history.Watch, Key: "a"}, {F: history.CreateEphemeral, Key: "a", In: []int{1}}} {
		if _, err := c.Do(t.Context(), history.Txn{m}); !errors.Is(err, cluster.ErrNotDone) {
			t.Errorf("%+v: %v", m, err)
		}
	}
	v := travel(t)
	if _, err := v.to(address); err != nil {
		t.Fatal(err)
	}
	h.pushes(jute.Exists, jute.Event{Type: jute.EventChildrenChanged, Path: "/r-a"})
	if _, err := v.c.Do(t.Context(), history.Txn{{F: history.Watch, Key: "a"}}); !errors.Is(err, cluster.ErrNonsense) {
		t.Errorf("told what nobody watches: %v", err)
	}
}

// TestEndThatIsToldTooLate: go-zookeeper knows that the session has ended, and nobody else, when the next line comes. What it would ask for then is another
// session, which nobody has asked for.
func TestEndThatIsToldTooLate(t *testing.T) {
	h := newToy()
	address := serve(t, h)
	v := travel(t)
	if _, err := v.to(address); err != nil {
		t.Fatal(err)
	}
	h.set(func() { h.reject = true })
	v.c.Close()
	late, err := Dial(t.Context(), address, cluster.Options{Timeout: v.timeout, Session: v.session})
	if err != nil {
		t.Fatal(err)
	}
	k := late.(*client)
	k.carried.lines <- k.session.line
	<-k.session.line.greeting
	h.set(func() { h.reject = false })
	v.c = late
	if a, err := v.to(address); err != nil || !slices.Equal(a.Txn[0].Out, []int{0}) || a.Session != 0 {
		t.Errorf("a session that had ended: %+v, %v", a, err)
	}
}

// TestWhatComesBehindAnAnswerIsNotToldBeforeIt: a server that was paused sends the answer, a notification and the reply to a ping at once.
func TestWhatComesBehindAnAnswerIsNotToldBeforeIt(t *testing.T) {
	k := &carried{}
	answer := func(op jute.Op) {
		t.Helper()
		if err := k.answered(sent{op: op}, jute.OK); err != nil {
			t.Fatal(err)
		}
	}
	answer(jute.GetData)
	if err := k.hear(jute.Event{Type: jute.EventDeleted, State: jute.StateConnected, Path: "/r-a"}); err != nil {
		t.Fatal(err)
	}
	answer(jute.Ping)
	var a cluster.Answer
	if k.tell(&a, nil); len(a.Told) > 0 {
		t.Errorf("told with the answer before it: %v", a.Told)
	}
	answer(jute.GetData)
	if k.tell(&a, nil); !reflect.DeepEqual([]history.Mop(a.Told), []history.Mop{{F: history.Deleted, Key: "a"}}) {
		t.Errorf("told with the answer behind it: %v", a.Told)
	}
}
