package zab

import (
	"testing"
	"time"

	"assize/machine"
	"assize/machine/jute"
)

// TestZ9EphemeralNodes go with their session, when it is closed and when it has expired, and not before: not when the connection breaks, and not when
// the leader does.
func TestZ9EphemeralNodes(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	lead, follower := h.elect()
	c := h.connect(follower)
	c.want(jute.OK, creating("/e", "", jute.FlagEphemeral))
	c.want(jute.NoChildrenForEphemerals, creating("/e/child", "", 0))
	c.drop()
	h.pass(20)
	h.connect(lead).want(jute.OK, exists("/e"))
	h.crash(lead)
	h.pass(20)
	n, _ := h.elect()
	c = h.open(n, c)
	h.until("reconnected", func() bool { return c.greeted })
	if r := c.want(jute.OK, exists("/e")); c.expired || r.Stat.EphemeralOwner != c.session {
		t.Fatalf("after the leader's death: %+v", r)
	}
	other := h.connect(n)
	c.want(jute.OK, jute.Request{Op: jute.CloseSession})
	if !c.closed {
		t.Error("closed session, open connection")
	}
	other.want(jute.NoNode, exists("/e"))
	back := h.open(n, c)
	h.until("refused", func() bool { return back.closed })
	if !back.expired {
		t.Error("a closed session is taken up again")
	}
}

// TestZ11Expiry is late by two ticks of the sessions and the news' way at most, and never early, wherever the client is; it is told when it comes back. Whatever it asks
// for keeps a session alive. Where the leader's clock goes back sessions live longer.
func TestZ11Expiry(t *testing.T) {
	for seed := range uint64(60) {
		h := newHall(t, seed, 3, 1, machine.Options{})
		h.delay = int(seed % 3)
		lead, follower := h.elect()
		n := []*host{lead, follower, h.hosts[3]}[seed%3]
		watcher, c, other := h.connect(lead), h.connect(n), h.connect(n)
		c.want(jute.OK, creating("/e", "", jute.FlagEphemeral))
		jump := 0
		for range 20 {
			heard, gap := h.now, []int{h.rand.IntN(100), 99}[h.rand.IntN(2)]
			for c.want(jute.OK, []jute.Request{ping(), exists("/e"), getting("/e"), setting("/e", "", -1), toSync("/e")}[h.rand.IntN(5)]); h.now < heard+gap; h.pass(1) {
				if h.now%20 == 0 {
					watcher.do(ping())
				}
				if h.rand.IntN(6) == 0 { // so that what is heard of c is told with a delay
					other.do(ping())
				}
			}
			if h.rand.IntN(5) == 0 {
				jump = 3
				lead.back += time.Duration(jump) * beat
			}
		}
		if c.closed {
			t.Fatalf("seed %d: expired while it was heard of", seed)
		}
		c.want(jute.OK, ping())
		silent := h.now
		lead.back += 5 * time.Second
		h.until("the session has expired", func() bool {
			watcher.send(ping())
			return watcher.do(exists("/e")).Err == jute.NoNode
		})
		if gone := (h.now - silent) * 10; gone < 1000 || gone > 1000+400+250 {
			t.Errorf("seed %d: expired after %d ms, the time-out is 1000", seed, gone)
		}
		h.pass(10)
		back := h.open(n, c)
		h.until("refused", func() bool { return back.closed })
		if !back.expired || !c.closed {
			t.Errorf("seed %d: the client was told %+v", seed, back)
		}
	}
}

// TestComingBackGivesTheFullTimeout, wherever the client comes back and however little of it was left.
func TestComingBackGivesTheFullTimeout(t *testing.T) {
	h := newHall(t, 1, 3, 1, machine.Options{})
	h.elect()
	for _, n := range h.hosts {
		c := h.connect(n)
		h.pass(90)
		c.drop()
		back := h.open(n, c)
		h.until("reconnected", func() bool { return back.greeted })
		since := h.now
		h.until("it has expired", func() bool { return back.closed })
		if after := h.now - since; after < 100 || after > 145 {
			t.Errorf("n%d: expired %d ms after it came back, the time-out is 1000", n.id, 10*after)
		}
	}
}

// TestNewLeaderGivesFullTimeouts to sessions of which nothing was heard for nearly all of theirs.
func TestNewLeaderGivesFullTimeouts(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	lead, follower := h.elect()
	c := h.connect(follower)
	c.want(jute.OK, creating("/e", "", jute.FlagEphemeral))
	h.pass(90)
	h.crash(lead)
	n, _ := h.elect()
	elected := h.now
	h.until("it has expired", func() bool { _, open := n.tree.Session(c.session); return !open })
	if after := h.now - elected; after < 90 || after > 150 {
		t.Errorf("expired %d ms after the election", 10*after)
	}
}

// TestDeposedLeaderTellsOfItsClients: a server that has led, and follows now, tells the new leader whom it has heard of.
func TestDeposedLeaderTellsOfItsClients(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	old, _ := h.elect()
	h.connect(old)
	h.cut = apart(old.id)
	h.until("it has stepped down", func() bool { return !old.peer.leads() })
	h.pass(100)
	h.cut = apart()
	if lead, _ := h.elect(); lead == old {
		t.Fatal("it leads")
	}
	c := h.connect(old)
	for range 30 {
		c.want(jute.OK, ping())
		h.pass(50)
	}
	if c.closed {
		t.Error("expired while it was heard of")
	}
}

// TestRestartKeepsSessions: when all servers have died their sessions go on in those that come back, also in one that is alone and leads without a word
// from anybody. Who comes back within his time-out has his own; who does not loses it.
func TestRestartKeepsSessions(t *testing.T) {
	for _, voters := range []int{1, 2, 3} {
		h := newHall(t, 1, voters, 0, machine.Options{})
		lead, _ := h.elect()
		kept, lost := h.connect(lead), h.connect(lead)
		lost.want(jute.OK, creating("/lost", "", jute.FlagEphemeral))
		kept.want(jute.OK, creating("/kept", "", jute.FlagEphemeral))
		h.pass(5)
		for _, n := range h.hosts {
			h.crash(n)
		}
		for _, n := range h.hosts {
			h.start(n)
		}
		lead, _ = h.elect()
		back := h.open(lead, kept)
		h.until("answered", func() bool { return back.greeted || back.closed })
		if back.expired || back.session != kept.session {
			t.Fatalf("%d servers: the session of before is refused", voters)
		}
		back.want(jute.OK, exists("/lost"))
		h.until("the session of whoever has not come back has expired", func() bool {
			back.send(ping())
			return back.do(exists("/lost")).Err == jute.NoNode
		})
		back.want(jute.OK, exists("/kept"))
	}
}

// TestPausedLeaderExpiresNobody at once when it wakes up: its clock has gone on, and what the clients have said meanwhile is still to be read.
func TestPausedLeaderExpiresNobody(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{SessionTick: 50 * time.Millisecond})
	lead, follower := h.elect()
	h.conns += 2
	c := &client{h: h, at: follower, conn: h.conns}
	h.clients[c.conn] = c
	c.frame(jute.ConnectRequest{Timeout: 1, HasReadOnly: true}.Encode())
	h.until("the session is open", func() bool { return c.greeted })
	lead.paused = true
	for range 26 {
		h.pass(1)
		c.send(ping())
	}
	lead.paused = false
	h.step(lead, machine.Event{})
	h.resume(lead)
	for range 50 {
		h.pass(1)
		c.send(ping())
	}
	if c.closed {
		t.Error("expired")
	}
}
