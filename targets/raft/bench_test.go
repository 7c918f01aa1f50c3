package raft

import (
	"testing"
	"time"

	"assize/machine"
)

// BenchmarkTick is a tick with nothing to do.
func BenchmarkTick(b *testing.B) {
	r := New(machine.Config{ID: 1, Voters: []int{1, 2, 3}, Options: machine.Options{Election: time.Hour, Heartbeat: time.Minute, Tick: time.Millisecond}})
	b.ReportAllocs()
	for i := range b.N {
		r.Step(machine.Event{Mono: time.Duration(i)})
	}
}

// pipe is a cluster whose messages arrive at once.
type pipe struct {
	servers []machine.Machine
	queue   []machine.Message
	replies int
	steps   int
}

func newPipe(n int) *pipe {
	p := &pipe{}
	var voters []int
	for i := range n {
		voters = append(voters, i+1)
	}
	for _, id := range voters {
		p.servers = append(p.servers, New(machine.Config{ID: id, Voters: voters, Seed: uint64(id)}))
	}
	for range 200 {
		p.tick()
	}
	return p
}

func (p *pipe) tick() {
	for i := range p.servers {
		p.step(i, machine.Event{})
	}
	p.drain()
}

func (p *pipe) step(i int, e machine.Event) {
	fx := p.servers[i].Step(e)
	p.queue = append(p.queue, fx.Send...)
	p.replies += len(fx.Reply)
	p.steps++
}

func (p *pipe) drain() {
	for i := 0; i < len(p.queue); i++ {
		m := p.queue[i]
		p.step(m.To-1, machine.Event{Message: &m})
	}
	clear(p.queue)
	p.queue = p.queue[:0]
}

// run sends requests in batches, from a connection to each server, and reports what one event costs.
func (p *pipe) run(b *testing.B, batch int, c machine.Command) {
	body := c.Encode()
	seqs := make([]uint64, len(p.servers))
	p.replies, p.steps = 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		at := i % len(p.servers)
		seqs[at]++
		p.step(at, machine.Event{Request: &machine.Request{Conn: uint64(at + 1), Seq: seqs[at], Body: body}})
		if i%batch == batch-1 {
			p.drain()
		}
	}
	for range 20 {
		p.tick()
	}
	b.StopTimer()
	if p.replies != b.N {
		b.Fatalf("got %d replies, want %d", p.replies, b.N)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(p.steps), "ns/event")
	b.ReportMetric(float64(p.steps)/float64(b.N), "events/op")
}

func BenchmarkWrite(b *testing.B)        { newPipe(5).run(b, 1, write("x", 1)) }
func BenchmarkWriteBatched(b *testing.B) { newPipe(3).run(b, 64, write("x", 1)) }
func BenchmarkRead(b *testing.B)         { newPipe(5).run(b, 1, get("x")) }
func BenchmarkReadBatched(b *testing.B)  { newPipe(3).run(b, 64, get("x")) }
