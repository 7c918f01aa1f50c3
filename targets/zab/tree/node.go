package tree

import (
	"assize/machine"
	"assize/machine/jute"
	"assize/machine/order"
)

// The owner of a node says of what kind it is: a session's number, or one of these. A session's highest byte is a server's, at most 254.
const (
	ownerNone      int64 = 0
	ownerContainer int64 = -1 << 63
	ownerTTL       int64 = -1 << 56 // highest byte 0xff; the lowest five are the TTL in milliseconds
	maskOwnerTTL   int64 = -1 << 40

	// MaxTTL is the longest time to live of a node, in milliseconds.
	MaxTTL int64 = 1<<40 - 1
)

func isTTL(owner int64) bool { return owner&maskOwnerTTL == ownerTTL }

// IsSession tells whether this can be the number of a session. As a node's owner it says that the node is ephemeral.
func IsSession(owner int64) bool {
	return owner != ownerNone && owner != ownerContainer && !isTTL(owner)
}

// node of the tree. Its data and its list are never changed in place: they are given out.
type node struct {
	czxid, mzxid, pzxid int64
	ctime, mtime        int64
	version, aversion   int32
	cversion            int32 // how many children have been created; what clients see as cversion counts deletions, too
	owner               int64
	data                []byte
	acl                 []jute.ACL
	children            order.Set[child, string, byName]
	body                uint64 // hash of path, data and list
	hash                uint64 // of all
}

// child is a node below another, under its name. A walk over the tree need not look each one up by its path.
type child struct {
	name string
	*node
}

// byName orders children.
type byName struct{}

func (byName) Key(c child) string              { return c.name }
func (byName) Below(c child, name string) bool { return c.name < name }
func (byName) Above(c child, name string) bool { return c.name > name }

func (n *node) stat() jute.Stat {
	s := jute.Stat{
		Czxid: n.czxid, Mzxid: n.mzxid, Ctime: n.ctime, Mtime: n.mtime, Version: n.version, Aversion: n.aversion,
		DataLength: int32(len(n.data)), NumChildren: int32(n.children.Len()), Pzxid: n.pzxid,
	}
	s.Cversion = n.cversion*2 - s.NumChildren // for each creation there has been a deletion, but for those still there
	if IsSession(n.owner) {
		s.EphemeralOwner = n.owner
	}
	return s
}

// rebody computes the hash of what changes seldom.
func (n *node) rebody(path string) {
	h := machine.Sum(uint64(len(n.acl)), []byte(path))
	h = machine.Sum(h, n.data)
	if n.data == nil {
		h++ // no data and empty data are not the same to a client
	}
	for i := range n.acl {
		a := &n.acl[i]
		h = machine.Sum(machine.Mix(h, uint64(uint32(a.Perms))), []byte(a.ID.Scheme))
		h = machine.Sum(h, []byte(a.ID.ID))
	}
	n.body = h
}

// digest of the node. The names of its children are in the hashes of these.
func (n *node) digest() uint64 {
	h := machine.Mix(n.body, uint64(n.czxid))
	h = machine.Mix(h, uint64(n.mzxid))
	h = machine.Mix(h, uint64(n.pzxid))
	h = machine.Mix(h, uint64(n.ctime))
	h = machine.Mix(h, uint64(n.mtime))
	h = machine.Mix(h, uint64(n.owner))
	h = machine.Mix(h, uint64(uint32(n.version))<<32|uint64(uint32(n.aversion)))
	return machine.Mix(h, uint64(uint32(n.cversion)))
}
