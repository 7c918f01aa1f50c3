package machine

import (
	"errors"
	"fmt"
	"slices"
)

// Freshness of a request.
type Freshness uint8

const (
	Fresh     Freshness = iota // it has not been executed
	Duplicate                  // it has been executed
	Expired                    // nobody knows: its connection may have been forgotten
)

// Sessions remembers which requests have been executed, and their first replies, so that a request that reaches the log twice is executed
// once. It is part of the replicated state: the same calls in the same order make equal tables, byte for byte in their encoding.
type Sessions struct {
	limit   int
	horizon uint64 // greatest last index of a connection that has been forgotten
	conns   map[uint64]*session
	// The connections in the order of their last use.
	oldest, newest *session
}

// session of one connection.
type session struct {
	conn         uint64
	low          uint64 // requests below it are answered and their replies forgotten
	last         uint64 // log index of the last request recorded
	replies      []reply
	older, newer *session
}

// reply to a request that its client may not have got yet.
type reply struct {
	seq  uint64
	body []byte
}

// NewSessions makes a table of at most limit connections, at least one.
func NewSessions(limit int) *Sessions {
	return &Sessions{limit: max(limit, 1), conns: map[uint64]*session{}}
}

// Check tells whether a request is to be executed. born is an index that the connection's node had applied when all of its
// earlier requests had been answered.
//
// The reply is that of the first execution, nil where the client is known to have it. A connection that is not in the table may have been
// there and been forgotten; it cannot have been if it is younger than all that were forgotten.
func (t *Sessions) Check(conn, seq, born uint64) (reply []byte, v Freshness) {
	s := t.conns[conn]
	switch {
	case s == nil && born < t.horizon:
		return nil, Expired
	case s == nil:
		return nil, Fresh
	case seq < s.low:
		return nil, Duplicate
	}
	if i, found := s.find(seq); found {
		return s.replies[i].body, Duplicate
	}
	return nil, Fresh
}

// Record that a fresh request was executed at a log index, never less than in the call before. low is the least of the connection's requests
// whose reply its client may not have.
func (t *Sessions) Record(conn, seq, low, index uint64, body []byte) {
	s := t.conns[conn]
	if s == nil {
		if len(t.conns) >= t.limit {
			t.evict()
		}
		s = &session{conn: conn}
		t.conns[conn] = s
	} else {
		t.unlink(s)
	}
	t.link(s)
	s.last = index
	if low > s.low {
		s.low = low
		i, _ := s.find(low)
		s.replies = slices.Delete(s.replies, 0, i)
	}
	if seq < s.low {
		return
	}
	if i, found := s.find(seq); !found {
		s.replies = slices.Insert(s.replies, i, reply{seq, body})
	}
}

// find the position of the first reply whose seq is not less. Most requests come in order: the search begins at the end.
func (s *session) find(seq uint64) (at int, found bool) {
	at = len(s.replies)
	if at == 0 || s.replies[at-1].seq < seq {
		return at, false
	}
	return slices.BinarySearchFunc(s.replies, seq, func(r reply, seq uint64) int {
		switch {
		case r.seq < seq:
			return -1
		case r.seq > seq:
			return 1
		}
		return 0
	})
}

func (t *Sessions) evict() {
	s := t.oldest
	t.unlink(s)
	delete(t.conns, s.conn)
	t.horizon = max(t.horizon, s.last)
}

func (t *Sessions) link(s *session) {
	s.older, s.newer = t.newest, nil
	if t.newest == nil {
		t.oldest = s
	} else {
		t.newest.newer = s
	}
	t.newest = s
}

func (t *Sessions) unlink(s *session) {
	if s.older == nil {
		t.oldest = s.newer
	} else {
		s.older.newer = s.newer
	}
	if s.newer == nil {
		t.newest = s.older
	} else {
		s.newer.older = s.older
	}
}

// Encode the table.
func (t *Sessions) Encode() []byte {
	size := 24
	for s := t.oldest; s != nil; s = s.newer {
		size += 40
		for i := range s.replies {
			size += 20 + len(s.replies[i].body)
		}
	}
	e := Encoder{B: make([]byte, 0, size)}
	e.Uint(t.horizon)
	e.Uint(uint64(len(t.conns)))
	for s := t.oldest; s != nil; s = s.newer {
		e.Uint(s.conn)
		e.Uint(s.low)
		e.Uint(s.last)
		e.Uint(uint64(len(s.replies)))
		for i := range s.replies {
			e.Uint(s.replies[i].seq)
			e.Bytes(s.replies[i].body)
		}
	}
	return e.B
}

var errManySessions = errors.New("there are more connections than the limit")

// DecodeSessions is the inverse of Encode. The table keeps none of b. What no table has written gives an error.
func DecodeSessions(b []byte, limit int) (*Sessions, error) {
	t := NewSessions(limit)
	d := Decoder{rest: b}
	t.horizon = d.Uint()
	n := d.Count(4)
	if n > t.limit {
		d.fail(errManySessions)
	}
	var last uint64
	for range n {
		s := &session{conn: d.Uint(), low: d.Uint(), last: d.Uint()}
		s.replies = d.replies(s.low)
		if s.last < last || t.conns[s.conn] != nil {
			d.fail(errValue)
		}
		if d.err != nil {
			break
		}
		last = s.last
		t.conns[s.conn] = s
		t.link(s)
	}
	if err := d.Done(); err != nil {
		return nil, fmt.Errorf("decode the sessions: %w", err)
	}
	return t, nil
}

func (d *Decoder) replies(low uint64) []reply {
	n := d.Count(2)
	if n == 0 {
		return nil
	}
	list := make([]reply, n)
	for i := range list {
		list[i] = reply{d.Uint(), slices.Clone(d.Bytes())}
		if list[i].seq < low || i > 0 && list[i].seq <= list[i-1].seq {
			d.fail(errValue)
		}
	}
	return list
}
