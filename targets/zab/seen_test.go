package zab

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"assize/machine"
	"assize/machine/jute"
	"assize/targets/zab/tree"
)

// TestZ1ReadsCanBeStale: a follower that has lost its leader, and does not know it yet, answers from what it has.
func TestZ1ReadsCanBeStale(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	lead, follower := h.elect()
	writer, reader := h.connect(lead), h.connect(follower)
	writer.want(jute.OK, creating("/x", "old", 0))
	h.pass(10)
	h.cut = apart(follower.id)
	writer.want(jute.OK, setting("/x", "new", -1))
	if got := reader.want(jute.OK, getting("/x")).Data; string(got) != "old" {
		t.Errorf("read %q", got)
	}
}

// TestZ3SyncThenReadIsFresh while the leader is not deposed.
func TestZ3SyncThenReadIsFresh(t *testing.T) {
	for _, mode := range Modes[1:] {
		h := newHall(t, 1, 3, 1, machine.Options{Read: mode})
		h.delay = 8
		lead, _ := h.elect()
		writer := h.connect(lead)
		var readers []*client
		for _, n := range h.hosts {
			readers = append(readers, h.connect(n))
		}
		writer.want(jute.OK, creating("/x", "", 0))
		for i := range 30 {
			want := fmt.Sprint(i)
			writer.want(jute.OK, setting("/x", want, -1))
			for _, r := range readers {
				r.send(toSync("/x"))
				if got := r.want(jute.OK, getting("/x")).Data; string(got) != want {
					t.Fatalf("%s: n%d read %q, want %q", mode, r.at.id, got, want)
				}
			}
		}
		// What is proposed when the sync comes counts, too, before it is committed.
		reader := h.connect(lead)
		writer.send(setting("/x", "proposed", -1))
		reader.send(toSync("/x"))
		if got := reader.want(jute.OK, getting("/x")).Data; string(got) != "proposed" {
			t.Errorf("%s: read %q", mode, got)
		}
	}
}

// deposed makes a leader that was paused while another one was elected and took a write, and wakes up before its next tick. It gives what a sync and a
// read on it are answered: nothing, or a value.
func deposed(t *testing.T, mode string) string {
	h := newHall(t, 1, 3, 0, machine.Options{Read: mode})
	lead, _ := h.elect()
	reader := h.connect(lead)
	reader.want(jute.OK, creating("/x", "old", 0))
	other := h.depose(lead)
	h.connect(other).want(jute.OK, setting("/x", "new", -1))
	lead.paused = false // what has come meanwhile it will read later
	reader.send(toSync("/x"))
	reader.send(getting("/x"))
	h.resume(lead)
	h.until("an answer or none", func() bool { return len(reader.replies) == 3 || reader.closed })
	if len(reader.replies) < 3 {
		return ""
	}
	return string(reader.replies[2].Data)
}

// TestZ4SyncAsksNoQuorum: ZooKeeper's sync followed by a read is stale on a leader that is deposed and does not know it. A quorum's word closes this.
func TestZ4SyncAsksNoQuorum(t *testing.T) {
	if got := deposed(t, "sync"); got != "old" {
		t.Errorf("sync: read %q, want the stale value", got)
	}
	if got := deposed(t, "quorum-sync"); got == "old" {
		t.Errorf("quorum-sync: read %q", got)
	}
}

// TestZ4AnAnswerIsForItsQuestion: what a quorum has said confirms the syncs that had come before it was asked, and no later one.
func TestZ4AnAnswerIsForItsQuestion(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{Read: "quorum-sync"})
	lead, _ := h.elect()
	a, b := h.connect(lead), h.connect(lead)
	h.cut = apart(lead.id)
	a.send(toSync("/"))
	first := lead.tokens
	b.send(toSync("/"))
	if lead.sure(first); len(lead.syncs) != 1 || lead.syncs[0].token != first+1 || lead.syncs[0].sure {
		t.Errorf("%+v wait", lead.syncs)
	}
}

// behind gives a client that has seen a write of a new leader, and its connection to the old one, which has just woken up.
func behind(t *testing.T, flaw string) (seen, now *client) {
	h := newHall(t, 1, 3, 0, machine.Options{Flaw: flaw})
	lead, follower := h.elect()
	seen = h.connect(follower)
	seen.want(jute.OK, creating("/x", "old", 0))
	h.pass(10)
	other := h.depose(lead)
	seen = h.open(other, seen)
	h.until("reconnected", func() bool { return seen.greeted })
	seen.want(jute.OK, setting("/x", "new", -1))
	seen.drop()
	lead.paused = false // what has come meanwhile it will read later
	return seen, h.open(lead, seen)
}

// depose a leader by a pause, until there is another one.
func (h *hall) depose(lead *host) (other *host) {
	lead.paused = true
	h.until("another leader", func() bool {
		for _, n := range h.hosts {
			if n != lead && n.peer.leads() {
				other = n
			}
		}
		return other != nil
	})
	return other
}

// TestZ5SingleSystemImage: a server that is behind what a client has seen does not take it.
func TestZ5SingleSystemImage(t *testing.T) {
	seen, now := behind(t, "")
	if !now.closed || now.greeted {
		t.Errorf("taken: %+v", now)
	}
	h := seen.h
	h.resume(now.at)
	h.elect()
	again := h.open(now.at, seen)
	h.until("reconnected", func() bool { return again.greeted })
	if got := again.want(jute.OK, getting("/x")).Data; string(got) != "new" {
		t.Errorf("read %q", got)
	}
}

// TestZ7VersionsCompareAndSet: of clients everywhere that set the same version one succeeds.
func TestZ7VersionsCompareAndSet(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	h.elect()
	var all []*client
	for range 3 {
		for _, n := range h.hosts {
			all = append(all, h.connect(n))
		}
	}
	all[0].want(jute.OK, creating("/x", "", 0))
	for version := range int32(20) {
		for i, c := range all {
			c.send(setting("/x", fmt.Sprint(i), version))
		}
		won := 0
		h.until("all are answered", func() bool { return !slices.ContainsFunc(all, func(c *client) bool { return len(c.asked) > 0 }) })
		for _, c := range all {
			switch r := c.replies[len(c.replies)-1]; r.Err {
			case jute.OK:
				won++
			case jute.BadVersion:
			default:
				t.Fatal(r.Err)
			}
		}
		if won != 1 {
			t.Fatalf("version %d: %d have won", version, won)
		}
	}
	if v := all[0].want(jute.OK, setting("/x", "", -1)).Stat.Version; v != 21 {
		t.Errorf("version %d", v)
	}
}

// TestZ8SequentialNames are unique and increase in the order of their transactions, and for each client in the order in which it asked.
func TestZ8SequentialNames(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	h.delay = 5
	h.elect()
	all := []*client{h.connect(h.hosts[0]), h.connect(h.hosts[1]), h.connect(h.hosts[2])}
	all[0].want(jute.OK, creating("/q", "", 0))
	h.pass(30)
	type made struct {
		path string
		zxid int64
	}
	var names []made
	for _, c := range all {
		c.onReply = func(q jute.Request, r jute.Response) {
			if r.Err == jute.OK && q.Op == jute.Create {
				names = append(names, made{r.Path, r.Zxid})
			}
		}
		for i := range 50 {
			c.send(creating("/q/n-", "", []int32{jute.FlagSequential, jute.FlagEphemeralSeq}[i%2]))
		}
	}
	h.until("all are made", func() bool { return len(names) == 150 })
	slices.SortFunc(names, func(a, b made) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(names); i++ {
		if names[i].zxid <= names[i-1].zxid || names[i].path == names[i-1].path {
			t.Fatalf("%+v after %+v", names[i], names[i-1])
		}
	}
	// Not even what has been deleted, or has gone with its session, leaves its number to another.
	last := names[len(names)-1]
	all[0].want(jute.OK, jute.Request{Op: jute.Delete, Path: last.path, Version: -1})
	all[1].want(jute.OK, jute.Request{Op: jute.CloseSession})
	if r := all[2].want(jute.OK, creating("/q/n-", "", jute.FlagSequential)); r.Path <= last.path {
		t.Errorf("%s after %s", r.Path, last.path)
	}
	if n := h.leader().ahead.Pending(); n != 0 {
		t.Errorf("%d changes are pending that have been applied", n)
	}
}

// order of what a connection that watches and writes is told.
func watched(t *testing.T, flaw string) []string {
	h := newHall(t, 1, 3, 0, machine.Options{Flaw: flaw})
	_, follower := h.elect()
	c, d := h.connect(follower), h.connect(follower)
	c.want(jute.OK, creating("/x", "1", 0))
	d.want(jute.OK, watching("/x"))
	c.want(jute.OK, watching("/x"))
	c.told, d.told = nil, nil
	c.send(setting("/x", "2", -1))
	c.send(getting("/x"))
	c.send(setting("/x", "3", -1))
	for len(c.asked) > 0 {
		d.do(getting("/x"))
		h.pass(1)
	}
	// The other one: no new data before the event, which comes once.
	seen := slices.IndexFunc(d.told, func(s string) bool { return strings.HasPrefix(s, "event") })
	data := slices.IndexFunc(d.told, func(s string) bool { return strings.HasSuffix(s, " 2") || strings.HasSuffix(s, " 3") })
	if len(d.events) != 1 || seen < 0 || data >= 0 && data < seen {
		t.Errorf("told %q", d.told)
	}
	return c.told
}

// TestZ10WatchesComeFirst: an event comes before the data it announces, before the writer's own reply, and once.
func TestZ10WatchesComeFirst(t *testing.T) {
	want := []string{"event 3 /x", "setData /x ok ", "getData /x ok 2", "setData /x ok "}
	if got := watched(t, ""); !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
	// So does what waits behind a sync for the write to be committed.
	h := newHall(t, 1, 3, 0, machine.Options{Read: "sync"})
	lead, _ := h.elect()
	c, d := h.connect(lead), h.connect(lead)
	c.want(jute.OK, creating("/x", "1", 0))
	d.want(jute.OK, watching("/x"))
	d.told = nil
	c.send(setting("/x", "2", -1))
	d.send(toSync("/x"))
	d.want(jute.OK, getting("/x"))
	if want := []string{"event 3 /x", "sync /x ok ", "getData /x ok 2"}; !slices.Equal(d.told, want) {
		t.Errorf("told %q", d.told)
	}
}

func TestWatchesOfEachKind(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	lead, follower := h.elect()
	c, w := h.connect(follower), h.connect(lead)
	c.want(jute.OK, jute.Request{Op: jute.AddWatch, Path: "/p", Mode: jute.WatchRecursive})
	c.want(jute.NoNode, jute.Request{Op: jute.Exists, Path: "/q", Watch: true})
	c.want(jute.OK, jute.Request{Op: jute.CheckWatches, Path: "/p", Mode: jute.WatcherAny})
	w.want(jute.OK, creating("/p", "", 0))
	w.want(jute.OK, creating("/p/a", "", 0))
	w.want(jute.OK, creating("/q", "", 0))
	w.want(jute.OK, setting("/p/a", "x", -1))
	h.pass(10)
	c.want(jute.OK, jute.Request{Op: jute.RemoveWatches, Path: "/p", Mode: jute.WatcherAny})
	w.want(jute.OK, setting("/p/a", "y", -1))
	h.pass(10)
	want := []jute.Event{{Type: 1, State: 3, Path: "/p"}, {Type: 1, State: 3, Path: "/p/a"}, {Type: 1, State: 3, Path: "/q"}, {Type: 3, State: 3, Path: "/p/a"}}
	if !slices.Equal(c.events, want) {
		t.Errorf("events %v", c.events)
	}
	// Away, and back: what was missed is told, the rest is armed.
	zxid := c.lastZxid
	c.drop()
	w.want(jute.OK, setting("/q", "z", -1))
	h.pass(10)
	c = h.open(follower, c)
	h.until("reconnected", func() bool { return c.greeted })
	c.want(jute.OK, jute.Request{Op: jute.SetWatches, Xid: jute.XidSetWatches, Watches: jute.Watches{
		RelativeZxid: zxid, Data: []string{"/q", "/p", "/gone"}, Child: []string{"/p"}, Exist: []string{"/new", "/q"},
	}})
	w.want(jute.OK, creating("/new", "", 0))
	h.pass(10)
	want = []jute.Event{{Type: 3, State: 3, Path: "/q"}, {Type: 2, State: 3, Path: "/gone"}, {Type: 1, State: 3, Path: "/q"}, {Type: 1, State: 3, Path: "/new"}}
	if !slices.Equal(c.events, want) {
		t.Errorf("events %v", c.events)
	}
	h.open(follower, nil).drop()
	d := h.connect(follower)
	d.want(jute.OK, watching("/p"))
	if r := follower.Report(false); r.Data.Watches != 2 || len(r.Connections) != 2 || r.Connections[1].Watched != nil {
		t.Errorf("report %+v", r)
	}
	c.want(jute.OK, watching("/q"))
	c.want(jute.OK, watching("/new"))
	d.want(jute.OK, watching("/new"))
	if r := follower.Report(true); !slices.Equal(r.Connections[0].Watched, []string{"/new", "/p", "/q"}) || !slices.Equal(r.Connections[1].Watched, []string{"/new", "/p"}) {
		t.Errorf("report %+v", r)
	}
	c.want(jute.OK, setting("/q", "fires", -1))
	w.want(jute.OK, setting("/new", "fires", -1))
	h.pass(10)
	d.drop()
	if r := follower.Report(false); r.Data.Watches != 1 || r.Child.Watches != 1 || len(r.Connections) != 1 || r.Connections[0].Session != c.session {
		t.Errorf("report %+v", r)
	}
}

// TestZ12Multi is all or nothing, and tells which operation has failed.
func TestZ12Multi(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	_, follower := h.elect()
	c := h.connect(follower)
	c.want(jute.OK, creating("/a", "1", 0))
	part := func(q jute.Request) jute.Request { q.Xid = 0; return q }
	check := jute.Request{Op: jute.Check, Path: "/a", Version: 0}
	r := c.do(jute.Request{Op: jute.Multi, Sub: []jute.Request{check, part(creating("/b", "", 0)), part(setting("/a", "2", 0)), {Op: jute.Delete, Path: "/b", Version: -1}}})
	if r.Err != jute.OK || r.Sub[0].Err != jute.OK || r.Sub[1].Path != "/b" || r.Sub[2].Stat.Version != 1 || r.Sub[3].Err != jute.OK {
		t.Fatalf("%+v", r)
	}
	r = c.do(jute.Request{Op: jute.Multi, Sub: []jute.Request{part(creating("/b", "", 0)), check, part(setting("/a", "3", -1))}})
	got := []jute.Code{r.Err, r.Sub[0].Err, r.Sub[1].Err, r.Sub[2].Err}
	if want := []jute.Code{jute.OK, jute.OK, jute.BadVersion, jute.RuntimeInconsistency}; !slices.Equal(got, want) {
		t.Errorf("failed as %v", got)
	}
	c.want(jute.NoNode, exists("/b"))
	if d := c.want(jute.OK, getting("/a")).Data; string(d) != "2" {
		t.Errorf("data %q", d)
	}
	// Nor does what is asked for before the refusal is committed see any of it.
	c.send(jute.Request{Op: jute.Multi, Sub: []jute.Request{part(creating("/b", "", 0)), part(setting("/a", "3", -1)), check}})
	c.send(creating("/b", "", 0))
	if v := c.want(jute.OK, setting("/a", "4", 1)).Stat.Version; v != 2 || c.replies[len(c.replies)-2].Err != jute.OK {
		t.Errorf("version %d; /b: %v", v, c.replies[len(c.replies)-2].Err)
	}
}

// TestZ13ACLs let no one in who does not match.
func TestZ13ACLs(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{Super: "super:D/InIHSb7yEEbrWz8b9l71RjZJU="})
	lead, follower := h.elect()
	login := func(s string) jute.Request {
		return jute.Request{Op: jute.Auth, Xid: jute.XidAuth, Scheme: "digest", Auth: []byte(s)}
	}
	ann, bob, root := h.connect(follower), h.connect(follower), h.connect(lead)
	if r := ann.want(jute.OK, login("ann:1")); r.Zxid != 0 {
		t.Errorf("zxid %#x of an auth", r.Zxid)
	}
	bob.want(jute.OK, login("bob:2"))
	root.want(jute.OK, login("super:test"))
	q := creating("/a", "x", 0)
	q.ACL = []jute.ACL{{Perms: jute.PermAll, ID: tree.Digest("ann:1")}}
	ann.want(jute.OK, q)
	ann.want(jute.OK, creating("/a/b", "", 0))
	q.Path, q.ACL = "/ip", []jute.ACL{{Perms: jute.PermRead, ID: jute.ID{Scheme: "ip", ID: "10.0.0.0/24"}}}
	ann.want(jute.OK, q)
	for c, code := range map[*client]jute.Code{ann: jute.OK, bob: jute.NoAuth, root: jute.OK} {
		c.want(jute.OK, toSync("/"))
		c.want(code, watching("/a"))
		c.want(code, setting("/a", "y", -1))
		c.want(jute.OK, getting("/ip"))
		if c != root {
			c.want(jute.NoAuth, setting("/ip", "", -1))
		}
	}
	q = jute.Request{Op: jute.SetACL, Path: "/a", ACL: everyone, Version: -1}
	for _, q := range []jute.Request{creating("/a/c", "", 0), {Op: jute.Delete, Path: "/a/b", Version: -1}, q, {Op: jute.GetACL, Path: "/a"}} {
		bob.want(jute.NoAuth, q)
	}
	far := &client{h: h, at: lead, conn: 999, address: "10.0.1.7"}
	h.clients[far.conn] = far
	far.frame(jute.ConnectRequest{Timeout: 1000}.Encode())
	h.until("the session is open", func() bool { return far.greeted })
	far.want(jute.NoAuth, getting("/ip"))
	if r := ann.want(jute.OK, jute.Request{Op: jute.WhoAmI}); fmt.Sprint(r.IDs) != "[{ip 10.0.0.7} {digest ann}]" {
		t.Errorf("I am %v", r.IDs)
	}
	// Of what bob may not read he is not told either.
	bob.want(jute.OK, jute.Request{Op: jute.AddWatch, Path: "/a", Mode: jute.WatchPersistent})
	ann.want(jute.OK, jute.Request{Op: jute.AddWatch, Path: "/a", Mode: jute.WatchPersistent})
	root.want(jute.OK, setting("/a", "z", -1))
	h.pass(10)
	if len(bob.events) > 0 || len(ann.events) == 0 {
		t.Errorf("bob was told of %v, ann of %v", bob.events, ann.events)
	}
}

// TestZ14Failures: four servers survive one failure, as three do; five survive two. Not one more.
func TestZ14Failures(t *testing.T) {
	for voters, survives := range map[int]int{3: 1, 4: 1, 5: 2} {
		h := newHall(t, 1, voters, 0, machine.Options{})
		for dead := range survives {
			lead, _ := h.elect()
			h.crash(lead)
			lead, _ = h.elect()
			h.connect(lead).want(jute.OK, creating(fmt.Sprint("/", dead), "", 0))
		}
		lead, _ := h.elect()
		h.crash(lead)
		h.pass(1000)
		for _, n := range h.hosts {
			if n.up && n.peer.serves() {
				t.Errorf("%d servers, %d of them dead: n%d serves", voters, survives+1, n.id)
			}
		}
	}
}

// TestContainersAndTTLNodes go some time after their last child, or write.
func TestContainersAndTTLNodes(t *testing.T) {
	h := newHall(t, 1, 3, 0, machine.Options{})
	_, follower := h.elect()
	c := h.connect(follower)
	q := creating("/c", "", jute.FlagContainer)
	q.Op = jute.CreateContainer
	c.want(jute.OK, q)
	c.want(jute.OK, creating("/c/x", "", 0))
	q = creating("/t", "", jute.FlagTTL)
	q.Op, q.TTL = jute.CreateTTL, 500
	c.want(jute.OK, q)
	c.want(jute.OK, jute.Request{Op: jute.Delete, Path: "/c/x", Version: -1})
	h.until("both have gone", func() bool {
		return c.do(exists("/c")).Err == jute.NoNode && c.do(exists("/t")).Err == jute.NoNode
	})
}
