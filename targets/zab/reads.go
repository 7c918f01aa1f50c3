package zab

import (
	"errors"
	"strings"

	"assize/machine"
	"assize/machine/jute"
	"assize/targets/zab/tree"
)

func isMarshalling(err error) bool { return errors.Is(err, jute.ErrMarshalling) }

// readable: any server answers it by itself.
func readable(op jute.Op) bool {
	switch op {
	case jute.Exists, jute.GetData, jute.GetACL, jute.GetChildren, jute.GetChildren2, jute.MultiRead, jute.GetEphemerals, jute.CountChildren,
		jute.Ping, jute.WhoAmI, jute.AddWatch, jute.CheckWatches, jute.RemoveWatches, jute.SetWatches, jute.SetWatches2:
		return true
	}
	return false
}

// perform what is not for the leader. The state is this server's own: it may be stale (claim Z1), but has all that this connection has been told.
func (s *Server) perform(c *connection, q *jute.Request, code jute.Code) jute.Response {
	r := jute.Response{Xid: q.Xid, Zxid: s.tree.Zxid(), Err: code}
	if code == jute.Unimplemented {
		r.Zxid = -1
	}
	if q.Op == jute.Auth || q.Op == jute.SASL {
		r.Zxid = 0 // without SASL there is no token to give; ZooKeeper says so with success
	}
	if code != jute.OK {
		return r
	}
	switch q.Op {
	case jute.Auth, jute.SASL:
	case jute.Ping:
		r.Xid = jute.XidPing // whatever the request's was
	case jute.WhoAmI:
		r.IDs = known(c.who)
	case jute.SetWatches, jute.SetWatches2:
		s.setWatches(c, &q.Watches)
	case jute.AddWatch:
		if q.Mode != jute.WatchPersistent && q.Mode != jute.WatchRecursive {
			r.Err = jute.MarshallingError
			break
		}
		s.watches.Arm(c.id, q, &r)
	case jute.CheckWatches, jute.RemoveWatches:
		r.Err = s.unwatch(c, q)
	default:
		r = s.tree.Read(q, c.session, c.who)
		s.watches.Arm(c.id, q, &r)
	}
	return r
}

// known is who somebody is, without what passwords could be guessed from.
func known(who []jute.ID) []jute.ID {
	ids := make([]jute.ID, 0, len(who))
	for _, id := range who {
		if id.Scheme == "digest" {
			id.ID, _, _ = strings.Cut(id.ID, ":")
		}
		ids = append(ids, id)
	}
	return ids
}

// setWatches of a client that has come back: what it has missed it hears of now, before the reply.
func (s *Server) setWatches(c *connection, w *jute.Watches) {
	fire, arm := s.tree.Missed(w)
	for _, a := range arm {
		s.watches.Add(c.id, a.Kind, a.Path)
	}
	for _, e := range fire {
		s.push(machine.Reply{Conn: c.id, Body: e.Encode()})
	}
}

func (s *Server) unwatch(c *connection, q *jute.Request) jute.Code {
	if q.Mode < jute.WatcherChildren || q.Mode > jute.WatcherAny {
		return jute.MarshallingError
	}
	has := q.Op == jute.CheckWatches && s.watches.Has(c.id, q.Mode, q.Path) || q.Op == jute.RemoveWatches && s.watches.Remove(c.id, q.Mode, q.Path)
	if !has {
		return jute.NoWatcher
	}
	return jute.OK
}

// fire the watches that changes have set off, for those who may read of them.
func (s *Server) fire(changes []tree.Change) {
	for _, f := range s.watches.Fire(changes) {
		if c := s.conns[f.Conn]; c != nil && tree.Allowed(f.ACL, jute.PermRead, c.who) {
			s.push(machine.Reply{Conn: f.Conn, Body: f.Event.Encode()})
		}
	}
}
