package workloads

import (
	"time"

	"assize/history"
)

const (
	shortSession = 2 * time.Second // asked for, so that some expire in a storm
	// A third of the time a client only reads, and a sixth it only writes: either alone must keep its session alive, for longer than any server is late.
	spell = 60 // operations
	// Names are few, so that many want the same, and those that are taken are wanted again when their owner has gone.
	namesEach = 2 // clients
	parents   = 2
)

var session = Workload{
	Name: "session",
	Doc: "sessions that outlive connections and go from server to server create ephemeral nodes that all want and sequential ones, read, leave for a " +
		"while, sometimes for too long, and are closed; at the end all are left alone, and every node is asked for what must have gone with them",
	Kinds:    []string{history.Connect, history.CreateEphemeral, history.CreateSequential, history.Read, history.List, history.Close},
	Checkers: []string{"invariants", "faults", "expiry", "ephemeral", "sequence", "image", "alive", "agreement", "availability"},
	Session:  shortSession,
	Outlive:  true,
	New: func(seed uint64, c Config) Source {
		return &sessions{newCrowd(seed, c, "e", namesEach)}
	},
}

type sessions struct{ crowd }

// Of a thousand operations those below reads only read, those from there on and below writes write, and those beyond end something.
const reads, writes = 400, 925

// Next by spells: in some all is asked, in others nothing but reads, or writes.
func (s *sessions) Next(worker, n int) history.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	mood := s.draws.at(worker, -1-n/spell).IntN(6)
	r := s.draws.at(worker, n)
	name, parent := s.name(r.IntN(s.names)), numbered("q", r.IntN(parents))
	d := r.IntN(1000)
	switch mood {
	case 0, 1:
		d = d * reads / 1000
	case 2:
		d = reads + d*(writes-reads)/1000
	}
	switch {
	case d < reads/8:
		return history.Txn{{F: history.List, Key: parent}}
	case d < reads:
		return history.Txn{{F: history.Read, Key: name}}
	case d < 750:
		return history.Txn{{F: history.CreateEphemeral, Key: name, In: s.next()}}
	case d < writes:
		return history.Txn{{F: history.CreateSequential, Key: parent, In: s.next()}}
	case d < 970:
		return history.Txn{{F: history.Close}}
	}
	return history.Txn{{F: Leave, In: []int{away(r.IntN(100), r.IntN(1000))}}}
}

// away for less than a session lasts, three times of four, or for longer than any server is late.
func away(which, share int) (ms int) {
	t := int(shortSession.Milliseconds())
	if which < 75 {
		return share * t / 1000
	}
	return 2*t + share*t/1000
}

// Final asks for all that can be left, and closes the session that has read them.
func (s *sessions) Final() []history.Txn {
	txns := s.all()
	for i := range parents {
		txns = append(txns, history.Txn{{F: history.List, Key: numbered("q", i)}})
	}
	return append(txns, history.Txn{{F: history.Close}})
}
