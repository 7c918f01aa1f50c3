package zab

import (
	"errors"
	"reflect"
	"testing"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
)

// connected is a Tongue that has been welcomed.
func connected(t *testing.T) *Tongue {
	t.Helper()
	c := &Tongue{}
	welcome := jute.ConnectResponse{Timeout: 1000, Session: 1, Password: make([]byte, 16)}
	if _, done := c.Hear(machine.Reply{Body: welcome.Encode()}); !done || c.Closed() != nil {
		t.Fatalf("not connected: %v", c.Closed())
	}
	return c
}

// talk has a Tongue that is connected ask for one step, and answers its requests by these, in order. It tells what was sent.
func talk(t *testing.T, m history.Mop, answers ...jute.Response) (c *Tongue, sent []jute.Request) {
	t.Helper()
	c = connected(t)
	requests, err := c.Ask(history.Txn{m})
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		if len(requests) != 1 || len(sent) == len(answers) {
			t.Fatalf("%d requests after %+v", len(requests), sent)
		}
		q, err := jute.DecodeRequest(requests[0])
		if err != nil {
			t.Fatal(err)
		}
		r := answers[len(sent)]
		r.Xid = q.Xid
		sent = append(sent, q)
		requests, done = c.Hear(machine.Reply{Body: r.Encode(q.Op)})
	}
	if len(sent) != len(answers) {
		t.Fatalf("%s ended after %+v", m.F, sent)
	}
	return c, sent
}

// TestTongueOfWhatWasNotDone: nothing but an answer that proves it says that an operation was not done.
func TestTongueOfWhatWasNotDone(t *testing.T) {
	write := history.Mop{F: history.Write, Key: "a", In: []int{1}}
	add := history.Mop{F: history.Add, Key: "a", In: []int{1}}
	cas := history.Mop{F: history.CAS, Key: "a", In: []int{1, 2}}
	code := func(c jute.Code) jute.Response { return jute.Response{Err: c} }
	one, two, bad := jute.Response{Data: []byte("1")}, jute.Response{Data: []byte("2")}, jute.Response{Data: []byte("x")}
	const (
		done = iota
		unknown
		none
		compared
		nonsense
	)
	for _, c := range []struct {
		m       history.Mop
		answers []jute.Response
		want    int
	}{
		{write, []jute.Response{code(jute.OK)}, done},
		{write, []jute.Response{code(jute.NoNode), code(jute.OK)}, done},
		{write, []jute.Response{code(jute.NoNode), code(jute.NodeExists), code(jute.OK)}, done},
		{write, []jute.Response{code(jute.NoNode), code(jute.NodeExists), code(jute.NoNode)}, none},
		{write, []jute.Response{code(jute.NoNode), code(jute.NodeExists), code(jute.SystemError)}, unknown},
		{write, []jute.Response{code(jute.NoAuth)}, none},
		{write, []jute.Response{code(jute.MarshallingError)}, unknown},
		{write, []jute.Response{code(jute.SessionExpired)}, unknown},
		{write, []jute.Response{code(jute.SessionMoved)}, unknown},
		{write, []jute.Response{code(jute.BadVersion)}, unknown},
		{add, []jute.Response{code(jute.OK)}, done},
		{add, []jute.Response{code(jute.NoNode), code(jute.OK), code(jute.OK)}, done},
		{add, []jute.Response{code(jute.NoNode), code(jute.NodeExists), code(jute.OK)}, done},
		{add, []jute.Response{code(jute.NodeExists)}, unknown},
		{add, []jute.Response{code(jute.NoNode), code(jute.OK), code(jute.NodeExists)}, unknown},
		{add, []jute.Response{code(jute.NoNode), code(jute.OK), code(jute.NoNode)}, none},
		{add, []jute.Response{code(jute.NoNode), code(jute.SystemError)}, none},
		{add, []jute.Response{code(jute.SessionExpired)}, unknown},
		{cas, []jute.Response{one, code(jute.OK)}, done},
		{cas, []jute.Response{two}, compared},
		{cas, []jute.Response{bad}, nonsense},
		{cas, []jute.Response{code(jute.NoNode)}, compared},
		{cas, []jute.Response{code(jute.SystemError)}, none},
		{cas, []jute.Response{one, code(jute.BadVersion)}, compared},
		{cas, []jute.Response{one, code(jute.NoNode)}, none},
		{cas, []jute.Response{one, code(jute.OperationTimeout)}, unknown},
		{cas, []jute.Response{one, code(jute.SessionMoved)}, unknown},
	} {
		tongue, sent := talk(t, c.m, c.answers...)
		_, _, _, _, err := tongue.Answer()
		got := unknown
		switch {
		case err == nil:
			got = done
		case errors.Is(err, machine.ErrCompare):
			got = compared
		case errors.Is(err, machine.ErrNoEffect):
			got = none
		case errors.Is(err, machine.ErrNonsense):
			got = nonsense
		}
		if got != c.want {
			t.Errorf("%s that was answered by %+v after %+v: %v", c.m.F, c.answers, sent, err)
		}
	}
}

// TestTongueReadsBehindASync sends both at once; the answer is the read's, and none where the sync has failed.
func TestTongueReadsBehindASync(t *testing.T) {
	sync := history.Mop{F: history.Sync, Key: "a"}
	for _, x := range []struct {
		f      string
		op     jute.Op
		path   string
		answer jute.Response
		out    []int
	}{
		{history.Read, jute.GetData, "/r-a", jute.Response{Zxid: 9, Data: []byte("5"), Stat: jute.Stat{Mzxid: 8}}, []int{5}},
		{history.Read, jute.GetData, "/r-a", jute.Response{Zxid: 9, Err: jute.NoNode}, nil},
		{history.Scan, jute.GetChildren, "/s-a", jute.Response{Zxid: 9, Children: []string{"00000000000000000007"}}, []int{7}},
	} {
		for _, code := range []jute.Code{jute.OK, jute.SessionMoved, jute.NoNode, jute.BadArguments} {
			c := connected(t)
			requests, err := c.Ask(history.Txn{sync, {F: x.f, Key: "a"}})
			if err != nil || len(requests) != 2 {
				t.Fatalf("%s: %d requests, %v", x.f, len(requests), err)
			}
			q, _ := jute.DecodeRequest(requests[0])
			r, _ := jute.DecodeRequest(requests[1])
			if q.Op != jute.Sync || r.Op != x.op || q.Path != x.path || r.Path != x.path {
				t.Errorf("%s: asked for %+v and %+v", x.f, q, r)
			}
			more, done := c.Hear(machine.Reply{Body: (&jute.Response{Xid: q.Xid, Zxid: 7, Err: code, Path: q.Path}).Encode(q.Op)})
			if len(more) != 0 || done != (code != jute.OK) {
				t.Fatalf("%s: a sync that was answered %v: %d more, done %v", x.f, code, len(more), done)
			}
			if done {
				if _, _, _, _, err := c.Answer(); err == nil || errors.Is(err, machine.ErrNonsense) || errors.Is(err, machine.ErrNoEffect) {
					t.Errorf("%s behind a sync that failed: %v", x.f, err)
				}
				continue
			}
			x.answer.Xid = r.Xid
			if _, done := c.Hear(machine.Reply{Body: x.answer.Encode(r.Op)}); !done {
				t.Fatalf("%s: the read is not the answer", x.f)
			}
			out, _, position, _, err := c.Answer()
			if want := (history.Txn{sync, {F: x.f, Key: "a", Out: x.out}}); err != nil || !reflect.DeepEqual(out, want) || position != 9 {
				t.Errorf("got %+v at %d, %v, want %+v", out, position, err, want)
			}
		}
	}
}

// TestTongueDoesNotAskForNonsense sends nothing, and can be asked for something else.
func TestTongueDoesNotAskForNonsense(t *testing.T) {
	c := &Tongue{}
	for _, txn := range []history.Txn{
		nil, {{F: history.Write, Key: "a"}}, {{F: history.CAS, Key: "a", In: []int{1}}}, {{F: history.Add, Key: "a", In: []int{-1}}},
		{{F: history.Write, Key: "a/b", In: []int{1}}}, {{F: history.Sync, Key: "a"}}, {{F: history.Read, Key: "a"}, {F: history.Read, Key: "b"}},
	} {
		if requests, err := c.Ask(txn); requests != nil || err == nil {
			t.Errorf("%v: %d requests", txn, len(requests))
		}
	}
	if requests, err := c.Ask(history.Txn{{F: history.Read, Key: "a"}}); len(requests) != 1 || err != nil {
		t.Errorf("a read: %d requests, %v", len(requests), err)
	}
}
