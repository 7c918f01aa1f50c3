package zab

import (
	"testing"
	"time"

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

// BenchmarkWriteOfThree: one write through three servers, the client at a follower, each message in a step of its own. A multi is of ten parts.
func BenchmarkWriteOfThree(b *testing.B) {
	set := func(size int) jute.Request { return setting("/a", string(make([]byte, size)), -1) }
	multi := jute.Request{Op: jute.Multi}
	for range 10 {
		part := set(100)
		part.Xid = 0
		multi.Sub = append(multi.Sub, part)
	}
	for _, c := range []struct {
		name string
		q    jute.Request
	}{{"100B", set(100)}, {"1kB", set(1000)}, {"multi", multi}} {
		b.Run(c.name, func(b *testing.B) { benchmarkThree(b, c.q) })
	}
}

func benchmarkThree(b *testing.B, q jute.Request) {
	t := &testing.T{}
	h := newHall(t, 1, 3, 0, machine.Options{Snapshot: 10000})
	_, follower := h.elect()
	c := h.connect(follower)
	c.want(jute.OK, creating("/a", "some data", 0))
	h.pass(10)
	body, seq := q.Encode(), c.seq
	var mail []machine.Message
	now := time.Duration(h.now) * beat
	step := func(n *host, e machine.Event) (replies int) {
		e.Mono, e.Wall = now, time.UnixMilli(1_700_000_000_000).Add(now)
		fx := n.Step(e)
		mail = append(mail, fx.Send...)
		return len(fx.Reply)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		seq++
		replies := step(follower, machine.Event{Request: &machine.Request{Conn: c.conn, Seq: seq, Body: body}})
		if i%100 == 0 {
			now += beat
			for _, n := range h.hosts {
				step(n, machine.Event{})
			}
		}
		for i := 0; i < len(mail); i++ {
			replies += step(h.hosts[mail[i].To-1], machine.Event{Message: &mail[i]})
		}
		if mail = mail[:0]; replies != 1 {
			b.Fatalf("%d replies", replies)
		}
	}
}
