package zab

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"assize/machine"
	"assize/machine/jute"
	"assize/targets/zab/tree"
)

func TestPassword(t *testing.T) {
	// new java.util.Random(42).nextInt() is -1170105035; nextBytes gives its lowest byte first.
	p := passwordOf(42 ^ secret)
	if got := int32(binary.LittleEndian.Uint32(p[:])); got != -1170105035 {
		t.Errorf("got %d", got)
	}
}

func TestHandshake(t *testing.T) {
	for _, at := range []string{"leader", "follower", "observer"} {
		t.Run(at, func(t *testing.T) {
			h := newHall(t, 1, 3, 1, machine.Options{})
			n, follower := h.elect()
			switch at {
			case "follower":
				n = follower
			case "observer":
				n = h.hosts[3]
			}
			c := h.connect(n)
			if uint64(c.session)>>56 != uint64(n.id) || c.timeout != 1000 || len(c.password) != 16 {
				t.Fatalf("session %#x, %d ms", c.session, c.timeout)
			}
			c.want(jute.OK, creating("/a", "1", 0))

			// The session comes back on another connection: the old one of this server is closed, before the password is looked at.
			thief := h.open(n, &client{session: c.session, password: make([]byte, 16)})
			if !c.closed || !thief.closed || !thief.greeted || !thief.expired {
				t.Errorf("old %v, new %+v", c.closed, thief)
			}
			again := h.open(n, c)
			h.until("reconnected", func() bool { return again.greeted })
			if again.expired || again.session != c.session || again.timeout != c.timeout {
				t.Errorf("reconnected as %+v", again)
			}
			again.want(jute.OK, getting("/a"))

			// Nobody has had this session.
			ghost := &client{session: c.session + 77, timeout: 1000}
			p := passwordOf(ghost.session)
			ghost.password = p[:]
			stranger := h.open(n, ghost)
			h.until("refused", func() bool { return stranger.closed })
			if !stranger.greeted || !stranger.expired {
				t.Errorf("a stranger was told %+v", stranger)
			}

			// Whoever has seen more than this server has goes elsewhere.
			ahead := h.open(n, &client{lastZxid: n.tree.Zxid() + 1})
			if !ahead.closed || ahead.greeted {
				t.Errorf("a client that is ahead was told %+v", ahead)
			}
			rubbish := &client{h: h, at: n, conn: 999, seq: 0}
			h.clients[999] = rubbish
			rubbish.frame([]byte{1, 2, 3})
			if !rubbish.closed || rubbish.greeted {
				t.Error("rubbish was not sent away")
			}
		})
	}
}

// TestLastZxidSeen: a client that has seen exactly what a server has is taken, one that has seen one transaction more goes elsewhere, with a session and
// without (claim Z5). No run can tell this limit from one that is a few transactions off: a server asks its leader whether a session is valid, and the
// answer comes behind all that the leader had committed by then, and so behind what the client has seen; where the leader is another than the client's,
// the zxids differ in their epochs.
func TestLastZxidSeen(t *testing.T) {
	h := newHall(t, 4, 3, 1, machine.Options{})
	lead, follower := h.elect()
	c := h.connect(lead)
	c.want(jute.OK, creating("/a", "1", 0))
	h.pass(50)
	for _, n := range []*host{lead, follower, h.hosts[3]} {
		for _, past := range []int64{0, 1} {
			fresh := h.open(n, &client{lastZxid: n.tree.Zxid() + past})
			h.until("answered", func() bool { return fresh.greeted || fresh.closed })
			if taken := fresh.greeted && !fresh.expired; taken != (past == 0) {
				t.Errorf("n%d, a new client that has seen %d more: taken is %v", n.id, past, taken)
			}
			h.pass(50)
			back := h.open(n, &client{session: c.session, password: c.password, timeout: c.timeout, lastZxid: n.tree.Zxid() + past})
			h.until("answered", func() bool { return back.greeted || back.closed })
			if taken := back.greeted && !back.expired; taken != (past == 0) {
				t.Errorf("n%d, a client that comes back and has seen %d more: taken is %v", n.id, past, taken)
			}
		}
	}
}

func TestTimeoutsAreClamped(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{SessionTick: 500 * time.Millisecond})
	lead, _ := h.elect()
	for asked, want := range map[int32]int32{-5: 1000, 0: 1000, 1500: 1500, 99999: 10000} {
		h.conns += 2
		c := &client{h: h, at: lead, conn: h.conns}
		h.clients[c.conn] = c
		c.frame(jute.ConnectRequest{Timeout: asked, HasReadOnly: true}.Encode())
		h.until("connected", func() bool { return c.greeted })
		if c.timeout != want {
			t.Errorf("asked for %d, got %d, want %d", asked, c.timeout, want)
		}
	}
}

// TestNobodyIsServedWhileLooking is claim E1, as clients see it: their connections are closed.
func TestNobodyIsServedWhileLooking(t *testing.T) {
	h := newHall(t, 2, 3, 0, machine.Options{})
	early := h.open(h.hosts[0], nil)
	if !early.closed || early.greeted {
		t.Error("a server that is LOOKING takes clients")
	}
	lead, follower := h.elect()
	c, d := h.connect(lead), h.connect(follower)
	h.cut = apart(lead.id)
	h.until("the leader has stepped down", func() bool { return c.closed })
	h.until("its followers have left it", func() bool { return d.closed })
	if lead.Report(false).Mode != machine.Looking || len(lead.Report(false).Connections) != 0 {
		t.Errorf("report %+v", lead.Report(false))
	}
	h.cut = apart()
	_, follower = h.elect()
	e := h.open(follower, c)
	h.until("reconnected", func() bool { return e.greeted })
	if e.expired {
		t.Error("the session did not outlive the leader")
	}
}

// TestSessionsOfTwoLives are not the same, also where the clock was set back in between.
func TestSessionsOfTwoLives(t *testing.T) {
	made := map[int64]bool{}
	for seed := range uint64(20) {
		s := New(machine.Config{ID: 1, Voters: []int{1}, Seed: seed}).(*Server)
		for range 3 {
			made[s.newSession()] = true
		}
	}
	if len(made) != 60 {
		t.Errorf("%d different sessions of 60", len(made))
	}
}

// TestSessionMoved: what still comes through the connection that a session has left is not done, and that connection closed without an answer.
func TestSessionMoved(t *testing.T) {
	for _, q := range []jute.Request{creating("/late", "", 0), toSync("/"), exists("/")} {
		h := newHall(t, 3, 3, 0, machine.Options{})
		lead, follower := h.elect()
		for i, way := range [][2]*host{{lead, follower}, {follower, lead}} {
			old := h.connect(way[0])
			now := h.open(way[1], old)
			h.until("moved", func() bool { return now.greeted })
			if way[0] == follower {
				old.want(jute.NoNode, exists("/late"))
			}
			if way[0] == follower && q.Op == jute.Exists {
				continue
			}
			answered := len(old.replies)
			old.send(q)
			h.until("the old connection is closed", func() bool { return old.closed })
			if len(old.replies) > answered {
				t.Errorf("it was answered %+v", old.replies[answered])
			}
			now.want(jute.NoNode, exists("/late"))
			now.want(jute.OK, creating([]string{"/a", "/b"}[i], "", 0))
			now.drop()
			h.pass(10) // all have what it has seen
			back := h.open(way[0], now)
			h.until("the session is kept", func() bool { return back.greeted })
			if h.until("it has expired", func() bool { return back.closed }); back.expired {
				t.Errorf("%v on the connection that it had left has ended the session", q.Op)
			}
		}
	}
}

// TestCloseOfASessionThatHasMoved: whoever knows a session can end it, also on a connection that it has left, and its new one ends with it.
func TestCloseOfASessionThatHasMoved(t *testing.T) {
	h := newHall(t, 3, 3, 0, machine.Options{})
	lead, follower := h.elect()
	for _, way := range [][2]*host{{lead, follower}, {follower, lead}} {
		old := h.connect(way[0])
		old.want(jute.OK, creating("/mine", "", jute.FlagEphemeral))
		h.pass(20) // the other server hears of it, too
		now := h.open(way[1], old)
		h.until("moved", func() bool { return now.greeted })
		old.want(jute.OK, jute.Request{Op: jute.CloseSession})
		h.until("its connection is closed", func() bool { return now.closed })
		h.connect(way[1]).want(jute.NoNode, exists("/mine"))
	}
}

// TestOddRequests: those before the handshake is answered wait, and those that nobody knows end the connection.
func TestOddRequests(t *testing.T) {
	h := newHall(t, 4, 3, 0, machine.Options{Super: "super:D/InIHSb7yEEbrWz8b9l71RjZJU="})
	_, follower := h.elect()
	c := h.open(follower, nil)
	c.send(creating("/a", "x", 0))
	c.send(getting("/a"))
	h.until("both are answered", func() bool { return len(c.replies) == 2 })
	if string(c.replies[1].Data) != "x" {
		t.Errorf("read %+v", c.replies[1])
	}
	c.want(jute.Unimplemented, jute.Request{Op: jute.Check, Path: "/a", Version: -1})
	c.want(jute.ReconfigDisabled, jute.Request{Op: jute.Reconfig})
	c.want(jute.OK, jute.Request{Op: jute.SASL, Body: []byte{0, 0, 0, 1, 'x'}})
	c.want(jute.MarshallingError, jute.Request{Op: jute.AddWatch, Path: "/a", Mode: 7})
	c.want(jute.NoWatcher, jute.Request{Op: jute.RemoveWatches, Path: "/a", Mode: jute.WatcherAny})
	before, answered := follower.tree.Zxid(), len(c.replies)
	c.asked = append(c.asked, jute.Request{Xid: 70, Op: jute.Delete})
	c.frame([]byte{0, 0, 0, 70, 0, 0, 0, byte(jute.Delete), 0})
	h.until("it is answered", func() bool { return len(c.replies) > answered })
	if got := c.replies[answered]; got.Err != jute.MarshallingError || got.Xid != 70 || got.Zxid != before+1 || c.closed {
		t.Errorf("a malformed request after %#x: %+v", before, got)
	}
	if r := c.want(jute.OK, ping()); r.Zxid != follower.tree.Zxid() {
		t.Errorf("a ping: %+v", r)
	}
	r := c.want(jute.Unimplemented, jute.Request{Op: 4711})
	if r.Zxid != -1 || !c.closed {
		t.Errorf("an unknown operation: %+v, closed %v", r, c.closed)
	}
	c = h.connect(follower)
	c.frame([]byte{0, 0, 0, 1, 0, 0, 0, byte(jute.Auth), 0})
	if !c.closed {
		t.Error("a malformed auth: the connection is open")
	}
	for _, body := range [][]byte{nil, {0, 0, 0, 1}, {0xff, 0xff, 0xff, 0xff}} {
		c = h.connect(follower)
		q := jute.Request{Op: jute.SASL, Body: body}
		if c.frame(q.Encode()); !c.closed {
			t.Errorf("a token of %x: the connection is open", body)
		}
	}
	c = h.connect(follower)
	c.frame([]byte{1})
	if !c.closed {
		t.Error("half a header: the connection is open")
	}
	c = h.connect(follower)
	c.want(jute.AuthFailed, jute.Request{Op: jute.Auth, Xid: jute.XidAuth, Scheme: "kerberos"})
	if !c.closed {
		t.Error("authentication has failed: the connection is open")
	}
}

func TestReport(t *testing.T) {
	h := newHall(t, 1, 3, 1, machine.Options{})
	lead, follower := h.elect()
	c := h.connect(follower)
	h.connect(follower)
	c.want(jute.OK, creating("/e", "data", jute.FlagEphemeral))
	c.want(jute.OK, watching("/e"))
	h.pass(10)
	c.send(setting("/e", "more", -1))
	for n, mode := range map[*host]string{lead: "leader", follower: "follower", h.hosts[3]: "observer"} {
		r := n.Report(false)
		if !r.Serving || r.Mode != mode || r.Zxid != n.tree.Zxid() || r.Nodes != 5 || r.Ephemerals != 1 || len(r.Sessions) != 2 {
			t.Errorf("report %+v", r)
		}
		if len(r.Owners) != 1 || r.Owners[0].ID != c.session || !slices.Equal(r.Owners[0].Paths, []string{"/e"}) {
			t.Errorf("owners %+v", r.Owners)
		}
	}
	if r := lead.Report(false); r.Learners != 3 || r.Synced != 3 {
		t.Errorf("report %+v", r)
	}
	r := follower.Report(false)
	if len(r.Connections) != 2 || r.Outstanding != 1 || r.Data.Watches != 1 || r.Connections[0].Conn > r.Connections[1].Conn {
		t.Fatalf("report %+v", r)
	}
	one := r.Connections[0]
	if one.Session != c.session || one.LastZxid != c.lastZxid {
		t.Errorf("connection %+v", one)
	}
	h.pass(10)
	digests(t, h, c)
	at := lead.Status().Applied
	_, a, _ := lead.Entry(at)
	term, b, ok := follower.Entry(at)
	if !ok || term != 1 || string(a) != string(b) || follower.Changed() == 0 {
		t.Errorf("entry %d is %x and %x", at, a, b)
	}
}

// digests are kept of every 128th transaction, by all servers the same, and in a whole report only.
func digests(t *testing.T, h *hall, c *client) {
	t.Helper()
	var want []machine.DigestReport
	for range 300 {
		c.want(jute.OK, setting("/e", "again", -1))
		if s := c.at; s.tree.Zxid()%128 == 0 {
			want = append(want, machine.DigestReport{Zxid: s.tree.Zxid(), Hash: s.tree.Hash()})
		}
	}
	h.pass(10)
	for _, s := range h.hosts[1:] {
		if got := s.Report(true).Digests; len(want) != 2 || !slices.Equal(got, want) || s.Report(false).Digests != nil {
			t.Errorf("digests %v and %v, want %v", got, s.Report(false).Digests, want)
		}
	}
}

// TestDigestsAreBounded: the oldest ones go.
func TestDigestsAreBounded(t *testing.T) {
	s := &Server{tree: tree.New()}
	for zxid := range int64(digestEvery * (digestsKept + 3)) {
		s.digest(zxid)
	}
	if n := len(s.digests); n != digestsKept || s.digests[0].Zxid != 3*digestEvery || s.digests[n-1].Zxid != (digestsKept+2)*digestEvery {
		t.Errorf("%d digests, from %d to %d", n, s.digests[0].Zxid, s.digests[n-1].Zxid)
	}
}
