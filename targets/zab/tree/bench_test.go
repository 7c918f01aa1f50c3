package tree

import (
	"fmt"
	"testing"

	"assize/machine/jute"
)

func benchTree(b *testing.B, nodes int) (*Tree, *Ahead, *Ask) {
	tree := New()
	k := &Ask{Session: sid, Request: jute.Request{Op: jute.CreateSession}}
	ahead := tree.Ahead()
	benchDo(tree, ahead, k)
	k.Request = create("/bench", 0)
	benchDo(tree, ahead, k)
	for i := range nodes {
		k.Request = create(fmt.Sprintf("/bench/n%07d", i*7919%nodes), 0)
		benchDo(tree, ahead, k)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return tree, ahead, k
}

func benchDo(tree *Tree, ahead *Ahead, k *Ask) {
	k.Zxid++
	x := ahead.Prepare(*k)
	tree.Apply(&x)
	ahead.Applied(x.Zxid)
}

func BenchmarkSetData(b *testing.B) {
	tree, ahead, k := benchTree(b, 100000)
	k.Request = jute.Request{Op: jute.SetData, Path: "/bench/n0000007", Data: make([]byte, 100), Version: -1}
	for range b.N {
		benchDo(tree, ahead, k)
	}
}

func BenchmarkCreateDelete(b *testing.B) {
	tree, ahead, k := benchTree(b, 100000)
	for range b.N {
		k.Request = create("/bench/n0050000x", 0)
		benchDo(tree, ahead, k)
		k.Request = remove("/bench/n0050000x", -1)
		benchDo(tree, ahead, k)
	}
}

func BenchmarkGetData(b *testing.B) {
	tree, _, _ := benchTree(b, 100000)
	q := &jute.Request{Op: jute.GetData, Path: "/bench/n0000007"}
	for range b.N {
		tree.Read(q, sid, nil)
	}
}

func BenchmarkFire(b *testing.B) {
	w := &Watches{}
	for conn := range uint64(1000) {
		w.Add(conn, WatchRecursive, fmt.Sprint("/", conn))
	}
	b.ReportAllocs()
	for range b.N {
		w.Add(7, WatchData, "/bench/a")
		w.Fire([]Change{{Type: jute.EventDataChanged, Path: "/bench/a"}})
	}
}

// BenchmarkEncode is a snapshot of a large tree: its server does nothing else meanwhile.
func BenchmarkEncode(b *testing.B) {
	tree, ahead, k := benchTree(b, 200000)
	for i := range 200000 {
		k.Request = jute.Request{Op: jute.SetData, Path: fmt.Sprintf("/bench/n%07d", i), Data: make([]byte, 100), Version: -1}
		benchDo(tree, ahead, k)
	}
	b.ResetTimer()
	for b.Loop() {
		b.SetBytes(int64(len(tree.Encode())))
	}
}

func BenchmarkDecode(b *testing.B) {
	tree, _, _ := benchTree(b, 100000)
	snapshot := tree.Encode()
	b.SetBytes(int64(len(snapshot)))
	b.ResetTimer()
	for range b.N {
		if _, err := Decode(snapshot); err != nil {
			b.Fatal(err)
		}
	}
}
