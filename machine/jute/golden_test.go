package jute

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// The layouts are written down here a second time, by hand from zookeeper.jute, MultiOperationRecord.java and MultiResponse.java, for the code describes
// each of them once for both directions: that it agrees with itself says nothing.
const (
	hexPath  = "00000002 2f61"   // /a
	hexData  = "00000003 78797a" // xyz
	hexNone  = "ffffffff"        // no buffer
	hexEmpty = "00000000"        // no bytes, or no items
	hexKids  = "00000002 00000001 62 00000002 6363"
	hexWorld = "00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65"
	hexStat  = "0000000000000001 0000000000000002 0000000000000003 0000000000000004 00000005 00000006 00000007 0000000000000008 00000009 0000000a 000000000000000b"
	hexEnd   = "ffffffff 01 ffffffff"
)

var (
	world = []ACL{{Perms: PermAll, ID: ID{"world", "anyone"}}}
	stat  = Stat{Czxid: 1, Mzxid: 2, Ctime: 3, Mtime: 4, Version: 5, Cversion: 6, Aversion: 7, EphemeralOwner: 8, DataLength: 9, NumChildren: 10, Pzxid: 11}
	xyz   = []byte("xyz")
	kids  = []string{"b", "cc"}
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// requests are without their header, whose Xid is 7.
var requests = []struct {
	body string
	want Request
}{
	{hexPath + hexData + hexWorld + "00000003", Request{Op: Create, Path: "/a", Data: xyz, ACL: world, Flags: FlagEphemeralSeq}},
	{hexPath + hexNone + hexEmpty + "00000000", Request{Op: Create2, Path: "/a"}},
	{hexPath + hexEmpty + hexWorld + "00000004", Request{Op: CreateContainer, Path: "/a", Data: []byte{}, ACL: world, Flags: FlagContainer}},
	{hexPath + hexData + hexWorld + "00000005 0000000000001388", Request{Op: CreateTTL, Path: "/a", Data: xyz, ACL: world, Flags: FlagTTL, TTL: 5000}},
	{hexPath + "ffffffff", Request{Op: Delete, Path: "/a", Version: -1}},
	{hexPath + "01", Request{Op: Exists, Path: "/a", Watch: true}},
	{hexPath + "00", Request{Op: GetData, Path: "/a"}},
	{hexPath + hexData + "00000002", Request{Op: SetData, Path: "/a", Data: xyz, Version: 2}},
	{hexPath, Request{Op: GetACL, Path: "/a"}},
	{hexPath + hexWorld + "00000002", Request{Op: SetACL, Path: "/a", ACL: world, Version: 2}},
	{hexPath + "01", Request{Op: GetChildren, Path: "/a", Watch: true}},
	{hexPath + "01", Request{Op: GetChildren2, Path: "/a", Watch: true}},
	{hexPath, Request{Op: Sync, Path: "/a"}},
	{"", Request{Op: Ping}},
	{hexPath + "00000002", Request{Op: Check, Path: "/a", Version: 2}},
	{hexEnd, Request{Op: Multi}},
	{"00000001 00 ffffffff" + hexPath + hexData + hexWorld + "00000002" +
		"0000000f 00 ffffffff" + hexPath + hexNone + hexWorld + "00000000" +
		"00000013 00 ffffffff" + hexPath + hexNone + hexWorld + "00000004" +
		"00000015 00 ffffffff" + hexPath + hexNone + hexWorld + "00000005 0000000000000009" +
		"00000002 00 ffffffff" + hexPath + "00000003" +
		"00000005 00 ffffffff" + hexPath + hexData + "00000004" +
		"0000000d 00 ffffffff" + hexPath + "00000005" + hexEnd,
		Request{Op: Multi, Sub: []Request{
			{Op: Create, Path: "/a", Data: xyz, ACL: world, Flags: FlagSequential},
			{Op: Create2, Path: "/a", ACL: world},
			{Op: CreateContainer, Path: "/a", ACL: world, Flags: FlagContainer},
			{Op: CreateTTL, Path: "/a", ACL: world, Flags: FlagTTL, TTL: 9},
			{Op: Delete, Path: "/a", Version: 3},
			{Op: SetData, Path: "/a", Data: xyz, Version: 4},
			{Op: Check, Path: "/a", Version: 5},
		}}},
	{"00000004 00 ffffffff" + hexPath + "00" + "00000008 00 ffffffff" + hexPath + "00" + hexEnd,
		Request{Op: MultiRead, Sub: []Request{{Op: GetData, Path: "/a"}, {Op: GetChildren, Path: "/a"}}}},
	{hexPath + hexPath + hexPath + "ffffffffffffffff", Request{Op: Reconfig, Body: unhex(hexPath + hexPath + hexPath + "ffffffffffffffff")}},
	{hexPath + "00000002", Request{Op: CheckWatches, Path: "/a", Mode: WatcherData}},
	{hexPath + "00000003", Request{Op: RemoveWatches, Path: "/a", Mode: WatcherAny}},
	{"00000000 00000006 646967657374 00000003 753a70", Request{Op: Auth, Scheme: "digest", Auth: []byte("u:p")}},
	{"0000000000000009 00000001" + hexPath + hexEmpty + "00000002" + hexPath + hexPath,
		Request{Op: SetWatches, Watches: Watches{RelativeZxid: 9, Data: []string{"/a"}, Child: []string{"/a", "/a"}}}},
	{"0000000000000009 00000000 00000001 00000001 31 00000001 00000001 32 00000001 00000001 33 00000001 00000001 34",
		Request{Op: SetWatches2, Watches: Watches{RelativeZxid: 9, Exist: []string{"1"}, Child: []string{"2"}, Persistent: []string{"3"}, Recursive: []string{"4"}}}},
	{hexPath + "00000001", Request{Op: AddWatch, Path: "/a", Mode: WatchRecursive}},
	{hexData, Request{Op: SASL, Body: unhex(hexData)}},
	{hexPath, Request{Op: GetEphemerals, Path: "/a"}},
	{hexPath, Request{Op: CountChildren, Path: "/a"}},
	{"", Request{Op: WhoAmI}},
	{"", Request{Op: CloseSession}},
	{"010203", Request{Op: 999, Body: []byte{1, 2, 3}}},
	{"", Request{Op: 999}},
}

func TestRequests(t *testing.T) {
	for _, c := range requests {
		want := c.want
		want.Xid = 7
		op := hex.EncodeToString([]byte{byte(want.Op >> 24), byte(want.Op >> 16), byte(want.Op >> 8), byte(want.Op)})
		payload := unhex("00000007" + op + c.body)
		if got := want.Encode(); !reflect.DeepEqual(got, payload) {
			t.Errorf("%v: encoded\n%x, want\n%x", want.Op, got, payload)
		}
		got, err := DecodeRequest(payload)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: decoded\n%+v, %v, want\n%+v", want.Op, got, err, want)
		}
		raw := want.Body != nil || want.Op == 999
		if got, err = DecodeRequest(append(payload, 1, 2)); !raw && (err != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%v with two bytes more: decoded\n%+v, %v, want\n%+v", want.Op, got, err, want)
		}
		for n := range payload {
			got, err := DecodeRequest(payload[:n])
			switch {
			case n < 8:
				if err == nil || errors.Is(err, ErrMarshalling) || !reflect.DeepEqual(got, Request{}) {
					t.Errorf("%v: %d bytes decoded as %+v, %v", want.Op, n, got, err)
				}
			case raw:
				if err != nil {
					t.Errorf("%v: %d bytes: %v", want.Op, n, err)
				}
			case !errors.Is(err, ErrMarshalling) || !reflect.DeepEqual(got, Request{Xid: 7, Op: want.Op}):
				t.Errorf("%v: %d bytes decoded as %+v, %v", want.Op, n, got, err)
			}
		}
	}
}

// TestAllOps holds the table above to be complete.
func TestAllOps(t *testing.T) {
	seen := map[Op]bool{Notify: true, DeleteContainer: true, CreateSession: true, Failure: true} // no client sends these
	for _, c := range requests {
		seen[c.want.Op] = true
	}
	for op, name := range opNames {
		if !seen[op] {
			t.Errorf("no bytes of %s", name)
		}
	}
}

func TestMalformedRequests(t *testing.T) {
	for _, c := range []struct{ name, payload string }{
		{"a length less than -1", "00000007 00000004 fffffffe"},
		{"a length beyond the end", "00000007 00000004 7fffffff 2f"},
		{"no path", "00000007 00000004 ffffffff 00"},
		{"no list of watches", "00000007 00000065 0000000000000000 00000000 ffffffff 00000000"},
		{"a count beyond the end", "00000007 00000007" + hexPath + "10000000 00000000"},
		{"a multi within a multi", "00000007 0000000e 0000000e 00 ffffffff" + hexEnd + hexEnd},
		{"a read within a multi", "00000007 0000000e 00000004 00 ffffffff" + hexPath + "00" + hexEnd},
		{"an exists within a multi", "00000007 0000000e 00000003 00 ffffffff" + hexPath + "00" + hexEnd},
		{"an error within a multi", "00000007 0000000e ffffffff 00 ffffffff 00000000" + hexEnd},
		{"a write within a multiRead", "00000007 00000016 00000002 00 ffffffff" + hexPath + "00000000" + hexEnd},
		{"a getChildren2 within a multiRead", "00000007 00000016 0000000c 00 ffffffff" + hexPath + "00" + hexEnd},
	} {
		got, err := DecodeRequest(unhex(c.payload))
		if !errors.Is(err, ErrMarshalling) || got.Xid != 7 || got.Op == 0 || got.Path != "" || got.Sub != nil {
			t.Errorf("%s: decoded as %+v, %v", c.name, got, err)
		}
	}
}

// TestLenience: what is no Go client's way of writing, and no error.
func TestLenience(t *testing.T) {
	for _, payload := range []string{"00000007 00000007" + hexPath + "80000000 00000000", "00000007 00000009 ffffffff", "00000007 00000065 0000000000000000 00000000 fffffffe 00000000"} {
		if got, err := DecodeRequest(unhex(payload)); err != nil {
			t.Errorf("%s: decoded as %+v, %v", payload, got, err)
		}
	}
	for _, c := range []struct {
		name, payload string
		want          Request
	}{
		{"null for a list", "00000007 00000007" + hexPath + "ffffffff 00000002", Request{Xid: 7, Op: SetACL, Path: "/a", Version: 2}},
		{"null for a path", "00000007 00000067 ffffffff", Request{Xid: 7, Op: GetEphemerals}},
		{"2 for true", "00000007 00000003" + hexPath + "02", Request{Xid: 7, Op: Exists, Path: "/a", Watch: true}},
		{"an end of another kind", "00000007 0000000e 00000000 01 00000000", Request{Xid: 7, Op: Multi}},
	} {
		if got, err := DecodeRequest(unhex(c.payload)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: decoded as %+v, %v", c.name, got, err)
		}
	}
}

// responses are without their header, whose Xid is 7 and whose Zxid is 8.
var responses = []struct {
	op   Op
	body string
	want Response
}{
	{Create, hexPath, Response{Path: "/a"}},
	{Create2, hexPath + hexStat, Response{Path: "/a", Stat: stat}},
	{CreateContainer, hexPath + hexStat, Response{Path: "/a", Stat: stat}},
	{CreateTTL, hexPath + hexStat, Response{Path: "/a", Stat: stat}},
	{Delete, "", Response{}},
	{Exists, hexStat, Response{Stat: stat}},
	{GetData, hexData + hexStat, Response{Data: xyz, Stat: stat}},
	{GetData, hexNone + hexStat, Response{Stat: stat}},
	{GetData, hexEmpty + hexStat, Response{Data: []byte{}, Stat: stat}},
	{SetData, hexStat, Response{Stat: stat}},
	{GetACL, hexWorld + hexStat, Response{ACL: world, Stat: stat}},
	{SetACL, hexStat, Response{Stat: stat}},
	{GetChildren, hexKids, Response{Children: kids}},
	{GetChildren, hexEmpty, Response{}},
	{GetChildren2, hexKids + hexStat, Response{Children: kids, Stat: stat}},
	{Sync, hexPath, Response{Path: "/a"}},
	{Ping, "", Response{}},
	{Reconfig, hexData + hexStat, Response{Data: xyz, Stat: stat}},
	{CheckWatches, "", Response{}},
	{RemoveWatches, "", Response{}},
	{Auth, "", Response{}},
	{SetWatches, "", Response{}},
	{SetWatches2, "", Response{}},
	{SASL, hexData, Response{Data: xyz}},
	{GetEphemerals, hexKids, Response{Children: kids}},
	{CountChildren, "00000007", Response{Count: 7}},
	{AddWatch, "00000000", Response{}},
	{WhoAmI, "00000001 00000002 6970 00000003 3a3a31", Response{IDs: []ID{{"ip", "::1"}}}},
	{CloseSession, "", Response{}},
	{Multi, hexEnd, Response{}},
	{Multi, "00000001 00 00000000" + hexPath + "0000000f 00 00000000" + hexPath + hexStat + "00000002 00 00000000" + "00000005 00 00000000" + hexStat +
		"0000000d 00 00000000" + hexEnd,
		Response{Sub: []Result{{Op: Create, Path: "/a"}, {Op: Create2, Path: "/a", Stat: stat}, {Op: Delete}, {Op: SetData, Stat: stat}, {Op: Check}}}},
	{Multi, "ffffffff 00 00000000 00000000" + "ffffffff 00 ffffff99 ffffff99" + "ffffffff 00 fffffffe fffffffe" + hexEnd,
		Response{Sub: []Result{{Op: Failure}, {Op: Failure, Err: BadVersion}, {Op: Failure, Err: RuntimeInconsistency}}}},
	{MultiRead, "00000004 00 00000000" + hexData + hexStat + "ffffffff 00 ffffff9b ffffff9b" + "00000008 00 00000000" + hexKids + hexEnd,
		Response{Sub: []Result{{Op: GetData, Data: xyz, Stat: stat}, {Op: Failure, Err: NoNode}, {Op: GetChildren, Children: kids}}}},
}

func TestResponses(t *testing.T) {
	for _, c := range responses {
		want := c.want
		want.Xid, want.Zxid = 7, 8
		payload := unhex("00000007 0000000000000008 00000000" + c.body)
		if got := want.Encode(c.op); !reflect.DeepEqual(got, payload) {
			t.Errorf("%v: encoded\n%x, want\n%x", c.op, got, payload)
		}
		if got, err := DecodeResponse(c.op, payload); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: decoded\n%+v, %v, want\n%+v", c.op, got, err, want)
		}
		if got, err := DecodeResponse(c.op, append(payload, 1, 2)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v with two bytes more: decoded\n%+v, %v, want\n%+v", c.op, got, err, want)
		}
		for n := range payload {
			if got, err := DecodeResponse(c.op, payload[:n]); err == nil || !reflect.DeepEqual(got, Response{}) {
				t.Errorf("%v: %d bytes decoded as %+v, %v", c.op, n, got, err)
			}
		}
		want.Err = NoNode
		header := unhex("00000007 0000000000000008 ffffff9b")
		if got := want.Encode(c.op); !reflect.DeepEqual(got, header) && want.Sub == nil {
			t.Errorf("%v, failed: encoded\n%x, want\n%x", c.op, got, header)
		}
		failed := Response{Xid: 7, Zxid: 8, Err: NoNode}
		if got, err := DecodeResponse(c.op, header); err != nil || !reflect.DeepEqual(got, failed) {
			t.Errorf("%v, failed: decoded as %+v, %v", c.op, got, err)
		}
	}
}
