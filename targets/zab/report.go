package zab

import (
	"slices"

	"assize/machine/jute"
	"assize/targets/zab/tree"
)

// Report is what a server tells who looks after it, and what four-letter words are made of.
type Report struct {
	ID          int
	Mode        string // leader, follower, observer; empty: it is LOOKING or not synchronized, and serves nobody
	Epoch       uint64 // currentEpoch
	Zxid        int64  // of the last transaction applied
	Nodes       int
	Ephemerals  int
	Size        int64          // of all paths and data, in bytes
	Sessions    []tree.Session // of the ensemble, by number
	Data, Child tree.Counts    // watches for data, and for children
	Outstanding int            // requests of clients that have no reply yet
	Received    uint64         // frames
	Sent        uint64
	Learners    int // of a leader: how many it has
	Synced      int // of these, how many it has synchronized
	Connections []Connection
}

// Connection of a client, as a server sees it.
type Connection struct {
	ID             uint64
	Address        string
	Session        int64 // 0: it is not open yet
	Timeout        int32 // milliseconds
	Outstanding    int
	Received, Sent uint64
	LastXid        int32
	LastOp         jute.Op
	LastZxid       int64 // the greatest that its client has been told
}

// Report on this server.
func (s *Server) Report() Report {
	r := Report{
		ID: s.id, Epoch: s.peer.current, Zxid: s.tree.Zxid(), Nodes: s.tree.Count(), Ephemerals: s.tree.Ephemerals(), Size: s.tree.Size(),
		Sessions: s.tree.Sessions(), Data: s.watches.Data(), Child: s.watches.Child(), Received: s.received, Sent: s.sent, Learners: len(s.peer.learners),
	}
	switch {
	case s.peer.leads():
		r.Mode = "leader"
	case s.peer.serves() && s.peer.state == observing:
		r.Mode = "observer"
	case s.peer.serves():
		r.Mode = "follower"
	}
	for _, l := range s.peer.learners {
		if l.phase == serving {
			r.Synced++
		}
	}
	for _, c := range s.all {
		one := Connection{
			ID: c.id, Address: c.address, Timeout: c.timeout, Outstanding: len(c.queue), Received: c.received, Sent: c.sent, LastXid: c.lastXid,
			LastOp: c.lastOp, LastZxid: c.lastZxid,
		}
		if c.open {
			one.Session = c.session
		}
		r.Outstanding += len(c.queue)
		r.Connections = append(r.Connections, one)
	}
	slices.SortFunc(r.Connections, func(a, b Connection) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
	return r
}
