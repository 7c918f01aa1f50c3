package tree

import (
	"slices"
	"strings"

	"assize/machine/jute"
)

// WatchKind is what a watch waits for, and how long.
type WatchKind uint8

// The kinds. All but the last two are gone when they have fired.
const (
	WatchData       WatchKind = iota // of a node that is there: dataChanged, deleted
	WatchExist                       // of one that may be: created, too
	WatchChild                       // childrenChanged, deleted
	WatchPersistent                  // all of these, again and again
	WatchRecursive                   // created, dataChanged and deleted, of the node and all below it, again and again
)

// Modes of a watch; one watch may have several.
const (
	once uint8 = 1 << iota
	lasting
	recursive
)

// watch of one connection on one path.
type watch struct {
	conn  uint64
	path  string
	modes uint8
	at    int // its place in its connection's list
}

// table of watches: ZooKeeper has one for data and one for children.
type table struct {
	paths     map[string][]*watch // by ascending connection; none empty
	conns     map[uint64][]*watch // in no order that matters; none empty
	count     int
	recursive int      // watches that have the mode: without one, no path's ancestors need be looked at
	found     []uint64 // of the event under way
}

// Watches are those that one server keeps for its connections. They are not replicated. The zero Watches is ready.
type Watches struct {
	data, child table
}

// Fired is an event for a connection. It is for the caller to hold it back where Allowed(ACL, jute.PermRead, who) is false.
type Fired struct {
	Conn  uint64
	Event jute.Event
	ACL   []jute.ACL // of the node that the event is about
}

// Counts of a server's watches. A watch for data and one for children are two.
type Counts struct{ Connections, Paths, Watches int }

// Add a watch. One that is there already stays.
func (w *Watches) Add(conn uint64, kind WatchKind, path string) {
	switch kind {
	case WatchData, WatchExist:
		w.data.add(conn, path, once)
	case WatchChild:
		w.child.add(conn, path, once)
	case WatchPersistent:
		w.data.add(conn, path, lasting)
		w.child.add(conn, path, lasting)
	case WatchRecursive:
		w.data.add(conn, path, recursive)
		w.child.add(conn, path, recursive)
	}
}

// Arm adds the watch that a request wants besides its answer: of Exists also where there is no node, of the other reads only where they have
// succeeded; and the one of an AddWatch. The parts of a MultiRead leave none, as in ZooKeeper (Op.getData).
func (w *Watches) Arm(conn uint64, q *jute.Request, r *jute.Response) {
	switch q.Op {
	case jute.Exists:
		if q.Watch && (r.Err == jute.OK || r.Err == jute.NoNode) {
			w.Add(conn, WatchExist, q.Path)
		}
	case jute.GetData:
		if q.Watch && r.Err == jute.OK {
			w.Add(conn, WatchData, q.Path)
		}
	case jute.GetChildren, jute.GetChildren2:
		if q.Watch && r.Err == jute.OK {
			w.Add(conn, WatchChild, q.Path)
		}
	case jute.AddWatch:
		kind := WatchPersistent
		if q.Mode == jute.WatchRecursive {
			kind = WatchRecursive
		}
		w.Add(conn, kind, q.Path)
	}
}

// Fire tells who is to hear of the changes, and removes the watches that fire once. The events are in the order of the changes, those of one change
// in the order of the connections. However many watches a connection has on a change, it hears of it once.
func (w *Watches) Fire(changes []Change) []Fired {
	var all []Fired
	for i := range changes {
		c := &changes[i]
		var conns []uint64
		if c.Type == jute.EventChildrenChanged {
			conns = w.child.take(c.Path, false)
		} else {
			conns = w.data.take(c.Path, true)
		}
		if c.Type == jute.EventDeleted {
			if more := w.child.take(c.Path, true); len(more) > 0 {
				conns = append(conns, more...)
				slices.Sort(conns)
				conns = slices.Compact(conns)
			}
		}
		for _, conn := range conns {
			event := jute.Event{Type: c.Type, State: jute.StateConnected, Path: c.Path}
			all = append(all, Fired{Conn: conn, Event: event, ACL: c.ACL})
		}
	}
	return all
}

// tables that a type of CheckWatches and RemoveWatches means.
func (w *Watches) tables(kind int32) []*table {
	switch kind {
	case jute.WatcherChildren:
		return []*table{&w.child}
	case jute.WatcherData:
		return []*table{&w.data}
	case jute.WatcherAny:
		return []*table{&w.child, &w.data}
	}
	return nil
}

// Has tells whether the connection has a watch of the type, jute.WatcherData and so on, on the path: where not, CheckWatches is answered NoWatcher.
func (w *Watches) Has(conn uint64, kind int32, path string) bool {
	for _, t := range w.tables(kind) {
		if _, ok := t.place(conn, path); ok {
			return true
		}
	}
	return false
}

// Remove the connection's watches of the type on the path. It tells whether there was one: where not, RemoveWatches is answered NoWatcher.
func (w *Watches) Remove(conn uint64, kind int32, path string) bool {
	removed := false
	for _, t := range w.tables(kind) {
		if at, ok := t.place(conn, path); ok {
			t.forget(t.paths[path][at])
			t.cut(path, at)
			removed = true
		}
	}
	return removed
}

// Drop all watches of a connection.
func (w *Watches) Drop(conn uint64) {
	for _, t := range [...]*table{&w.data, &w.child} {
		for _, one := range t.conns[conn] {
			at, _ := t.place(conn, one.path)
			t.cut(one.path, at)
			t.lose(one)
		}
		delete(t.conns, conn)
	}
}

// Of tells on which paths a connection has watches for data, ascending.
func (w *Watches) Of(conn uint64) []string {
	var paths []string
	for _, one := range w.data.conns[conn] {
		paths = append(paths, one.path)
	}
	slices.Sort(paths)
	return paths
}

// Data counts the watches for data, as ZooKeeper's word wchs does.
func (w *Watches) Data() Counts { return w.data.counts() }

// Child counts the watches for children. ZooKeeper's zk_watch_count is the sum of both.
func (w *Watches) Child() Counts { return w.child.counts() }

func (t *table) counts() Counts { return Counts{len(t.conns), len(t.paths), t.count} }

// place of the connection's watch in the path's list.
func (t *table) place(conn uint64, path string) (at int, ok bool) {
	return slices.BinarySearchFunc(t.paths[path], conn, func(w *watch, conn uint64) int {
		switch {
		case w.conn < conn:
			return -1
		case w.conn > conn:
			return 1
		}
		return 0
	})
}

func (t *table) add(conn uint64, path string, mode uint8) {
	if t.paths == nil {
		t.paths, t.conns = map[string][]*watch{}, map[uint64][]*watch{}
	}
	at, ok := t.place(conn, path)
	if !ok {
		w := &watch{conn: conn, path: path, at: len(t.conns[conn])}
		t.paths[path] = slices.Insert(t.paths[path], at, w)
		t.conns[conn] = append(t.conns[conn], w)
		t.count++
	}
	w := t.paths[path][at]
	if mode&recursive > w.modes&recursive {
		t.recursive++
	}
	w.modes |= mode
}

// cut a watch out of the path's list.
func (t *table) cut(path string, at int) {
	if list := slices.Delete(t.paths[path], at, at+1); len(list) > 0 {
		t.paths[path] = list
	} else {
		delete(t.paths, path)
	}
}

// forget a watch in its connection's list.
func (t *table) forget(w *watch) {
	list := t.conns[w.conn]
	last := list[len(list)-1]
	list[w.at], last.at = last, w.at
	list[len(list)-1] = nil
	if list = list[:len(list)-1]; len(list) > 0 {
		t.conns[w.conn] = list
	} else {
		delete(t.conns, w.conn)
	}
	t.lose(w)
}

func (t *table) lose(w *watch) {
	t.count--
	if w.modes&recursive != 0 {
		t.recursive--
	}
}

// take the connections that wait for something to happen at path, ascending, and remove the watches that were for one time. deep: recursive ones
// of the path and its ancestors count, too. The result is valid until the next take.
func (t *table) take(path string, deep bool) []uint64 {
	t.found = t.found[:0]
	t.takeHere(path, deep)
	if deep && t.recursive > 0 {
		before := len(t.found)
		for above := path; above != rootPath; {
			slash := strings.LastIndexByte(above, '/')
			if above = above[:max(slash, 0)]; above == "" {
				above = rootPath
			}
			for _, w := range t.paths[above] {
				if w.modes&recursive != 0 {
					t.found = append(t.found, w.conn)
				}
			}
		}
		if len(t.found) > before {
			slices.Sort(t.found)
			t.found = slices.Compact(t.found)
		}
	}
	return t.found
}

func (t *table) takeHere(path string, deep bool) {
	list := t.paths[path]
	kept := list[:0]
	for _, w := range list {
		if w.modes&(once|lasting) != 0 || deep && w.modes&recursive != 0 {
			t.found = append(t.found, w.conn)
		}
		if w.modes &^= once; w.modes != 0 {
			kept = append(kept, w)
		} else {
			t.forget(w)
		}
	}
	if len(kept) == len(list) {
		return
	}
	clear(list[len(kept):])
	if len(kept) == 0 {
		delete(t.paths, path)
	} else {
		t.paths[path] = kept
	}
}
