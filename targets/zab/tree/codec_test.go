package tree

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"assize/machine"
	"assize/machine/jute"
)

// grown is a tree with something of everything.
func grown(seed uint64, steps int) (*Tree, []Txn) {
	d, tree := newDraw(seed), New()
	ahead := tree.Ahead()
	var txns []Txn
	for range steps {
		x := ahead.Prepare(d.ask())
		tree.Apply(&x)
		ahead.Applied(x.Zxid)
		txns = append(txns, x)
	}
	return tree, txns
}

func same(t *testing.T, a, b *Tree) {
	t.Helper()
	if !bytes.Equal(a.Encode(), b.Encode()) {
		t.Fatal("the snapshots differ")
	}
	equal(t, "hash, count, size, ephemerals", []any{a.Hash(), a.Count(), a.Size(), a.Ephemerals()}, []any{b.Hash(), b.Count(), b.Size(), b.Ephemerals()})
	equal(t, "idle", a.Idle(1<<40), b.Idle(1<<40))
	equal(t, "sessions", a.Sessions(), b.Sessions())
}

// TestSnapshotAndLog: a tree from a snapshot goes on as the one that it was taken of.
func TestSnapshotAndLog(t *testing.T) {
	for seed := range uint64(20) {
		whole, txns := grown(seed, 400)
		begun := New()
		for i := range txns {
			if i%50 == 0 {
				again, err := Decode(begun.Encode())
				if err != nil {
					t.Fatal(err)
				}
				same(t, again, begun)
				begun = again
			}
			x, err := DecodeTxn(txns[i].Encode())
			if err != nil {
				t.Fatal(err)
			}
			begun.Apply(&x)
		}
		same(t, begun, whole)
	}
}

// TestHash: it is of the state, not of the way there, and each field counts.
func TestHash(t *testing.T) {
	seen := map[uint64]int{}
	for i, spoil := range []func(n *node){
		func(n *node) {},
		func(n *node) { n.czxid++ }, func(n *node) { n.mzxid++ }, func(n *node) { n.pzxid++ }, func(n *node) { n.ctime++ },
		func(n *node) { n.mtime++ }, func(n *node) { n.version++ }, func(n *node) { n.aversion++ }, func(n *node) { n.cversion++ },
		func(n *node) { n.owner++ }, func(n *node) { n.data = []byte("y") }, func(n *node) { n.data = nil },
		func(n *node) { n.acl = []jute.ACL{open[0], open[0]} }, func(n *node) { n.acl = []jute.ACL{{Perms: 1, ID: open[0].ID}} },
	} {
		l := newLab(t)
		l.want(jute.OK, jute.Request{Op: jute.Create, Path: "/a", Data: []byte{}, ACL: open})
		n := l.tree.nodes["/a"]
		spoil(n)
		n.rebody("/a")
		l.tree.seal(n)
		if other, ok := seen[l.tree.Hash()]; ok {
			t.Errorf("%d and %d have one hash", i, other)
		}
		seen[l.tree.Hash()] = i
	}
}

func FuzzTxn(f *testing.F) {
	_, txns := grown(1, 60)
	for i := range txns {
		f.Add(txns[i].Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := DecodeTxn(b)
		if err != nil {
			return
		}
		again, err := DecodeTxn(x.Encode())
		if err != nil || !reflect.DeepEqual(again, x) {
			t.Fatalf("%+v\nbecame %+v, %v", x, again, err)
		}
	})
}

// FuzzDecode gives every input the checksum that it lacks, or nothing would get behind it. What is decoded must be a tree: its snapshot decodes to
// itself, and it can be worked with.
func FuzzDecode(f *testing.F) {
	for seed := range uint64(4) {
		tree, _ := grown(seed, int(seed)*15)
		b := tree.Encode()
		f.Add(b[:len(b)-8])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = binary.LittleEndian.AppendUint64(bytes.Clone(b), machine.Sum(0, b))
		tree, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(tree.Encode())
		if err != nil {
			t.Fatal(err)
		}
		same(t, again, tree)
		d, ahead := newDraw(uint64(len(b))), tree.Ahead()
		if d.zxid = tree.Zxid(); d.zxid > 1<<62 {
			return
		}
		for range 20 {
			x := ahead.Prepare(d.ask())
			tree.Apply(&x)
			ahead.Applied(x.Zxid)
		}
		for _, s := range tree.Sessions() {
			d.zxid++
			x := ahead.Prepare(Ask{Session: s.ID, Zxid: d.zxid, Request: jute.Request{Op: jute.CloseSession}})
			tree.Apply(&x)
		}
		equal(t, "ephemerals", tree.Ephemerals(), 0)
		again, err = Decode(tree.Encode())
		if err != nil {
			t.Fatal(err)
		}
		same(t, again, tree)
	})
}

func TestDecodeRefusesDamage(t *testing.T) {
	tree, _ := grown(9, 40)
	b := tree.Encode()
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 1 << (i % 8)
		if _, err := Decode(damaged); err == nil {
			t.Errorf("byte %d of %d was changed, and the snapshot taken", i, len(b))
		}
		if _, err := Decode(b[:i]); err == nil {
			t.Errorf("the first %d of %d bytes were taken", i, len(b))
		}
	}
}

// TestDecodeRefusesDisorder: one tree has one snapshot, and each of its nodes a place.
func TestDecodeRefusesDisorder(t *testing.T) {
	plain := func() *node { return &node{data: []byte("x"), acl: open} }
	type entry struct {
		path string
		n    *node
	}
	build := func(list ...entry) ([]byte, error) {
		w := writer{}
		w.B = []byte{snapshotFormat, 10, 1}
		w.Int(sid)
		w.Int(1000)
		w.Uint(uint64(len(list)))
		for _, e := range list {
			w.node([]byte(e.path), e.n)
		}
		b := binary.LittleEndian.AppendUint64(w.B, machine.Sum(0, w.B))
		tree, err := Decode(b)
		if err == nil {
			for i := range b {
				b[i] = 0
			}
			again, err := Decode(tree.Encode())
			if err != nil {
				t.Fatalf("the tree has kept bytes of its snapshot: %v", err)
			}
			same(t, again, tree)
			if got := tree.Read(&jute.Request{Op: jute.GetData, Path: "/"}, 0, nil).Data; string(got) != "x" {
				t.Fatalf("the tree has kept bytes of its snapshot: %q", got)
			}
		}
		return b, err
	}
	owned := func(owner int64) *node { return &node{owner: owner, acl: open} }
	root := entry{"/", plain()}
	if _, err := build(root, entry{"/a", plain()}, entry{"/a/z", owned(sid)}, entry{"/a b", owned(ownerTTL | 5)}); err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]entry{
		"no nodes":               {},
		"no root":                {{"/a", plain()}},
		"two roots":              {root, root},
		"twice":                  {root, {"/a", plain()}, {"/a", plain()}},
		"children out of order":  {root, {"/b", plain()}, {"/a", plain()}},
		"breadth first":          {root, {"/a", plain()}, {"/b", plain()}, {"/a/c", plain()}},
		"no parent":              {root, {"/a/b", plain()}},
		"a path that cannot be":  {root, {"/a/", plain()}},
		"an owner that is not":   {root, {"/a", owned(sid + 1)}},
		"an ephemeral root":      {{"/", owned(sid)}},
		"a special node's owner": {root, {"/zookeeper", owned(sid)}},
		"child of an ephemeral":  {root, {"/a", owned(sid)}, {"/a/b", plain()}},
		"a TTL of nothing":       {root, {"/a", owned(ownerTTL)}},
		"a zxid to come":         {root, {"/a", &node{czxid: 6, acl: open}}},
	} {
		if _, err := build(list...); err == nil {
			t.Errorf("%s: the snapshot was taken", name)
		}
	}
}

// TestDecodersAllocateByWhatTheyHold: a count that the input cannot hold must not be believed.
func TestDecodersAllocateByWhatTheyHold(t *testing.T) {
	for _, op := range []jute.Op{jute.Multi, jute.CloseSession} {
		e := machine.Encoder{B: []byte{0, 0, 0, 0}}
		e.Int(int64(op))
		e.Uint(1 << 40)
		if _, err := DecodeTxn(e.B); err == nil {
			t.Errorf("operation %d of 2^40 parts was taken", op)
		}
	}
	for _, head := range [][]byte{{snapshotFormat, 0}, {snapshotFormat, 0, 0}} {
		b := binary.AppendUvarint(bytes.Clone(head), 1<<40)
		if _, err := Decode(binary.LittleEndian.AppendUint64(b, machine.Sum(0, b))); err == nil {
			t.Error("a snapshot of 2^40 parts was taken")
		}
	}
}

func TestTransactionsThatNobodyPrepares(t *testing.T) {
	part := func(op jute.Op) Txn { return Txn{Op: jute.Multi, Sub: []Txn{{Op: op}}} }
	for _, x := range []Txn{
		{Op: jute.Check, Path: "/a"}, part(jute.Multi), part(jute.CreateSession), part(jute.CloseSession), part(jute.SetACL),
		{Op: jute.CreateTTL, Path: "/a"}, {Op: jute.CreateTTL, Path: "/a", TTL: MaxTTL + 1},
	} {
		if _, err := DecodeTxn(x.Encode()); err == nil {
			t.Errorf("%+v was taken", x)
		}
	}
	for _, b := range [][]byte{nil, {0}, {0, 0, 0, 0, 20}, append((&Txn{Op: jute.Failure}).Encode(), 0)} {
		if _, err := DecodeTxn(b); err == nil || !strings.HasPrefix(err.Error(), "decode a transaction: ") {
			t.Errorf("%x: %v", b, err)
		}
	}
}
