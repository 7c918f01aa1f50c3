package raft

import (
	"errors"

	"assize/machine"
)

// Kinds of messages. Each body begins with its kind and the sender's term, which for a pre-vote is the one it would campaign in.
const (
	msgPreVote byte = iota + 1
	msgPreVoteReply
	msgVote
	msgVoteReply
	msgAppend
	msgAppendReply
	msgSnapshot
	msgTimeoutNow
	msgForward // a request on its way to the leader
	msgRefusal // the leader's answer to a forwarded request that it does not take
	msgQuery   // a follower asks for an index to read at
	msgIndex   // and gets it
)

// message is a decoded body. Which fields count depends on its kind.
type message struct {
	kind byte
	term uint64

	index   uint64 // of the entry before the first (append), of the last entry (votes, snapshot), matched or refused (append reply), to read at (index)
	logTerm uint64 // of that entry
	commit  uint64
	round   uint64 // of heartbeats: confirms leadership, and measures leases; of a question for an index: its number

	granted  bool   // votes, append reply
	transfer bool   // vote: the leader himself asked for this election
	hint     uint64 // append reply: where to try next; refusal, query, index: seq of the request
	hintTerm uint64 // append reply: term of the conflicting entry; refusal, query, index: connection of the request

	entries []entry
	record  []byte // the entries as they came, which is how they are logged
	data    []byte // snapshot, request, result
}

var errMessage = errors.New("a message that no server has sent")

func (m *message) decode(b []byte) error {
	d := machine.NewDecoder(b)
	m.kind, m.term = d.Byte(), d.Uint()
	switch m.kind {
	case msgPreVote, msgVote:
		m.index, m.logTerm, m.transfer = d.Uint(), d.Uint(), d.Bool()
	case msgPreVoteReply, msgVoteReply:
		m.granted = d.Bool()
	case msgAppend:
		m.index, m.logTerm, m.commit, m.round = d.Uint(), d.Uint(), d.Uint(), d.Uint()
		m.record = d.Bytes()
		if err := d.Done(); err != nil {
			return err
		}
		return m.decodeEntries()
	case msgAppendReply:
		m.granted, m.index, m.round, m.hint, m.hintTerm = d.Bool(), d.Uint(), d.Uint(), d.Uint(), d.Uint()
	case msgSnapshot:
		m.round, m.data = d.Uint(), d.Bytes()
	case msgTimeoutNow:
	case msgForward:
		m.data = d.Bytes()
	case msgRefusal:
		m.hintTerm, m.hint, m.data = d.Uint(), d.Uint(), d.Bytes()
	case msgQuery:
		m.hintTerm, m.hint, m.round = d.Uint(), d.Uint(), d.Uint()
	case msgIndex:
		m.hintTerm, m.hint, m.round, m.index = d.Uint(), d.Uint(), d.Uint(), d.Uint()
	default:
		return errMessage
	}
	return d.Done()
}

// decodeEntries of an append: they follow the entry at index.
func (m *message) decodeEntries() error {
	if len(m.record) == 0 {
		return nil
	}
	first, entries, err := decodeEntries(m.record)
	if err != nil {
		return err
	}
	if first != m.index+1 || first == 0 || len(entries) == 0 {
		return errMessage
	}
	last := m.logTerm
	for i := range entries {
		if entries[i].term < last || entries[i].term > m.term {
			return errMessage
		}
		last = entries[i].term
	}
	m.entries = entries
	return nil
}

// Records of the log on the disk.
const (
	recordState   byte = iota + 1 // term and vote
	recordEntries                 // index of the first; the entries; whatever the log held from there on is gone
)

func encodeEntries(e *machine.Encoder, first uint64, entries []entry) {
	e.Byte(recordEntries)
	e.Uint(first)
	e.Uint(uint64(len(entries)))
	for i := range entries {
		e.Uint(entries[i].term)
		e.Bytes(entries[i].data)
	}
}

var errEntries = errors.New("entries that no server has logged")

// decodeEntries of a record. They alias b.
func decodeEntries(b []byte) (first uint64, entries []entry, err error) {
	d := machine.NewDecoder(b)
	if d.Byte() != recordEntries {
		return 0, nil, errEntries
	}
	first = d.Uint()
	n := d.Count(3)
	if n == 0 {
		return first, nil, d.Done()
	}
	entries = make([]entry, n)
	for i := range entries {
		e := &entries[i]
		e.term, e.data = d.Uint(), d.Bytes()
		if err := checkEntry(e); err != nil {
			return 0, nil, err
		}
	}
	return first, entries, d.Done()
}

// checkEntry refuses what would have no meaning when it is applied.
func checkEntry(e *entry) error {
	if len(e.data) == 0 || e.term == 0 {
		return errEntries
	}
	switch e.data[0] {
	case kindNoop:
		if len(e.data) > 1 {
			return errEntries
		}
		return nil
	case kindCommand:
		_, err := decodeOrder(e.data)
		return err
	case kindConfig:
		_, err := configOf(e.data)
		return err
	}
	return errEntries
}

// order is a client's request as it stands in the log.
type order struct {
	conn, seq uint64
	low       uint64 // the client has the replies to all requests below it
	born      uint64 // index applied where the connection is, when it had nothing outstanding last
	body      []byte // encoded machine.Command
}

func (o *order) encode(kind byte) []byte {
	e := machine.Encoder{B: make([]byte, 0, 32+len(o.body))}
	e.Byte(kind)
	e.Uint(o.conn)
	e.Uint(o.seq)
	e.Uint(o.low)
	e.Uint(o.born)
	e.Bytes(o.body)
	return e.B
}

var errOrder = errors.New("a request that no server has forwarded")

func decodeOrder(data []byte) (o order, err error) {
	d := machine.NewDecoder(data)
	d.Byte()
	o = order{conn: d.Uint(), seq: d.Uint(), low: d.Uint(), born: d.Uint(), body: d.Bytes()}
	if d.Done() != nil || o.conn == 0 {
		return o, errOrder
	}
	return o, nil
}

func encodeVote(kind byte, term, index, logTerm uint64, transfer bool) []byte {
	e := machine.Encoder{B: make([]byte, 0, 24)}
	e.Byte(kind)
	e.Uint(term)
	e.Uint(index)
	e.Uint(logTerm)
	e.Bool(transfer)
	return e.B
}

func encodeVoteReply(kind byte, term uint64, granted bool) []byte {
	e := machine.Encoder{B: make([]byte, 0, 12)}
	e.Byte(kind)
	e.Uint(term)
	e.Bool(granted)
	return e.B
}

func encodeAppendReply(term uint64, granted bool, index, round, hint, hintTerm uint64) []byte {
	e := machine.Encoder{B: make([]byte, 0, 24)}
	e.Byte(msgAppendReply)
	e.Uint(term)
	e.Bool(granted)
	e.Uint(index)
	e.Uint(round)
	e.Uint(hint)
	e.Uint(hintTerm)
	return e.B
}

func encodeSnapshot(term, round uint64, snapshot []byte) []byte {
	e := machine.Encoder{B: make([]byte, 0, 32+len(snapshot))}
	e.Byte(msgSnapshot)
	e.Uint(term)
	e.Uint(round)
	e.Bytes(snapshot)
	return e.B
}

func encodeTimeoutNow(term uint64) []byte {
	e := machine.Encoder{B: make([]byte, 0, 12)}
	e.Byte(msgTimeoutNow)
	e.Uint(term)
	return e.B
}

func encodeForward(term uint64, data []byte) []byte {
	e := machine.Encoder{B: make([]byte, 0, 16+len(data))}
	e.Byte(msgForward)
	e.Uint(term)
	e.Bytes(data)
	return e.B
}

func encodeRefusal(term, conn, seq uint64, result []byte) []byte {
	e := machine.Encoder{B: make([]byte, 0, 40+len(result))}
	e.Byte(msgRefusal)
	e.Uint(term)
	e.Uint(conn)
	e.Uint(seq)
	e.Bytes(result)
	return e.B
}

// encodeQuery is a msgQuery, or with an index its answer.
func encodeQuery(kind byte, term, conn, seq, number, index uint64) []byte {
	e := machine.Encoder{B: make([]byte, 0, 32)}
	e.Byte(kind)
	e.Uint(term)
	e.Uint(conn)
	e.Uint(seq)
	e.Uint(number)
	if kind == msgIndex {
		e.Uint(index)
	}
	return e.B
}
