package zab

import (
	"encoding/binary"
	"slices"

	"assize/machine"
)

// channel is one end of a connection between a learner and its leader, which must be FIFO (DSN 2011, section 4: "reliable FIFO channels") over
// messages that may be lost, repeated and reordered. Its session is chosen by the learner and never used again. All that is added in one
// step travels in one frame, or few; frames are numbered from 1. What is not acknowledged is sent again; what overtakes is kept for a while.
type channel struct {
	to      int
	session uint64
	up      bool // this end is the learner's
	closed  bool

	sent    uint64   // number of the last frame
	acked   uint64   // all up to it have arrived
	flights []flight // the frames in between
	bytes   int      // of them
	wait    uint64   // ticks until the oldest is sent again
	resent  uint64   // tick of the last answer to a gap

	got   uint64  // number of the last frame that was taken up
	early []early // frames beyond it, by number
	told  uint64  // tick at which the other end was last told what has arrived

	frame machine.Encoder // of the present step; empty or a head and items
	count uint32          // of its items
	bound bool            // one of them rests on this server's disk
}

type flight struct {
	body []byte
	tick uint64 // of its last sending
}

type early struct {
	seq  uint64
	body []byte
}

func (p *peer) newChannel(to int, session uint64, up bool) *channel {
	return &channel{to: to, session: session, up: up, wait: p.resend()}
}

// resend: the acknowledgements of a ping's distance travel with its answer.
func (p *peer) resend() uint64 { return 2*p.ping + 1 }

// add an item to the frame of this step.
func (p *peer) add(c *channel, i item) {
	if c.count > 0 && len(c.frame.B) > frameBytes {
		p.flush(c)
	}
	if c.count == 0 {
		c.frame.B = make([]byte, frameHead, frameHead+64+len(i.data)+len(i.txn.record))
	}
	i.encode(&c.frame)
	c.count++
	// A proposal tells of nothing but a leader's wish: it is acknowledged by those who have it on their disks, and before the leader commits it, for which
	// it counts itself, or is heard of at all, its own disk has it, for that is in a frame that waits.
	c.bound = c.bound || i.kind != itemProposal || !p.leads()
}

// flush sends the frame of this step.
func (p *peer) flush(c *channel) {
	if c.count == 0 || c.closed {
		return
	}
	c.sent++
	b := c.frame.B
	b[0] = msgDown
	if c.up {
		b[0] = msgUp
	}
	binary.BigEndian.PutUint64(b[1:], c.session)
	binary.BigEndian.PutUint64(b[9:], c.sent)
	binary.BigEndian.PutUint64(b[17:], c.got)
	binary.BigEndian.PutUint32(b[25:], c.count)
	early := !c.bound
	c.frame.B, c.count, c.bound = nil, 0, false
	c.flights = append(c.flights, flight{b, p.ticks})
	c.bytes += len(b)
	p.out.Send = append(p.out.Send, machine.Message{From: p.id, To: c.to, Body: b, Early: early})
}

// full: the other end takes nothing up, or not fast enough.
func (c *channel) full() bool {
	return len(c.flights) > flightFrames || len(c.flights) > 1 && c.bytes-len(c.flights[0].body) > flightBytes
}

// acknowledge frames up to seq.
func (p *peer) acknowledge(c *channel, seq uint64) {
	if seq <= c.acked || seq > c.sent {
		return
	}
	n := int(seq - c.acked)
	for i := range n {
		c.bytes -= len(c.flights[i].body)
	}
	c.flights = slices.Delete(c.flights, 0, n)
	c.acked, c.wait = seq, p.resend()
}

// again sends the oldest frames once more when nothing was heard of them for long, at growing distances: a frame that needs longer than that is
// not helped by more of it.
func (p *peer) again(c *channel) {
	if len(c.flights) == 0 || p.ticks-c.flights[0].tick < c.wait {
		return
	}
	for i := range min(len(c.flights), resendFrames) {
		p.repeat(c, i)
	}
	c.wait = min(2*c.wait, max(p.syncLimit/2, p.resend()))
}

func (p *peer) repeat(c *channel, i int) {
	c.flights[i].tick = p.ticks
	p.post(c.to, c.flights[i].body)
}

// pulse tells the other end what has arrived, and a round of pings.
func (p *peer) pulse(c *channel, gap bool, round uint64) {
	kind := msgPulseDown
	if c.up {
		kind = msgPulseUp
	}
	p.post(c.to, encodePulse(kind, c.session, c.got, gap, round))
}

// onPulse takes the acknowledgement of a ping. Where the other end waits for a frame that others have overtaken, it gets it.
func (p *peer) onPulse(c *channel, m *message) {
	p.acknowledge(c, m.ack)
	if m.gap && m.ack == c.acked && len(c.flights) > 0 && c.resent != p.ticks {
		c.resent = p.ticks
		p.repeat(c, 0)
	}
}

// onFrame takes up a frame, and all those after it that had overtaken it. take is called for each item, as long as the channel is open.
func (p *peer) onFrame(c *channel, m *message, body []byte, take func(*item)) {
	p.acknowledge(c, m.ack)
	if m.seq != c.got+1 {
		p.keepEarly(c, m.seq, body)
		return
	}
	p.takeUp(c, m, take)
	for !c.closed && len(c.early) > 0 && c.early[0].seq == c.got+1 {
		next := c.early[0].body
		c.early = slices.Delete(c.early, 0, 1)
		if m.decode(next) == nil { // as it was when it came
			p.takeUp(c, m, take)
		}
	}
}

func (p *peer) takeUp(c *channel, m *message, take func(*item)) {
	c.got++
	for i := range m.items {
		if c.closed {
			return
		}
		take(&m.items[i])
	}
}

// keepEarly keeps a frame that has overtaken others; one that was taken up before was sent again because the other end does not know it.
func (p *peer) keepEarly(c *channel, seq uint64, body []byte) {
	if c.told != p.ticks {
		c.told = p.ticks
		p.pulse(c, seq > c.got, 0)
	}
	if seq <= c.got || seq-c.got > earlyFrames {
		return
	}
	i, found := slices.BinarySearchFunc(c.early, seq, func(e early, seq uint64) int { return int(e.seq) - int(seq) })
	if !found {
		c.early = slices.Insert(c.early, i, early{seq, body})
	}
}

// close the channel and tell the other end, which may hear it or not.
func (p *peer) close(c *channel) {
	kind := msgResetDown
	if c.up {
		kind = msgResetUp
	}
	c.closed = true
	p.post(c.to, encodeReset(kind, c.session))
}
