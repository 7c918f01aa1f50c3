package zab

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"assize/machine"
	"assize/machine/jute"
)

// hall joins whole servers and their clients for tests. Disks are perfect here: the peers' own tests see to them. What is said between a client and
// its server arrives at once, what servers say among themselves a tick later or more.
type hall struct {
	t         *testing.T
	o         machine.Options
	voters    []int
	observers []int
	hosts     []*host // by id, from 1
	rand      *rand.Rand
	mail      []letter
	now       int // ticks of 10 ms
	loss      float64
	delay     int
	cut       func(from, to int) bool
	conns     uint64
	clients   map[uint64]*client
	hashes    map[uint64]uint64 // of states, by index
	ended     map[uint64]bool   // connections that their servers have closed, or that they know to be gone
	broken    string            // the first promise that a client has seen broken
}

// host is a process and its disk.
type host struct {
	*Server
	id     int
	up     bool
	paused bool
	lives  uint64
	platter
	back time.Duration   // of its monotonic clock
	late []machine.Event // came while it was paused
}

const beat = 10 * time.Millisecond

func newHall(t *testing.T, seed uint64, voters, observers int, o machine.Options) *hall {
	t.Helper()
	if o.SessionTick == 0 {
		o.SessionTick = 200 * time.Millisecond
	}
	h := &hall{
		t: t, o: o, rand: rand.New(rand.NewPCG(seed, 9)), cut: func(int, int) bool { return false }, clients: map[uint64]*client{},
		hashes: map[uint64]uint64{}, ended: map[uint64]bool{},
	}
	for id := 1; id <= voters+observers; id++ {
		if id <= voters {
			h.voters = append(h.voters, id)
		} else {
			h.observers = append(h.observers, id)
		}
		h.hosts = append(h.hosts, &host{id: id})
	}
	for _, n := range h.hosts {
		h.start(n)
	}
	return h
}

func (h *hall) start(n *host) {
	n.lives++
	n.up, n.paused, n.late = true, false, nil
	seed := 1000*n.lives + uint64(n.id) + h.rand.Uint64N(1<<40)<<16
	c := machine.Config{ID: n.id, Voters: h.voters, Observers: h.observers, Seed: seed, Snapshot: n.snapshot, Log: n.records, Options: h.o}
	n.Server = New(c).(*Server)
}

// crash ends a process, and its connections.
func (h *hall) crash(n *host) {
	n.up = false
	n.platter.crash()
	for id := uint64(1); id <= h.conns; id++ {
		if c := h.clients[id]; c != nil && c.at == n {
			c.closed = true
			delete(h.clients, id)
		}
	}
}

func (h *hall) violate(format string, a ...any) {
	if h.broken == "" {
		h.broken = fmt.Sprintf("tick %d: ", h.now) + fmt.Sprintf(format, a...)
	}
}

func (h *hall) step(n *host, e machine.Event) {
	if !n.up {
		return
	}
	if n.paused {
		if e.Message != nil || e.Request != nil || e.Gone != 0 {
			n.late = append(n.late, e)
		}
		return
	}
	e.Mono = time.Duration(h.now)*beat - n.back
	e.Wall = time.UnixMilli(1_700_000_000_000).Add(time.Duration(h.now) * beat)
	fx := n.Step(e)
	for _, a := range fx.Accused {
		h.violate("n%d accuses n%d: %s", n.id, a.Node, a.Why)
	}
	n.put(fx)
	for _, m := range fx.Send {
		if h.rand.Float64() >= h.loss {
			h.mail = append(h.mail, letter{h.now + 1 + h.rand.IntN(h.delay+1), m})
		}
	}
	for _, a := range fx.Applied {
		if was, ok := h.hashes[a.Index]; ok && was != a.Hash {
			h.violate("n%d has another state at %d", n.id, a.Index)
		}
		h.hashes[a.Index] = a.Hash
	}
	if st := n.Status(); st.Applied != st.Commit || st.Hash != n.tree.Hash() || st.Position != uint64(n.tree.Zxid()) {
		h.violate("n%d: status %+v", n.id, st)
	}
	for _, r := range append([]machine.Reply(nil), fx.Reply...) {
		if r.Seq != 0 {
			h.violate("n%d replies with a number", n.id)
		}
		if h.ended[r.Conn] {
			h.violate("n%d: connection %d is closed, and hears more", n.id, r.Conn)
		}
		h.ended[r.Conn] = r.Close
		if c := h.clients[r.Conn]; c != nil {
			c.hear(r)
		}
	}
}

// pass lets ticks go by.
func (h *hall) pass(ticks int) {
	for range ticks {
		h.now++
		var due, later []letter
		for _, l := range h.mail {
			if l.at <= h.now {
				due = append(due, l)
			} else {
				later = append(later, l)
			}
		}
		h.mail = later
		if h.delay > 0 {
			h.rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
		}
		for _, l := range due {
			if !h.cut(l.From, l.To) {
				h.step(h.hosts[l.To-1], machine.Event{Message: &l.Message})
			}
		}
		for _, n := range h.hosts {
			h.step(n, machine.Event{})
		}
	}
}

// resume a process. What clients have said it may read before what servers have.
func (h *hall) resume(n *host) {
	n.paused = false
	late := n.late
	n.late = nil
	if h.rand.IntN(2) == 0 {
		slices.SortStableFunc(late, func(a, b machine.Event) int {
			switch said := func(e machine.Event) bool { return e.Message == nil }; {
			case said(a) && !said(b):
				return -1
			case said(b) && !said(a):
				return 1
			}
			return 0
		})
	}
	for i := range late {
		h.step(n, late[i])
	}
}

// until something holds.
func (h *hall) until(what string, holds func() bool) {
	h.t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		h.pass(1)
		if h.broken != "" {
			h.t.Fatal(h.broken)
		}
	}
	h.t.Fatalf("not until tick %d: %s", h.now, what)
}

// leader that all that run follow; nil: there is none.
func (h *hall) leader() (lead *host) {
	for _, n := range h.hosts {
		if n.up && n.peer.leads() {
			lead = n
		}
	}
	if lead == nil {
		return nil
	}
	for _, n := range h.hosts {
		if n.up && (!n.peer.serves() || n.peer.leader != lead.id) {
			return nil
		}
	}
	return lead
}

func (h *hall) elect() (leader, follower *host) {
	h.t.Helper()
	h.until("a leader that all follow", func() bool { return h.leader() != nil })
	leader = h.leader()
	for _, n := range h.hosts {
		if n.up && n != leader && n.peer.state == following {
			follower = n
		}
	}
	return leader, follower
}

// only cuts all but the given servers off from each other.
func apart(ids ...int) func(from, to int) bool {
	in := func(id int) bool {
		for _, i := range ids {
			if i == id {
				return true
			}
		}
		return false
	}
	return func(from, to int) bool { return in(from) != in(to) }
}

// client of one connection, who looks at what he is told.
type client struct {
	h        *hall
	at       *host
	conn     uint64
	seq      uint64
	address  string
	session  int64
	password []byte
	timeout  int32
	lastZxid int64
	xid      int32
	greeted  bool // the handshake has been answered
	expired  bool // with the news that the session is no more
	closed   bool
	asked    []jute.Request
	replies  []jute.Response
	events   []jute.Event
	told     []string // events and replies, in order
	onReply  func(jute.Request, jute.Response)
}

// open a connection without waiting. It takes the session of old, if there is one.
func (h *hall) open(n *host, old *client) *client {
	h.conns++
	c := &client{h: h, at: n, conn: h.conns, address: "10.0.0.7", timeout: 1000}
	q := jute.ConnectRequest{Timeout: c.timeout, HasReadOnly: h.conns%2 == 0}
	if old != nil {
		c.session, c.password, c.lastZxid = old.session, old.password, old.lastZxid
		q.Session, q.Password, q.LastZxid, q.Timeout = old.session, old.password, old.lastZxid, old.timeout
	}
	h.clients[c.conn] = c
	c.frame(q.Encode())
	return c
}

func (h *hall) connect(n *host) *client {
	h.t.Helper()
	c := h.open(n, nil)
	h.until("the session is open", func() bool { return c.greeted })
	if c.expired || c.closed || c.session == 0 {
		h.t.Fatalf("not connected: %+v", c)
	}
	return c
}

func (c *client) frame(body []byte) {
	c.seq++
	if c.seq == 1 {
		body = jute.Introduce(c.address, body)
	}
	if !c.closed {
		c.h.step(c.at, machine.Event{Request: &machine.Request{Conn: c.conn, Seq: c.seq, Body: body}})
	}
}

func (c *client) send(q jute.Request) {
	if q.Xid == 0 {
		c.xid++
		q.Xid = c.xid
	}
	c.asked = append(c.asked, q)
	c.frame(q.Encode())
}

// drop the connection from the client's side.
func (c *client) drop() {
	delete(c.h.clients, c.conn)
	c.closed = true
	c.h.step(c.at, machine.Event{Gone: c.conn})
	c.h.ended[c.conn] = !c.at.paused
}

// do a request and wait for its reply.
func (c *client) do(q jute.Request) jute.Response {
	c.h.t.Helper()
	want := len(c.replies) + len(c.asked) + 1
	c.send(q)
	c.h.until(fmt.Sprint("a reply to ", q.Op), func() bool { return len(c.replies) >= want || c.closed })
	if len(c.replies) < want {
		c.h.t.Fatalf("tick %d: the connection was closed, no reply to %v", c.h.now, q.Op)
	}
	return c.replies[want-1]
}

func (c *client) want(code jute.Code, q jute.Request) jute.Response {
	c.h.t.Helper()
	r := c.do(q)
	if r.Err != code {
		c.h.t.Fatalf("%v of %q: got %v, want %v", q.Op, q.Path, r.Err, code)
	}
	return r
}

func (c *client) hear(r machine.Reply) {
	if r.Close {
		c.closed = true
		delete(c.h.clients, c.conn)
	}
	if r.Body == nil {
		return
	}
	if !c.greeted {
		p, err := jute.DecodeConnectResponse(r.Body)
		if err != nil || p.HasReadOnly != (c.conn%2 == 0) {
			c.h.violate("handshake %+v, %v", p, err)
		}
		c.greeted = true
		c.expired = p.Session == 0
		if !c.expired {
			c.session, c.password, c.timeout = p.Session, p.Password, p.Timeout
		}
		return
	}
	head, err := jute.DecodeReplyHeader(r.Body)
	if err != nil {
		c.h.violate("reply %x: %v", r.Body, err)
		return
	}
	if head.Xid == jute.XidNotification {
		e, err := jute.DecodeEvent(r.Body)
		if err != nil {
			c.h.violate("event %x: %v", r.Body, err)
		}
		c.events = append(c.events, e)
		c.told = append(c.told, fmt.Sprint("event ", e.Type, " ", e.Path))
		return
	}
	if len(c.asked) == 0 || c.asked[0].Xid != head.Xid {
		c.h.violate("connection %d: reply %d to %+v", c.conn, head.Xid, c.asked)
		return
	}
	q := c.asked[0]
	c.asked = c.asked[1:]
	p, err := jute.DecodeResponse(q.Op, r.Body)
	if err != nil {
		c.h.violate("reply to %v: %v", q.Op, err)
	}
	if p.Zxid > 0 && p.Zxid < c.lastZxid {
		c.h.violate("connection %d goes back in time: %#x after %#x", c.conn, p.Zxid, c.lastZxid)
	}
	c.lastZxid = max(c.lastZxid, p.Zxid)
	c.replies = append(c.replies, p)
	c.told = append(c.told, fmt.Sprint(q.Op, " ", q.Path, " ", p.Err, " ", string(p.Data)))
	if c.onReply != nil {
		c.onReply(q, p)
	}
}

// What clients ask for.

var everyone = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}

func creating(path, data string, flags int32) jute.Request {
	return jute.Request{Op: jute.Create, Path: path, Data: []byte(data), ACL: everyone, Flags: flags}
}

func setting(path, data string, version int32) jute.Request {
	return jute.Request{Op: jute.SetData, Path: path, Data: []byte(data), Version: version}
}

func getting(path string) jute.Request { return jute.Request{Op: jute.GetData, Path: path} }

func watching(path string) jute.Request {
	return jute.Request{Op: jute.GetData, Path: path, Watch: true}
}

func exists(path string) jute.Request { return jute.Request{Op: jute.Exists, Path: path} }

func toSync(path string) jute.Request { return jute.Request{Op: jute.Sync, Path: path} }

func ping() jute.Request { return jute.Request{Op: jute.Ping, Xid: jute.XidPing} }
