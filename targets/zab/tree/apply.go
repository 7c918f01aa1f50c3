package tree

import (
	"bytes"
	"fmt"

	"assize/machine/jute"
)

// Change of the tree that watches may wait for.
type Change struct {
	Type int32 // jute.EventCreated and so on
	Path string
	Zxid int64
	ACL  []jute.ACL // the node's: only who may read it may hear of it
}

// Apply a transaction. The response is for the client that has asked for it. The changes are in the order in which they were made, and valid until
// the next Apply. A transaction that does not fit the state panics, and so does one whose zxid is not above the last one's.
func (t *Tree) Apply(x *Txn) (jute.Response, []Change) {
	if x.Zxid <= t.zxid {
		panic(fmt.Sprintf("tree: %#x applied after %#x", x.Zxid, t.zxid))
	}
	t.zxid = x.Zxid
	clear(t.changes)
	t.changes = t.changes[:0]
	r := jute.Response{Xid: x.Cxid, Zxid: x.Zxid}
	switch x.Op {
	case jute.Failure:
		r.Err = x.Err
	case jute.CreateSession:
		t.openSession(x.Session, x.Timeout)
	case jute.CloseSession:
		t.closeSession(x)
	case jute.Multi:
		r.Sub = make([]jute.Result, len(x.Sub))
		for i := range x.Sub {
			t.part(x, &x.Sub[i], &r.Sub[i])
		}
	case jute.Check:
		panic("tree: a check outside of a multi")
	default:
		r.Path, r.Stat = x.Path, t.step(x, x)
		if x.Op == jute.Reconfig {
			r.Data = t.nodes[x.Path].data
		}
	}
	return r, t.changes
}

// part of a multi. What Create2 gives is read as Create's by clients: ZOOKEEPER-4026.
func (t *Tree) part(x, sub *Txn, r *jute.Result) {
	r.Op = sub.Op
	switch sub.Op {
	case jute.Failure:
		r.Err = sub.Err
	case jute.Check:
	case jute.Delete:
		t.step(x, sub)
	case jute.SetData:
		r.Stat = t.step(x, sub)
	case jute.Create, jute.CreateContainer, jute.CreateTTL:
		r.Path, r.Stat = sub.Path, t.step(x, sub) // a container and a TTL node are answered with their Stat
	default:
		panic(fmt.Sprintf("tree: operation %d in a multi", sub.Op))
	}
}

// step is one operation of the transaction head.
func (t *Tree) step(head, x *Txn) jute.Stat {
	switch x.Op {
	case jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL:
		return t.create(head, x)
	case jute.Delete, jute.DeleteContainer:
		t.remove(x.Path, head.Zxid)
		return jute.Stat{}
	}
	n := t.nodes[x.Path]
	if n == nil {
		panic(fmt.Sprintf("tree: %#x changes %s, which is not there", head.Zxid, x.Path))
	}
	switch x.Op {
	case jute.SetData, jute.Reconfig:
		t.size += int64(len(x.Data) - len(n.data))
		n.data, n.version, n.mtime, n.mzxid = bytes.Clone(x.Data), x.Version, head.Time, head.Zxid
		t.change(jute.EventDataChanged, x.Path, n)
	case jute.SetACL:
		n.acl, n.aversion = shared(x.ACL), x.Version
	default:
		panic(fmt.Sprintf("tree: a transaction of operation %d", x.Op))
	}
	n.rebody(x.Path)
	t.seal(n)
	return n.stat()
}

func (t *Tree) change(event int32, path string, n *node) {
	t.changes = append(t.changes, Change{Type: event, Path: path, Zxid: t.zxid, ACL: n.acl})
}

func (t *Tree) create(head, x *Txn) jute.Stat {
	above, _ := parentOf(x.Path)
	parent := t.nodes[above]
	owner := ownerNone
	switch {
	case x.Op == jute.CreateContainer:
		owner = ownerContainer
	case x.Op == jute.CreateTTL:
		owner = ownerTTL | x.TTL
	case x.Ephemeral:
		owner = head.Session
	}
	if parent == nil || IsSession(parent.owner) || t.nodes[x.Path] != nil || IsSession(owner) && t.sessions[owner] == nil {
		panic(fmt.Sprintf("tree: %#x creates %s, which cannot be", head.Zxid, x.Path))
	}
	parent.cversion, parent.pzxid = x.ParentCversion, head.Zxid
	t.seal(parent)
	n := &node{
		czxid: head.Zxid, mzxid: head.Zxid, pzxid: head.Zxid, ctime: head.Time, mtime: head.Time,
		owner: owner, data: bytes.Clone(x.Data), acl: shared(x.ACL),
	}
	parent.children.Insert(child{nameOf(x.Path), n})
	t.add(x.Path, n)
	t.change(jute.EventCreated, x.Path, n)
	t.change(jute.EventChildrenChanged, above, parent)
	return n.stat()
}

func (t *Tree) remove(path string, zxid int64) {
	above, _ := parentOf(path)
	parent, n := t.nodes[above], t.nodes[path]
	if parent == nil || n == nil || n.children.Len() > 0 || special(path) {
		panic(fmt.Sprintf("tree: %#x deletes %s, which cannot be", zxid, path))
	}
	parent.pzxid = zxid
	parent.children.Remove(nameOf(path))
	t.seal(parent)
	delete(t.nodes, path)
	t.size -= int64(len(path) + len(n.data))
	t.sum -= n.hash
	switch {
	case n.owner == ownerContainer:
		t.containers.Remove(path)
	case isTTL(n.owner):
		t.ttls.Remove(path)
	case n.owner != ownerNone:
		t.sessions[n.owner].nodes.Remove(path)
		t.ephemerals--
	}
	t.change(jute.EventDeleted, path, n)
	t.change(jute.EventChildrenChanged, above, parent)
}

// closeSession removes the session with its nodes. One that is not there has none.
func (t *Tree) closeSession(x *Txn) {
	for _, path := range x.Paths {
		if n := t.nodes[path]; n == nil || n.owner != x.Session {
			panic(fmt.Sprintf("tree: %#x deletes %s with session %#x, whose it is not", x.Zxid, path, x.Session))
		}
		t.remove(path, x.Zxid)
	}
	s := t.sessions[x.Session]
	if s == nil {
		return
	}
	if s.nodes.Len() > 0 {
		panic(fmt.Sprintf("tree: %#x closes session %#x and leaves %s", x.Zxid, x.Session, s.nodes.List()[0]))
	}
	delete(t.sessions, x.Session)
	t.ids.Remove(x.Session)
	t.sum -= sessionDigest(x.Session, s.timeout)
}
