package tree

import (
	"strings"

	"assize/machine/jute"
)

// Read answers a request that changes nothing: Exists, GetData, GetACL, GetChildren, GetChildren2, MultiRead, GetEphemerals and CountChildren, as
// session, whose connection has authenticated as who. Others are Unimplemented. It arms no watches: Watches.Arm does.
func (t *Tree) Read(q *jute.Request, session int64, who []jute.ID) jute.Response {
	r := jute.Response{Xid: q.Xid, Zxid: t.zxid}
	switch q.Op {
	case jute.GetEphemerals:
		r.Children = t.owned(session, q.Path)
	case jute.MultiRead:
		t.readAll(q, who, &r)
	case jute.Exists, jute.GetData, jute.GetACL, jute.GetChildren, jute.GetChildren2, jute.CountChildren:
		r.Err = t.readNode(q, who, &r)
	default:
		r.Err = jute.Unimplemented
	}
	return r
}

// readNode fills in what the request asks of its node.
func (t *Tree) readNode(q *jute.Request, who []jute.ID, r *jute.Response) jute.Code {
	if q.Op == jute.Exists && strings.IndexByte(q.Path, 0) >= 0 {
		return jute.BadArguments
	}
	n := t.at(q.Path)
	if n == nil {
		return jute.NoNode
	}
	perms := jute.PermRead // for Exists, too, as since ZooKeeper 3.8.4 (ZOOKEEPER-2590)
	if q.Op == jute.GetACL {
		perms |= jute.PermAdmin
	}
	if !Allowed(n.acl, perms, who) {
		return jute.NoAuth
	}
	switch q.Op {
	case jute.GetData:
		r.Data = n.data
	case jute.GetChildren, jute.GetChildren2:
		r.Children = n.names()
	case jute.GetACL:
		if r.ACL = n.acl; !Allowed(n.acl, jute.PermAdmin, who) {
			r.ACL = masked(n.acl)
		}
	case jute.CountChildren:
		switch q.Path {
		case rootPath:
			r.Count = int32(len(t.nodes) - 1)
		case "":
			r.Count = int32(len(t.nodes)) // ZooKeeper counts the root as well
		default:
			r.Count = int32(n.below())
		}
		return jute.OK
	}
	if q.Op != jute.GetChildren {
		r.Stat = n.stat()
	}
	return jute.OK
}

// readAll is a MultiRead: each of its operations succeeds or fails for itself.
func (t *Tree) readAll(q *jute.Request, who []jute.ID, r *jute.Response) {
	for i := range q.Sub {
		if op := q.Sub[i].Op; op != jute.GetData && op != jute.GetChildren {
			r.Err = jute.MarshallingError
			return
		}
	}
	r.Sub = make([]jute.Result, len(q.Sub))
	for i := range q.Sub {
		one := jute.Response{}
		p := &r.Sub[i]
		if p.Op, p.Err = q.Sub[i].Op, t.readNode(&q.Sub[i], who, &one); p.Err != jute.OK {
			p.Op = jute.Failure
			continue
		}
		p.Stat, p.Data, p.Children = one.Stat, one.Data, one.Children
	}
}

// names of the children, ascending; nil where there are none.
func (n *node) names() []string {
	if n.children.Len() == 0 {
		return nil
	}
	all := make([]string, 0, n.children.Len())
	for c := range n.children.All() {
		all = append(all, c.name)
	}
	return all
}

// below counts all descendants.
func (n *node) below() int {
	count := n.children.Len()
	for c := range n.children.All() {
		if c.children.Len() > 0 {
			count += c.below()
		}
	}
	return count
}

// owned are the session's nodes whose paths begin with prefix, ascending.
func (t *Tree) owned(session int64, prefix string) []string {
	s := t.sessions[session]
	if s == nil {
		return nil
	}
	all := s.nodes.List()
	blank := func(c rune) bool { return c <= ' ' } // to Java's trim
	if p := strings.TrimFunc(prefix, blank); p == "" || p == rootPath {
		return all
	}
	found := all[:0]
	for _, path := range all {
		if strings.HasPrefix(path, prefix) {
			found = append(found, path)
		}
	}
	return found
}

// Arm is a watch to be added.
type Arm struct {
	Kind WatchKind
	Path string
}

// Missed goes through the watches that a client sets anew when it has reconnected: the events that have happened meanwhile fire now, in the order
// of the client's lists; the others are to be armed.
func (t *Tree) Missed(w *jute.Watches) (fire []jute.Event, arm []Arm) {
	say := func(event int32, path string) {
		fire = append(fire, jute.Event{Type: event, State: jute.StateConnected, Path: path})
	}
	for _, path := range w.Data {
		switch n := t.at(path); {
		case n == nil:
			say(jute.EventDeleted, path)
		case n.mzxid > w.RelativeZxid:
			say(jute.EventDataChanged, path)
		default:
			arm = append(arm, Arm{WatchData, path})
		}
	}
	for _, path := range w.Exist {
		if t.at(path) != nil {
			say(jute.EventCreated, path)
		} else {
			arm = append(arm, Arm{WatchExist, path})
		}
	}
	for _, path := range w.Child {
		switch n := t.at(path); {
		case n == nil:
			say(jute.EventDeleted, path)
		case n.pzxid > w.RelativeZxid:
			say(jute.EventChildrenChanged, path)
		default:
			arm = append(arm, Arm{WatchChild, path})
		}
	}
	for _, path := range w.Persistent {
		arm = append(arm, Arm{WatchPersistent, path})
	}
	for _, path := range w.Recursive {
		arm = append(arm, Arm{WatchRecursive, path})
	}
	return fire, arm
}
