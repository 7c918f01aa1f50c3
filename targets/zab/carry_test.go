package zab

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
)

// onward gives the Tongue of a session's next connection, which has asked to connect, and what it has asked.
func onward(t *testing.T, state *any) (*Tongue, jute.ConnectRequest) {
	t.Helper()
	c := &Tongue{}
	*state = c.Carry(*state, 3*time.Second)
	requests, err := c.Ask(history.Txn{{F: history.Connect}})
	if err != nil || c.Hello() != nil {
		t.Fatalf("%v, and hello %v", err, c.Hello())
	}
	_, payload, err := jute.Introduced(requests[0])
	if err != nil {
		t.Fatal(err)
	}
	q, err := jute.DecodeConnectRequest(payload)
	if err != nil {
		t.Fatal(err)
	}
	return c, q
}

// hears an answer, and tells what the Tongue makes of the operation.
func hears(t *testing.T, c *Tongue, body []byte) (m history.Mop, version uint64) {
	t.Helper()
	if more, done := c.Hear(machine.Reply{Body: body}); !done || more != nil {
		t.Fatalf("not done: %v", more)
	}
	out, version, _, _, err := c.Answer()
	if err != nil {
		t.Fatal(err)
	}
	return out[0], version
}

func TestTongueCarriesItsSession(t *testing.T) {
	var state any
	c, q := onward(t, &state)
	if q.Session != 0 || q.Timeout != 3000 || q.LastZxid != 0 {
		t.Errorf("a new session is asked for by %+v", q)
	}
	password := []byte("0123456789abcdef")
	if m, _ := hears(t, c, jute.ConnectResponse{Timeout: 2500, Session: 77, Password: password}.Encode()); !slices.Equal(m.Out, []int{2500}) {
		t.Errorf("connected: %+v", m)
	}
	ask := func(m history.Mop, r jute.Response, pushed ...jute.Event) (history.Mop, uint64) {
		t.Helper()
		requests, err := c.Ask(history.Txn{m})
		if err != nil {
			t.Fatal(err)
		}
		q, err := jute.DecodeRequest(requests[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range pushed {
			if more, done := c.Hear(machine.Reply{Body: e.Encode()}); more != nil || done {
				t.Fatalf("a notification ends %v", m)
			}
		}
		r.Xid = q.Xid
		return hears(t, c, r.Encode(q.Op))
	}
	told := func(want ...history.Mop) {
		t.Helper()
		if session, got := c.Told(); session != 77 || !reflect.DeepEqual([]history.Mop(got), want) {
			t.Errorf("session %d was told %v, want %v", session, got, want)
		}
	}
	if m, version := ask(history.Mop{F: history.Watch, Key: "a"}, jute.Response{Zxid: 5, Err: jute.NoNode}); !slices.Equal(m.Out, []int{0}) || version != 0 {
		t.Errorf("%+v at %d", m, version)
	}
	created := jute.Event{Type: jute.EventCreated, State: jute.StateConnected, Path: "/r-a"}
	ask(history.Mop{F: history.CreateEphemeral, Key: "a", In: []int{1}}, jute.Response{Zxid: 6, Path: "/r-a"}, created)
	told(history.Mop{F: history.Created, Key: "a"})
	if m, version := ask(history.Mop{F: history.Watch, Key: "a"}, jute.Response{Zxid: 9, Stat: jute.Stat{Mzxid: 6}}); !slices.Equal(m.Out, []int{1}) || version != 6 {
		t.Errorf("%+v at %d", m, version)
	}
	ask(history.Mop{F: history.Watch, Key: "b"}, jute.Response{Zxid: 9, Err: jute.NoNode})
	if m, _ := ask(history.Mop{F: history.CreateSequential, Key: "q", In: []int{1}}, jute.Response{Zxid: 10, Path: "/q-q/n-0000000003"}); !slices.Equal(m.Out, []int{3}) {
		t.Errorf("%+v", m)
	}
	c, q = onward(t, &state)
	if q.Session != 77 || q.LastZxid != 10 || !slices.Equal(q.Password, password) {
		t.Errorf("the session is asked for by %+v", q)
	}
	more, done := c.Hear(machine.Reply{Body: jute.ConnectResponse{Timeout: 2500, Session: 77, Password: password}.Encode()})
	if done || len(more) != 1 {
		t.Fatalf("watches are not set anew: %v, %v", more, done)
	}
	set, err := jute.DecodeRequest(more[0])
	if w := set.Watches; err != nil || w.RelativeZxid != 10 || !slices.Equal(w.Data, []string{"/r-a"}) || !slices.Equal(w.Exist, []string{"/r-b"}) || len(w.Child) > 0 {
		t.Errorf("set %+v, %v", w, err)
	}
	c.Hear(machine.Reply{Body: jute.Event{Type: jute.EventDeleted, State: jute.StateConnected, Path: "/r-a"}.Encode()})
	reset := jute.Response{Xid: jute.XidSetWatches, Zxid: 12}
	if m, _ := hears(t, c, reset.Encode(jute.SetWatches)); m.F != history.Connect {
		t.Errorf("%+v", m)
	}
	told(history.Mop{F: history.Deleted, Key: "a"})
	c, _ = onward(t, &state)
	if m, _ := hears(t, c, jute.ConnectResponse{Password: make([]byte, 16)}.Encode()); !slices.Equal(m.Out, []int{0}) || c.Closed() == nil {
		t.Errorf("a session that has ended: %+v, %v", m, c.Closed())
	}
}

// TestSetIsWatchedBeforeItHasElements: its node is made for it, and another may do so at the same time.
func TestSetIsWatchedBeforeItHasElements(t *testing.T) {
	for _, created := range []jute.Code{jute.OK, jute.NodeExists} {
		var state any
		c, _ := onward(t, &state)
		hears(t, c, jute.ConnectResponse{Timeout: 2500, Session: 77, Password: make([]byte, passwordSize)}.Encode())
		requests, err := c.Ask(history.Txn{{F: history.WatchSet, Key: "a"}})
		for i, r := range []jute.Response{{Err: jute.NoNode}, {Err: created}, {Zxid: 8, Stat: jute.Stat{Pzxid: 7}}} {
			if err != nil || len(requests) != 1 {
				t.Fatalf("request %d: %v, %v", i, requests, err)
			}
			q, bad := jute.DecodeRequest(requests[0])
			if want := []jute.Op{jute.GetChildren2, jute.Create, jute.GetChildren2}[i]; bad != nil || q.Op != want || q.Path != "/s-a" || q.Watch == (want == jute.Create) {
				t.Fatalf("request %d: %+v, %v", i, q, bad)
			}
			if r.Xid = q.Xid; i == 2 {
				if m, version := hears(t, c, r.Encode(q.Op)); m.F != history.WatchSet || len(m.Out) > 0 || version != 7 || !slices.Equal(c.carried.child, []string{"/s-a"}) {
					t.Errorf("%+v at %d, watched: %v", m, version, c.carried.child)
				}
				break
			}
			requests, _ = c.Hear(machine.Reply{Body: r.Encode(q.Op)})
		}
	}
}

func TestTongueIsToldNonsense(t *testing.T) {
	var state any
	c, _ := onward(t, &state)
	hears(t, c, jute.ConnectResponse{Timeout: 2500, Session: 77, Password: make([]byte, 16)}.Encode())
	c.Hear(machine.Reply{Body: jute.Event{Type: jute.EventChildrenChanged, State: jute.StateConnected, Path: "/r-a"}.Encode()})
	requests, err := c.Ask(history.Txn{{F: history.Read, Key: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	q, _ := jute.DecodeRequest(requests[0])
	r := jute.Response{Xid: q.Xid, Err: jute.NoNode}
	c.Hear(machine.Reply{Body: r.Encode(q.Op)})
	if _, _, _, _, err := c.Answer(); !errors.Is(err, machine.ErrNonsense) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Ask(history.Txn{{F: history.Connect}}); err == nil {
		t.Error("connected twice")
	}
	if _, err := (&Tongue{}).Ask(history.Txn{{F: history.Watch, Key: "a"}}); err == nil {
		t.Error("a watch without a session that outlives the connection")
	}
}
