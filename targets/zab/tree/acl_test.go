package tree

import (
	"fmt"
	"testing"

	"assize/machine/jute"
)

func TestDigest(t *testing.T) {
	// From ZooKeeper's documentation and the tests of go-zookeeper.
	equal(t, "digest", Digest("super:test"), jute.ID{Scheme: "digest", ID: "super:D/InIHSb7yEEbrWz8b9l71RjZJU="})
	equal(t, "no password", Digest("ann").ID[:4], "ann:")
	const super = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
	ids, ok := Authenticate("digest", []byte("super:test"), super)
	equal(t, "super", fmt.Sprint(ids, ok), "[{super } {digest "+super+"}] true")
	ids, ok = Authenticate("digest", []byte("super:guess"), super)
	equal(t, "not super", []any{len(ids), ids[0].Scheme, ok}, []any{1, "digest", true})
	ids, _ = Authenticate("digest", []byte("super:test"), "")
	equal(t, "there is no super", len(ids), 1)
	if _, ok := Authenticate("super", []byte(""), super); ok {
		t.Error("scheme super was taken")
	}
	if ids, ok := Authenticate("ip", []byte("10.0.0.1"), super); !ok || ids != nil {
		t.Error("an address was taken at its word")
	}
}

// TestACL is claim Z13: nobody gets in who does not match, with any permission but his.
func TestACL(t *testing.T) {
	ann, bob := Digest("ann:1"), Digest("bob:2")
	super := jute.ID{Scheme: "super"}
	for _, c := range []struct {
		id   jute.ID
		who  []jute.ID
		want bool
	}{
		{open[0].ID, nil, true},
		{ann, []jute.ID{ann}, true},
		{ann, []jute.ID{bob, ann}, true},
		{ann, []jute.ID{bob}, false},
		{ann, nil, false},
		{ann, []jute.ID{Digest("ann:2")}, false},
		{ann, []jute.ID{{Scheme: "ip", ID: ann.ID}}, false},
		{ann, []jute.ID{super}, true},
		{IP("10.1.2.3"), []jute.ID{IP("10.1.2.3")}, true},
		{IP("10.1.2.3"), []jute.ID{IP("10.1.2.4")}, false},
		{IP("10.1.2.3/31"), []jute.ID{IP("10.1.2.2")}, true},
		{IP("10.1.2.3/32"), []jute.ID{IP("10.1.2.2")}, false},
		{IP("10.1.0.0/15"), []jute.ID{IP("10.0.255.1")}, true},
		{IP("10.1.0.0/15"), []jute.ID{IP("10.2.0.1")}, false},
		{IP("0.0.0.0/0"), []jute.ID{IP("255.255.255.255")}, true},
		{IP("0.0.0.0/0"), []jute.ID{IP("::1")}, false},
		{IP("0.0.0.0/0"), []jute.ID{ann}, false},
		{IP("10.1.2.3"), []jute.ID{super}, true},
	} {
		for perm := jute.PermRead; perm <= jute.PermAdmin; perm *= 2 {
			list := []jute.ACL{{Perms: perm, ID: c.id}}
			for other := jute.PermRead; other <= jute.PermAdmin; other *= 2 {
				want := c.want && other == perm || c.want && len(c.who) == 1 && c.who[0] == super
				if got := Allowed(list, other, c.who); got != want {
					t.Errorf("%+v, permission %d of %+v: got %v, want %v", c.who, other, list, got, want)
				}
			}
		}
	}
}

func TestFixACL(t *testing.T) {
	ann, bob, here := Digest("ann:1"), Digest("bob:2"), IP("10.1.2.3")
	entry := func(scheme, id string) jute.ACL { return jute.ACL{Perms: 3, ID: jute.ID{Scheme: scheme, ID: id}} }
	for _, c := range []struct {
		list, want []jute.ACL
		who        []jute.ID
	}{
		{nil, nil, []jute.ID{ann}},
		{open, open, nil},
		{[]jute.ACL{entry("world", "someone")}, nil, nil},
		{[]jute.ACL{entry("x509", "a")}, nil, nil},
		{[]jute.ACL{entry("super", "")}, nil, nil},
		{[]jute.ACL{entry("digest", "a:b")}, []jute.ACL{entry("digest", "a:b")}, nil},
		{[]jute.ACL{entry("digest", "a")}, nil, nil},
		{[]jute.ACL{entry("digest", "a:")}, nil, nil},
		{[]jute.ACL{entry("digest", "a:b:c")}, nil, nil},
		{[]jute.ACL{entry("ip", "1.2.3.4")}, []jute.ACL{entry("ip", "1.2.3.4")}, nil},
		{[]jute.ACL{entry("ip", "1.2.3.4/33")}, nil, nil},
		{[]jute.ACL{entry("ip", "1.2.3")}, nil, nil},
		{[]jute.ACL{entry("ip", "1.2.3.4.5")}, nil, nil},
		{[]jute.ACL{entry("ip", "1.2.3.256")}, nil, nil},
		{[]jute.ACL{entry("ip", "::1")}, nil, nil},
		{[]jute.ACL{entry("auth", "")}, nil, nil},
		{[]jute.ACL{entry("auth", "")}, nil, []jute.ID{here}},
		{[]jute.ACL{entry("auth", "")}, nil, []jute.ID{here, {Scheme: "super"}}},
		{[]jute.ACL{entry("auth", "x")}, []jute.ACL{{Perms: 3, ID: ann}, {Perms: 3, ID: bob}}, []jute.ID{here, ann, bob}},
		{[]jute.ACL{entry("ip", "1.2.3.4"), entry("ip", "1.2.3.4"), open[0]}, []jute.ACL{entry("ip", "1.2.3.4"), open[0]}, nil},
		{[]jute.ACL{open[0], entry("ip", "x")}, nil, nil},
	} {
		got, ok := fixACL(c.list, c.who)
		if ok != (c.want != nil) {
			t.Errorf("%+v for %+v: got %v", c.list, c.who, ok)
		}
		if ok {
			equal(t, "list", got, c.want)
		}
	}
}

// TestPermissions: which permission on which node each operation asks for.
func TestPermissions(t *testing.T) {
	ann := Digest("ann:1")
	l := newLab(t)
	child := jute.Request{Op: jute.Create, Path: "/p/c", ACL: open}
	for perm := jute.PermRead; perm <= jute.PermAdmin; perm *= 2 {
		l.want(jute.OK, create("/p", 0))
		l.want(jute.OK, create("/p/old", 0))
		l.want(jute.OK, jute.Request{Op: jute.SetACL, Path: "/p", Version: -1, ACL: []jute.ACL{{Perms: perm, ID: ann}}})
		for _, c := range []struct {
			needs int32
			q     jute.Request
		}{
			{jute.PermCreate, child},
			{jute.PermDelete, remove("/p/old", -1)},
			{jute.PermWrite, set("/p", "x", -1)},
			{jute.PermAdmin, jute.Request{Op: jute.SetACL, Path: "/p", Version: -1, ACL: []jute.ACL{{Perms: perm, ID: ann}}}},
		} {
			l.who = nil
			l.want(jute.NoAuth, c.q)
			if c.q.Op != jute.SetACL {
				equal(t, "in a multi", l.do(multi(c.q)).Sub[0].Err, jute.NoAuth)
			}
			l.who = []jute.ID{ann}
			l.want(map[bool]jute.Code{false: jute.NoAuth}[c.needs == perm], c.q)
		}
		checked := l.do(multi(check("/p", -1))).Sub[0].Err
		equal(t, "check", checked, map[bool]jute.Code{false: jute.NoAuth}[perm == jute.PermRead])
		for _, op := range []jute.Op{jute.Exists, jute.GetData, jute.GetChildren, jute.GetChildren2, jute.CountChildren, jute.GetACL} {
			q := jute.Request{Op: op, Path: "/p"}
			equal(t, "a stranger's read", l.tree.Read(&q, sid, nil).Err, jute.NoAuth)
			may := perm == jute.PermRead || perm == jute.PermAdmin && op == jute.GetACL
			equal(t, fmt.Sprint("read ", op), l.tree.Read(&q, sid, l.who).Err, map[bool]jute.Code{false: jute.NoAuth}[may])
		}
		l.who = []jute.ID{{Scheme: "super"}}
		l.want(jute.OK, set("/p", "", -1))
		l.do(remove("/p/c", -1))
		l.do(remove("/p/old", -1))
		l.want(jute.OK, remove("/p", -1))
		l.who = nil
	}
}

// TestReadersDoNotSeeDigests: whoever may only read a list is not shown what passwords could be guessed from.
func TestReadersDoNotSeeDigests(t *testing.T) {
	ann := Digest("ann:1")
	l := newLab(t)
	q := create("/a", 0)
	q.ACL = []jute.ACL{{Perms: jute.PermAll, ID: ann}, {Perms: jute.PermRead, ID: open[0].ID}}
	l.want(jute.OK, q)
	get := &jute.Request{Op: jute.GetACL, Path: "/a"}
	equal(t, "reader", l.tree.Read(get, sid, nil).ACL[0].ID.ID, "ann:x")
	equal(t, "administrator", l.tree.Read(get, sid, []jute.ID{ann}).ACL[0].ID, ann)
}
