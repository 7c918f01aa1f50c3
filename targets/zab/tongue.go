package zab

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
)

// Tongue is a client of the simulator: one session a connection, the frames that any ZooKeeper client would send, and no watch.
//
// A register k is the node /r-<k> with a decimal value: a write is a setData, or a create where there is none yet; a compare-and-set is a getData and a
// setData of the version found. A set k is the node /s-<k>, and an element one child of it, named by 20 digits. By any mode but local a read is
// preceded by a sync. A version is the zxid of a write, or the mzxid of a register; a position the zxid that the server had reached.
type Tongue struct {
	Mode string // of reads

	xid     int32
	open    bool
	closed  error
	txn     history.Txn
	waiting []jute.Request // in the order sent
	last    *jute.Request  // of those under way, the one that answers
	found   int32          // version of the register that a compare-and-set has found
	read    bool           // the compare-and-set has found what it expected
	answer  jute.Response
	err     error
}

var (
	_ machine.Tongue = (*Tongue)(nil)

	errExpired = errors.New("the session has expired")
	errClosing = errors.New("the server closes the connection")
)

// session is how long a session lasts without its client, in milliseconds; a server may make it shorter.
const session = 10_000

// Hello asks for a new session.
func (c *Tongue) Hello() []byte {
	return jute.Introduce("", jute.ConnectRequest{Timeout: session, Password: make([]byte, 16), HasReadOnly: true}.Encode())
}

func registerPath(k string) string { return "/r-" + k }
func setPath(k string) string      { return "/s-" + k }

func elementPath(k string, v int) string { return fmt.Sprintf("%s/%020d", setPath(k), v) }

var anybody = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}

// Ask for a transaction of one step.
func (c *Tongue) Ask(t history.Txn) ([][]byte, error) {
	if len(t) != 1 {
		return nil, fmt.Errorf("%d steps at once: this client knows one", len(t))
	}
	m := &t[0]
	c.txn, c.waiting, c.last, c.read, c.err = t, nil, nil, false, nil
	switch m.F {
	case history.Read:
		return c.fresh(registerPath(m.Key), jute.GetData), nil
	case history.Scan:
		return c.fresh(setPath(m.Key), jute.GetChildren), nil
	case history.Write:
		return c.send(jute.Request{Op: jute.SetData, Path: registerPath(m.Key), Data: strconv.AppendInt(nil, int64(m.In[0]), 10), Version: -1}), nil
	case history.CAS:
		return c.send(jute.Request{Op: jute.GetData, Path: registerPath(m.Key)}), nil
	case history.Add:
		return c.send(jute.Request{Op: jute.Create, Path: elementPath(m.Key, m.In[0]), ACL: anybody}), nil
	}
	return nil, fmt.Errorf("a ZooKeeper cannot %q", m.F)
}

// fresh is a read, behind a sync where the mode has one.
func (c *Tongue) fresh(path string, op jute.Op) (requests [][]byte) {
	if c.Mode != Modes[0] {
		requests = c.send(jute.Request{Op: jute.Sync, Path: path})
	}
	return append(requests, c.send(jute.Request{Op: op, Path: path})...)
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
		return nil, c.welcome(r)
	}
	h, err := jute.DecodeReplyHeader(r.Body)
	if err == nil && h.Xid < 0 {
		return nil, false // no answer to a request of ours
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

// welcome takes the answer to Hello.
func (c *Tongue) welcome(r machine.Reply) bool {
	a, err := jute.DecodeConnectResponse(r.Body)
	switch {
	case err != nil:
		c.closed = fmt.Errorf("%w: %w", machine.ErrNonsense, err)
	case a.Session == 0:
		c.closed = errExpired
	default:
		c.open = true
		c.hangUp(r, errClosing)
	}
	return true
}

// next is what follows from the answer to q; nothing: that was all.
func (c *Tongue) next(q *jute.Request) [][]byte {
	m := &c.txn[0]
	switch {
	case m.F == history.Write && q.Op == jute.SetData && c.answer.Err == jute.NoNode:
		return c.send(jute.Request{Op: jute.Create, Path: q.Path, Data: q.Data, ACL: anybody})
	case m.F == history.Write && q.Op == jute.Create && c.answer.Err == jute.NodeExists:
		return c.send(jute.Request{Op: jute.SetData, Path: q.Path, Data: q.Data, Version: -1})
	case m.F == history.CAS && q.Op == jute.GetData && c.answer.Err == jute.OK:
		v, err := strconv.Atoi(string(c.answer.Data))
		if err != nil || v != m.In[0] {
			return nil
		}
		c.read, c.found = true, c.answer.Stat.Version
		return c.send(jute.Request{Op: jute.SetData, Path: q.Path, Data: strconv.AppendInt(nil, int64(m.In[1]), 10), Version: c.found})
	case m.F == history.Add && c.answer.Err == jute.NoNode && q.Path != setPath(m.Key):
		return c.send(jute.Request{Op: jute.Create, Path: setPath(m.Key), ACL: anybody})
	case m.F == history.Add && q.Path == setPath(m.Key) && (c.answer.Err == jute.OK || c.answer.Err == jute.NodeExists):
		return c.send(jute.Request{Op: jute.Create, Path: elementPath(m.Key, m.In[0]), ACL: anybody})
	}
	return nil
}

// Closed tells why the server has closed the connection.
func (c *Tongue) Closed() error { return c.closed }

// Answer to the last transaction.
func (c *Tongue) Answer() (out history.Txn, version, position uint64, note string, err error) {
	if c.err != nil {
		return nil, 0, 0, "", c.err
	}
	out = slices.Clone(c.txn)
	m, a := &out[0], &c.answer
	position = uint64(a.Zxid)
	note = "zxid 0x" + strconv.FormatUint(position, 16)
	switch {
	case m.F == history.Read && a.Err == jute.NoNode, m.F == history.Scan && a.Err == jute.NoNode:
		return out, 0, position, note, nil
	case m.F == history.CAS && !c.read && (a.Err == jute.OK || a.Err == jute.NoNode), m.F == history.CAS && a.Err == jute.BadVersion:
		return nil, 0, 0, "", machine.ErrCompare
	case a.Err == jute.SessionExpired, a.Err == jute.SessionMoved:
		return nil, 0, 0, "", fmt.Errorf("%v of %s: %w", a.Err, c.last.Path, machine.ErrNoEffect)
	case a.Err != jute.OK:
		return nil, 0, 0, "", fmt.Errorf("%v of %s", a.Err, c.last.Path)
	}
	version = position
	switch m.F {
	case history.Read:
		version = uint64(a.Stat.Mzxid)
		v, bad := strconv.Atoi(string(a.Data))
		if bad != nil {
			return nil, 0, 0, "", fmt.Errorf("%w: register %q holds %.40q", machine.ErrNonsense, m.Key, a.Data)
		}
		m.Out = []int{v}
	case history.Scan:
		version = 0
		m.Out, err = elements(m.Key, a.Children)
	}
	return out, version, position, note, err
}

// elements of a set, ascending.
func elements(key string, names []string) (out []int, err error) {
	for _, name := range names {
		v, err := strconv.Atoi(name)
		if err != nil || len(name) != 20 {
			return nil, fmt.Errorf("%w: set %q holds %.40q", machine.ErrNonsense, key, name)
		}
		out = append(out, v)
	}
	slices.Sort(out)
	return out, nil
}
