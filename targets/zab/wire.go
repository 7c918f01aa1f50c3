package zab

import (
	"encoding/binary"
	"errors"

	"assize/machine"
)

// Kinds of messages. Up is from a learner to its leader, down the other way.
const (
	msgNote      byte = iota + 1 // a notification of fast leader election
	msgUp                        // a frame: session, number, acknowledgement, items
	msgDown                      //
	msgPulseUp                   // a ping or its answer: session, acknowledgement, gap, round
	msgPulseDown                 //
	msgResetUp                   // there is no such session (any more)
	msgResetDown                 //
)

// Items of frames.
const (
	itemFollowerInfo byte = iota + 1 // acceptedEpoch
	itemAckEpoch                     // epoch, whether it counts, currentEpoch, lastZxid
	itemAckLeader                    // epoch, lastZxid
	itemAck                          // all up to a zxid is logged
	itemForward                      // a body from a learner's service

	itemLeaderInfo // epoch (the paper's NEWEPOCH)
	itemSync       // how, zxid to truncate to, snapshot
	itemProposal   // a transaction's record
	itemInform     // the same, committed
	itemNewLeader  // epoch
	itemUpToDate   // committed zxid
	itemCommit     // all up to a zxid is committed
	itemTold       // a body from the leader's service
)

// note is a vote, and the state of who sent it.
type note struct {
	state state
	round uint64
	vote
}

// item is a decoded one. Which fields count depends on its kind.
type item struct {
	kind    byte
	yes     bool     // ackEpoch: counts
	how     syncKind // sync
	epoch   uint64
	current uint64
	zxid    int64
	data    []byte
	txn     txn
}

// message is a decoded body.
type message struct {
	kind    byte
	note    note
	session uint64
	seq     uint64
	ack     uint64
	gap     bool
	round   uint64
	items   []item
}

var errMessage = errors.New("a message that no server has sent")

const frameHead = 29 // kind, session, number, acknowledgement, how many items

// decode b. The items alias it; their slice is used again.
func (m *message) decode(b []byte) error {
	if len(b) == 0 {
		return errMessage
	}
	*m = message{kind: b[0], items: m.items[:0]}
	if m.kind == msgUp || m.kind == msgDown {
		return m.decodeFrame(b)
	}
	d := machine.NewDecoder(b[1:])
	switch m.kind {
	case msgNote:
		m.note = note{state: state(d.Byte()), round: d.Uint(), vote: vote{leader: int(d.Uint()), epoch: d.Uint(), zxid: int64(d.Uint())}}
		if n := &m.note; n.state > observing || n.leader < 0 || n.epoch > maxEpoch || n.zxid < 0 || n.round > 1<<62 {
			return errMessage
		}
	case msgPulseUp, msgPulseDown:
		m.session, m.ack, m.gap, m.round = d.Uint(), d.Uint(), d.Bool(), d.Uint()
	case msgResetUp, msgResetDown:
		m.session = d.Uint()
	default:
		return errMessage
	}
	return d.Done()
}

func (m *message) decodeFrame(b []byte) error {
	if len(b) <= frameHead {
		return errMessage
	}
	m.session, m.seq, m.ack = binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:]), binary.BigEndian.Uint64(b[17:])
	d := machine.NewDecoder(b[frameHead:])
	for range binary.BigEndian.Uint32(b[25:]) {
		var i item
		if err := i.decode(d); err != nil {
			return err
		}
		if up := i.kind <= itemForward; up != (m.kind == msgUp) {
			return errMessage
		}
		m.items = append(m.items, i)
	}
	return d.Done()
}

func (i *item) decode(d *machine.Decoder) error {
	i.kind = d.Byte()
	switch i.kind {
	case itemFollowerInfo, itemLeaderInfo, itemNewLeader:
		i.epoch = d.Uint()
	case itemAckEpoch:
		i.epoch, i.yes, i.current, i.zxid = d.Uint(), d.Bool(), d.Uint(), int64(d.Uint())
	case itemAckLeader:
		i.epoch, i.zxid = d.Uint(), int64(d.Uint())
	case itemAck, itemCommit, itemUpToDate:
		i.zxid = int64(d.Uint())
	case itemForward, itemTold:
		i.data = d.Bytes()
	case itemSync:
		i.how, i.zxid, i.data = syncKind(d.Byte()), int64(d.Uint()), d.Bytes()
		if i.how >= syncKinds {
			return errMessage
		}
	case itemProposal, itemInform:
		var ok bool
		if i.txn, ok = txnOf(d.Bytes()); !ok {
			return errMessage
		}
	default:
		return errMessage
	}
	if i.zxid < 0 || i.epoch > maxEpoch || i.current > maxEpoch {
		return errMessage
	}
	return d.Err()
}

func encodeNote(n note) []byte {
	e := machine.Encoder{B: make([]byte, 0, 32)}
	e.Byte(msgNote)
	e.Byte(byte(n.state))
	e.Uint(n.round)
	e.Uint(uint64(n.leader))
	e.Uint(n.epoch)
	e.Uint(uint64(n.zxid))
	return e.B
}

func encodePulse(kind byte, session, ack uint64, gap bool, round uint64) []byte {
	e := machine.Encoder{B: make([]byte, 0, 32)}
	e.Byte(kind)
	e.Uint(session)
	e.Uint(ack)
	e.Bool(gap)
	e.Uint(round)
	return e.B
}

func encodeReset(kind byte, session uint64) []byte {
	e := machine.Encoder{B: make([]byte, 0, 12)}
	e.Byte(kind)
	e.Uint(session)
	return e.B
}

// encode an item of any kind behind what e holds.
func (i *item) encode(e *machine.Encoder) {
	e.Byte(i.kind)
	switch i.kind {
	case itemFollowerInfo, itemLeaderInfo, itemNewLeader:
		e.Uint(i.epoch)
	case itemAckEpoch:
		e.Uint(i.epoch)
		e.Bool(i.yes)
		e.Uint(i.current)
		e.Uint(uint64(i.zxid))
	case itemAckLeader:
		e.Uint(i.epoch)
		e.Uint(uint64(i.zxid))
	case itemAck, itemCommit, itemUpToDate:
		e.Uint(uint64(i.zxid))
	case itemForward, itemTold:
		e.Bytes(i.data)
	case itemSync:
		e.Byte(byte(i.how))
		e.Uint(uint64(i.zxid))
		e.Bytes(i.data)
	case itemProposal, itemInform:
		e.Bytes(i.txn.record)
	}
}

// Records of the log on the disk.
const (
	recordTxn      byte = iota + 1 // zxid, body
	recordTruncate                 // whatever stands behind this zxid is gone
	recordAccepted                 // acceptedEpoch
	recordCurrent                  // currentEpoch
	recordLife                     // how often this server has been started
)

func numberRecord(kind byte, v uint64) []byte {
	e := machine.Encoder{B: make([]byte, 0, 12)}
	e.Byte(kind)
	e.Uint(v)
	return e.B
}
