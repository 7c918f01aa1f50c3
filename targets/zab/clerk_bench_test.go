package zab

import (
	"testing"

	"assize/machine"
	"assize/machine/jute"
)

func benchmarkRequest(b *testing.B, q jute.Request) {
	t := &testing.T{}
	h := newHall(t, 1, 1, 0, machine.Options{})
	lead, _ := h.elect()
	c := h.connect(lead)
	c.want(jute.OK, creating("/a", "some data", 0))
	body := q.Encode()
	seq := c.seq
	b.ReportAllocs()
	for b.Loop() {
		seq++
		if fx := lead.Step(machine.Event{Request: &machine.Request{Conn: c.conn, Seq: seq, Body: body}}); len(fx.Reply) != 1 {
			b.Fatalf("%d replies", len(fx.Reply))
		}
	}
}

func BenchmarkRead(b *testing.B)  { benchmarkRequest(b, getting("/a")) }
func BenchmarkWrite(b *testing.B) { benchmarkRequest(b, setting("/a", "other data", -1)) }
