package harness

import (
	"fmt"
	"time"

	"assize/cluster"
	"assize/history"
)

// passport is a worker's session with the system, which goes on through connections, processes and nodes until the system says that it has
// expired. Then the worker asks for another one.
type passport struct {
	cluster.Session
	id      uint64        // of the session; 0: none yet
	open    bool          // the worker's one line has been connected
	timeout time.Duration // that was negotiated last
	away    time.Duration // for which the worker is to stay away
}

// session that the worker's next operation is of.
func (w *worker) session() uint64 {
	if w.passport == nil {
		return 0
	}
	return w.passport.id
}

// stamp an operation that has been completed, and tell whether the connection is over. A session that was closed is asked for once more: it
// must be refused.
func (p *passport) stamp(op history.Op) (over bool) {
	if op.Kind != history.OK {
		return false
	}
	switch m := op.Txn[0]; m.F {
	case history.Connect:
		if m.Out[0] == 0 {
			p.forget()
			*p = *p.anew()
			return true
		}
		p.id, p.open, p.timeout = op.Session, true, time.Duration(m.Out[0])*time.Millisecond
	case history.Close:
		return true
	}
	return false
}

// leave the connection, without a word, and stay away for so long.
func (w *worker) leave(ms int) {
	w.passport.away = time.Duration(ms) * time.Millisecond
	w.run.Recorder.Record(history.Op{Process: history.Harness, Kind: history.Info,
		Note: fmt.Sprintf("session %016x leaves %s for %v", w.passport.id, w.asked, w.passport.away)})
	w.part()
}

// anew is a passport with no session yet.
func (p *passport) anew() *passport {
	return &passport{Session: cluster.Session{Timeout: p.Timeout}, timeout: p.timeout}
}

// forget the session: it is never used again.
func (p *passport) forget() {
	if p != nil && p.Forget != nil {
		p.Forget()
	}
}

// stayAway tells, once, for how long.
func (p *passport) stayAway() (away time.Duration) {
	away, p.away = p.away, 0
	return away
}

// part with the connection, without a word: the session goes on.
func (w *worker) part() {
	w.run.mu.Lock()
	w.asked = ""
	lines := w.drop("")
	w.run.mu.Unlock()
	for _, c := range lines {
		c.Close()
	}
}

// restTimeouts is for how many of their time-outs sessions are left alone. ZooKeeper is late by up to a tick, which is half of the shortest time-out,
// ours by three.
const restTimeouts = 4

// outlive leaves all sessions alone until they have expired. Another leader would give them their time-outs anew: then it begins again. note says why they
// may not have expired.
func (r *run) outlive() (note string) {
	longest := r.Workload.Session
	for _, w := range r.workers {
		w.part()
		longest = max(longest, w.passport.timeout)
	}
	const attempts = 3
	for range attempts {
		before, settled := r.reign()
		r.enter(history.PhaseRest, fmt.Sprintf("for %v", restTimeouts*longest))
		r.until(restTimeouts*longest, func() bool { return false })
		if after, still := r.reign(); settled && still && after == before {
			return ""
		}
		r.settle()
	}
	return fmt.Sprintf("no leader led for %v", restTimeouts*longest)
}

// reign is who leads, and in which term, if all nodes agree.
func (r *run) reign() (who string, all bool) {
	for _, node := range r.Cluster.Nodes() {
		s, err := r.Cluster.Status(r.last, node)
		if err != nil || s.Leader == "" {
			return "", false
		}
		one := fmt.Sprintf("%s in term %d", s.Leader, s.Term)
		if who != "" && who != one {
			return "", false
		}
		who = one
	}
	return who, who != ""
}
