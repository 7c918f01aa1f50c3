package zk

import (
	"bufio"
	"testing"

	"assize/cluster"
	"assize/history"
	"assize/machine/jute"
)

// BenchmarkClient is the most that one client can do: no consensus, no disk.
func BenchmarkClient(b *testing.B) {
	c := connect(b, serve(b, newToy()), cluster.Options{Timeout: long})
	for i := range b.N {
		if _, err := c.Do(b.Context(), one(history.Write, "a", i)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPipeline is what the front end carries of one client that does not wait for replies.
func BenchmarkPipeline(b *testing.B) {
	l := greeted(b, serve(b, newToy()))
	q := jute.Request{Xid: 1, Op: jute.Sync, Path: "/a"}
	frame := jute.AppendFrame(nil, q.Encode())
	go func() {
		w := bufio.NewWriter(l)
		for range b.N {
			w.Write(frame)
		}
		w.Flush()
	}()
	r := bufio.NewReader(l)
	for range b.N {
		if _, err := readFrame(r, 0, jute.MaxFrame); err != nil {
			b.Fatal(err)
		}
	}
}
