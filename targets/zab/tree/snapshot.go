package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"assize/machine"
)

// snapshotFormat is the first byte of a snapshot.
const snapshotFormat = 1

// spare is room for what somebody else may put behind a snapshot.
const spare = 64

// longPath is one that few are longer than.
const longPath = 1 << 10

// nodeSize is what a node takes at most, besides path, data and list, below some 2^34 transactions.
const nodeSize = 64

// Encode a snapshot. Equal trees give equal bytes. The slice is the caller's.
func (t *Tree) Encode() []byte {
	w := writer{machine.Encoder{B: make([]byte, 0, int(t.size)+nodeSize*len(t.nodes)+16*len(t.sessions)+32+spare)}}
	w.Byte(snapshotFormat)
	w.Int(t.zxid)
	w.Uint(uint64(len(t.sessions)))
	for id := range t.ids.All() {
		w.Int(id)
		w.Int(int64(t.sessions[id].timeout))
	}
	w.Uint(uint64(len(t.nodes)))
	w.node(append(make([]byte, 0, longPath), rootPath...), t.nodes[rootPath])
	return binary.LittleEndian.AppendUint64(w.B, machine.Sum(0, w.B))
}

// write a node, and what is below it. What is behind path may be overwritten.
func (w *writer) node(path []byte, n *node) {
	w.Bytes(path)
	w.blob(n.data)
	w.list(n.acl)
	for _, v := range [...]int64{n.czxid, n.mzxid, n.pzxid, n.ctime, n.mtime, int64(n.version), int64(n.aversion), int64(n.cversion), n.owner} {
		w.Int(v)
	}
	if n.children.Len() == 0 {
		return
	}
	if path[len(path)-1] != '/' {
		path = append(path, '/')
	}
	for c := range n.children.All() {
		w.node(append(path, c.name...), c.node)
	}
}

var (
	errSum   = errors.New("the checksum does not match")
	errOrder = errors.New("its parts are not in their order")
	errNode  = errors.New("a node cannot be where it is")
)

// Decode makes a tree from a snapshot. It keeps none of b. Bytes that no tree has written give an error, and no tree.
func Decode(b []byte) (*Tree, error) {
	t, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("decode a tree: %w", err)
	}
	return t, nil
}

func decode(b []byte) (*Tree, error) {
	body := len(b) - 8
	if body < 0 || binary.LittleEndian.Uint64(b[body:]) != machine.Sum(0, b[:body]) {
		return nil, errSum
	}
	r := reader{Decoder: machine.NewDecoder(b[:body])}
	if r.Byte() != snapshotFormat {
		r.fail(errField)
	}
	t := &Tree{zxid: r.Int()}
	if t.zxid < 0 {
		r.fail(errField)
	}
	n := r.Count(2)
	t.sessions = make(map[int64]*session, n)
	for last := int64(math.MinInt64); n > 0 && r.err == nil; n-- {
		id := r.Int()
		if id <= last || !IsSession(id) {
			r.fail(errOrder)
		}
		t.openSession(id, r.int32())
		last = id
	}
	n = r.Count(12)
	t.nodes = make(map[string]*node, n)
	for last := ""; n > 0 && r.err == nil && r.Err() == nil; n-- {
		last = t.read(&r, last)
	}
	if t.nodes[rootPath] == nil {
		r.fail(errNode)
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return t, nil
}

// read a node that comes after last.
func (t *Tree) read(r *reader, last string) string {
	path := r.text()
	n := &node{data: r.blob(), acl: r.list()}
	for _, p := range [...]*int64{&n.czxid, &n.mzxid, &n.pzxid, &n.ctime, &n.mtime} {
		*p = r.Int()
	}
	n.version, n.aversion, n.cversion, n.owner = r.int32(), r.int32(), r.int32(), r.Int()
	if r.Err() != nil {
		return ""
	}
	if len(n.data) > 0 {
		n.data = append(make([]byte, 0, len(n.data)), n.data...)
	}
	above, _ := parentOf(path)
	parent := t.nodes[above]
	switch {
	case !ValidPath(path) || last != "" && !before(last, path):
		r.fail(errOrder)
	case special(path) && n.owner != ownerNone:
		r.fail(errNode)
	case path != rootPath && (parent == nil || IsSession(parent.owner)):
		r.fail(errNode)
	case IsSession(n.owner) && t.sessions[n.owner] == nil:
		r.fail(errNode)
	case n.owner == ownerTTL || max(n.czxid, n.mzxid, n.pzxid) > t.zxid:
		r.fail(errField)
	default:
		if parent != nil && path != rootPath {
			parent.children.Insert(child{nameOf(path), n})
		}
		t.add(path, n)
	}
	return path
}
