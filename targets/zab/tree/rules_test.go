package tree

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"assize/machine/jute"
)

func TestNewTree(t *testing.T) {
	l := &lab{t: t, tree: New()}
	equal(t, "/", l.stat("/"), jute.Stat{Cversion: -1, NumChildren: 1})
	equal(t, "/zookeeper", l.stat("/zookeeper"), jute.Stat{Cversion: -2, NumChildren: 2})
	equal(t, "/zookeeper/quota", l.stat("/zookeeper/quota"), jute.Stat{})
	equal(t, "/zookeeper/config", l.stat("/zookeeper/config"), jute.Stat{Aversion: -1})
	equal(t, "count", l.tree.Count(), 4)
}

// TestStat holds what each operation changes in the node's Stat and in its parent's.
func TestStat(t *testing.T) {
	l := newLab(t) // zxid 1
	l.want(jute.OK, create("/a", 0))
	a := jute.Stat{Czxid: 2, Mzxid: 2, Pzxid: 2, Ctime: 1020, Mtime: 1020, DataLength: 2}
	equal(t, "created", l.stat("/a"), a)
	equal(t, "parent of created", l.stat("/"), jute.Stat{Cversion: 0, NumChildren: 2, Pzxid: 2})

	l.want(jute.OK, set("/a", "hello", 0))
	a.Mzxid, a.Mtime, a.Version, a.DataLength = 3, 1030, 1, 5
	equal(t, "set", l.stat("/a"), a)
	equal(t, "parent of set", l.stat("/"), jute.Stat{Cversion: 0, NumChildren: 2, Pzxid: 2})

	l.want(jute.OK, jute.Request{Op: jute.SetACL, Path: "/a", ACL: open, Version: 0})
	a.Aversion = 1
	equal(t, "set ACL", l.stat("/a"), a)

	l.want(jute.OK, create("/a/b", jute.FlagEphemeral))
	a.Cversion, a.NumChildren, a.Pzxid = 1, 1, 5
	equal(t, "parent", l.stat("/a"), a)
	equal(t, "ephemeral", l.stat("/a/b"), jute.Stat{Czxid: 5, Mzxid: 5, Pzxid: 5, Ctime: 1050, Mtime: 1050, DataLength: 4, EphemeralOwner: sid})

	l.want(jute.OK, remove("/a/b", 0))
	a.Cversion, a.NumChildren, a.Pzxid = 2, 0, 6
	equal(t, "parent after delete", l.stat("/a"), a)
}

// TestVersions is claim Z7: a write with a version is a compare-and-set; -1 always matches.
func TestVersions(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, create("/a", 0))
	for version := range int32(4) {
		l.want(jute.BadVersion, set("/a", "x", version+1))
		l.want(jute.OK, set("/a", "x", version))
		l.want(jute.BadVersion, set("/a", "x", version))
	}
	l.want(jute.OK, set("/a", "x", -1))
	l.want(jute.BadVersion, remove("/a", 4))
	l.want(jute.BadVersion, jute.Request{Op: jute.SetACL, Path: "/a", ACL: open, Version: 5})
	l.want(jute.OK, jute.Request{Op: jute.SetACL, Path: "/a", ACL: open, Version: 0})
	l.want(jute.BadVersion, jute.Request{Op: jute.SetACL, Path: "/a", ACL: open, Version: 0})
	equal(t, "check", l.do(multi(check("/a", 4), check("/a", -1))).Sub[0].Err, jute.BadVersion)
	equal(t, "check", l.do(multi(check("/a", 5), check("/a", -1))).Sub[1].Op, jute.Check)
	l.want(jute.OK, remove("/a", 5))
	l.want(jute.OK, create("/a", 0))
	equal(t, "version of another node of the name", l.stat("/a").Version, int32(0))
}

// TestSequentialNames is claim Z8: below one parent they are unique and increase, whatever else happens there.
func TestSequentialNames(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, create("/q", 0))
	last := ""
	for i := range 300 {
		flags := []int32{jute.FlagSequential, jute.FlagEphemeralSeq}[i%2]
		path := l.want(jute.OK, create("/q/n-", flags)).Path
		if path <= last {
			t.Fatalf("%s after %s", path, last)
		}
		last = path
		switch i % 3 {
		case 0:
			l.want(jute.OK, remove(path, -1))
		case 1:
			l.want(jute.OK, create(fmt.Sprint("/q/other", i), 0))
		}
	}
	// A name counts the children ever created, not those deleted.
	equal(t, "last", last, "/q/n-0000000399")
	equal(t, "only a number", l.want(jute.OK, create("/q/", jute.FlagSequential)).Path, "/q/0000000400")
}

func TestSequenceOverflows(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, create("/q", 0))
	l.tree.nodes["/q"].cversion = math.MaxInt32 - 1
	for _, want := range []string{"2147483646", "2147483647", "-2147483648", "-2147483647"} {
		equal(t, "path", l.want(jute.OK, create("/q/n", jute.FlagSequential)).Path, "/q/n"+want)
	}
	equal(t, "padding", sequential("/", -5), "/-000000005")
}

func TestRefusals(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, create("/a", 0))
	l.want(jute.OK, create("/a/e", jute.FlagEphemeral))
	l.want(jute.NodeExists, create("/a", 0))
	l.want(jute.NodeExists, create("/", 0))
	l.want(jute.NoNode, create("/none/b", 0))
	l.want(jute.NoChildrenForEphemerals, create("/a/e/f", 0))
	l.want(jute.NoChildrenForEphemerals, create("/a/e/", jute.FlagSequential))
	l.want(jute.NotEmpty, remove("/a", -1))
	l.want(jute.NoNode, remove("/a/none", -1))
	l.want(jute.NoNode, set("/a/none", "", -1))
	l.want(jute.NoNode, jute.Request{Op: jute.SetACL, Path: "/none", ACL: open, Version: -1})
	for _, path := range []string{"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "a", ""} {
		l.want(jute.BadArguments, remove(path, -1))
	}
	for _, path := range []string{"a", "", "/a/", "/a//b", "/a/./b", "/.."} {
		l.want(jute.BadArguments, set(path, "", -1))
	}
	for _, flags := range []int32{-1, 7, jute.FlagTTL, jute.FlagTTLSequential} {
		l.want(jute.BadArguments, create("/b", flags))
	}
	l.want(jute.Unimplemented, check("/a", -1))
	l.want(jute.Unimplemented, jute.Request{Op: jute.GetData, Path: "/a"})
	r, _ := l.apply(l.prepareFor(sid+1, create("/b", 0)))
	equal(t, "without a session", r.Err, jute.SessionExpired)
	l.want(jute.OK, set("/", "the root has data", -1))
}

func TestPaths(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/a": true, "/a/b": true, "/a.b/..c/c../...": true, "/é/日本": true, "/ /~": true, "/.a": true,
		"": false, "a": false, "/a/": false, "//": false, "//a": false, "/a//b": false, "/.": false, "/..": false, "/a/./b": false, "/a/..": false,
		"/\x00": false, "/a\x1f": false, "/\x7f": false, "/\u0085": false, "/\ue000": false, "/\uffff": false, "/\U0001F600": false, "/\xff": false,
		"/\ufff0": false, "/\uffef": true, "/\uf900": true, "/\u00a0": true,
	} {
		if got := ValidPath(path); got != want {
			t.Errorf("%q: got %v, want %v", path, got, want)
		}
	}
	for _, pair := range [][2]string{{"/", "/a"}, {"/a", "/a/b"}, {"/a/z", "/a b"}, {"/a/z", "/a.b"}, {"/a", "/b"}} {
		if !before(pair[0], pair[1]) || before(pair[1], pair[0]) {
			t.Errorf("%s is not before %s", pair[0], pair[1])
		}
	}
}

func container(path string) jute.Request {
	return jute.Request{Op: jute.CreateContainer, Path: path, Flags: jute.FlagContainer, ACL: open}
}

func idlePaths(tree *Tree, now int64) string {
	var all []string
	for _, q := range tree.Idle(now) {
		all = append(all, q.Path)
	}
	return strings.Join(all, " ")
}

func TestContainer(t *testing.T) {
	l := newLab(t)
	r := l.want(jute.OK, container("/c"))
	equal(t, "owner", r.Stat.EphemeralOwner, int64(0))
	equal(t, "new", idlePaths(l.tree, 1<<40), "")
	gone := jute.Request{Op: jute.DeleteContainer, Path: "/c"}
	leader := func() jute.Code {
		r, _ := l.apply(l.prepareFor(0, gone))
		return r.Err
	}
	equal(t, "a new one stays", leader(), jute.BadVersion)
	l.want(jute.OK, create("/c/a", 0))
	equal(t, "one with a child stays", leader(), jute.NotEmpty)
	l.want(jute.OK, remove("/c/a", -1))
	equal(t, "idle", idlePaths(l.tree, 0), "/c")
	l.want(jute.BadArguments, gone)
	child := l.prepare(create("/c/b", 0))
	late := l.prepareFor(0, gone)
	equal(t, "a child came meanwhile", late.Err, jute.NotEmpty)
	l.apply(child)
	l.apply(late)
	l.want(jute.OK, remove("/c/b", -1))
	equal(t, "removal", leader(), jute.OK)
	equal(t, "again", leader(), jute.NoNode)
	equal(t, "idle", idlePaths(l.tree, 1<<40), "")
}

func TestTTL(t *testing.T) {
	l := newLab(t)
	q := jute.Request{Op: jute.CreateTTL, Path: "/t", Flags: jute.FlagTTL, ACL: open, TTL: 100}
	for _, ttl := range []int64{0, -1, MaxTTL + 1} {
		bad := q
		bad.TTL = ttl
		l.want(jute.BadArguments, bad)
	}
	r := l.want(jute.OK, q)
	equal(t, "owner", r.Stat.EphemeralOwner, int64(0))
	made := r.Stat.Mtime
	equal(t, "not yet", idlePaths(l.tree, made+100), "")
	equal(t, "due", idlePaths(l.tree, made+101), "/t")
	l.want(jute.OK, set("/t", "", -1))
	equal(t, "a write gives it time", idlePaths(l.tree, made+101), "")
	l.want(jute.OK, create("/t/child", 0))
	equal(t, "one with a child stays", idlePaths(l.tree, made+1000), "")
	l.want(jute.OK, remove("/t/child", -1))
	l.time += 1000
	touch := l.prepare(set("/t", "", -1))
	late := l.prepareFor(0, jute.Request{Op: jute.DeleteContainer, Path: "/t"})
	equal(t, "a write came meanwhile", late.Err, jute.BadVersion)
	l.apply(touch)
	l.apply(late)
	l.time += 1000
	r, _ = l.apply(l.prepareFor(0, jute.Request{Op: jute.DeleteContainer, Path: "/t"}))
	equal(t, "removal", r.Err, jute.OK)
	q.Flags = jute.FlagTTLSequential
	equal(t, "sequential", l.want(jute.OK, q).Path, "/t0000000001")
}

func TestReconfig(t *testing.T) {
	l := newLab(t)
	q := jute.Request{Op: jute.Reconfig, Data: []byte("server.1=...")}
	l.want(jute.NoAuth, q)
	l.who = []jute.ID{{Scheme: "super"}}
	r := l.want(jute.OK, q)
	equal(t, "data", string(r.Data), "server.1=...")
	equal(t, "version", l.stat(ConfigPath).Version, int32(-1))
}

func TestReads(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, create("/a", 0))
	l.want(jute.OK, create("/a/c", jute.FlagEphemeral))
	l.want(jute.OK, create("/a/b", 0))
	l.want(jute.OK, create("/a/b/e", jute.FlagEphemeral))
	read := func(op jute.Op, path string) jute.Response {
		return l.tree.Read(&jute.Request{Op: op, Path: path, Xid: 7}, sid, nil)
	}
	r := read(jute.GetData, "/a")
	equal(t, "getData", []any{r.Xid, r.Zxid, string(r.Data), r.Stat.NumChildren}, []any{int32(7), l.zxid, "/a", int32(2)})
	equal(t, "getChildren", read(jute.GetChildren, "/a").Children, []string{"b", "c"})
	equal(t, "getEphemerals", read(jute.GetEphemerals, "/").Children, []string{"/a/b/e", "/a/c"})
	equal(t, "getEphemerals", read(jute.GetEphemerals, "/a/b").Children, []string{"/a/b/e"})
	equal(t, "count", []int32{read(jute.CountChildren, "/a").Count, read(jute.CountChildren, "/").Count}, []int32{3, 7})
	for _, op := range []jute.Op{jute.Exists, jute.GetData, jute.GetChildren, jute.GetChildren2, jute.GetACL, jute.CountChildren} {
		equal(t, fmt.Sprint("no node, ", op), read(op, "/none").Err, jute.NoNode)
	}
	equal(t, "a zero byte", read(jute.Exists, "/\x00").Err, jute.BadArguments)
	equal(t, "no read", read(jute.SetData, "/a").Err, jute.Unimplemented)

	m := l.tree.Read(&jute.Request{Op: jute.MultiRead, Sub: []jute.Request{
		{Op: jute.GetData, Path: "/a"}, {Op: jute.GetData, Path: "/none"}, {Op: jute.GetChildren, Path: "/a"},
	}}, sid, nil)
	equal(t, "multiRead", []any{string(m.Sub[0].Data), m.Sub[1], m.Sub[2].Children},
		[]any{"/a", jute.Result{Op: jute.Failure, Err: jute.NoNode}, []string{"b", "c"}})
	m = l.tree.Read(&jute.Request{Op: jute.MultiRead, Sub: []jute.Request{{Op: jute.Exists, Path: "/a"}}}, sid, nil)
	equal(t, "multiRead of something else", m.Err, jute.MarshallingError)
}

func TestNoDataIsNotEmptyData(t *testing.T) {
	l := newLab(t)
	l.want(jute.OK, jute.Request{Op: jute.Create, Path: "/none", ACL: open})
	l.want(jute.OK, jute.Request{Op: jute.Create, Path: "/empty", ACL: open, Data: []byte{}})
	again, err := Decode(l.tree.Encode())
	if err != nil {
		t.Fatal(err)
	}
	for _, tree := range []*Tree{l.tree, again} {
		none := tree.Read(&jute.Request{Op: jute.GetData, Path: "/none"}, 0, nil).Data
		empty := tree.Read(&jute.Request{Op: jute.GetData, Path: "/empty"}, 0, nil).Data
		if none != nil || empty == nil {
			t.Errorf("got %#v and %#v", none, empty)
		}
	}
}
