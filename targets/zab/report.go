package zab

import (
	"cmp"
	"slices"
	"time"

	"assize/machine"
	"assize/machine/jute"
	"assize/targets/zab/tree"
)

var _ machine.Reporter = (*Server)(nil)

// Report on this server.
func (s *Server) Report(whole bool) machine.Report {
	r := machine.Report{
		Serving: s.peer.serves(), Mode: s.modeNow(), Zxid: s.tree.Zxid(), Nodes: s.tree.Count(), Ephemerals: s.tree.Ephemerals(), Size: s.tree.Size(),
		Learners: len(s.peer.learners), Tick: s.o.SessionTick, Data: watchReport(s.watches.Data()), Child: watchReport(s.watches.Child()),
	}
	if whole {
		r.Digests = slices.Clone(s.digests)
	}
	for _, l := range s.peer.learners {
		if l.phase == serving {
			r.Synced++
		}
	}
	for _, o := range s.tree.Sessions() {
		r.Sessions = append(r.Sessions, machine.SessionReport{ID: o.ID, Timeout: milliseconds(o.Timeout)})
		if own := s.tree.Read(&jute.Request{Op: jute.GetEphemerals}, o.ID, nil).Children; len(own) > 0 {
			r.Owners = append(r.Owners, machine.OwnerReport{ID: o.ID, Paths: own})
		}
	}
	for _, c := range s.all {
		one := machine.ConnectionReport{Conn: c.id, Timeout: milliseconds(c.timeout), LastZxid: c.lastZxid}
		if c.open {
			one.Session = c.session
		}
		if whole {
			one.Watched = s.watches.Of(c.id)
		}
		r.Outstanding += len(c.queue)
		r.Connections = append(r.Connections, one)
	}
	slices.SortFunc(r.Connections, func(a, b machine.ConnectionReport) int { return cmp.Compare(a.Conn, b.Conn) })
	return r
}

// Digests are kept of every so manyth transaction, and so many (DataTree.DIGEST_LOG_INTERVAL, DIGEST_LOG_LIMIT).
const (
	digestEvery = 128
	digestsKept = 1024
)

// digest notes the tree's hash after some of the transactions.
func (s *Server) digest(zxid int64) {
	if zxid%digestEvery != 0 {
		return
	}
	if len(s.digests) == digestsKept {
		s.digests = append(s.digests[:0], s.digests[1:]...)
	}
	s.digests = append(s.digests, machine.DigestReport{Zxid: zxid, Hash: s.tree.Hash()})
}

// modeNow is what ZooKeeper would call the server's state.
func (s *Server) modeNow() string {
	switch {
	case s.peer.leads() && len(s.peer.voters) == 1:
		return machine.Standalone
	case s.peer.leads():
		return machine.Leader
	case s.peer.serves() && s.peer.state == observing:
		return machine.Observer
	case s.peer.serves():
		return machine.Follower
	}
	return machine.Looking
}

func watchReport(c tree.Counts) machine.WatchReport {
	return machine.WatchReport{Connections: c.Connections, Paths: c.Paths, Watches: c.Watches}
}

func milliseconds(n int32) time.Duration { return time.Duration(n) * time.Millisecond }
