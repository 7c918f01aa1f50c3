package zab

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"assize/machine"
	"assize/machine/jute"
)

// strife is clients everywhere who write, read, sync and come back, while servers die, freeze and are cut off; then all is mended, and what was
// acknowledged must be there, once.
type strife struct {
	*hall
	users []*user
	acked map[string]int64 // path by the client's own name for a node, to its zxid
	maybe map[string]bool
	set   int32 // greatest version of the register that a writer was told
	fresh int   // reads behind a sync
	stale int   // of them, those that have not seen what was acknowledged before it
	calm  bool  // nothing is lost and nobody freezes
	ends  int   // sessions that have expired
}

type user struct {
	*client
	s     *strife
	made  int
	id    int
	sent  map[int32]int   // ticks, by xid
	heard int             // tick at which the last request was sent that has been answered
	of    int64           // session that heard is of
	sleep int             // until that tick
	gone  int64           // the last session that was seen to have expired
	floor map[int32]int32 // by the xid of a read: what was set when the sync before it was sent
}

func (u *user) reply(q jute.Request, r jute.Response) {
	s := u.s
	// Whoever has been silent for longer than the time-out may be answered by a server that does not know yet that the session is gone.
	if at := u.sent[q.Xid]; u.session != u.of || 10*(at-u.heard) < int(u.timeout) {
		u.of, u.heard = u.session, max(u.heard, at)
	}
	switch {
	case q.Op == jute.SetData && r.Err == jute.OK:
		s.set = max(s.set, r.Stat.Version)
	case q.Op == jute.GetData && r.Err == jute.OK:
		if floor, ok := u.floor[q.Xid]; ok {
			if s.fresh++; r.Stat.Version < floor {
				s.stale++
			}
		}
	case q.Op == jute.Create && r.Err == jute.OK:
		s.acked[string(q.Data)] = r.Zxid
	case q.Op == jute.Create && r.Err != jute.SessionMoved && r.Err != jute.SessionExpired:
		s.violate("%q: %v", q.Data, r.Err)
	}
}

// act does something, or comes back if the connection is closed.
func (u *user) act() {
	s := u.s
	if u.client == nil || u.closed {
		old := u.client
		if old != nil {
			for _, q := range old.asked {
				if q.Op == jute.Create {
					s.maybe[string(q.Data)] = true
				}
			}
			if old.expired || old.session == 0 {
				old = nil
			}
		}
		n := s.hosts[s.rand.IntN(len(s.hosts))]
		if !n.up || n.paused {
			return
		}
		u.client = s.open(n, old)
		u.onReply, u.floor, u.sent = u.reply, map[int32]int32{}, map[int32]int{}
		if !u.closed {
			return
		}
		if !u.expired && old != nil {
			u.session, u.password, u.timeout, u.lastZxid = old.session, old.password, old.timeout, old.lastZxid
		}
		return
	}
	if u.at.paused && s.rand.IntN(20) > 0 {
		return // so that it still has something to ask when there is another leader
	}
	if !u.greeted || len(u.asked) > 6 {
		if s.rand.IntN(200) == 0 {
			u.drop()
		}
		return
	}
	if s.calm && s.rand.IntN(30) == 0 {
		u.sleep = s.now + s.rand.IntN(320)
	}
	u.sent[u.xid+1] = s.now
	switch s.rand.IntN(7) {
	case 0, 1, 2:
		u.made++
		u.send(creating("/q/n-", fmt.Sprintf("%d-%d", u.id, u.made), jute.FlagSequential))
	case 3:
		u.send(getting("/q"))
	case 4:
		u.floor[u.xid+2] = s.set
		u.send(toSync("/q"))
		u.send(getting("/q"))
	case 5:
		u.send(jute.Request{Op: jute.GetChildren, Path: "/q", Watch: true})
	default:
		u.send(setting("/q", strconv.Itoa(u.id), -1))
	}
}

// watch that no session ends earlier than its time-out after the last request that it was answered.
func (s *strife) watch() {
	lead := s.leader()
	if !s.calm || lead == nil {
		return
	}
	for _, u := range s.users {
		if u.client == nil || u.session == 0 || u.session == u.gone {
			continue
		}
		if _, open := lead.tree.Session(u.session); !open {
			u.gone = u.session
			s.ends++
			if after := 10 * (s.now - u.heard); after < int(u.timeout) {
				s.violate("session %#x of user %d was last answered what it asked %d ms ago, and is gone", u.session, u.id, after)
			}
		}
	}
}

func runStrife(t *testing.T, seed uint64, calm bool, o machine.Options) *strife {
	h := newHall(t, seed, 3+int(seed%3), int(seed%2), o)
	for _, n := range h.hosts {
		n.platter.rand = rand.New(rand.NewPCG(seed, uint64(100+n.id)))
	}
	s := &strife{hall: h, acked: map[string]int64{}, maybe: map[string]bool{}, calm: calm}
	lead, _ := s.elect()
	s.connect(lead).want(jute.OK, creating("/q", "", 0))
	for i := range 6 {
		s.users = append(s.users, &user{s: s, id: i})
	}
	if s.delay = s.rand.IntN(4); !calm {
		s.loss = []float64{0, 0.02, 0.1}[s.rand.IntN(3)]
	}
	for range 2500 {
		s.pass(1)
		for _, u := range s.users {
			if s.rand.IntN(4) == 0 && u.sleep <= s.now {
				u.act()
			}
		}
		s.watch()
		n := s.hosts[s.rand.IntN(len(s.hosts))]
		switch s.rand.IntN(300) {
		case 0:
			if n.up && !n.paused {
				s.crash(n)
			} else if !n.up {
				s.start(n)
			}
		case 1:
			n.paused = n.up && !calm
		case 2:
			s.cut = apart(n.id)
		case 3, 4, 5:
			s.cut = apart()
		case 6, 7, 8:
			if n.up && n.paused {
				s.resume(n)
			} else if !n.up {
				s.start(n)
			}
		}
		if s.broken != "" {
			t.Fatalf("seed %d: %s", seed, s.broken)
		}
	}
	s.mend()
	return s
}

func (s *strife) mend() {
	s.cut, s.loss, s.delay = apart(), 0, 0
	for _, n := range s.hosts {
		if n.paused {
			s.resume(n)
		}
		if !n.up {
			s.start(n)
		}
	}
	s.elect()
	s.until("all serve and have the same", func() bool {
		return s.leader() != nil && !slices.ContainsFunc(s.hosts, func(n *host) bool {
			return n.tree.Zxid() != s.hosts[0].tree.Zxid() || n.peer.outstanding()
		})
	})
}

// TestZ6NothingAcknowledgedIsLost, nothing happens twice, and what nobody has asked for never happens.
func TestZ6NothingAcknowledgedIsLost(t *testing.T) {
	acked, maybe, snaps := 0, 0, uint64(0)
	fresh, stale := map[string]int{}, map[string]int{}
	for seed := range uint64(20) {
		o := machine.Options{Read: Modes[seed%3], Snapshot: []int{0, 40}[seed/3%2], SessionTick: time.Second}
		s := runStrife(t, seed, false, o)
		acked, maybe = acked+len(s.acked), maybe+len(s.maybe)
		fresh[o.Read] += s.fresh
		stale[o.Read] += s.stale
		for _, n := range s.hosts {
			snaps += n.Status().Counters.SnapshotsLoaded
			found := map[string]int{}
			c := s.connect(n)
			for _, name := range c.want(jute.OK, jute.Request{Op: jute.GetChildren, Path: "/q"}).Children {
				r := c.want(jute.OK, getting("/q/"+name))
				if found[string(r.Data)]++; s.acked[string(r.Data)] != 0 && s.acked[string(r.Data)] != r.Stat.Czxid {
					t.Errorf("seed %d: %q was acknowledged at %#x and is of %#x", seed, r.Data, s.acked[string(r.Data)], r.Stat.Czxid)
				}
			}
			for name := range s.acked {
				if found[name] != 1 {
					t.Errorf("seed %d, n%d: %q was acknowledged and is there %d times", seed, n.id, name, found[name])
				}
			}
			for name, times := range found {
				if times != 1 {
					t.Errorf("seed %d, n%d: %q is there %d times", seed, n.id, name, times)
				}
			}
		}
	}
	if fresh["quorum-sync"] < 100 || stale["quorum-sync"] > 0 { // claim Z4
		t.Errorf("of %v reads behind a sync %v were stale", fresh, stale)
	}
	if snaps == 0 {
		t.Error("no snapshot was sent")
	}
	if acked < 500 || maybe < 10 {
		t.Errorf("%d acknowledged, %d unknown: nothing was tried", acked, maybe)
	}
}

// TestZ11NoSessionEndsEarly, though followers die, or are cut off, with what they have not told the leader: with the default tick of sessions what they
// can owe it is less than the tick that it waits.
func TestZ11NoSessionEndsEarly(t *testing.T) {
	ends := 0
	for seed := range uint64(20) {
		ends += runStrife(t, seed, true, machine.Options{SessionTick: defaults(machine.Options{}).SessionTick}).ends
	}
	if ends < 20 {
		t.Errorf("%d sessions have expired: nothing was tried", ends)
	}
}

// TestStrifeIsDeterministic: the same seed gives the same, to the byte.
func TestStrifeIsDeterministic(t *testing.T) {
	sum := func() string {
		s := runStrife(t, 4, false, machine.Options{})
		return fmt.Sprint(s.now, s.conns, len(s.acked), len(s.maybe), s.hosts[0].Status(), s.hosts[1].Report(false))
	}
	if a, b := sum(), sum(); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

// TestFIFO: replies come in the order of requests, and each read sees the writes that its client had asked for before it, and none that came after.
func TestFIFO(t *testing.T) {
	for seed := range uint64(30) {
		h := newHall(t, seed, 3, 1, machine.Options{Read: Modes[seed%3]})
		h.delay = int(seed % 6)
		h.elect()
		for i, n := range h.hosts {
			c := h.connect(n)
			path := fmt.Sprint("/own", i)
			c.want(jute.OK, creating(path, "0", 0))
			version := 0
			var want []string
			for range 60 {
				if h.rand.IntN(5) == 0 {
					h.pass(1)
				}
				switch h.rand.IntN(4) {
				case 0:
					version++
					c.send(setting(path, strconv.Itoa(version), -1))
				case 1:
					c.send(toSync("/"))
				default:
					c.send(getting(path))
					want = append(want, fmt.Sprintf("getData %s ok %d", path, version))
				}
			}
			h.until("all are answered", func() bool { return len(c.asked) == 0 || c.closed })
			got := slices.DeleteFunc(slices.Clone(c.told), func(s string) bool { return !strings.HasPrefix(s, "getData") })
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, n%d: got %q, want %q", seed, n.id, got, want)
			}
		}
	}
}

// TestClerkFlaws: each of the service's planted flaws breaks what a test above holds.
func TestClerkFlaws(t *testing.T) {
	if _, now := behind(t, "ignore-last-zxid"); now.closed || string(now.want(jute.OK, getting("/x")).Data) != "old" {
		t.Error("ignore-last-zxid: the client has not gone back in time")
	}
	if got := watched(t, "reply-before-event"); slices.Index(got, "event 3 /x") < slices.Index(got, "setData /x ok ") {
		t.Errorf("reply-before-event: told %q", got)
	}
	for _, flaw := range []string{"", "silent-new-session"} {
		h := newHall(t, 1, 3, 0, machine.Options{Flaw: flaw})
		lead, _ := h.elect()
		c := h.connect(lead)
		h.pass(200)
		back := h.open(lead, c)
		h.until("an answer", func() bool { return back.greeted })
		if back.expired != (flaw == "") || !back.expired && back.session == c.session {
			t.Errorf("%q: came back as %+v", flaw, back)
		}
	}
	for _, flaw := range []string{"", "follower-read-no-touch"} {
		h := newHall(t, 1, 3, 0, machine.Options{Flaw: flaw})
		_, follower := h.elect()
		c := h.connect(follower)
		for range 50 {
			h.pass(10)
			c.send(exists("/"))
		}
		if c.closed != (flaw != "") {
			t.Errorf("%q: a client that reads has lost its session: %v", flaw, c.closed)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []machine.Options{{Read: "lease"}, {Flaw: "no-such-flaw"}} {
		if _, err := Load(machine.Config{ID: 1, Voters: []int{1}, Options: o}); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	for _, c := range []machine.Config{{Snapshot: []byte("x")}, {Log: [][]byte{{99}}}} {
		c.ID, c.Voters = 1, []int{1}
		if _, err := Load(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	if d := defaults(machine.Options{}).SessionTick; d != 600*time.Millisecond {
		t.Errorf("a tick of sessions is %v", d)
	}
}

// TestOneServer is an ensemble, too, and begins a new epoch when its counter ends.
func TestOneServer(t *testing.T) {
	h := newHall(t, 1, 1, 0, machine.Options{Snapshot: 20})
	lead, _ := h.elect()
	lead.peer.limit = 30
	made := 0
	for made < 100 {
		h.elect()
		c := h.connect(lead)
		c.onReply = func(_ jute.Request, r jute.Response) {
			if r.Err == jute.OK {
				made++
			}
		}
		for range 20 {
			if !c.closed {
				c.send(creating("/n", "", jute.FlagSequential))
			}
		}
		h.pass(3)
	}
	if lead.peer.current < 4 || h.broken != "" {
		t.Errorf("epoch %d: %s", lead.peer.current, h.broken)
	}
	was := lead.tree.Hash()
	h.crash(lead)
	h.start(lead)
	h.elect()
	if lead.tree.Hash() != was {
		t.Error("it has come back as another")
	}
}

// FuzzClient sends bytes to a server as a client's frames, before and after the handshake, and as what one server's service tells another's.
func FuzzClient(f *testing.F) {
	for _, q := range []jute.Request{creating("/a", "x", 3), watching("/a"), setting("/a", "y", 0), toSync("/"), {Op: jute.CloseSession}, {Op: 99},
		{Op: jute.SetWatches2, Watches: jute.Watches{Data: []string{"/a"}, Recursive: []string{""}}}, {Op: jute.AddWatch, Path: "/"}, {Op: jute.MultiRead},
		{Op: jute.Multi, Sub: []jute.Request{creating("/m", "", 2), {Op: jute.Check, Path: "/a"}}}, {Op: jute.Auth, Scheme: "digest"}, {Op: jute.DeleteContainer},
		{Op: jute.Reconfig}, {Op: jute.WhoAmI}, {Op: jute.GetEphemerals}, {Op: jute.RemoveWatches, Mode: 1}, {Op: jute.SASL}, {Op: jute.CreateSession}} {
		f.Add(q.Encode())
	}
	f.Add(jute.ConnectRequest{Session: 7, Timeout: -1}.Encode())
	o := order{kind: orderWrite, conn: 5, session: 7, q: creating("/f", "", 1)}
	o.body = o.q.Encode()
	f.Add(o.encode())
	f.Add((&order{kind: orderTouch, touched: []int64{7, -1}}).encode())
	f.Add((&order{kind: orderOpen, conn: 5, session: 8}).encode())
	for _, session := range []int64{0, math.MinInt64, -1<<56 | 5} { // which are no sessions
		f.Add((&order{kind: orderOpen, conn: 5, session: session}).encode())
		f.Add((&order{kind: orderWrite, conn: 5, session: session, body: (&jute.Request{Op: jute.CloseSession}).Encode()}).encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newHall(t, 1, 3, 0, machine.Options{})
		lead, follower := h.elect()
		for i, n := range []*host{lead, follower} {
			whole := h.connect(n)
			delete(h.clients, whole.conn) // it does not know what is asked in its name
			for seq, conn := range []uint64{uint64(1000 + i), whole.conn} {
				h.step(n, machine.Event{Request: &machine.Request{Conn: conn, Seq: uint64(1 + seq), Body: b}})
			}
			var fx machine.Effects
			n.peer.begin(&fx)
			n.lead(2, b)
			n.hear(b)
			n.drain()
			n.peer.finish()
		}
		h.pass(30)
		var o order
		if err := o.decode(b); err == nil && o.kind == orderWrite {
			var again order
			if err := again.decode(o.encode()); err != nil || again.conn != o.conn {
				t.Errorf("%+v comes back as %+v, %v", o, again, err)
			}
		}
	})
}
