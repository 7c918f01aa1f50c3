package tree

import (
	"fmt"
	"strings"
	"testing"

	"assize/machine/jute"
)

func fired(w *Watches, changes []Change) string {
	var all []string
	for _, f := range w.Fire(changes) {
		name := []string{"", "created", "deleted", "data", "children"}[f.Event.Type]
		all = append(all, fmt.Sprint(f.Conn, " ", name, " ", f.Event.Path))
	}
	return strings.Join(all, ", ")
}

// step of a script: a request, and what fires.
type step struct {
	q    jute.Request
	want string
}

func (l *lab) script(w *Watches, steps ...step) {
	l.t.Helper()
	for i, s := range steps {
		r, changes := l.apply(l.prepare(s.q))
		if r.Err != jute.OK {
			l.t.Fatalf("step %d: %d", i, r.Err)
		}
		if got := fired(w, changes); got != s.want {
			l.t.Fatalf("step %d, operation %d on %s:\n got %s\nwant %s", i, s.q.Op, s.q.Path, got, s.want)
		}
	}
}

// TestWatchFiresOnce is claim Z10's first half.
func TestWatchFiresOnce(t *testing.T) {
	l, w := newLab(t), &Watches{}
	w.Add(1, WatchExist, "/a")
	w.Add(1, WatchChild, "/")
	l.script(w,
		step{create("/a", 0), "1 created /a, 1 children /"},
		step{create("/b", 0), ""})
	w.Add(1, WatchData, "/a")
	w.Add(2, WatchData, "/a")
	w.Add(2, WatchData, "/a")
	l.script(w,
		step{create("/a/c", 0), ""},
		step{set("/a", "", -1), "1 data /a, 2 data /a"},
		step{set("/a", "", -1), ""})
	w.Add(1, WatchChild, "/a")
	l.script(w,
		step{set("/a", "", -1), ""},
		step{remove("/a/c", -1), "1 children /a"})
	equal(t, "counts", []Counts{w.Data(), w.Child()}, []Counts{{}, {}})
}

func TestDeletionIsHeardOfOnce(t *testing.T) {
	l, w := newLab(t), &Watches{}
	l.want(jute.OK, create("/a", 0))
	for _, kind := range []WatchKind{WatchData, WatchExist, WatchChild, WatchPersistent, WatchRecursive} {
		w.Add(3, kind, "/a")
	}
	w.Add(2, WatchChild, "/a")
	w.Add(4, WatchData, "/a")
	w.Add(1, WatchRecursive, "/")
	l.script(w,
		step{remove("/a", -1), "1 deleted /a, 2 deleted /a, 3 deleted /a, 4 deleted /a"},
		step{create("/a", 0), "1 created /a, 3 created /a"})
}

func TestPersistentWatches(t *testing.T) {
	l, w := newLab(t), &Watches{}
	w.Add(1, WatchPersistent, "/a")
	w.Add(2, WatchRecursive, "/a")
	w.Add(2, WatchData, "/a/b")
	l.script(w,
		step{create("/a", 0), "1 created /a, 2 created /a"},
		step{create("/ab", 0), ""},
		step{create("/a/b", 0), "2 created /a/b, 1 children /a"},
		step{set("/a/b", "", -1), "2 data /a/b"},
		step{create("/a/b/c", 0), "2 created /a/b/c"},
		step{set("/a", "", -1), "1 data /a, 2 data /a"},
		step{multi(remove("/a/b/c", -1), remove("/a/b", -1)), "2 deleted /a/b/c, 2 deleted /a/b, 1 children /a"},
		step{remove("/a", -1), "1 deleted /a, 2 deleted /a"},
		step{create("/a", 0), "1 created /a, 2 created /a"})
	w.Add(1, WatchData, "/a") // one that fires once takes nothing away from the other
	l.script(w,
		step{set("/a", "", -1), "1 data /a, 2 data /a"},
		step{set("/a", "", -1), "1 data /a, 2 data /a"})
}

func TestRecursiveWatchOfTheRoot(t *testing.T) {
	l, w := newLab(t), &Watches{}
	w.Add(1, WatchRecursive, "/")
	l.script(w, step{set("/", "", -1), "1 data /"}, step{create("/a", 0), "1 created /a"}, step{create("/a/b", 0), "1 created /a/b"})
	w.Remove(1, jute.WatcherAny, "/")
	l.script(w, step{set("/", "", -1), ""})
	equal(t, "left", w.data.recursive+w.child.recursive, 0)
}

func TestRemoveWatches(t *testing.T) {
	l, w := newLab(t), &Watches{}
	l.want(jute.OK, create("/a", 0))
	w.Add(1, WatchData, "/a")
	w.Add(1, WatchChild, "/a")
	w.Add(2, WatchData, "/a")
	has := func(conn uint64, path string) string {
		return fmt.Sprint(w.Has(conn, jute.WatcherData, path), w.Has(conn, jute.WatcherChildren, path), w.Has(conn, jute.WatcherAny, path))
	}
	equal(t, "has", []string{has(1, "/a"), has(2, "/a"), has(3, "/a"), has(1, "/b")},
		[]string{"true true true", "true false true", "false false false", "false false false"})
	equal(t, "remove children's", []bool{w.Remove(1, jute.WatcherChildren, "/a"), w.Remove(1, jute.WatcherChildren, "/a")}, []bool{true, false})
	equal(t, "remove of no type", w.Remove(1, 9, "/a"), false)
	equal(t, "has", has(1, "/a"), "true false true")
	equal(t, "remove any", []bool{w.Remove(1, jute.WatcherAny, "/a"), w.Remove(1, jute.WatcherAny, "/a")}, []bool{true, false})
	l.script(w, step{set("/a", "", -1), "2 data /a"})
}

func TestDropAndCounts(t *testing.T) {
	w := &Watches{}
	for conn := range uint64(4) {
		for path := range 5 {
			w.Add(conn, WatchKind(path), fmt.Sprint("/", path%3))
		}
	}
	equal(t, "counts", []Counts{w.Data(), w.Child()}, []Counts{{4, 2, 8}, {4, 3, 12}})
	w.Drop(2)
	w.Drop(2)
	equal(t, "counts", []Counts{w.Data(), w.Child()}, []Counts{{3, 2, 6}, {3, 3, 9}})
	equal(t, "recursive", []int{w.data.recursive, w.child.recursive}, []int{3, 3})
	for _, conn := range []uint64{0, 1, 3} {
		w.Drop(conn)
	}
	equal(t, "counts", []Counts{w.Data(), w.Child()}, []Counts{{}, {}})
	equal(t, "left", len(w.data.paths)+len(w.child.conns)+w.data.recursive+w.child.recursive, 0)
}

// TestWatchesAreTheModel compares with a list of watches that is gone through for each change.
func TestWatchesAreTheModel(t *testing.T) {
	type entry struct {
		conn uint64
		kind WatchKind
		path string
	}
	d, w := newDraw(3), &Watches{}
	var list []entry
	drop := func(gone func(e entry) bool) {
		var kept []entry
		for _, e := range list {
			if !gone(e) {
				kept = append(kept, e)
			}
		}
		list = kept
	}
	for i := range 20000 {
		e := entry{d.Uint64N(6), WatchKind(d.IntN(5)), pick(d, "/", "/a", "/a/b", "/a/b/c", "/ab", "/b")}
		switch d.IntN(12) {
		default:
			w.Add(e.conn, e.kind, e.path)
			list = append(list, e)
		case 0:
			w.Drop(e.conn)
			drop(func(o entry) bool { return o.conn == e.conn })
		case 1:
			w.Remove(e.conn, jute.WatcherAny, e.path)
			drop(func(o entry) bool { return o.conn == e.conn && o.path == e.path })
		case 2, 3, 4, 5:
			c := Change{Type: 1 + d.Int32N(4), Path: e.path}
			hears := func(o entry) bool {
				switch o.kind {
				case WatchData, WatchExist:
					return o.path == c.Path && c.Type != jute.EventChildrenChanged
				case WatchChild:
					return o.path == c.Path && (c.Type == jute.EventChildrenChanged || c.Type == jute.EventDeleted)
				case WatchPersistent:
					return o.path == c.Path
				}
				under := o.path == "/" || o.path == c.Path || strings.HasPrefix(c.Path, o.path+"/")
				return under && c.Type != jute.EventChildrenChanged
			}
			var want []Fired
			for conn := range uint64(6) {
				for _, o := range list {
					if o.conn == conn && hears(o) {
						want = append(want, Fired{Conn: conn, Event: jute.Event{Type: c.Type, State: 3, Path: c.Path}})
						break
					}
				}
			}
			drop(func(o entry) bool { return hears(o) && o.kind <= WatchChild })
			equal(t, fmt.Sprint("step ", i), w.Fire([]Change{c}), want)
		}
	}
}

func TestArm(t *testing.T) {
	for _, c := range []struct {
		op   jute.Op
		err  jute.Code
		want string
	}{
		{jute.Exists, 0, "data"}, {jute.Exists, jute.NoNode, "data"}, {jute.Exists, jute.NoAuth, ""},
		{jute.GetData, 0, "data"}, {jute.GetData, jute.NoNode, ""},
		{jute.GetChildren, 0, "child"}, {jute.GetChildren2, 0, "child"}, {jute.GetChildren2, jute.NoNode, ""},
		{jute.AddWatch, 0, "data child"}, {jute.GetACL, 0, ""},
	} {
		w, got := &Watches{}, []string{}
		w.Arm(1, &jute.Request{Op: c.op, Path: "/a"}, &jute.Response{Err: c.err})
		if c.op != jute.AddWatch && w.Data().Watches+w.Child().Watches > 0 {
			t.Errorf("%d: a watch that was not asked for", c.op)
		}
		w.Arm(1, &jute.Request{Op: c.op, Path: "/a", Watch: true}, &jute.Response{Err: c.err})
		if w.Data().Watches > 0 {
			got = append(got, "data")
		}
		if w.Child().Watches > 0 {
			got = append(got, "child")
		}
		equal(t, fmt.Sprint("operation ", c.op, ", ", c.err), strings.Join(got, " "), c.want)
	}
	w := &Watches{}
	q, r := jute.Request{Op: jute.MultiRead, Sub: []jute.Request{{Op: jute.GetData, Path: "/a", Watch: true}}}, jute.Response{Sub: []jute.Result{{Op: jute.GetData}}}
	if w.Arm(1, &q, &r); w.Data().Watches > 0 {
		t.Error("a part of a multiRead has left a watch")
	}
}

// TestMissed: what has happened since the client was last heard of fires, the rest is armed.
func TestMissed(t *testing.T) {
	l := newLab(t)
	for _, path := range []string{"/same", "/set", "/gone", "/child"} {
		l.want(jute.OK, create(path, 0))
	}
	since := l.zxid
	l.want(jute.OK, set("/set", "", -1))
	l.want(jute.OK, remove("/gone", -1))
	l.want(jute.OK, create("/child/c", 0))
	l.want(jute.OK, create("/new", 0))
	all := []string{"/same", "/set", "/gone", "/child"}
	fire, arm := l.tree.Missed(&jute.Watches{RelativeZxid: since, Data: all, Child: all, Exist: []string{"/new", "/none"},
		Persistent: []string{"/set"}, Recursive: []string{"/gone"}})
	event := func(kind int32, path string) jute.Event { return jute.Event{Type: kind, State: 3, Path: path} }
	equal(t, "fire", fire, []jute.Event{event(3, "/set"), event(2, "/gone"), event(1, "/new"), event(2, "/gone"), event(4, "/child")})
	equal(t, "arm", arm, []Arm{{WatchData, "/same"}, {WatchData, "/child"}, {WatchExist, "/none"}, {WatchChild, "/same"}, {WatchChild, "/set"},
		{WatchPersistent, "/set"}, {WatchRecursive, "/gone"}})
}

// TestEventsCarryTheList: a recursive watch must not tell of nodes that its owner may not read.
func TestEventsCarryTheList(t *testing.T) {
	ann := Digest("ann:1")
	l, w := newLab(t), &Watches{}
	w.Add(1, WatchRecursive, "/")
	q := create("/secret", 0)
	q.ACL = []jute.ACL{{Perms: jute.PermAll, ID: ann}}
	_, changes := l.apply(l.prepare(q))
	f := w.Fire(changes)
	equal(t, "events", len(f), 1)
	equal(t, "allowed", []bool{Allowed(f[0].ACL, jute.PermRead, nil), Allowed(f[0].ACL, jute.PermRead, []jute.ID{ann})}, []bool{false, true})
}
