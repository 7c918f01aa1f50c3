package zk

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"assize/daemon/clienttest"
	"assize/machine/jute"
)

// slow has nothing happen by time: no session expires, no container is looked after.
const slow = "tickTime=60000"

// superuser's digest, of super:test.
const superuser = "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU="

var everyone = jute.ACL{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}

// newDuel of single servers.
func newDuel(t *testing.T, guests int) *duel {
	apache, assize := clienttest.Apache(t, slow, superuser), clienttest.Assize(t, slow, superuser)
	return &duel{TB: t, apache: newSide(t, guests, []string{apache}), assize: newSide(t, guests, []string{assize})}
}

// draw of requests.
type draw struct {
	*rand.Rand
	xid int32
}

func pick[T any](d *draw, list ...T) T { return list[d.IntN(len(list))] }

func (d *draw) often(percent int) bool { return d.IntN(100) < percent }

// path of a node that there may be.
func (d *draw) path() string {
	if d.often(4) {
		return pick(d, "", "/", "a", "//", "/a/", "/a//b", "/a/.", "/a/..", "/./a", "/../a", "/a/...", "/a\x00b", "/a\x01", "/a\x7f", "/a\u0085", "/a\u009f", "/ü", "/a\ud7ff", "/\ue000", "/\ufeff",
			"/\ufff0", "/a b", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/zookeeper/new", "/zookeeper/quota/a", "/.a", "/a.", "/..a", "/ ", "/\t")
	}
	p := "/" + pick(d, "a", "b", "c")
	for d.often(45) {
		p += "/" + pick(d, "a", "b", "c")
	}
	return p
}

func (d *draw) data() []byte {
	if d.often(10) {
		return pick(d, nil, []byte{})
	}
	return fmt.Appendf(nil, "%d", d.IntN(1000))
}

func (d *draw) version() int32 {
	return pick[int32](d, -1, -1, -1, -1, 0, 0, 1, 2, -2, -100, 1<<31-1, -1<<31)
}

func (d *draw) acl() []jute.ACL {
	if d.often(70) {
		return []jute.ACL{everyone}
	}
	var list []jute.ACL
	for range d.IntN(3) {
		list = append(list, jute.ACL{Perms: pick[int32](d, 31, 31, 1, 2, 4, 8, 16, 3, 30, 0, 32, -1, 127), ID: pick(d, everyone.ID, everyone.ID, everyone.ID, jute.ID{Scheme: "auth"},
			jute.ID{Scheme: "auth", ID: "x"}, jute.ID{Scheme: "world", ID: "x"}, jute.ID{Scheme: "world"}, jute.ID{Scheme: "digest", ID: "u:x"}, jute.ID{Scheme: "digest", ID: "u"},
			jute.ID{Scheme: "digest", ID: "u:x:y"}, jute.ID{Scheme: "digest", ID: ":"}, jute.ID{Scheme: "digest", ID: "u:"}, jute.ID{Scheme: "digest", ID: ":x"}, jute.ID{Scheme: "digest"},
			jute.ID{Scheme: "ip", ID: "127.0.0.1"}, jute.ID{Scheme: "ip", ID: "127.0.0.0/8"}, jute.ID{Scheme: "ip", ID: "0.0.0.0/0"}, jute.ID{Scheme: "ip", ID: "10.0.0.1/33"},
			jute.ID{Scheme: "ip", ID: "10.0.0.1/-1"}, jute.ID{Scheme: "ip", ID: "10.0.0"}, jute.ID{Scheme: "ip", ID: "10.0.0.256"}, jute.ID{Scheme: "ip", ID: "127.0.0.2/30"}, jute.ID{Scheme: "ip", ID: "::1"},
			jute.ID{Scheme: "ip", ID: "127.0.0.1/8/8"}, jute.ID{Scheme: "ip", ID: "127.0.0.1/"}, jute.ID{Scheme: "ip"}, jute.ID{Scheme: "super"}, jute.ID{Scheme: "super", ID: "x"}, jute.ID{Scheme: "x509", ID: "y"},
			jute.ID{Scheme: "sasl", ID: "y"}, jute.ID{Scheme: "none", ID: "y"}, jute.ID{}, jute.ID{Scheme: "digest", ID: "user:+Ir5sN1lGJEEs8xBZhZXKvjLJ7c="})})
	}
	return list
}

// request of any kind but those that end the connection.
func (d *draw) request() jute.Request {
	d.xid++
	q := d.part(pick(d, jute.Create, jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL, jute.Delete, jute.Delete, jute.SetData, jute.SetData, jute.Exists, jute.GetData, jute.GetACL,
		jute.SetACL, jute.GetChildren, jute.GetChildren2, jute.Sync, jute.Multi, jute.Multi, jute.MultiRead, jute.RemoveWatches, jute.GetEphemerals, jute.CountChildren,
		jute.AddWatch, jute.WhoAmI, jute.SetWatches, jute.SetWatches2, jute.Ping))
	q.Xid = d.xid
	return q
}

// part is a request without a number.
func (d *draw) part(op jute.Op) jute.Request {
	q := jute.Request{Op: op, Path: d.path()}
	switch op {
	case jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL:
		q.Data, q.ACL = d.data(), d.acl()
		q.Flags = pick[int32](d, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, -1)
		if op == jute.CreateContainer && d.often(90) {
			q.Flags = jute.FlagContainer
		}
		if op == jute.CreateTTL {
			if d.often(90) {
				q.Flags = pick(d, jute.FlagTTL, jute.FlagTTLSequential)
			}
			q.TTL = pick[int64](d, 1000000, 1000000, 1000000, 1, 0, -1, 1<<40-1, 1<<40, 1<<63-1, -1<<63)
			if q.Flags < jute.FlagTTL {
				q.TTL = max(q.TTL, 0) // less ends ZooKeeper, which takes it for valid and then cannot apply it
			}
		}
	case jute.Delete, jute.Check:
		q.Version = d.version()
	case jute.SetData:
		q.Data, q.Version = d.data(), d.version()
	case jute.SetACL:
		q.ACL, q.Version = d.acl(), d.version()
	case jute.Exists, jute.GetData, jute.GetChildren, jute.GetChildren2:
		q.Watch = modeOf(q.Path) == once && d.often(70)
	case jute.CheckWatches, jute.RemoveWatches:
		q.Mode = pick[int32](d, 0, 1, 1, 2, 2, 3, 3, 4, -1)
	case jute.AddWatch:
		if q.Mode = modeOf(q.Path); q.Mode == once {
			q.Mode = pick[int32](d, 2, 3, -1, 1<<30)
		}
	case jute.Multi:
		for range d.IntN(5) {
			q.Sub = append(q.Sub, d.part(pick(d, jute.Create, jute.Create, jute.Create2, jute.Delete, jute.SetData, jute.Check, jute.CreateContainer, jute.CreateTTL)))
		}
	case jute.MultiRead:
		for range d.IntN(4) {
			q.Sub = append(q.Sub, d.part(pick(d, jute.GetData, jute.GetChildren)))
		}
	case jute.SetWatches, jute.SetWatches2:
		q.Watches = d.watches(op)
	}
	return q
}

// watches since long ago or not yet: between these a zxid is another one on each server.
func (d *draw) watches(op jute.Op) jute.Watches {
	w := jute.Watches{RelativeZxid: pick[int64](d, 0, 1<<62, 1<<62)}
	for range d.IntN(6) {
		p := d.path()
		switch mode := modeOf(p); {
		case mode == once:
			l := pick(d, &w.Data, &w.Exist, &w.Child)
			*l = append(*l, p)
		case op == jute.SetWatches:
		case mode == jute.WatchPersistent:
			w.Persistent = append(w.Persistent, p)
		default:
			w.Recursive = append(w.Recursive, p)
		}
	}
	return w
}

// once is the mode of watches that fire once.
const once = -1

// modeOf the watches that are left on a path: one, because a second watch of another mode takes the first one's place in ZooKeeper 3.8, and stands beside it
// since 3.9 and here (ZOOKEEPER-4466).
func modeOf(path string) int32 {
	switch path[max(len(path)-1, 0):] {
	case "a":
		return jute.WatchPersistent
	case "b":
		return jute.WatchRecursive
	}
	return once
}

// TestClientsCannotTell: whatever clients ask for, in any order, right or wrong, ZooKeeper and a server of ours answer the same.
func TestClientsCannotTell(t *testing.T) {
	t.Parallel()
	newDuel(t, 3).random(1, 4000)
}

// TestClientsOfEnsemblesCannotTell: the same of three servers, each with one of the clients, who move about. Where a ZooKeeper falls silent others are asked.
func TestClientsOfEnsemblesCannotTell(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		done := false
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			apache, assize := clienttest.ApacheEnsemble(t, 3, slow, superuser), clienttest.AssizeEnsemble(t, 3, slow, superuser)
			d := &duel{TB: t, apache: newSide(t, 3, apache), assize: newSide(t, 3, assize)}
			d.ensembles(100 * (seed + 1))
			done = true
		})
		if done || t.Failed() {
			return
		}
	}
	t.Skip("each ZooKeeper fell silent")
}

func (d *duel) ensembles(seed uint64) {
	d.random(seed, 1000)
	for i := range 6 {
		d.move(i%3, jute.Request{Xid: 1, Op: jute.SetData, Path: "/", Version: -1})
		d.random(seed+uint64(i)+1, 50)
	}
	for i, q := range []jute.Request{{Op: jute.Delete, Path: "/none"}, {Op: jute.Multi, Sub: []jute.Request{{Op: jute.Delete, Path: "/none"}}}, {Op: jute.CloseSession}} {
		q.Xid = 1
		d.move(i%3, q)
		d.ask(i%3, jute.Request{Xid: 2, Op: jute.Exists, Path: "/"})
	}
}

// random requests, so many, that depend on nothing but a seed.
func (d *duel) random(seed uint64, steps int) {
	r := &draw{Rand: rand.New(rand.NewPCG(seed, seed))}
	auth := func(i int, scheme, who string) {
		d.ask(i, jute.Request{Xid: jute.XidAuth, Op: jute.Auth, Scheme: scheme, Auth: []byte(who)})
	}
	auth(1, "digest", "user:password")
	auth(2, "digest", "super:test")
	if testing.Short() {
		steps /= 10
	}
	for range steps {
		i, q := r.IntN(3), r.request()
		if q.Op == jute.Exists {
			i = 2 // who may read all: others may ask whether a node is there until ZooKeeper 3.8.4 (ZOOKEEPER-2590)
		}
		d.ask(i, q)
	}
}

// move a guest to the next server, and ask q on the connection that his session has left.
func (d *duel) move(i int, q jute.Request) {
	d.Helper()
	d.both(fmt.Sprintf("guest %d moves to another server, and leaves %v", i, q.Op), func(s *side) string {
		g := s.guests[i]
		left := *g
		g.server = (g.server + 1) % len(s.addresses)
		b := &strings.Builder{}
		b.WriteString(s.connect(i, nil) + "\n")
		s.exchange(b, &left, q.Op, q.Encode())
		return b.String()
	})
	// Nobody was told of a transaction that was refused: after one more all know where they are.
	d.ask((i+1)%3, jute.Request{Xid: 1, Op: jute.SetData, Path: "/", Version: -1})
}
