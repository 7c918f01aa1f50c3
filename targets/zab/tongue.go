package zab

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
	"assize/machine/znodes"
)

// Tongue is a client of the simulator: one session a connection, or one that outlives it (Carry), and the frames that any ZooKeeper client would send.
//
// Registers and sets are the nodes of package znodes. A write is a setData, or a create where there is none yet; a compare-and-set is a getData and a
// setData of the version found. A sync and the read behind it are sent together. A version is the zxid of a write, or the mzxid of a register; a position
// the zxid that the server had reached.
type Tongue struct {
	carried *carried // nil: the session is the connection's own
	granted int32    // the time-out that the last connect was answered, milliseconds
	xid     int32
	open    bool
	closed  error
	txn     history.Txn
	step    history.Mop    // of txn, without the sync
	waiting []jute.Request // in the order sent
	last    *jute.Request  // of those under way, the one that answers
	found   int32          // version of the register that a compare-and-set has found
	checked int            // value of the register that a multi checks
	read    bool           // the compare-and-set has found what it expected
	made    bool           // the node that was missing has been asked for
	answer  jute.Response
	err     error
}

var (
	_ machine.Tongue       = (*Tongue)(nil)
	_ machine.Acknowledger = (*Tongue)(nil)

	errExpired = errors.New("the session has expired")
	errClosing = errors.New("the server closes the connection")
)

// session is how long a session lasts without its client, in milliseconds; a server may make it shorter.
const session = 10_000

// Hello asks for a new session.
func (c *Tongue) Hello() []byte {
	if c.carried != nil {
		return nil
	}
	return jute.Introduce("", jute.ConnectRequest{Timeout: session, Password: make([]byte, 16), HasReadOnly: true}.Encode())
}

var anybody = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}

// Ask for a transaction of one step, or of a read behind a sync.
func (c *Tongue) Ask(t history.Txn) ([][]byte, error) {
	m, synced, err := znodes.Step(t)
	if err != nil {
		return nil, err
	}
	if c.carried == nil && znodes.NeedsSession(m.F) || c.carried != nil && c.open == (m.F == history.Connect) {
		return nil, fmt.Errorf("%q, where a session is %v and the connection %v", m.F, c.carried != nil, c.open)
	}
	c.txn, c.step, c.waiting, c.last, c.read, c.made, c.err = t, m, nil, nil, false, false, nil
	switch m.F {
	case history.Connect:
		return c.connect(), nil
	case history.Close:
		return c.send(jute.Request{Op: jute.CloseSession}), nil
	case history.CreateEphemeral:
		return c.send(jute.Request{Op: jute.Create, Path: znodes.Register(m.Key), Data: znodes.Data(m.In[0]), ACL: anybody, Flags: jute.FlagEphemeral}), nil
	case history.CreateSequential:
		return c.send(c.numbered(m)), nil
	case history.List:
		return c.look(synced, jute.Request{Op: jute.GetChildren, Path: znodes.Sequence(m.Key)}), nil
	case history.Remove:
		return c.send(jute.Request{Op: jute.Delete, Path: znodes.Element(m.Key, m.In[0]), Version: -1}), nil
	case history.WatchSet:
		return c.look(synced, jute.Request{Op: jute.GetChildren2, Path: znodes.Set(m.Key), Watch: true}), nil
	case znodes.Multi:
		if t[0].F == history.Check {
			return c.send(jute.Request{Op: jute.GetData, Path: znodes.Register(t[0].Key)}), nil
		}
		return c.send(c.multi()), nil
	case history.Delete:
		return c.send(jute.Request{Op: jute.Delete, Path: znodes.Register(m.Key), Version: -1}), nil
	case history.Watch:
		return c.look(synced, jute.Request{Op: jute.Exists, Path: znodes.Register(m.Key), Watch: true}), nil
	case history.Read:
		return c.look(synced, jute.Request{Op: jute.GetData, Path: znodes.Register(m.Key)}), nil
	case history.Scan:
		return c.look(synced, jute.Request{Op: jute.GetChildren, Path: znodes.Set(m.Key)}), nil
	case history.Write:
		return c.send(jute.Request{Op: jute.SetData, Path: znodes.Register(m.Key), Data: znodes.Data(m.In[0]), Version: -1}), nil
	case history.CAS:
		return c.send(jute.Request{Op: jute.GetData, Path: znodes.Register(m.Key)}), nil
	case history.Add:
		return c.send(jute.Request{Op: jute.Create, Path: znodes.Element(m.Key, m.In[0]), ACL: anybody}), nil
	}
	panic(fmt.Sprintf("zab: %q makes sense, and nobody knows how it is asked", m.F))
}

// look at a node, perhaps behind a sync.
func (c *Tongue) look(synced bool, q jute.Request) (requests [][]byte) {
	if synced {
		requests = c.send(jute.Request{Op: jute.Sync, Path: q.Path})
	}
	return append(requests, c.send(q)...)
}

func (c *Tongue) send(q jute.Request) [][]byte {
	c.xid++
	q.Xid = c.xid
	c.waiting = append(c.waiting, q)
	return [][]byte{q.Encode()}
}

// Hear a frame of the server's.
func (c *Tongue) Hear(r machine.Reply) (more [][]byte, done bool) {
	switch {
	case r.Body == nil:
		c.hangUp(r, errClosing)
		return nil, false
	case !c.open:
		return c.welcome(r)
	}
	h, err := jute.DecodeReplyHeader(r.Body)
	if err == nil && h.Xid < 0 {
		return nil, c.unasked(h, r.Body)
	}
	if err != nil || len(c.waiting) == 0 || h.Xid != c.waiting[0].Xid {
		c.err = fmt.Errorf("%w: an answer to request %d, %v: %d are waited for", machine.ErrNonsense, h.Xid, err, len(c.waiting))
		return nil, true
	}
	q := c.waiting[0]
	c.waiting = c.waiting[1:]
	if c.answer, err = jute.DecodeResponse(q.Op, r.Body); err != nil {
		c.err = fmt.Errorf("%w: %w", machine.ErrNonsense, err)
		return nil, true
	}
	if c.carried != nil {
		c.carried.answered(&q, &c.answer)
	}
	if q.Op == jute.Sync && c.answer.Err == jute.OK {
		return nil, false
	}
	c.last = &q
	more = c.next(&q)
	c.hangUp(r, errClosing)
	return more, more == nil
}

func (c *Tongue) hangUp(r machine.Reply, why error) {
	if r.Close && c.closed == nil {
		c.closed = why
	}
}

// welcome takes the answer to Hello, or to connect.
func (c *Tongue) welcome(r machine.Reply) (more [][]byte, done bool) {
	a, err := jute.DecodeConnectResponse(r.Body)
	switch {
	case err != nil:
		c.closed = fmt.Errorf("%w: %w", machine.ErrNonsense, err)
		c.err = c.closed
		return nil, true
	case a.Session == 0:
		c.closed = errExpired
	default:
		c.open = true
		c.hangUp(r, errClosing)
	}
	if c.carried == nil {
		return nil, true
	}
	return c.resume(&a)
}

// next is what follows from the answer to q; nothing: that was all. No node is created twice, whatever a server says.
func (c *Tongue) next(q *jute.Request) [][]byte {
	m := &c.step
	switch {
	case m.F == history.Write && q.Op == jute.SetData && c.answer.Err == jute.NoNode && !c.made:
		c.made = true
		return c.send(jute.Request{Op: jute.Create, Path: q.Path, Data: q.Data, ACL: anybody})
	case m.F == history.Write && q.Op == jute.Create && c.answer.Err == jute.NodeExists:
		return c.send(jute.Request{Op: jute.SetData, Path: q.Path, Data: q.Data, Version: -1})
	case m.F == history.CAS && q.Op == jute.GetData && c.answer.Err == jute.OK:
		v, err := znodes.Value(m.Key, c.answer.Data)
		if err != nil || v != m.In[0] {
			c.err = err
			return nil
		}
		c.read, c.found = true, c.answer.Stat.Version
		return c.send(jute.Request{Op: jute.SetData, Path: q.Path, Data: znodes.Data(m.In[1]), Version: c.found})
	case m.F == znodes.Multi && q.Op == jute.GetData && c.answer.Err == jute.OK:
		v, err := znodes.Value(c.txn[0].Key, c.answer.Data)
		if err != nil {
			c.err = err
			return nil
		}
		c.checked, c.found = v, c.answer.Stat.Version
		return c.send(c.multi())
	case m.F == history.Add && c.answer.Err == jute.NoNode && !c.made:
		c.made = true
		return c.send(jute.Request{Op: jute.Create, Path: znodes.Set(m.Key), ACL: anybody})
	case m.F == history.Add && q.Path == znodes.Set(m.Key) && (c.answer.Err == jute.OK || c.answer.Err == jute.NodeExists):
		return c.send(jute.Request{Op: jute.Create, Path: znodes.Element(m.Key, m.In[0]), ACL: anybody})
	case m.F == history.WatchSet && q.Op == jute.GetChildren2 && c.answer.Err == jute.NoNode && !c.made: // else nobody watches a set before it has had elements
		c.made = true
		return c.send(jute.Request{Op: jute.Create, Path: q.Path, ACL: anybody})
	case m.F == history.WatchSet && q.Op == jute.Create && (c.answer.Err == jute.OK || c.answer.Err == jute.NodeExists):
		return c.send(jute.Request{Op: jute.GetChildren2, Path: q.Path, Watch: true})
	case m.F == history.CreateSequential && c.answer.Err == jute.NoNode && !c.made:
		c.made = true
		return c.send(jute.Request{Op: jute.Create, Path: znodes.Sequence(m.Key), ACL: anybody})
	case m.F == history.CreateSequential && q.Flags == 0 && (c.answer.Err == jute.OK || c.answer.Err == jute.NodeExists):
		return c.send(c.numbered(*m))
	}
	return nil
}

func (c *Tongue) numbered(m history.Mop) jute.Request {
	return jute.Request{Op: jute.Create, Path: znodes.Numbered(m.Key), Data: znodes.Data(m.In[0]), ACL: anybody, Flags: jute.FlagEphemeralSeq}
}

// Closed tells why the server has closed the connection.
func (c *Tongue) Closed() error { return c.closed }

// Answer to the last transaction.
func (c *Tongue) Answer() (out history.Txn, version, position uint64, note string, err error) {
	if c.err == nil && c.carried != nil {
		c.err, c.carried.wrong = c.carried.wrong, nil
	}
	if c.err != nil {
		return nil, 0, 0, "", c.err
	}
	out = slices.Clone(c.txn)
	m, a := &out[len(out)-1], &c.answer
	if m.F == history.Connect {
		m.Out = []int{int(c.granted)}
		return out, 0, 0, "", nil
	}
	position = uint64(a.Zxid)
	note = "zxid 0x" + strconv.FormatUint(position, 16)
	switch {
	case c.last.Op == jute.Sync: // the read's answer may still come: whoever goes on with this connection would take it for another's
		return nil, 0, 0, "", fmt.Errorf("%v of the sync of %s", a.Err, c.last.Path)
	case m.F == history.Read && a.Err == jute.NoNode, (m.F == history.Scan || m.F == history.List) && a.Err == jute.NoNode:
		return out, 0, position, note, nil
	case m.F == history.Watch && a.Err == jute.NoNode:
		m.Out = []int{0}
		return out, 0, position, note, nil
	case m.F == history.CAS && !c.read && (a.Err == jute.OK || a.Err == jute.NoNode), m.F == history.CAS && c.read && a.Err == jute.BadVersion:
		return nil, 0, 0, "", machine.ErrCompare
	case a.Err != jute.OK && (znodes.Refuses(m.F, a.Err) || c.idle()):
		return nil, 0, 0, "", fmt.Errorf("%v of %s: %w", a.Err, c.last.Path, machine.ErrNoEffect)
	case a.Err != jute.OK:
		return nil, 0, 0, "", fmt.Errorf("%v of %s", a.Err, c.last.Path)
	}
	version = position
	if c.step.F == znodes.Multi {
		return c.several(out, version, note)
	}
	switch m.F {
	case history.Read:
		version = uint64(a.Stat.Mzxid)
		v, err := znodes.Value(m.Key, a.Data)
		if err != nil {
			return nil, 0, 0, "", err
		}
		m.Out = []int{v}
	case history.Scan:
		version = 0
		if m.Out, err = znodes.Elements(m.Key, a.Children); err != nil {
			return nil, 0, 0, "", err
		}
	case history.List:
		version = 0
		if m.Out, err = znodes.Numbers(m.Key, a.Children); err != nil {
			return nil, 0, 0, "", err
		}
	case history.WatchSet:
		version = uint64(a.Stat.Pzxid)
		if m.Out, err = znodes.Elements(m.Key, a.Children); err != nil {
			return nil, 0, 0, "", err
		}
	case history.Watch:
		version = uint64(a.Stat.Mzxid)
		m.Out = []int{1}
	case history.CreateSequential:
		n, err := znodes.Number(m.Key, a.Path)
		if err != nil {
			return nil, 0, 0, "", err
		}
		m.Out = []int{n}
	}
	return out, version, position, note, nil
}

// idle says that the last request was none that a writer's effect comes from, whatever became of it: those before it have been refused.
func (c *Tongue) idle() bool {
	switch c.step.F {
	case history.CAS:
		return !c.read
	case znodes.Multi:
		return c.last.Op == jute.GetData
	case history.Add:
		return c.last.Path == znodes.Set(c.step.Key)
	case history.CreateSequential:
		return c.last.Path == znodes.Sequence(c.step.Key)
	}
	return false
}

// Acknowledged is the transaction that a reply stands for: the write, or the last that the server had applied.
func (c *Tongue) Acknowledged(r machine.Reply) (machine.Entry, error) {
	if !c.open {
		_, err := jute.DecodeConnectResponse(r.Body)
		return machine.Entry{}, err
	}
	h, err := jute.DecodeReplyHeader(r.Body)
	if err != nil || h.Xid < 0 || h.Zxid <= 0 {
		return machine.Entry{}, err
	}
	return machine.Entry{Term: uint64(h.Zxid) >> 32, Revision: h.Zxid}, nil
}
