package tree

import (
	"fmt"
	"slices"

	"assize/machine/jute"
)

// Ahead is the leader's view: the tree, and all that has been prepared and not yet been applied. ZooKeeper calls that outstanding changes.
type Ahead struct {
	tree     *Tree
	zxid     int64              // of the last request prepared
	latest   map[string]*record // pending state by path
	queue    []*record          // all pending states, oldest first
	sessions map[int64]*opening // pending state by session
	doors    []*opening         // all of these, oldest first
	born     map[int64][]string // paths of pending ephemeral nodes by session, oldest first
	undo     []undone           // of the multi under way
	multi    bool
}

// record is what preparation has to know of a node. A pending one never changes.
type record struct {
	zxid                        int64
	path                        string
	gone, born                  bool
	owner, mtime                int64
	version, aversion, cversion int32
	children                    int32
	acl                         []jute.ACL
}

// opening of a session, or closing.
type opening struct {
	zxid, id int64
	open     bool
}

// undone is what was there before a part of a multi; nil: nothing pending.
type undone struct {
	path string
	was  *record
}

// Ahead makes the view of a new leader that has applied all it will not prepare itself.
func (t *Tree) Ahead() *Ahead {
	return &Ahead{tree: t, zxid: t.zxid, latest: map[string]*record{}, sessions: map[int64]*opening{}, born: map[int64][]string{}}
}

// Pending is how many changes of nodes have been prepared and not been applied.
func (a *Ahead) Pending() int { return len(a.queue) }

// Applied forgets what was pending up to zxid. The tree must have applied it.
func (a *Ahead) Applied(zxid int64) {
	n := 0
	for ; n < len(a.queue) && a.queue[n].zxid <= zxid; n++ {
		r := a.queue[n]
		if a.latest[r.path] == r {
			delete(a.latest, r.path)
		}
		if r.born && IsSession(r.owner) {
			if left := a.born[r.owner][1:]; len(left) > 0 {
				a.born[r.owner] = left
			} else {
				delete(a.born, r.owner)
			}
		}
		a.queue[n] = nil
	}
	if a.queue = a.queue[n:]; len(a.queue) == 0 {
		a.queue = nil
	}
	n = 0
	for ; n < len(a.doors) && a.doors[n].zxid <= zxid; n++ {
		if o := a.doors[n]; a.sessions[o.id] == o {
			delete(a.sessions, o.id)
		}
	}
	if a.doors = a.doors[n:]; len(a.doors) == 0 {
		a.doors = nil
	}
}

// look at a node as it will be when all that is pending has been applied. The record is a new one, to be changed and put.
func (a *Ahead) look(path string) (record, bool) {
	if r := a.latest[path]; r != nil {
		now := *r
		now.born = false
		return now, !r.gone
	}
	n := a.tree.nodes[path]
	if n == nil {
		return record{}, false
	}
	return record{
		path: path, owner: n.owner, mtime: n.mtime, version: n.version, aversion: n.aversion, cversion: n.cversion,
		children: int32(n.children.Len()), acl: n.acl,
	}, true
}

// put makes r pending.
func (a *Ahead) put(zxid int64, r record) {
	if r.zxid = zxid; a.multi {
		a.undo = append(a.undo, undone{r.path, a.latest[r.path]})
	}
	a.latest[r.path] = &r
	a.queue = append(a.queue, &r)
	if r.born && IsSession(r.owner) {
		a.born[r.owner] = append(a.born[r.owner], r.path)
	}
}

// rollBack what the multi under way has put.
func (a *Ahead) rollBack() {
	for i := len(a.undo) - 1; i >= 0; i-- {
		last := a.queue[len(a.queue)-1]
		a.queue[len(a.queue)-1] = nil
		a.queue = a.queue[:len(a.queue)-1]
		if last.born && IsSession(last.owner) {
			list := a.born[last.owner]
			if list = list[:len(list)-1]; len(list) > 0 {
				a.born[last.owner] = list
			} else {
				delete(a.born, last.owner)
			}
		}
		if u := &a.undo[i]; u.was != nil {
			a.latest[u.path] = u.was
		} else {
			delete(a.latest, u.path)
		}
	}
}

// opened tells whether the session will be open.
func (a *Ahead) opened(id int64) bool {
	if o := a.sessions[id]; o != nil {
		return o.open
	}
	return a.tree.sessions[id] != nil
}

func (a *Ahead) door(zxid, id int64, open bool) {
	if !IsSession(id) {
		panic(fmt.Sprintf("tree: %#x is no number for a session", id))
	}
	o := &opening{zxid, id, open}
	a.sessions[id] = o
	a.doors = append(a.doors, o)
}

// belongings are the nodes that a session will have, ascending.
func (a *Ahead) belongings(id int64) []string {
	var paths []string
	if s := a.tree.sessions[id]; s != nil {
		paths = s.nodes.List()
	}
	paths = append(paths, a.born[id]...)
	paths = slices.DeleteFunc(paths, func(path string) bool {
		r, ok := a.look(path)
		return !ok || r.owner != id
	})
	slices.Sort(paths)
	return slices.Compact(paths)
}
