package tree

import (
	"bytes"
	"fmt"
	"testing"

	"assize/machine/jute"
)

// TestPipelineIsOneByOne prepares many requests before the first of them is applied.
func TestPipelineIsOneByOne(t *testing.T) {
	for seed := range uint64(20) {
		d, one, many := newDraw(seed), New(), New()
		oneAhead, manyAhead := one.Ahead(), many.Ahead()
		var waiting []Txn
		apply := func(n int) {
			for _, x := range waiting[:n] {
				many.Apply(&x)
				if d.IntN(3) > 0 {
					manyAhead.Applied(x.Zxid)
				}
			}
			waiting = waiting[n:]
		}
		for i := range 500 {
			k := d.ask()
			x := oneAhead.Prepare(k)
			one.Apply(&x)
			oneAhead.Applied(x.Zxid)
			y := manyAhead.Prepare(k)
			if !bytes.Equal(x.Encode(), y.Encode()) {
				t.Fatalf("seed %d, step %d: %+v became\n%+v one by one, and\n%+v after %d others", seed, i, k, x, y, len(waiting))
			}
			waiting = append(waiting, y)
			if len(waiting) > 25 || d.IntN(10) == 0 {
				apply(d.IntN(len(waiting) + 1))
			}
		}
		apply(len(waiting))
		manyAhead.Applied(d.zxid)
		if !bytes.Equal(one.Encode(), many.Encode()) || one.Hash() != many.Hash() {
			t.Fatalf("seed %d: the trees differ", seed)
		}
		if n := manyAhead.Pending() + len(manyAhead.latest) + len(manyAhead.sessions) + len(manyAhead.doors) + len(manyAhead.born); n != 0 {
			t.Fatalf("seed %d: %d pending changes are left: %+v", seed, n, manyAhead)
		}
	}
}

// TestMultiIsAtomic is claim Z12: all or nothing, and the first operation that fails is reported.
func TestMultiIsAtomic(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, create("/a", 0))
	before := l.tree.Hash()
	r := l.want(jute.OK, multi(set("/a", "1", 0), create("/a/b", 0), check("/a", 1), create("/a/b", 0), remove("/a/b", -1)))
	want := []jute.Code{0, 0, 0, jute.NodeExists, jute.RuntimeInconsistency}
	for i := range r.Sub {
		equal(t, fmt.Sprint("operation ", i), r.Sub[i], jute.Result{Op: jute.Failure, Err: want[i]})
	}
	zxid := l.tree.zxid
	if l.tree.zxid--; l.tree.Hash() != before {
		t.Error("a multi that failed has changed the tree")
	}
	l.tree.zxid = zxid

	r = l.want(jute.OK, multi(set("/a", "1", 0), create("/a/b", jute.FlagSequential), check("/a", 1), create("/c", 0), remove("/c", 0)))
	equal(t, "outcomes", []jute.Op{r.Sub[0].Op, r.Sub[1].Op, r.Sub[2].Op, r.Sub[3].Op, r.Sub[4].Op},
		[]jute.Op{jute.SetData, jute.Create, jute.Check, jute.Create, jute.Delete})
	equal(t, "path", r.Sub[1].Path, "/a/b0000000000")
	for _, s := range []jute.Stat{l.stat("/a"), l.stat("/a/b0000000000")} {
		if s.Mzxid != l.zxid {
			t.Errorf("a part has zxid %d, the multi %d", s.Mzxid, l.zxid)
		}
	}
	equal(t, "an empty multi", len(l.want(jute.OK, multi()).Sub), 0)
	l.want(jute.MarshallingError, multi(jute.Request{Op: jute.SetACL, Path: "/a", ACL: open, Version: -1}))
	l.want(jute.MarshallingError, multi(multi()))
}

// TestFailedMultiLeavesWhatWasPending: rolling back must bring back what earlier requests have made pending, and take away no more (ZOOKEEPER-1624).
func TestFailedMultiLeavesWhatWasPending(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, create("/a", 0))
	first := l.prepare(create("/a/x-", jute.FlagEphemeralSeq))
	failed := l.prepare(multi(create("/a/x-", jute.FlagEphemeralSeq), remove(first.Path, -1), create(first.Path, 0), check("/none", 0)))
	second := l.prepare(create("/a/x-", jute.FlagEphemeralSeq))
	closing := l.prepareFor(sid, jute.Request{Op: jute.CloseSession})
	equal(t, "failure", failed.Sub[3].Err, jute.NoNode)
	equal(t, "names", []string{first.Path, second.Path}, []string{"/a/x-0000000000", "/a/x-0000000001"})
	equal(t, "closed with", closing.Paths, []string{first.Path, second.Path})
	for _, x := range []Txn{first, failed, second, closing} {
		l.apply(x)
	}
	equal(t, "children", l.stat("/a").NumChildren, int32(0))
}

// TestCloseSessionTakesPendingNodes is claim Z9's first half: all ephemeral nodes go in one transaction, also those not yet applied; and none can come
// after it.
func TestCloseSessionTakesPendingNodes(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, create("/a", 0))
	l.want(jute.OK, create("/a/old", jute.FlagEphemeral))
	l.want(jute.OK, create("/a/removed", jute.FlagEphemeral))
	l.want(jute.OK, create("/a/again", jute.FlagEphemeral))
	txns := []Txn{
		l.prepare(create("/a/new", jute.FlagEphemeral)),
		l.prepare(remove("/a/removed", -1)),
		l.prepare(remove("/a/again", -1)),
		l.prepare(create("/a/again", jute.FlagEphemeral)),
		l.prepareFor(sid, jute.Request{Op: jute.CloseSession}),
		l.prepare(create("/a/late", jute.FlagEphemeral)),
		l.prepare(multi(create("/a/late", 0))),
		l.prepareFor(sid, jute.Request{Op: jute.CloseSession}),
	}
	equal(t, "paths", txns[4].Paths, []string{"/a/again", "/a/new", "/a/old"})
	equal(t, "late", txns[5].Err, jute.SessionExpired)
	equal(t, "late multi", txns[6].Sub[0].Err, jute.SessionExpired)
	equal(t, "closed twice", len(txns[7].Paths), 0)
	for i, x := range txns {
		_, changes := l.apply(x)
		if i != 4 {
			continue
		}
		var got []string
		for _, c := range changes {
			got = append(got, fmt.Sprint(c.Type, c.Path))
		}
		equal(t, "changes", got, []string{"2/a/again", "4/a", "2/a/new", "4/a", "2/a/old", "4/a"})
	}
	equal(t, "ephemerals", l.tree.Ephemerals(), 0)
	equal(t, "sessions", len(l.tree.Sessions()), 0)
}

// TestPendingListsCount: a list of permissions holds from the moment at which it has been prepared.
func TestPendingListsCount(t *testing.T) {
	ann := Digest("ann:1")
	l := newLab(t)
	l.want(jute.OK, create("/a", 0))
	txns := []Txn{
		l.prepare(jute.Request{Op: jute.SetACL, Path: "/a", Version: -1, ACL: []jute.ACL{{Perms: jute.PermAll, ID: ann}}}),
		l.prepare(set("/a", "", -1)),
		l.prepare(create("/a/b", 0)),
	}
	l.who = []jute.ID{ann}
	txns = append(txns, l.prepare(set("/a", "", -1)))
	for i, want := range []jute.Code{0, jute.NoAuth, jute.NoAuth, 0} {
		r, _ := l.apply(txns[i])
		equal(t, "outcome", r.Err, want)
	}
}

func TestRefusalUsesUpItsZxid(t *testing.T) {
	l := newLab(t)
	r := l.want(jute.NoNode, remove("/none", -1))
	equal(t, "zxid", []int64{r.Zxid, l.tree.Zxid()}, []int64{l.zxid, l.zxid})
}

func TestZxidsOnlyGrow(t *testing.T) {
	for name, f := range map[string]func(l *lab){
		"apply":   func(l *lab) { l.tree.Apply(&Txn{Zxid: l.zxid, Op: jute.Failure}) },
		"prepare": func(l *lab) { l.ahead.Prepare(Ask{Zxid: l.zxid, Request: create("/a", 0)}) },
		"nowhere": func(l *lab) { l.tree.Apply(&Txn{Zxid: 99, Op: jute.Delete, Path: "/none"}) },
		"session": func(l *lab) {
			l.ahead.Prepare(Ask{Zxid: 99, Session: ownerContainer, Request: jute.Request{Op: jute.CreateSession}})
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f(newLab(t))
		}()
	}
}
