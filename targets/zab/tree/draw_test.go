package tree

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"assize/machine/jute"
)

// lab drives a tree as a leader does whose every transaction is applied at once.
type lab struct {
	t     *testing.T
	tree  *Tree
	ahead *Ahead
	zxid  int64
	time  int64
	who   []jute.ID
}

const sid = int64(1)<<56 | 7

func newLab(t *testing.T) *lab {
	tree := New()
	l := &lab{t: t, tree: tree, ahead: tree.Ahead(), time: 1000}
	l.session(sid, jute.CreateSession)
	return l
}

func (l *lab) prepare(q jute.Request) Txn {
	return l.prepareFor(sid, q)
}

func (l *lab) prepareFor(id int64, q jute.Request) Txn {
	l.zxid++
	l.time += 10
	return l.ahead.Prepare(Ask{Session: id, Who: l.who, Zxid: l.zxid, Time: l.time, Timeout: 4000, Request: q})
}

func (l *lab) apply(x Txn) (jute.Response, []Change) {
	l.t.Helper()
	again, err := DecodeTxn(x.Encode())
	if err != nil {
		l.t.Fatalf("%+v: %v", x, err)
	}
	r, changes := l.tree.Apply(&again)
	l.ahead.Applied(x.Zxid)
	return r, changes
}

func (l *lab) do(q jute.Request) jute.Response {
	l.t.Helper()
	r, _ := l.apply(l.prepare(q))
	return r
}

func (l *lab) session(id int64, op jute.Op) jute.Response {
	l.t.Helper()
	r, _ := l.apply(l.prepareFor(id, jute.Request{Op: op}))
	return r
}

// want that a request has an outcome.
func (l *lab) want(code jute.Code, q jute.Request) jute.Response {
	l.t.Helper()
	r := l.do(q)
	if r.Err != code {
		l.t.Fatalf("operation %d on %q: got %d, want %d", q.Op, q.Path, r.Err, code)
	}
	return r
}

func (l *lab) stat(path string) jute.Stat {
	l.t.Helper()
	r := l.tree.Read(&jute.Request{Op: jute.Exists, Path: path}, sid, []jute.ID{{Scheme: "super"}})
	if r.Err != jute.OK {
		l.t.Fatalf("exists %s: %d", path, r.Err)
	}
	return r.Stat
}

func create(path string, flags int32) jute.Request {
	return jute.Request{Op: jute.Create, Path: path, Flags: flags, ACL: open, Data: []byte(path)}
}

func remove(path string, version int32) jute.Request {
	return jute.Request{Op: jute.Delete, Path: path, Version: version}
}

func set(path, data string, version int32) jute.Request {
	return jute.Request{Op: jute.SetData, Path: path, Data: []byte(data), Version: version}
}

func check(path string, version int32) jute.Request {
	return jute.Request{Op: jute.Check, Path: path, Version: version}
}

func multi(list ...jute.Request) jute.Request { return jute.Request{Op: jute.Multi, Sub: list} }

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// draw makes requests at random, from few enough names and versions that they meet.
type draw struct {
	*rand.Rand
	zxid, time int64
}

func newDraw(seed uint64) *draw { return &draw{Rand: rand.New(rand.NewPCG(seed, 1)), time: 5000} }

func pick[T any](d *draw, list ...T) T { return list[d.IntN(len(list))] }

func (d *draw) path() string {
	if d.IntN(30) == 0 {
		return pick(d, "", "/", "a", "/a/", "//a", "/a//b", "/a/../b", "/zookeeper", "/zookeeper/config", "/\x00", "/a/\u00e9", "/a\xff")
	}
	path := ""
	for range 1 + d.IntN(3) {
		path += "/" + pick(d, "a", "b", "b ", "c.d")
	}
	if d.IntN(8) == 0 {
		path += pick(d, "", "/") + pick(d, "0000000000", "0000000001", "0000000002", "0000000003")
	}
	return path
}

func (d *draw) acl() []jute.ACL {
	if d.IntN(4) > 0 {
		return open
	}
	id := func() jute.ID {
		return pick(d, Digest("ann:1"), Digest("bob:2"), jute.ID{Scheme: "auth"}, IP("10.0.0.0/8"), IP("10.1.2.3"), open[0].ID)
	}
	if d.IntN(12) == 0 {
		return pick(d, nil, []jute.ACL{{Perms: 31, ID: IP("10.0.0.0/33")}}, []jute.ACL{{Perms: 1, ID: jute.ID{Scheme: "digest", ID: "x"}}},
			[]jute.ACL{{Perms: 31, ID: jute.ID{Scheme: "world", ID: "someone"}}})
	}
	list := []jute.ACL{{Perms: pick(d, int32(31), 31, 1, 6, 9, 23), ID: id()}}
	for d.IntN(3) == 0 {
		list = append(list, jute.ACL{Perms: d.Int32N(32), ID: id()})
	}
	return list
}

func (d *draw) who() []jute.ID {
	list := []jute.ID{IP(pick(d, "10.1.2.3", "10.9.9.9", "192.168.0.1", "::1"))}
	for _, id := range []jute.ID{Digest("ann:1"), Digest("bob:2")} {
		if d.IntN(2) == 0 {
			list = append(list, id)
		}
	}
	if d.IntN(6) == 0 {
		list = append(list, jute.ID{Scheme: "super"})
	}
	return list
}

func (d *draw) data() []byte {
	return pick(d, nil, []byte{}, []byte("x"), []byte("some more data"))
}

func (d *draw) request() jute.Request {
	q := jute.Request{
		Xid: d.Int32N(100), Path: d.path(), Data: d.data(), ACL: d.acl(), Version: pick(d, int32(-1), -1, 0, 1, 2), Flags: d.Int32N(4),
	}
	switch d.IntN(16) {
	default:
		q.Op = pick(d, jute.Create, jute.Create, jute.Create2)
		if d.IntN(20) == 0 {
			q.Flags = pick(d, jute.FlagContainer, jute.FlagTTL, 7)
		}
	case 0, 1, 2:
		q.Op = jute.Delete
	case 3, 4, 5:
		q.Op = jute.SetData
	case 6:
		q.Op = jute.SetACL
	case 7:
		q.Op, q.Flags = jute.CreateContainer, pick(d, int32(4), 4, 4, 0, 2, 1, 7)
	case 8:
		q.Op, q.Flags, q.TTL = jute.CreateTTL, pick(d, int32(5), 5, 6, 0), pick(d, int64(100), 5000, 0, -1, MaxTTL, MaxTTL+1)
	case 9:
		q.Op = jute.Check
	}
	return q
}

// ask for anything that changes the tree.
func (d *draw) ask() Ask {
	d.zxid += 1 + d.Int64N(2)
	d.time += d.Int64N(50)
	k := Ask{Session: int64(1)<<56 | (1 + d.Int64N(4)), Who: d.who(), Zxid: d.zxid, Time: d.time, Timeout: 1000 + d.Int32N(3)*1000}
	switch k.Request = d.request(); d.IntN(12) {
	case 0:
		k.Request = jute.Request{Op: jute.CreateSession}
	case 1:
		if d.IntN(4) == 0 {
			k.Request = jute.Request{Op: jute.CloseSession}
		}
	case 2, 3, 4:
		k.Request = jute.Request{Op: jute.Multi, Xid: k.Request.Xid}
		for range d.IntN(5) {
			one := d.request()
			for one.Op == jute.SetACL && d.IntN(20) > 0 {
				one = d.request()
			}
			k.Request.Sub = append(k.Request.Sub, one)
		}
	case 5:
		k.Request.Op = jute.DeleteContainer
		if d.IntN(10) > 0 {
			k.Session = 0
		}
	case 6:
		if d.IntN(4) == 0 {
			k.Request.Op = jute.Reconfig
		}
	}
	return k
}
