// Package tree is the replicated state of a ZooKeeper: the data tree with its sessions, the transactions that change it, their preparation on the
// leader, and one server's watches. It knows no protocol and no connections' frames.
//
// All is a function of its input. Trees that have applied the same transactions are equal, byte for byte in their snapshots; preparing any number
// of requests before the first of them is applied gives the transactions that preparing and applying them one by one does. The rules are those of
// DataTree, PrepRequestProcessor, FinalRequestProcessor and WatchManager of Apache ZooKeeper 3.8, with its extended types (TTL nodes) enabled.
//
// # Divergence
//
// ZooKeeper's snapshots are fuzzy, so that its transactions must be applicable twice. Here they are not: a transaction that does not fit the tree
// is a broken invariant, and panics.
//
// The sequence counter of a parent overflows to -2147483648, as ZooKeeper's documentation has it. In its code the pending counter does, but the
// tree's refuses to go down, and the next name depends on how fast transactions are applied.
//
// A pending closeSession counts its nodes off their parents. ZooKeeper's does not, and refuses a delete of such a parent in the same pipeline.
//
// Operation create with the flag of a container makes a persistent node, as in ZooKeeper; for createTTL and createContainer the operation, not the
// flag, is what counts, and flags that ZooKeeper would fail with only when it applies them are refused in preparation.
//
// deleteContainer is refused to clients. ZooKeeper takes it from anyone, without a look at the ACL.
//
// One connection may have watches of several modes on a path, as since ZooKeeper 3.9; in 3.8 the last one replaced the others. Whether it has one
// is asked of this connection, and of this very path.
//
// There are no quotas; /zookeeper/quota is a node like others.
package tree

import (
	"assize/machine"
	"assize/machine/jute"
	"assize/machine/order"
)

// Tree is the state. What it returns never changes, unless a method says otherwise. Of what it was given it keeps strings and lists of permissions.
type Tree struct {
	zxid       int64
	nodes      map[string]*node // by path
	sessions   map[int64]*session
	ids        order.Keys[int64] // of the sessions
	containers order.Keys[string]
	ttls       order.Keys[string]
	ephemerals int
	size       int64
	sum        uint64   // of the digests of nodes and sessions
	changes    []Change // of the last transaction
}

// session and the nodes that go with it.
type session struct {
	timeout int32
	nodes   order.Keys[string] // paths
}

// Session is one that is open.
type Session struct {
	ID      int64
	Timeout int32 // milliseconds
}

// New makes the tree that every ensemble begins with.
func New() *Tree {
	t := &Tree{nodes: map[string]*node{}, sessions: map[int64]*session{}}
	for _, path := range [...]string{rootPath, systemPath, quotaPath, ConfigPath} {
		n := &node{data: []byte{}, acl: open}
		if path == ConfigPath {
			n.acl, n.aversion = readable, -1
		}
		if parent, _ := parentOf(path); path != rootPath {
			t.nodes[parent].children.Insert(child{nameOf(path), n})
		}
		t.add(path, n)
	}
	return t
}

// add a complete node, but not to its parent.
func (t *Tree) add(path string, n *node) {
	t.nodes[path] = n
	t.size += int64(len(path) + len(n.data))
	n.rebody(path)
	t.seal(n)
	switch {
	case n.owner == ownerContainer:
		t.containers.Insert(path)
	case isTTL(n.owner):
		t.ttls.Insert(path)
	case n.owner != ownerNone:
		t.sessions[n.owner].nodes.Insert(path)
		t.ephemerals++
	}
}

// seal brings the hash up to date after a change of the node.
func (t *Tree) seal(n *node) {
	h := n.digest()
	t.sum += h - n.hash
	n.hash = h
}

// at finds a node. ZooKeeper's root has the empty path, too.
func (t *Tree) at(path string) *node {
	if path == "" {
		path = rootPath
	}
	return t.nodes[path]
}

// Zxid of the last transaction applied; 0: none.
func (t *Tree) Zxid() int64 { return t.zxid }

// Hash of the state: equal trees have equal hashes, others with all probability not.
func (t *Tree) Hash() uint64 { return machine.Mix(t.sum, uint64(t.zxid)) }

// Count of the nodes. ZooKeeper's own count is one higher: it has the root twice.
func (t *Tree) Count() int { return len(t.nodes) }

// Ephemerals is how many nodes belong to sessions.
func (t *Tree) Ephemerals() int { return t.ephemerals }

// Size of all paths and data, in bytes.
func (t *Tree) Size() int64 { return t.size }

// Sessions that are open, by ascending number.
func (t *Tree) Sessions() []Session {
	all := make([]Session, 0, t.ids.Len())
	for id := range t.ids.All() {
		all = append(all, Session{id, t.sessions[id].timeout})
	}
	return all
}

// Session looks one up. The time-out is in milliseconds.
func (t *Tree) Session(id int64) (timeout int32, ok bool) {
	if s := t.sessions[id]; s != nil {
		return s.timeout, true
	}
	return 0, false
}

func sessionDigest(id int64, timeout int32) uint64 {
	return machine.Mix(machine.Mix(uint64(id), uint64(uint32(timeout))), 1)
}

func (t *Tree) openSession(id int64, timeout int32) {
	s := t.sessions[id]
	if s == nil {
		s = &session{}
		t.sessions[id] = s
		t.ids.Insert(id)
	} else {
		t.sum -= sessionDigest(id, s.timeout)
	}
	s.timeout = timeout
	t.sum += sessionDigest(id, timeout)
}

// Idle lists the removals that are due at now, in milliseconds since 1970: of containers that have had children and have none left, and of TTL
// nodes without children that have not been written for so long. They are the leader's own, to be prepared for session 0; preparation looks again.
func (t *Tree) Idle(now int64) []jute.Request {
	var due []jute.Request
	for _, set := range [...]*order.Keys[string]{&t.containers, &t.ttls} {
		for path := range set.All() {
			n := t.nodes[path]
			if n.children.Len() == 0 && idle(n.owner, n.cversion, n.mtime, now) {
				due = append(due, jute.Request{Op: jute.DeleteContainer, Path: path})
			}
		}
	}
	return due
}

// idle tells whether a node without children is to go. A container that has just been made has had no time for its first child.
func idle(owner int64, cversion int32, mtime, now int64) bool {
	if isTTL(owner) {
		return now-mtime > owner&MaxTTL
	}
	return owner == ownerContainer && cversion > 0
}
