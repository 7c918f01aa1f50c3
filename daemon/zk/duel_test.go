package zk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/machine/jute"
)

// side is a server of a duel: two are asked the same, and what they answer is written down without what may differ. Addresses are those of its servers.
type side struct {
	testing.TB
	addresses []string
	base      int64 // zxid: all are told as distances from it
	guests    []*guest
	sessions  []int64 // all that there were, in their order: they are told by it
	rousers   []raw   // one of each server
}

// guest is a client by hand, whose session goes on through its connections.
type guest struct {
	raw
	side     *side
	server   int // to which it goes, by its place in addresses
	open     bool
	id       int64
	password []byte
	told     int64 // the greatest zxid
}

// mute is told where nobody answers.
const mute = "silence"

// patience with a server that should have answered, and how long it takes to rouse one.
const (
	patience   = 20 * time.Second
	rouseAfter = time.Second
)

// newSide with so many guests, who go to one server after the other.
func newSide(t testing.TB, guests int, addresses []string) *side {
	s := &side{TB: t, addresses: addresses}
	for _, address := range addresses {
		s.rousers = append(s.rousers, s.rouser(address))
	}
	for i := range guests {
		s.guests = append(s.guests, &guest{side: s, server: i % len(addresses), password: make([]byte, 16)})
		s.connect(i, nil)
	}
	s.settle(&strings.Builder{})
	for _, g := range s.guests {
		s.base = max(s.base, g.told)
	}
	return s
}

// rouser is a session that does nothing but rouse its server: one of ZooKeeper's, up to 3.8.0, can leave what is committed, or a sync, lying until the next
// request of any client comes (ZOOKEEPER-4537).
func (s *side) rouser(address string) raw {
	c, err := net.Dial("tcp", address)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	r := raw{s, c}
	hello := jute.ConnectRequest{Timeout: 10_000_000, Password: make([]byte, 16)}
	r.send(hello.Encode())
	defer s.rousing()()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := readFrame(c, 0, jute.MaxFrame); err != nil {
		s.Fatalf("%s gives no session: %v", address, err)
	}
	c.SetReadDeadline(time.Time{})
	go io.Copy(io.Discard, c)
	return r
}

// rousing until stop is called.
func (s *side) rousing() (stop func()) {
	ping := jute.Request{Xid: jute.XidPing, Op: jute.Ping}
	frame := jute.AppendFrame(nil, ping.Encode())
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(rouseAfter)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				for _, r := range s.rousers {
					_, _ = r.Write(frame) // where that fails nobody is roused
				}
			}
		}
	}()
	return func() { close(done) }
}

// connect a guest anew, with the request that its session needs, but for what change makes of it.
func (s *side) connect(i int, change func(*jute.ConnectRequest)) string {
	g := s.guests[i]
	q := jute.ConnectRequest{LastZxid: g.told, Timeout: 10_000_000, Session: g.id, Password: g.password, HasReadOnly: true}
	if change != nil {
		change(&q)
	}
	c, err := net.Dial("tcp", s.addresses[g.server])
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	g.raw, g.open = raw{s, c}, false
	g.send(q.Encode())
	payload, end := g.hear()
	if end != "" {
		return "handshake: " + end
	}
	r, err := jute.DecodeConnectResponse(payload)
	if err != nil {
		return fmt.Sprintf("handshake: %x", payload)
	}
	if r.Session == 0 {
		_, end := g.hear()
		return fmt.Sprintf("handshake: refused with %+v, then %s", r, end)
	}
	if g.open = true; g.id != r.Session {
		g.id, g.told = r.Session, 0
		s.sessions = append(s.sessions, r.Session)
	}
	g.password = r.Password
	return fmt.Sprintf("handshake: protocol %d, timeout %d, session %s, password of %d, read only %v %v", r.Protocol, r.Timeout, s.session(r.Session), len(r.Password), r.HasReadOnly, r.ReadOnly)
}

// hear a payload, or why there is none.
func (g *guest) hear() (payload []byte, end string) {
	defer g.side.rousing()()
	g.SetReadDeadline(time.Now().Add(patience))
	payload, err := readFrame(g, 0, jute.MaxFrame<<4)
	switch {
	case err == nil:
		return payload, ""
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, mute
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, "half a frame"
	}
	g.open = false // with a reset or without: that is the socket's affair
	g.Close()
	return nil, "the end"
}

// ask for what a payload says, which is a request of the kind op, and tell all that comes of it: the answer with what came before it, whether the
// connection is still there, and what other guests hear.
func (s *side) ask(i int, op jute.Op, payload []byte) string {
	var b strings.Builder
	s.exchange(&b, s.guests[i], op, payload)
	s.settle(&b)
	return b.String()
}

func (s *side) exchange(b *strings.Builder, g *guest, op jute.Op, payload []byte) {
	g.SetWriteDeadline(time.Now().Add(patience))
	_, _ = g.Write(jute.AppendFrame(nil, payload)) // a server need not read what is too long
	for {
		p, end := g.hear()
		if end != "" {
			fmt.Fprintf(b, "%s\n", end)
			return
		}
		h, err := jute.DecodeReplyHeader(p)
		if err == nil && h.Xid == jute.XidNotification && op != jute.Notify {
			fmt.Fprintf(b, "%s\n", s.event(p))
			continue
		}
		g.told = max(g.told, h.Zxid)
		fmt.Fprintf(b, "%s\n", s.answer(op, p))
		if h.Err == jute.Unimplemented && h.Zxid == -1 || h.Err == jute.AuthFailed { // the last word, and a ping that comes soon enough may still be answered
			_, end = g.hear()
			fmt.Fprintf(b, "%s\n", end)
		}
		return
	}
}

// settle: all guests ping until their servers have what any guest has been told of, and so hear what there is to be heard. A sync would do it at once, but for
// some that ZooKeeper's followers never answer.
func (s *side) settle(b *strings.Builder) {
	newest := int64(0)
	for _, g := range s.guests {
		newest = max(newest, g.told)
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i, g := range s.guests {
		for g.open && !s.ping(b, i, newest) {
			<-tick.C
		}
	}
}

// ping for a guest, and tell what he hears. It is true when his server has come so far.
func (s *side) ping(b *strings.Builder, i int, newest int64) bool {
	g := s.guests[i]
	q := jute.Request{Xid: jute.XidPing, Op: jute.Ping}
	g.SetWriteDeadline(time.Now().Add(patience))
	_, _ = g.Write(jute.AppendFrame(nil, q.Encode())) // if it is over, the answer will be
	for {
		p, end := g.hear()
		if end != "" {
			fmt.Fprintf(b, "guest %d: %s\n", i, end)
			return true
		}
		h, err := jute.DecodeReplyHeader(p)
		if err != nil || h.Xid != q.Xid {
			fmt.Fprintf(b, "guest %d: %s\n", i, s.event(p))
			continue
		}
		g.told = max(g.told, h.Zxid)
		if h.Zxid >= newest {
			fmt.Fprintf(b, "guest %d: at %s, %v\n", i, s.zxid(h.Zxid), h.Err)
		}
		return h.Zxid >= newest
	}
}

func (s *side) event(payload []byte) string {
	e, err := jute.DecodeEvent(payload)
	if err != nil || !bytes.Equal(e.Encode(), payload) {
		return fmt.Sprintf("event %x: %v", payload, err)
	}
	return fmt.Sprintf("event %+v", e)
}

func (s *side) session(id int64) string {
	if i := slices.Index(s.sessions, id); i >= 0 {
		return fmt.Sprintf("#%d", i)
	}
	return fmt.Sprintf("%#x", uint64(id))
}

// zxid of a transaction since base; those of before are told as they are.
func (s *side) zxid(z int64) string {
	if s.base > 0 && z >= s.base {
		return fmt.Sprintf("+%d", z-s.base)
	}
	return fmt.Sprintf("%d", z)
}

// answer in words. What clients cannot rely on is put into an order: children and identities are sets in ZooKeeper.
func (s *side) answer(op jute.Op, payload []byte) string {
	r, err := jute.DecodeResponse(op, payload)
	if err != nil {
		return fmt.Sprintf("%x: %v", payload, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d bytes: xid %d at %s: %v", len(payload), r.Xid, s.zxid(r.Zxid), r.Err)
	if r.Err != jute.OK {
		return b.String()
	}
	slices.Sort(r.Children)
	slices.SortFunc(r.ACL, func(a, b jute.ACL) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	slices.SortFunc(r.IDs, func(a, b jute.ID) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	fmt.Fprintf(&b, " %q %s %s acl %+v children %q count %d ids %q", r.Path, data(r.Data), s.stat(r.Stat), r.ACL, r.Children, r.Count, r.IDs)
	for _, sub := range r.Sub {
		slices.Sort(sub.Children)
		fmt.Fprintf(&b, "\n  %v %v %q %s %s children %q", sub.Op, sub.Err, sub.Path, data(sub.Data), s.stat(sub.Stat), sub.Children)
	}
	return b.String()
}

// data, by which a node that has none is told from one that has no byte.
func data(b []byte) string {
	if b == nil {
		return "none"
	}
	return fmt.Sprintf("%.40q of %d", b, len(b))
}

func (s *side) stat(t jute.Stat) string {
	if t.Ctime > t.Mtime {
		return "changed before it was made"
	}
	return fmt.Sprintf("c %s m %s p %s versions %d %d %d owner %s length %d children %d", s.zxid(t.Czxid), s.zxid(t.Mzxid), s.zxid(t.Pzxid), t.Version, t.Cversion, t.Aversion,
		s.session(t.EphemeralOwner), t.DataLength, t.NumChildren)
}

// duel of two sides.
type duel struct {
	testing.TB
	apache, assize *side
	steps          []string
}

// both do the same, and tell the same: where not, the duel is over. So it is when ZooKeeper does not answer, which nobody can be compared with: a follower of
// its does so now and then.
func (d *duel) both(what string, do func(*side) string) {
	d.Helper()
	d.steps = append(d.steps, what)
	want, got := do(d.apache), do(d.assize)
	if got == want {
		return
	}
	if strings.Contains(want, mute) {
		d.Skipf("ZooKeeper does not answer %s:\n%s\nours does:\n%s", what, want, got)
	}
	tail := d.steps[max(0, len(d.steps)-12):]
	d.Fatalf("after\n  %s\nZooKeeper said\n%s\nand ours\n%s", strings.Join(tail, "\n  "), want, got)
}

// ask both for the same.
func (d *duel) ask(i int, q jute.Request) {
	d.Helper()
	d.raw(i, q.Op, q.Encode(), fmt.Sprintf("%d: %v %s", i, q.Op, brief(q)))
}

func (d *duel) raw(i int, op jute.Op, payload []byte, what string) {
	d.Helper()
	d.both(what, func(s *side) string {
		before := ""
		if !s.guests[i].open {
			before = s.connect(i, nil) + "\n"
			if !s.guests[i].open {
				s.guests[i].id, s.guests[i].password, s.guests[i].told = 0, make([]byte, 16), 0
				before += s.connect(i, nil) + "\n"
			}
		}
		return before + s.ask(i, op, payload)
	})
}

// brief is a request for a reader.
func brief(q jute.Request) string {
	s := fmt.Sprintf("xid %d %.60q data %s version %d acl %v flags %d ttl %d watch %v mode %d %s %q %+v", q.Xid, q.Path, data(q.Data), q.Version, q.ACL, q.Flags, q.TTL, q.Watch, q.Mode,
		q.Scheme, q.Auth, q.Watches)
	for _, sub := range q.Sub {
		s += "\n      " + sub.Op.String() + " " + brief(sub)
	}
	return s
}
