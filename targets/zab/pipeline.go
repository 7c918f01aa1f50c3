package zab

import (
	"errors"
	"fmt"

	"assize/machine"
	"assize/machine/jute"
	"assize/targets/zab/tree"
)

// kind of an order.
type orderKind uint8

const (
	orderWrite    orderKind = iota + 1 // a client's request, to be decided
	orderSync                          // a client's sync
	orderOpen                          // a new session
	orderValidate                      // a session that has come to another connection
	orderTouch                         // sessions that have been heard of
)

// order is what a server asks its leader, or itself if it leads. Orders of one server are executed in the order in which they were sent. Those
// under way when leadership changes are lost, or were executed; nobody sends one again.
type order struct {
	kind    orderKind
	conn    uint64 // 0: the leader's own
	seq     uint64
	session int64
	timeout int32
	who     []jute.ID
	q       jute.Request
	body    []byte // of q, as it came
	touched []int64

	malformed bool // of q nothing but the number and the kind are known: it is refused
}

func (o *order) encode() []byte {
	e := machine.Encoder{B: make([]byte, 0, 48+len(o.body)+10*len(o.touched))}
	e.Byte(byte(o.kind))
	e.Uint(o.conn)
	e.Uint(o.seq)
	e.Int(o.session)
	e.Int(int64(o.timeout))
	e.Uint(uint64(len(o.who)))
	for _, id := range o.who {
		e.Bytes([]byte(id.Scheme))
		e.Bytes([]byte(id.ID))
	}
	e.Bytes(o.body)
	e.Uint(uint64(len(o.touched)))
	for _, id := range o.touched {
		e.Int(id)
	}
	return e.B
}

var errSession = errors.New("an order of nobody's")

// decode what another server has sent.
func (o *order) decode(b []byte) error {
	d := machine.NewDecoder(b)
	*o = order{kind: orderKind(d.Byte()), conn: d.Uint(), seq: d.Uint(), session: d.Int(), timeout: int32(d.Int())}
	for range d.Count(2) {
		o.who = append(o.who, jute.ID{Scheme: string(d.Bytes()), ID: string(d.Bytes())})
	}
	o.body = d.Bytes()
	for range d.Count(1) {
		o.touched = append(o.touched, d.Int())
	}
	if err := d.Done(); err != nil {
		return err
	}
	if (o.kind == orderWrite || o.kind == orderOpen) && !tree.IsSession(o.session) {
		return errSession
	}
	if o.kind != orderWrite {
		return nil
	}
	var err error
	if o.q, err = jute.DecodeRequest(o.body); isMarshalling(err) {
		o.malformed, err = true, nil
	}
	return err
}

// send an order to the leader.
func (s *Server) send(o *order) {
	if s.peer.leads() {
		s.execute(s.id, o)
		return
	}
	s.peer.forward(o.encode())
}

// lead: an order of a learner.
func (s *Server) lead(from int, body []byte) {
	var o order
	if o.decode(body) == nil {
		s.execute(from, &o)
	}
}

// execute an order, as the leader.
func (s *Server) execute(from int, o *order) {
	if s.ahead == nil || !s.peer.leads() {
		return
	}
	switch o.kind {
	case orderWrite:
		if s.flaw != writeNoTouch {
			s.refresh(o.session)
		}
		s.write(o)
	case orderSync:
		s.refresh(o.session)
		s.sync(from, o)
	case orderOpen:
		s.write(&order{conn: o.conn, session: o.session, timeout: o.timeout, q: jute.Request{Op: jute.CreateSession}})
	case orderValidate:
		s.validate(from, o)
	case orderTouch:
		for _, id := range o.touched {
			s.refresh(id)
		}
	}
}

// write makes a request a transaction, and proposes it. A refusal is a transaction, too.
func (s *Server) write(o *order) {
	if s.ahead == nil || !s.peer.leads() {
		return
	}
	if s.flaw == numberedOutlives && o.q.Flags == jute.FlagEphemeralSeq {
		o.q.Flags = jute.FlagSequential
	}
	zxid := s.peer.nextZxid()
	x := tree.Txn{Session: o.session, Cxid: o.q.Xid, Zxid: zxid, Time: s.wall, Op: jute.Failure}
	switch {
	case s.moved(o) && o.q.Op != jute.CloseSession: // which is for whoever knows the session, as in ZooKeeper
		x.Err = jute.SessionMoved
	case o.malformed:
		x.Err = jute.MarshallingError
	case o.q.Op == jute.Reconfig:
		x.Err = jute.ReconfigDisabled
	default:
		x = s.ahead.Prepare(tree.Ask{Session: o.session, Who: o.who, Zxid: zxid, Time: s.wall, Timeout: o.timeout, Request: o.q})
	}
	switch x.Op {
	case jute.CreateSession:
		s.track(o.session, o.timeout, o.conn)
	case jute.CloseSession:
		delete(s.tracked, o.session)
	}
	e := machine.Encoder{}
	e.Uint(o.conn)
	e.Uint(o.seq)
	e.Bytes(x.Encode())
	if _, ok := s.peer.propose(e.B); !ok {
		s.ahead = nil // it leads no more, and what was prepared is nothing
	}
}

var errBody = errors.New("a transaction of another zxid")

// proposal is what write proposes, decoded.
type proposal struct {
	body      []byte // of which it was decoded, and which its data aliases
	conn, seq uint64
	txn       tree.Txn
}

// decode what has been proposed as zxid.
func (p *proposal) decode(zxid int64, body []byte) (err error) {
	d := machine.NewDecoder(body)
	p.body, p.conn, p.seq = body, d.Uint(), d.Uint()
	if p.txn, err = tree.DecodeTxn(d.Bytes()); err == nil {
		err = d.Done()
	}
	if err == nil && p.txn.Zxid != zxid {
		err = errBody
	}
	return err
}

// maxDecoded proposals at most are kept decoded.
const maxDecoded = 256

// decoded are proposals of a leader's that have been, oldest first, and are to be delivered: without them each is decoded twice. What is not here
// because too many wait, or because it comes from the disk, is decoded again.
type decoded struct {
	proposals []proposal
	head      int
}

// sound tells whether a leader's transaction is one. Whether it fits the state nobody knows before it is applied: one that does not ends the server then.
func (d *decoded) sound(zxid int64, body []byte) bool {
	n := len(d.proposals)
	if n == cap(d.proposals) && 2*d.head >= n {
		n = copy(d.proposals, d.proposals[d.head:])
		clear(d.proposals[n:])
		d.proposals, d.head = d.proposals[:n], 0
	}
	if n-d.head == maxDecoded {
		var p proposal
		return p.decode(zxid, body) == nil
	}
	d.proposals = append(d.proposals, proposal{})
	if d.proposals[n].decode(zxid, body) != nil {
		d.proposals = d.proposals[:n]
		return false
	}
	return true
}

// take the proposal of this very body, not only of its zxid: another one may have taken its place in the log. Those before it are not delivered any more.
// It is good until the next one is decoded; nil: it is not here.
func (d *decoded) take(zxid int64, body []byte) *proposal {
	for d.head < len(d.proposals) && d.proposals[d.head].txn.Zxid <= zxid {
		p := &d.proposals[d.head]
		if d.head++; p.txn.Zxid == zxid && len(p.body) == len(body) && &p.body[0] == &body[0] {
			return p
		}
		*p = proposal{}
	}
	return nil
}

// deliver a transaction: it is committed. Whoever watches hears of it first, then whoever has asked for it, and then come the reads that wait
// (claim Z10).
func (s *Server) deliver(zxid int64, body []byte) {
	var again proposal
	p := s.decoded.take(zxid, body)
	if p == nil {
		p = &again
		if err := p.decode(zxid, body); err != nil {
			panic(fmt.Sprintf("zab: %#x is committed: %v", zxid, err))
		}
	}
	x := &p.txn
	r, changes := s.tree.Apply(x)
	s.applied++
	s.out.Applied = append(s.out.Applied, machine.Applied{Index: s.applied, Revision: zxid, Hash: s.tree.Hash()})
	s.digest(zxid)
	if s.ahead != nil {
		s.ahead.Applied(zxid)
	}
	if s.flaw == replyBeforeEvent {
		s.reply(p.conn, p.seq, x, r)
		s.fire(changes)
	} else {
		s.fire(changes)
		s.reply(p.conn, p.seq, x, r)
	}
	if c := s.holders[x.Session]; c != nil && x.Op == jute.CloseSession {
		s.close(c, nil)
	}
	s.release()
	*p = proposal{} // the log may let go of its body
}

// reply to whoever has asked for a transaction, if his connection is here.
func (s *Server) reply(conn, seq uint64, x *tree.Txn, r jute.Response) {
	c := s.conns[conn]
	if c == nil {
		return
	}
	if x.Op == jute.CreateSession {
		if !c.open && c.session == x.Session {
			s.welcome(c, x.Timeout)
		}
		return
	}
	if p := c.find(seq); p != nil {
		s.conclude(c, p, r)
	}
}

// answer of the leader to an order that becomes no transaction.
type answer struct {
	kind    orderKind
	conn    uint64
	seq     uint64
	session int64
	timeout int32 // 0: the session is not valid
	zxid    int64
	code    jute.Code
}

// answer an order of a server's.
func (s *Server) answer(to int, a answer) {
	if to == s.id {
		s.heed(&a)
		return
	}
	e := machine.Encoder{B: make([]byte, 0, 48)}
	e.Byte(byte(a.kind))
	e.Uint(a.conn)
	e.Uint(a.seq)
	e.Int(a.session)
	e.Int(int64(a.timeout))
	e.Int(a.zxid)
	e.Int(int64(a.code))
	s.peer.tell(to, e.B)
}

// hear an answer of the leader.
func (s *Server) hear(b []byte) {
	d := machine.NewDecoder(b)
	a := answer{orderKind(d.Byte()), d.Uint(), d.Uint(), d.Int(), int32(d.Int()), d.Int(), jute.Code(d.Int())}
	if d.Done() == nil {
		s.heed(&a)
	}
}

func (s *Server) heed(a *answer) {
	c := s.conns[a.conn]
	switch {
	case c == nil:
	case a.kind == orderSync:
		if x := c.find(a.seq); x != nil {
			s.conclude(c, x, jute.Response{Xid: x.q.Xid, Zxid: a.zxid, Err: a.code, Path: x.q.Path})
		}
	case c.open || c.session != a.session:
	case a.timeout == 0:
		s.reject(c)
	default:
		s.welcome(c, a.timeout)
	}
}

// synchronizing is a sync that the leader has not answered.
type synchronizing struct {
	from      int
	conn, seq uint64
	zxid      int64 // of the last transaction proposed when it came
	token     uint64
	sure      bool // a quorum has said that this server led after it had come, or nobody asks
	code      jute.Code
}

// sync: the answer goes behind the last proposed transaction (Leader.processSync). ZooKeeper's leader asks nobody whether it still leads, and so it may
// be stale (ZOOKEEPER-1675; claim Z4).
func (s *Server) sync(from int, o *order) {
	w := synchronizing{from: from, conn: o.conn, seq: o.seq, zxid: s.peer.log.last(), sure: true}
	if s.moved(o) {
		w.code = jute.SessionMoved
	}
	if s.mode == modeQuorum {
		s.tokens++
		w.token, w.sure = s.tokens, false
		s.peer.confirm(w.token)
	}
	s.syncs = append(s.syncs, w)
	s.release()
}

// sure: this server led when a quorum had been asked.
func (s *Server) sure(token uint64) {
	for i := range s.syncs {
		if w := &s.syncs[i]; w.token <= token {
			w.sure = true
		}
	}
	s.release()
}

// release the syncs whose transactions are applied here, and so on their way to all learners.
func (s *Server) release() {
	for len(s.syncs) > 0 && s.syncs[0].sure && s.syncs[0].zxid <= s.tree.Zxid() {
		w := s.syncs[0]
		s.syncs = s.syncs[1:]
		s.answer(w.from, answer{kind: orderSync, conn: w.conn, seq: w.seq, zxid: w.zxid, code: w.code})
	}
}
