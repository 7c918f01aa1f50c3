package tree

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"assize/machine/jute"
)

// model is a ZooKeeper as one would write it without caring about speed: no preparation, and a copy of everything to go back to.
type model struct {
	nodes    map[string]modelNode
	sessions map[int64]int32
	changes  []Change
}

type modelNode struct {
	stat      jute.Stat // EphemeralOwner, NumChildren and DataLength are filled in
	data      []byte
	acl       []jute.ACL
	creations int32
	container bool
	ttl       int64
}

func newModel() *model {
	everyone := []jute.ACL{{Perms: 31, ID: jute.ID{Scheme: "world", ID: "anyone"}}}
	m := &model{sessions: map[int64]int32{}, nodes: map[string]modelNode{
		"/":                 {data: []byte{}, acl: everyone, stat: jute.Stat{NumChildren: 1, Cversion: -1}},
		"/zookeeper":        {data: []byte{}, acl: everyone, stat: jute.Stat{NumChildren: 2, Cversion: -2}},
		"/zookeeper/quota":  {data: []byte{}, acl: everyone},
		"/zookeeper/config": {data: []byte{}, acl: []jute.ACL{{Perms: 1, ID: everyone[0].ID}}, stat: jute.Stat{Aversion: -1}},
	}}
	return m
}

func modelParent(path string) string {
	if i := strings.LastIndex(path, "/"); i > 0 {
		return path[:i]
	}
	return "/"
}

func (m *model) copied() map[string]modelNode {
	nodes := map[string]modelNode{}
	for path, n := range m.nodes {
		nodes[path] = n
	}
	return nodes
}

func (m *model) do(k Ask) jute.Response {
	m.changes = nil
	q := k.Request
	r := jute.Response{Xid: q.Xid, Zxid: k.Zxid}
	switch q.Op {
	case jute.CreateSession:
		m.sessions[k.Session] = k.Timeout
	case jute.CloseSession:
		var mine []string
		for path, n := range m.nodes {
			if n.stat.EphemeralOwner == k.Session {
				mine = append(mine, path)
			}
		}
		sort.Strings(mine)
		for _, path := range mine {
			m.remove(path, k.Zxid)
		}
		delete(m.sessions, k.Session)
	case jute.Check:
		if r.Err = m.one(k, q, &jute.Result{}); r.Err == jute.OK {
			r.Err = jute.Unimplemented
		}
	case jute.Multi:
		m.multi(k, &r)
	default:
		res := jute.Result{}
		r.Err = m.one(k, q, &res)
		r.Path, r.Stat, r.Data = res.Path, res.Stat, res.Data
	}
	return r
}

func (m *model) multi(k Ask, r *jute.Response) {
	for _, q := range k.Request.Sub {
		if q.Op == jute.SetACL {
			r.Err = jute.MarshallingError
			return
		}
	}
	nodes := m.copied()
	r.Sub = make([]jute.Result, len(k.Request.Sub))
	for i, q := range k.Request.Sub {
		if q.Op == jute.Create2 || q.Op == jute.CreateContainer || q.Op == jute.CreateTTL && q.Flags != 5 && q.Flags != 6 {
			q.Op = jute.Create
		}
		if q.Op == jute.Create && (q.Flags == 5 || q.Flags == 6) {
			m.nodes, m.changes, r.Sub, r.Err = nodes, nil, nil, jute.MarshallingError
			return
		}
		if q.Op == jute.Create && q.Flags == 4 {
			q.Op = jute.CreateContainer
		}
		res := jute.Result{Op: q.Op}
		if code := m.one(k, q, &res); code != jute.OK {
			m.nodes, m.changes = nodes, nil
			for j := range r.Sub {
				r.Sub[j] = jute.Result{Op: jute.Failure, Err: map[bool]jute.Code{true: -2}[j > i]}
			}
			r.Sub[i].Err = code
			return
		}
		switch q.Op {
		case jute.Delete:
			res.Path = ""
		case jute.Check:
			res = jute.Result{Op: jute.Check}
		case jute.SetData:
			res.Path = ""
		}
		r.Sub[i] = res
	}
}

func (m *model) one(k Ask, q jute.Request, r *jute.Result) jute.Code {
	if q.Op == jute.Create || q.Op == jute.Create2 || q.Op == jute.CreateContainer || q.Op == jute.CreateTTL {
		return m.create(k, q, r)
	}
	if q.Op == jute.DeleteContainer {
		return m.collect(k, q, r)
	}
	if _, open := m.sessions[k.Session]; !open {
		return jute.SessionExpired
	}
	if q.Op == jute.Delete {
		return m.delete(k, q, r)
	}
	if q.Op == jute.Reconfig {
		q.Path, q.Version = "/zookeeper/config", -1
	}
	if !ValidPath(q.Path) {
		return jute.BadArguments
	}
	list, ok := modelFix(q.ACL, k.Who)
	if q.Op == jute.SetACL && !ok {
		return jute.InvalidACL
	}
	n, ok := m.nodes[q.Path]
	perm := map[jute.Op]int32{jute.SetData: 2, jute.Reconfig: 2, jute.SetACL: 16, jute.Check: 1}[q.Op]
	version := n.stat.Version
	if q.Op == jute.SetACL {
		version = n.stat.Aversion
	}
	switch {
	case !ok:
		return jute.NoNode
	case !modelAllowed(n.acl, perm, k.Who):
		return jute.NoAuth
	case q.Version != -1 && q.Version != version:
		return jute.BadVersion
	}
	switch q.Op {
	case jute.SetACL:
		n.acl = list
		n.stat.Aversion++
	case jute.SetData, jute.Reconfig:
		n.data = q.Data
		n.stat.Version++
		if q.Op == jute.Reconfig {
			n.stat.Version, r.Data = -1, q.Data
		}
		n.stat.Mzxid, n.stat.Mtime, n.stat.DataLength = k.Zxid, k.Time, int32(len(q.Data))
		m.changes = append(m.changes, Change{3, q.Path, k.Zxid, n.acl})
	}
	m.nodes[q.Path] = n
	r.Path, r.Stat = q.Path, n.stat
	return jute.OK
}

func (m *model) create(k Ask, q jute.Request, r *jute.Result) jute.Code {
	container, ttl := q.Op == jute.CreateContainer, q.Op == jute.CreateTTL
	ephemeral := (q.Flags == 1 || q.Flags == 3) && !container
	switch {
	case q.Flags < 0 || q.Flags > 6, ttl != (q.Flags == 5 || q.Flags == 6), ttl && (q.TTL <= 0 || q.TTL >= 1<<40):
		return jute.BadArguments
	}
	if _, open := m.sessions[k.Session]; !open {
		return jute.SessionExpired
	}
	if !strings.Contains(q.Path, "/") || strings.Contains(q.Path, "\x00") {
		return jute.BadArguments
	}
	list, ok := modelFix(q.ACL, k.Who)
	if !ok {
		return jute.InvalidACL
	}
	above := modelParent(q.Path)
	parent, ok := m.nodes[above]
	if !ok {
		return jute.NoNode
	}
	if !modelAllowed(parent.acl, 4, k.Who) {
		return jute.NoAuth
	}
	path := q.Path
	if q.Flags == 2 || q.Flags == 3 || q.Flags == 6 {
		path += fmt.Sprintf("%010d", parent.creations)
	}
	if !ValidPath(path) {
		return jute.BadArguments
	}
	if _, exists := m.nodes[path]; exists {
		return jute.NodeExists
	}
	if parent.stat.EphemeralOwner != 0 {
		return jute.NoChildrenForEphemerals
	}
	parent.creations++
	parent.stat.Cversion++
	parent.stat.NumChildren++
	parent.stat.Pzxid = k.Zxid
	m.nodes[above] = parent
	n := modelNode{data: q.Data, acl: list, container: container}
	n.stat = jute.Stat{Czxid: k.Zxid, Mzxid: k.Zxid, Pzxid: k.Zxid, Ctime: k.Time, Mtime: k.Time, DataLength: int32(len(q.Data))}
	if ephemeral {
		n.stat.EphemeralOwner = k.Session
	}
	if ttl {
		n.ttl = q.TTL
	}
	m.nodes[path] = n
	m.changes = append(m.changes, Change{1, path, k.Zxid, n.acl}, Change{4, above, k.Zxid, parent.acl})
	r.Path, r.Stat = path, n.stat
	return jute.OK
}

func (m *model) remove(path string, zxid int64) {
	above := modelParent(path)
	parent := m.nodes[above]
	parent.stat.Cversion++
	parent.stat.NumChildren--
	parent.stat.Pzxid = zxid
	m.nodes[above] = parent
	m.changes = append(m.changes, Change{2, path, zxid, m.nodes[path].acl}, Change{4, above, zxid, parent.acl})
	delete(m.nodes, path)
}

func (m *model) delete(k Ask, q jute.Request, r *jute.Result) jute.Code {
	if !strings.Contains(q.Path, "/") || strings.Contains(q.Path, "\x00") || q.Path == "/" || q.Path == "/zookeeper" || q.Path == "/zookeeper/config" {
		return jute.BadArguments
	}
	parent, ok := m.nodes[modelParent(q.Path)]
	n, exists := m.nodes[q.Path]
	switch {
	case !ok:
		return jute.NoNode
	case !modelAllowed(parent.acl, 8, k.Who):
		return jute.NoAuth
	case !exists:
		return jute.NoNode
	case q.Version != -1 && q.Version != n.stat.Version:
		return jute.BadVersion
	case n.stat.NumChildren > 0:
		return jute.NotEmpty
	}
	m.remove(q.Path, k.Zxid)
	r.Path = q.Path
	return jute.OK
}

func (m *model) collect(k Ask, q jute.Request, r *jute.Result) jute.Code {
	if k.Session != 0 {
		return jute.BadArguments
	}
	if !strings.Contains(q.Path, "/") || strings.Contains(q.Path, "\x00") || q.Path == "/" || q.Path == "/zookeeper" || q.Path == "/zookeeper/config" {
		return jute.BadArguments
	}
	n, ok := m.nodes[q.Path]
	switch {
	case !ok:
		return jute.NoNode
	case n.stat.NumChildren > 0:
		return jute.NotEmpty
	case n.container && n.creations > 0, n.ttl > 0 && k.Time-n.stat.Mtime > n.ttl:
	default:
		return jute.BadVersion
	}
	m.remove(q.Path, k.Zxid)
	r.Path = q.Path
	return jute.OK
}

// modelFix and modelAllowed know only what draw draws.
func modelFix(list []jute.ACL, who []jute.ID) (fixed []jute.ACL, ok bool) {
	var seen []jute.ACL
	for _, a := range list {
		if slices.Contains(seen, a) {
			continue
		}
		seen = append(seen, a)
		switch {
		case a.ID.ID == "10.0.0.0/33" || a.ID.ID == "x" || a.ID.ID == "someone":
			return nil, false
		case a.ID.Scheme == "auth":
			before := len(fixed)
			for _, id := range who {
				if id.Scheme == "digest" {
					fixed = append(fixed, jute.ACL{Perms: a.Perms, ID: id})
				}
			}
			if len(fixed) == before {
				return nil, false
			}
		default:
			fixed = append(fixed, a)
		}
	}
	return fixed, len(fixed) > 0
}

func modelAllowed(list []jute.ACL, perm int32, who []jute.ID) bool {
	for _, id := range who {
		if id.Scheme == "super" {
			return true
		}
		for _, a := range list {
			if a.Perms&perm != 0 && (a.ID == id || a.ID.Scheme == "world" || a.ID.ID == "10.0.0.0/8" && strings.HasPrefix(id.ID, "10.")) {
				return true
			}
		}
	}
	return false
}

// compare all that can be seen of the tree.
func (m *model) compare(t *testing.T, tree *Tree, now int64) {
	t.Helper()
	super := []jute.ID{{Scheme: "super"}}
	size, due := int64(0), []string{}
	for path, n := range m.nodes {
		r := tree.Read(&jute.Request{Op: jute.GetData, Path: path}, 0, super)
		equal(t, "stat of "+path, r.Stat, n.stat)
		equal(t, "data of "+path, r.Data, n.data)
		equal(t, "list of "+path, tree.Read(&jute.Request{Op: jute.GetACL, Path: path}, 0, super).ACL, n.acl)
		var names []string
		below := int32(0)
		for other := range m.nodes {
			if other != "/" && modelParent(other) == path {
				names = append(names, other[strings.LastIndex(other, "/")+1:])
			}
			if other != path && strings.HasPrefix(other, strings.TrimSuffix(path, "/")+"/") {
				below++
			}
		}
		sort.Strings(names)
		equal(t, "children of "+path, tree.Read(&jute.Request{Op: jute.GetChildren2, Path: path}, 0, super).Children, names)
		equal(t, "count below "+path, tree.Read(&jute.Request{Op: jute.CountChildren, Path: path}, 0, super).Count, below)
		size += int64(len(path) + len(n.data))
		if n.stat.NumChildren == 0 && (n.container && n.creations > 0 || n.ttl > 0 && now-n.stat.Mtime > n.ttl) {
			due = append(due, path)
		}
	}
	equal(t, "count", tree.Count(), len(m.nodes))
	equal(t, "size", tree.Size(), size)
	got := []string{}
	for _, q := range tree.Idle(now) {
		got = append(got, q.Path)
	}
	sort.Strings(got)
	sort.Strings(due)
	equal(t, "idle", got, due)
	for id, timeout := range m.sessions {
		if got, ok := tree.Session(id); !ok || got != timeout {
			t.Fatalf("session %#x: got %d, %v, want %d", id, got, ok, timeout)
		}
	}
	equal(t, "sessions", len(tree.Sessions()), len(m.sessions))
}

func TestTreeIsTheModel(t *testing.T) {
	outcomes := map[jute.Op]map[jute.Code]int{}
	for seed := range uint64(30) {
		d, m, tree := newDraw(seed), newModel(), New()
		ahead := tree.Ahead()
		for i := range 600 {
			k := d.ask()
			x := ahead.Prepare(k)
			got, changes := tree.Apply(&x)
			ahead.Applied(x.Zxid)
			want := m.do(k)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, step %d: %+v\n got %+v\nwant %+v", seed, i, k, got, want)
			}
			if len(changes)+len(m.changes) > 0 && !reflect.DeepEqual(changes, m.changes) {
				t.Fatalf("seed %d, step %d: %+v\n got %+v\nwant %+v", seed, i, k, changes, m.changes)
			}
			if i%20 == 0 {
				m.compare(t, tree, d.time+d.Int64N(6000))
			}
			if outcomes[k.Request.Op] == nil {
				outcomes[k.Request.Op] = map[jute.Code]int{}
			}
			outcomes[k.Request.Op][got.Err]++
		}
		again, err := Decode(tree.Encode())
		if err != nil {
			t.Fatal(err)
		}
		m.compare(t, again, d.time)
		equal(t, "hash", again.Hash(), tree.Hash())
	}
	for op, codes := range map[jute.Op][]jute.Code{
		jute.Create:          {0, -8, -101, -102, -108, -110, -112, -114},
		jute.Delete:          {0, -8, -101, -102, -103, -111, -112},
		jute.SetData:         {0, -8, -101, -102, -103, -112},
		jute.SetACL:          {0, -8, -101, -102, -103, -112, -114},
		jute.DeleteContainer: {0, -8, -101, -103, -111},
		jute.CreateTTL:       {0, -8, -101, -102},
		jute.CreateContainer: {0, -8, -101, -102},
		jute.Multi:           {0, -5},
		jute.Reconfig:        {0, -102, -112},
	} {
		for _, code := range codes {
			if outcomes[op][code] == 0 {
				t.Errorf("operation %d never had outcome %d: %v", op, code, outcomes[op])
			}
		}
	}
}
