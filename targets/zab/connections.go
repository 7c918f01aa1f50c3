package zab

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"assize/machine"
	"assize/machine/jute"
	"assize/targets/zab/tree"
)

// desk is where this server's own clients come to.
type desk struct {
	conns   map[uint64]*connection
	all     []*connection         // the same, in no order that matters
	holders map[int64]*connection // by the session that a connection has or asks for
	watches tree.Watches
	rand    *rand.Rand
	serial  int64 // of the last session made here
	touched
}

// connection of a client.
type connection struct {
	id       uint64
	at       int // its place in desk.all
	session  int64
	timeout  int32 // milliseconds
	readOnly bool  // its client knows the last byte of the handshake
	who      []jute.ID
	open     bool              // the session is valid, and the client has been told
	ending   bool              // nothing more is taken from it
	closed   bool              //
	early    []machine.Request // that came before it was open
	queue    []*pending        // requests without their replies, in order
	syncs    int               // of them that wait for the leader; writes behind them are not sent yet
	unsent   int               // of them that are for the leader

	lastZxid int64 // the greatest that its client has been told
}

// pending is a request until it is replied to.
type pending struct {
	seq  uint64
	q    jute.Request
	body []byte // as it came

	malformed bool
	remote    bool // it goes to the leader
	sent      bool
	done      bool // of a remote one: reply holds
	end       bool // the reply is the connection's last
	code      jute.Code
	reply     jute.Response
}

// maxEarly requests of a client that does not wait for its session. Clients do wait.
const maxEarly = 1000

func newDesk(seed uint64, id int) desk {
	return desk{conns: map[uint64]*connection{}, holders: map[int64]*connection{}, rand: rand.New(rand.NewPCG(seed, ^uint64(id))), touched: newTouched()}
}

// request of a client. A server that does not serve closes the connection, so that the client looks for another one.
func (s *Server) request(in *machine.Request) {
	c := s.conns[in.Conn]
	switch {
	case c == nil && in.Seq != 1: // on its way when this server closed the connection
	case c == nil && !s.peer.serves():
		s.push(machine.Reply{Conn: in.Conn, Close: true})
	case c == nil:
		s.greet(in)
	case c.ending:
	case !c.open && len(c.early) >= maxEarly:
		s.close(c, nil)
	case !c.open:
		c.early = append(c.early, *in)
	default:
		s.take(c, in)
	}
}

func (s *Server) push(r machine.Reply) {
	s.out.Reply = append(s.out.Reply, r)
}

// greet a new connection. A client that has seen more than this server has would go back in time here: it is to find another one (claim Z5).
func (s *Server) greet(in *machine.Request) {
	address, hello, err := jute.Introduced(in.Body)
	var q jute.ConnectRequest
	if err == nil {
		q, err = jute.DecodeConnectRequest(hello)
	}
	if err != nil || q.LastZxid > s.tree.Zxid() && s.flaw != ignoreLastZxid {
		s.push(machine.Reply{Conn: in.Conn, Close: true})
		return
	}
	c := &connection{id: in.Conn, at: len(s.all), readOnly: q.HasReadOnly}
	if address != "" {
		c.who = []jute.ID{tree.IP(address)}
	}
	least, greatest := s.timeouts()
	c.timeout = min(max(q.Timeout, least), greatest)
	s.conns[c.id] = c
	s.all = append(s.all, c)
	if q.Session == 0 {
		s.begin(c)
		return
	}
	if old := s.holders[q.Session]; old != nil {
		s.close(old, nil) // before the password is looked at, as in ZooKeeper
	}
	if password := passwordOf(q.Session); !bytes.Equal(q.Password, password[:]) {
		s.reject(c)
		return
	}
	c.session = q.Session
	s.holders[c.session] = c
	s.send(&order{kind: orderValidate, conn: c.id, session: c.session})
}

// begin a session.
func (s *Server) begin(c *connection) {
	c.session = s.newSession()
	s.holders[c.session] = c
	s.send(&order{kind: orderOpen, conn: c.id, session: c.session, timeout: c.timeout})
}

// welcome a client whose session is valid.
func (s *Server) welcome(c *connection, timeout int32) {
	c.open, c.timeout = true, timeout
	s.touch(c, jute.Ping)
	password := passwordOf(c.session)
	r := jute.ConnectResponse{Timeout: timeout, Session: c.session, Password: password[:], HasReadOnly: c.readOnly}
	s.push(machine.Reply{Conn: c.id, Body: r.Encode()})
	early := c.early
	c.early = nil
	for i := range early {
		if c.closed || c.ending {
			return
		}
		s.take(c, &early[i])
	}
}

// reject a client whose session has expired, or that does not know its password (claim Z11).
func (s *Server) reject(c *connection) {
	if s.flaw == silentNewSession {
		s.let(c)
		s.begin(c)
		return
	}
	r := jute.ConnectResponse{Password: make([]byte, passwordSize), HasReadOnly: c.readOnly}
	s.close(c, r.Encode())
}

// close a connection from here, with a last word or without.
func (s *Server) close(c *connection, last []byte) {
	s.push(machine.Reply{Conn: c.id, Body: last, Close: true})
	s.forget(c)
}

func (s *Server) closeAll() {
	for _, c := range slices.Clone(s.all) {
		s.close(c, nil)
	}
}

// gone: the client's end has been closed, or broken. Its session goes on.
func (s *Server) gone(conn uint64) {
	if c := s.conns[conn]; c != nil {
		s.forget(c)
	}
}

func (s *Server) forget(c *connection) {
	c.closed, c.queue, c.early = true, nil, nil
	last := len(s.all) - 1
	s.all[c.at] = s.all[last]
	s.all[c.at].at = c.at
	s.all[last] = nil
	s.all = s.all[:last]
	delete(s.conns, c.id)
	s.let(c)
	s.watches.Drop(c.id)
}

// let go of the session that a connection has.
func (s *Server) let(c *connection) {
	if s.holders[c.session] == c {
		delete(s.holders, c.session)
	}
}

// take one request of an open connection. Replies leave in the order of the requests, and reads wait for the writes before them
// (CommitProcessor). Who somebody is counts from here on.
func (s *Server) take(c *connection, in *machine.Request) {
	q, err := jute.DecodeRequest(in.Body)
	if err != nil && (!isMarshalling(err) || q.Op == jute.Auth) || err == nil && q.Op == jute.SASL && !holdsToken(q.Body) {
		s.close(c, nil)
		return
	}
	remote, end, code := false, false, jute.OK
	switch {
	case err != nil && q.Op.Writes() && q.Op != jute.Reconfig:
		remote = true // to be refused there: that is a transaction, as of every write
	case err != nil:
		code = jute.MarshallingError
	case q.Op == jute.Auth:
		if code = s.authenticate(c, &q); code != jute.OK {
			end = true
		}
	case q.Op == jute.SASL || readable(q.Op):
	case q.Op == jute.Sync || q.Op.Writes() && q.Op != jute.CreateSession:
		remote, end = true, q.Op == jute.CloseSession
	default:
		code, end = jute.Unimplemented, true
	}
	if !remote && s.peer.leads() && s.moved(&order{conn: c.id, session: c.session}) {
		s.close(c, nil) // the leader knows, whatever is asked for; others find out when they ask it
		return
	}
	c.ending = end
	s.touch(c, q.Op)
	if !remote && len(c.queue) == 0 {
		r := s.perform(c, &q, code)
		s.respond(c, q.Op, &r, end)
		return
	}
	x := &pending{seq: in.Seq, q: q, body: in.Body, malformed: err != nil, remote: remote, end: end, code: code}
	c.queue = append(c.queue, x)
	switch {
	case !remote:
	case c.unsent > 0 || c.syncs > 0:
		c.unsent++
	default:
		s.dispatchOne(c, x)
	}
}

// holdsToken tells whether the body of a request of SASL has one, be it empty. ZooKeeper, also one that knows no SASL, stumbles over another body.
func holdsToken(body []byte) bool {
	return len(body) >= 4 && uint64(binary.BigEndian.Uint32(body)) <= uint64(len(body)-4)
}

func (s *Server) authenticate(c *connection, q *jute.Request) jute.Code {
	earned, ok := tree.Authenticate(q.Scheme, q.Auth, s.o.Super)
	if !ok {
		return jute.AuthFailed
	}
	for _, id := range earned {
		if !slices.Contains(c.who, id) {
			c.who = append(c.who, id)
		}
	}
	return jute.OK
}

// dispatch what waits for the leader. A write behind a sync waits for it: the sync's answer may come after the write has been applied, and a read in
// between would see a write that its client had not asked for yet.
func (s *Server) dispatch(c *connection) {
	for _, x := range c.queue {
		if c.unsent == 0 || c.syncs > 0 || c.closed {
			return
		}
		if x != nil && x.remote && !x.sent {
			c.unsent--
			s.dispatchOne(c, x)
		}
	}
}

func (s *Server) dispatchOne(c *connection, x *pending) {
	x.sent = true
	o := order{kind: orderWrite, conn: c.id, seq: x.seq, session: c.session, who: c.who, q: x.q, body: x.body, malformed: x.malformed}
	if x.q.Op == jute.Sync {
		c.syncs++
		o.kind = orderSync
	}
	s.send(&o)
}

// find a request that the leader has been asked for.
func (c *connection) find(seq uint64) *pending {
	for _, x := range c.queue {
		if x.seq == seq && x.sent && !x.done {
			return x
		}
	}
	return nil
}

// conclude a request that the leader has decided.
func (s *Server) conclude(c *connection, x *pending, r jute.Response) {
	x.done, x.reply = true, r
	if x.q.Op == jute.Sync {
		c.syncs--
	}
	s.flush(c)
	s.dispatch(c)
}

// flush the replies that nothing is to come before.
func (s *Server) flush(c *connection) {
	for !c.closed && len(c.queue) > 0 {
		x := c.queue[0]
		if x.remote && !x.done {
			return
		}
		c.queue[0] = nil
		if c.queue = c.queue[1:]; len(c.queue) == 0 {
			c.queue = nil
		}
		if !x.remote {
			x.reply = s.perform(c, &x.q, x.code)
		}
		s.respond(c, x.q.Op, &x.reply, x.end)
	}
}

// respond to a request of the kind op.
func (s *Server) respond(c *connection, op jute.Op, r *jute.Response, end bool) {
	if r.Err == jute.SessionMoved {
		s.close(c, nil) // without a word, as ZooKeeper does (ZOOKEEPER-710): the client's affair is with the connection that it has now
		return
	}
	c.lastZxid = max(c.lastZxid, r.Zxid)
	if body := r.Encode(op); end {
		s.close(c, body)
	} else {
		s.push(machine.Reply{Conn: c.id, Body: body})
	}
}
