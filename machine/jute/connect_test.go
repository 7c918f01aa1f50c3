package jute

import (
	"bytes"
	"reflect"
	"testing"
)

const hexPassword = "00000010 000102030405060708090a0b0c0d0e0f"

var password = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func TestConnect(t *testing.T) {
	request := "00000000 0000000000000009 00001388 0000000000000005" + hexPassword
	response := "00000000 00001388 0000000000000005" + hexPassword
	for _, c := range []struct {
		last          string
		has, readOnly bool
	}{{"", false, false}, {"00", true, false}, {"01", true, true}} {
		q := ConnectRequest{LastZxid: 9, Timeout: 5000, Session: 5, Password: password, ReadOnly: c.readOnly, HasReadOnly: c.has}
		payload := unhex(request + c.last)
		if got := q.Encode(); !bytes.Equal(got, payload) {
			t.Errorf("request %q: encoded\n%x, want\n%x", c.last, got, payload)
		}
		if got, err := DecodeConnectRequest(payload); err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("request %q: decoded %+v, %v, want %+v", c.last, got, err, q)
		}
		r := ConnectResponse{Timeout: 5000, Session: 5, Password: password, ReadOnly: c.readOnly, HasReadOnly: c.has}
		payload = unhex(response + c.last)
		if got := r.Encode(); !bytes.Equal(got, payload) || len(got) != 36+len(c.last)/2 {
			t.Errorf("response %q: encoded\n%x, want\n%x", c.last, got, payload)
		}
		if got, err := DecodeConnectResponse(payload); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("response %q: decoded %+v, %v, want %+v", c.last, got, err, r)
		}
	}
	for n := range unhex(request) {
		if got, err := DecodeConnectRequest(unhex(request)[:n]); err == nil || !reflect.DeepEqual(got, ConnectRequest{}) {
			t.Errorf("request, %d bytes: decoded %+v, %v", n, got, err)
		}
	}
	for n := range unhex(response) {
		if got, err := DecodeConnectResponse(unhex(response)[:n]); err == nil || !reflect.DeepEqual(got, ConnectResponse{}) {
			t.Errorf("response, %d bytes: decoded %+v, %v", n, got, err)
		}
	}
}

// TestEvent: up to 3.8 a notification's zxid is -1, since 3.9 it is the change's.
func TestEvent(t *testing.T) {
	want := Event{Type: EventDataChanged, State: StateConnected, Path: "/a"}
	payload := unhex("ffffffff ffffffffffffffff 00000000 00000003 00000003" + hexPath)
	if got := want.Encode(); !bytes.Equal(got, payload) {
		t.Errorf("encoded\n%x, want\n%x", got, payload)
	}
	for _, zxid := range []string{"ffffffffffffffff", "0000000100000002"} {
		payload := unhex("ffffffff" + zxid + "00000000 00000003 00000003" + hexPath)
		if got, err := DecodeEvent(payload); err != nil || got != want {
			t.Errorf("decoded %+v, %v, want %+v", got, err, want)
		}
		for n := range payload {
			if got, err := DecodeEvent(payload[:n]); err == nil || got != (Event{}) {
				t.Errorf("%d bytes: decoded %+v, %v", n, got, err)
			}
		}
	}
	r := Response{Xid: 7, Path: "/a"}
	if got, err := DecodeEvent(r.Encode(Sync)); err == nil {
		t.Errorf("a response decoded as the event %+v", got)
	}
}

func TestReplyHeader(t *testing.T) {
	payload := unhex("fffffffe 0000000100000002 ffffff90")
	want := ReplyHeader{Xid: XidPing, Zxid: 1<<32 + 2, Err: SessionExpired}
	if got, err := DecodeReplyHeader(payload); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, err := DecodeReplyHeader(payload[:15]); err == nil {
		t.Errorf("15 bytes decoded as %+v", got)
	}
}

func TestAppendFrame(t *testing.T) {
	got := AppendFrame(AppendFrame([]byte{9}, []byte{1, 2}), nil)
	if want := unhex("09 00000002 0102 00000000"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestFailedMulti: its header says OK, whatever Err says; without a Sub it fails as all others do.
func TestFailedMulti(t *testing.T) {
	r := Response{Xid: 7, Zxid: 8, Err: NodeExists, Sub: []Result{{Op: Failure}, {Op: Create, Path: "/a", Err: NodeExists}, {Op: Failure, Err: RuntimeInconsistency}}}
	payload := unhex("00000007 0000000000000008 00000000" + "ffffffff 00 00000000 00000000" + "ffffffff 00 ffffff92 ffffff92" + "ffffffff 00 fffffffe fffffffe" + hexEnd)
	if got := r.Encode(Multi); !bytes.Equal(got, payload) {
		t.Errorf("encoded\n%x, want\n%x", got, payload)
	}
	got, err := DecodeResponse(Multi, payload)
	if err != nil || got.Err != OK || len(got.Sub) != 3 || got.Sub[0].Err != OK || got.Sub[1].Err != NodeExists {
		t.Errorf("decoded %+v, %v", got, err)
	}
	r.Sub = nil
	if got, want := r.Encode(Multi), unhex("00000007 0000000000000008 ffffff92"); !bytes.Equal(got, want) {
		t.Errorf("encoded\n%x, want\n%x", got, want)
	}
}

// TestCreatesInMulti: a container and a node with a time to live are answered as Create2.
func TestCreatesInMulti(t *testing.T) {
	for _, op := range []Op{CreateContainer, CreateTTL} {
		r := Response{Sub: []Result{{Op: op, Path: "/a", Stat: stat}}}
		if got, want := r.Encode(Multi)[16:], unhex("0000000f 00 00000000"+hexPath+hexStat+hexEnd); !bytes.Equal(got, want) {
			t.Errorf("%v: encoded\n%x, want\n%x", op, got, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a result of an exists was encoded")
		}
	}()
	r := Response{Sub: []Result{{Op: Exists}}}
	r.Encode(Multi)
}

func TestMalformedResults(t *testing.T) {
	header := "00000007 0000000000000008 00000000"
	for _, c := range []struct {
		name string
		op   Op
		body string
	}{
		{"a result of an unknown kind", Multi, "00000003 00 00000000" + hexStat + hexEnd},
		{"no end", Multi, "00000002 00 00000000"},
		{"names beyond the end", GetChildren, "40000000"},
		{"ACLs beyond the end", GetACL, "00000002" + hexStat},
		{"a negative length", SASL, "80000000"},
	} {
		if got, err := DecodeResponse(c.op, unhex(header+c.body)); err == nil || !reflect.DeepEqual(got, Response{}) {
			t.Errorf("%s: decoded %+v, %v", c.name, got, err)
		}
	}
}

// TestNoAlias: a front end may use its buffer again.
func TestNoAlias(t *testing.T) {
	q := Request{Op: SetData, Path: "/a", Data: []byte("xyz")}
	payload := q.Encode()
	got, err := DecodeRequest(payload)
	clear(payload)
	if err != nil || !reflect.DeepEqual(got, q) {
		t.Errorf("got %+v, %v, want %+v", got, err, q)
	}
	q = Request{Op: SASL, Body: []byte("xyz")}
	payload = q.Encode()
	got, err = DecodeRequest(payload)
	clear(payload)
	if err != nil || !reflect.DeepEqual(got, q) {
		t.Errorf("got %+v, %v, want %+v", got, err, q)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{GetChildren2.String(), "getChildren2"}, {CountChildren.String(), "getAllChildrenNumber"}, {CloseSession.String(), "closeSession"}, {Op(999).String(), "op 999"},
		{OK.String(), "ok"}, {NoNode.String(), "NoNode"}, {Code(-999).String(), "code -999"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	var writes []Op
	for op := Op(-20); op < 120; op++ {
		if op.Writes() {
			writes = append(writes, op)
		}
	}
	want := []Op{CloseSession, CreateSession, Create, Delete, SetData, SetACL, Check, Multi, Create2, Reconfig, CreateContainer, DeleteContainer, CreateTTL}
	if !reflect.DeepEqual(writes, want) {
		t.Errorf("writes are %v, want %v", writes, want)
	}
}
