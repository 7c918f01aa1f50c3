package machine

import "time"

// Modes in Report.Mode: what ZooKeeper calls the states of a server. (Leader and Follower are roles, too.)
const (
	Observer   = "observer"
	Standalone = "standalone"
	Looking    = "looking"
)

// Reporter is a machine that keeps sessions, watches and a tree of nodes, as ZooKeeper does, and tells of them. Report is called as Status is; a whole one has
// in it what may be long, and few ask for.
type Reporter interface {
	Report(whole bool) Report
}

// Report is what those who look after a server ask it for, by four-letter words, and Status lacks. The reader may keep it.
type Report struct {
	Serving     bool   // clients' requests are taken
	Mode        string // Leader, Follower, Observer, Standalone, Looking
	Zxid        int64  // of the last transaction applied
	Nodes       int
	Ephemerals  int
	Size        int64 // of all paths and data, bytes, about
	Outstanding int   // requests of clients that have no reply yet
	Learners    int   // of a leader: how many follow or observe it
	Synced      int   // of these, how many have all that it has
	Tick        time.Duration
	Sessions    []SessionReport // of the whole ensemble, by number
	Owners      []OwnerReport   // of ephemeral nodes, by number
	Data, Child WatchReport     // watches for a node's data or existence, and for its children
	Connections []ConnectionReport
	Digests     []DigestReport // of a whole report: the newest, the oldest of them first
}

// SessionReport of one session.
type SessionReport struct {
	ID      int64
	Timeout time.Duration
}

// OwnerReport of a session that owns ephemeral nodes.
type OwnerReport struct {
	ID    int64
	Paths []string
}

// WatchReport counts watches of one kind.
type WatchReport struct{ Connections, Paths, Watches int }

// ConnectionReport of one client's connection to this server.
type ConnectionReport struct {
	Conn     uint64 // as in Request
	Session  int64  // 0: none yet
	Timeout  time.Duration
	LastZxid int64    // the greatest that the client has been told
	Watched  []string // of a whole report: paths that it has watches for data on, ascending
}

// DigestReport is what the state was hashed to after a transaction.
type DigestReport struct {
	Zxid int64
	Hash uint64
}
