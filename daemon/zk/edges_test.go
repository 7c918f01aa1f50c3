package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"assize/machine/jute"
)

// TestClientsCannotTellAtTheEdges: what no client library sends, and what is a limit.
func TestClientsCannotTellAtTheEdges(t *testing.T) {
	d := newDuel(t, 2)
	for _, c := range []struct {
		name string
		try  func(*duel)
	}{
		{"operations", edgeOperations}, {"malformed", edgeMalformed}, {"auth", edgeAuth}, {"sizes", edgeSizes}, {"handshakes", edgeHandshakes}, {"watches", edgeWatches},
		{"sessions", edgeSessions},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.TB, d.apache.TB, d.assize.TB, d.steps = t, t, t, nil
			c.try(d)
		})
	}
}

// payload of a request with a body as it is.
func payload(xid int32, op jute.Op, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(xid))
	return append(binary.BigEndian.AppendUint32(b, uint32(op)), body...)
}

// edgeOperations: those that are not a client's to ask for, or nobody's.
func edgeOperations(d *duel) {
	bodies := [][]byte{nil, {0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 2, '/', 'a'}, {0, 0, 0, 2, '/', 'a', 0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0xff}, 20), {0, 0, 0, 1, '/', 0xff, 0xff, 0xff, 0xff}}
	for _, op := range []jute.Op{
		jute.Notify, 10, jute.Check, jute.Reconfig, jute.DeleteContainer, 23, 99, jute.SASL, 108, 1000, -2, -12, jute.Failure, 1<<31 - 1, -1 << 31,
	} {
		for _, body := range bodies {
			if op == jute.Check && len(body) == 9 || op == jute.Reconfig && len(body) < 20 {
				continue // a check that holds is not answered by ZooKeeper at all, and a malformed reconfig no matter
			}
			d.raw(0, op, payload(7, op, body...), fmt.Sprintf("%v %x", op, body))
		}
	}
	for _, xid := range []int32{0, 1, -3, -5, -9, 1<<31 - 1, -1 << 31, jute.XidPing, jute.XidAuth, jute.XidSetWatches} {
		d.ask(0, jute.Request{Xid: xid, Op: jute.Exists, Path: "/"})
	}
}

// edgeMalformed requests of all kinds: cut off anywhere, with counts and lengths that are too great or below zero, and with more behind them.
func edgeMalformed(d *duel) {
	r := &draw{Rand: rand.New(rand.NewPCG(2, 2))}
	for _, op := range []jute.Op{
		jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL, jute.Delete, jute.SetData, jute.SetACL, jute.Exists, jute.GetData, jute.GetACL, jute.GetChildren, jute.GetChildren2, jute.Sync,
		jute.Multi, jute.MultiRead, jute.RemoveWatches, jute.GetEphemerals, jute.CountChildren, jute.AddWatch, jute.WhoAmI, jute.SetWatches, jute.SetWatches2, jute.Auth, jute.Ping,
	} {
		for range 12 {
			q := r.part(op)
			for op == jute.Multi && len(q.Sub) == 0 {
				q = r.part(op)
			}
			q.Xid, q.Scheme, q.Watches.RelativeZxid = 9, "digest", 1<<62
			whole := q.Encode()
			n := 8 + r.IntN(len(whole)-7)
			d.raw(0, op, whole[:n], fmt.Sprintf("%d bytes of %v %s", n, op, brief(q)))
			d.raw(0, op, append(bytes.Clone(whole), 1, 2, 3), fmt.Sprintf("3 bytes more than %v %s", op, brief(q)))
			if len(whole) < 12 {
				continue
			}
			at := 8 + r.IntN(len(whole)-11)
			copy(whole[at:], pick(r, "\xff\xff\xff\xff", "\x7f\xff\xff\xff", "\x80\x00\x00\x00", "\x00\x00\x00\x00", "\x00\x10\x00\x00", "\xff\xff\xff\xfe"))
			d.raw(0, op, whole, fmt.Sprintf("%v %x", op, whole))
		}
	}
	for n := range 8 {
		d.raw(0, jute.Exists, make([]byte, n), fmt.Sprintf("%d bytes", n))
	}
}

func edgeAuth(d *duel) {
	for _, scheme := range []string{"digest", "ip", "world", "auth", "super", "sasl", "x509", "", "Digest", "none"} {
		for _, who := range []string{"", ":", "a", "a:", ":b", "a:b", "a:b:c", "anyone", "127.0.0.1", "super:test", "a:\xff", "ü:ü"} {
			d.ask(0, jute.Request{Xid: jute.XidAuth, Op: jute.Auth, Scheme: scheme, Auth: []byte(who)})
			d.ask(0, jute.Request{Xid: 1, Op: jute.WhoAmI})
		}
		d.ask(0, jute.Request{Xid: jute.XidAuth, Op: jute.Auth, Scheme: scheme})
		d.ask(0, jute.Request{Xid: 5, Op: jute.Create2, Path: "/auth-" + scheme, ACL: []jute.ACL{{Perms: 31, ID: jute.ID{Scheme: "auth"}}}})
		d.ask(0, jute.Request{Xid: 6, Op: jute.GetACL, Path: "/auth-" + scheme})
		d.ask(1, jute.Request{Xid: 6, Op: jute.GetACL, Path: "/auth-" + scheme})
	}
}

func edgeSizes(d *duel) {
	create := jute.Request{Xid: 1, Op: jute.Create2, Path: "/large", ACL: []jute.ACL{everyone}}
	room := jute.MaxFrame - len(create.Encode())
	for _, n := range []int{room - 1, room, room + 1, room + 100} {
		create.Data = bytes.Repeat([]byte{'x'}, n)
		d.ask(0, create)
		d.ask(0, jute.Request{Xid: 2, Op: jute.Delete, Path: "/large", Version: -1})
	}
	create.Data = bytes.Repeat([]byte{'x'}, room)
	d.ask(0, create)
	d.ask(0, jute.Request{Xid: 3, Op: jute.GetData, Path: "/large"})
	d.ask(0, jute.Request{Xid: 4, Op: jute.MultiRead, Sub: []jute.Request{{Op: jute.GetData, Path: "/large"}, {Op: jute.GetData, Path: "/large"}}})
	for _, length := range []uint32{0, 1, 7, jute.MaxFrame + 1, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		d.both(fmt.Sprintf("a frame of %d bytes", length), func(s *side) string {
			g := s.guests[1]
			before := ""
			if !g.open {
				before = s.connect(1, nil)
			}
			_, _ = g.Write(binary.BigEndian.AppendUint32(nil, length))
			if length < 8 {
				_, _ = g.Write(make([]byte, length))
			}
			_, end := g.hear()
			return before + end
		})
	}
}

func edgeHandshakes(d *duel) {
	for _, c := range []struct {
		name   string
		change func(*jute.ConnectRequest)
	}{
		{"as it is", nil},
		{"protocol 1", func(q *jute.ConnectRequest) { q.Protocol = 1 }},
		{"protocol -1", func(q *jute.ConnectRequest) { q.Protocol = -1 }},
		{"time-out 0", func(q *jute.ConnectRequest) { q.Session, q.Timeout = 0, 0 }},
		{"time-out -1", func(q *jute.ConnectRequest) { q.Session, q.Timeout = 0, -1 }},
		{"a great time-out", func(q *jute.ConnectRequest) { q.Session, q.Timeout = 0, 1<<31-1 }},
		{"a time-out within", func(q *jute.ConnectRequest) { q.Session, q.Timeout = 0, 130_000 }},
		{"a new session of the usual time-out", func(q *jute.ConnectRequest) { q.Session = 0 }},
		{"zxid 0", func(q *jute.ConnectRequest) { q.LastZxid = 0 }},
		{"zxid -1", func(q *jute.ConnectRequest) { q.LastZxid = -1 }},
		{"zxid ahead by 1", func(q *jute.ConnectRequest) { q.LastZxid++ }},
		{"zxid far ahead", func(q *jute.ConnectRequest) { q.LastZxid = 1<<63 - 1 }},
		{"no last byte", func(q *jute.ConnectRequest) { q.HasReadOnly = false }},
		{"read only", func(q *jute.ConnectRequest) { q.ReadOnly = true }},
		{"wrong password", func(q *jute.ConnectRequest) { q.Password = make([]byte, 16) }},
		{"after it", nil},
		{"short password", func(q *jute.ConnectRequest) { q.Password = q.Password[:15] }},
		{"long password", func(q *jute.ConnectRequest) { q.Password = append(bytes.Clone(q.Password), 0) }},
		{"no password", func(q *jute.ConnectRequest) { q.Password = nil }},
		{"empty password", func(q *jute.ConnectRequest) { q.Password = []byte{} }},
		{"unknown session", func(q *jute.ConnectRequest) { q.Session++ }},
		{"session -1", func(q *jute.ConnectRequest) { q.Session = -1 }},
		{"a new session", func(q *jute.ConnectRequest) { q.Session = 0 }},
		{"a new session without password", func(q *jute.ConnectRequest) { q.Session, q.Password = 0, nil }},
	} {
		d.both(c.name, func(s *side) string {
			old := *s.guests[0]
			told := s.connect(0, c.change)
			if old.open { // the connection before it is over, or not
				q := jute.Request{Xid: jute.XidPing, Op: jute.Ping}
				_, _ = old.Write(jute.AppendFrame(nil, q.Encode()))
				_, end := old.hear()
				told += ", the one before: " + end
			}
			if !s.guests[0].open {
				told += ", again: " + s.connect(0, nil)
			}
			return told
		})
		d.ask(0, jute.Request{Xid: 1, Op: jute.Create2, Path: "/shaken-", ACL: []jute.ACL{everyone}, Flags: jute.FlagEphemeralSeq})
	}
	hello := (&jute.ConnectRequest{Timeout: 200_000, Password: make([]byte, 16), HasReadOnly: true}).Encode()
	d.raw(0, jute.Exists, hello, "a second handshake")
}

// edgeWatches has no checkWatches: for ZooKeeper 3.8 a client has a watch where anybody has one.
func edgeWatches(d *duel) {
	xid := int32(0)
	ask := func(q jute.Request) {
		xid++
		q.Xid = xid
		d.ask(0, q)
	}
	for _, path := range []string{"", "/", "a", "/none", "/w", "/w/", "//", "/\x00"} {
		for mode := int32(-1); mode < 4; mode++ {
			ask(jute.Request{Op: jute.RemoveWatches, Path: path, Mode: mode})
			ask(jute.Request{Op: jute.AddWatch, Path: path, Mode: mode})
			ask(jute.Request{Op: jute.RemoveWatches, Path: path, Mode: mode})
			ask(jute.Request{Op: jute.RemoveWatches, Path: path, Mode: jute.WatcherAny})
		}
		for _, op := range []jute.Op{jute.Exists, jute.GetData, jute.GetChildren, jute.GetChildren2} {
			ask(jute.Request{Op: op, Path: path, Watch: true})
		}
		for _, zxid := range []int64{-1, 0, 1 << 62} {
			for _, op := range []jute.Op{jute.SetWatches, jute.SetWatches2} {
				ask(jute.Request{Op: op, Watches: jute.Watches{RelativeZxid: zxid, Data: []string{path}, Exist: []string{path}, Child: []string{path}, Persistent: []string{path}, Recursive: []string{path}}})
			}
		}
		ask(jute.Request{Op: jute.RemoveWatches, Path: path, Mode: jute.WatcherAny})
	}
	// One client creates and deletes what another one watches in all ways.
	for _, op := range []jute.Op{jute.Exists, jute.GetData, jute.GetChildren2} {
		ask(jute.Request{Op: jute.Create, Path: "/w", ACL: []jute.ACL{everyone}})
		ask(jute.Request{Op: op, Path: "/w", Watch: true})
		ask(jute.Request{Op: jute.AddWatch, Path: "/", Mode: jute.WatchRecursive})
		d.ask(1, jute.Request{Xid: xid, Op: jute.Create, Path: "/w/x", ACL: []jute.ACL{everyone}})
		d.ask(1, jute.Request{Xid: xid, Op: jute.SetData, Path: "/w", Version: -1})
		d.ask(1, jute.Request{Xid: xid, Op: jute.Multi, Sub: []jute.Request{{Op: jute.Delete, Path: "/w/x", Version: -1}, {Op: jute.Delete, Path: "/w", Version: -1}}})
	}
}

// edgeSessions: how they end, and what of theirs with them.
func edgeSessions(d *duel) {
	d.ask(0, jute.Request{Xid: 1, Op: jute.Create, Path: "/mine", ACL: []jute.ACL{everyone}, Flags: jute.FlagEphemeral})
	d.ask(1, jute.Request{Xid: 1, Op: jute.Exists, Path: "/mine", Watch: true})
	d.ask(0, jute.Request{Xid: 2, Op: jute.Create, Path: "/mine/child", ACL: []jute.ACL{everyone}})
	d.ask(0, jute.Request{Xid: 3, Op: jute.GetEphemerals, Path: "/"})
	for _, prefix := range []string{"", " ", "/m", "/mine", "/mine/", "/x", "m", "\x00"} {
		d.ask(0, jute.Request{Xid: 4, Op: jute.GetEphemerals, Path: prefix})
		d.ask(0, jute.Request{Xid: 4, Op: jute.CountChildren, Path: prefix})
	}
	d.ask(0, jute.Request{Xid: 5, Op: jute.CloseSession})
	d.ask(0, jute.Request{Xid: 6, Op: jute.Exists, Path: "/mine"})
	d.raw(0, jute.CloseSession, payload(7, jute.CloseSession, 1, 2, 3), "closeSession with a body")
	d.ask(0, jute.Request{Xid: 8, Op: jute.Exists, Path: "/"})
}
