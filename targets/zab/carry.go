package zab

import (
	"fmt"
	"slices"
	"time"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
	"assize/machine/znodes"
)

// carried is a session as its client keeps it through its connections, as ZooKeeper's own clients do.
type carried struct {
	timeout  int32 // milliseconds, to be asked for
	id       int64 // 0: there is none yet
	password []byte
	zxid     int64 // the greatest that a server has told
	// Watches that have been left and have not fired: on nodes that were there, and on those that were not.
	data, exist []string
	child       []string // and on the elements of sets
	told        history.Txn
	wrong       error // a notification made no sense
}

var _ machine.Carrier = (*Tongue)(nil)

// Carry makes this connection one for a session that outlives it.
func (c *Tongue) Carry(state any, timeout time.Duration) any {
	c.carried, _ = state.(*carried)
	if c.carried == nil {
		c.carried = &carried{timeout: int32(timeout.Milliseconds()), password: make([]byte, passwordSize)}
	}
	return c.carried
}

// Told is the session, and the notifications that have come.
func (c *Tongue) Told() (session uint64, events history.Txn) {
	if c.carried == nil {
		return 0, nil
	}
	events, c.carried.told = c.carried.told, nil
	return uint64(c.carried.id), events
}

// connect opens the connection.
func (c *Tongue) connect() [][]byte {
	k := c.carried
	q := jute.ConnectRequest{LastZxid: k.zxid, Timeout: k.timeout, Session: k.id, Password: k.password, HasReadOnly: true}
	return [][]byte{jute.Introduce("", q.Encode())}
}

// resume takes the answer to connect. A session that goes on has its watches set anew, and is told what it has missed, before anything else is asked. One
// that is another than was asked for is taken for what was asked for: clients do not look.
func (c *Tongue) resume(r *jute.ConnectResponse) (more [][]byte, done bool) {
	k := c.carried
	c.granted, k.id, k.password = r.Timeout, r.Session, r.Password
	if r.Session == 0 || len(k.data)+len(k.exist)+len(k.child) == 0 {
		return nil, true
	}
	q := jute.Request{Xid: jute.XidSetWatches, Op: jute.SetWatches, Watches: jute.Watches{RelativeZxid: k.zxid, Data: k.data, Exist: k.exist, Child: k.child}}
	return [][]byte{q.Encode()}, false
}

// unasked takes what is no answer to a transaction's request.
func (c *Tongue) unasked(h jute.ReplyHeader, body []byte) (done bool) {
	switch {
	case c.carried == nil:
	case h.Xid == jute.XidSetWatches:
		if h.Err != jute.OK {
			c.err = fmt.Errorf("%w: %v of setting watches anew", machine.ErrNonsense, h.Err)
		}
		return true
	case h.Xid == jute.XidNotification:
		c.carried.hear(body)
	}
	return false
}

// hear that a watch has fired.
func (k *carried) hear(body []byte) {
	e, err := jute.DecodeEvent(body)
	if err != nil {
		k.wrong = fmt.Errorf("%w: %w", machine.ErrNonsense, err)
		return
	}
	m, err := znodes.Told(e)
	if err != nil {
		k.wrong = err
		return
	}
	k.told = append(k.told, m)
	is := func(path string) bool { return path == e.Path }
	if e.Type == jute.EventChildrenChanged {
		k.child = slices.DeleteFunc(k.child, is)
		return
	}
	if e.Type != jute.EventCreated {
		k.data = slices.DeleteFunc(k.data, is)
	}
	k.exist = slices.DeleteFunc(k.exist, is)
}

// answered notes what an answer means for the session.
func (k *carried) answered(q *jute.Request, r *jute.Response) {
	k.zxid = max(k.zxid, r.Zxid)
	if !q.Watch {
		return
	}
	list := &k.data
	switch {
	case r.Err == jute.OK && q.Op == jute.GetChildren2:
		list = &k.child
	case r.Err == jute.OK:
	case r.Err == jute.NoNode && q.Op == jute.Exists:
		list = &k.exist
	default:
		return
	}
	if !slices.Contains(*list, q.Path) {
		*list = append(*list, q.Path)
	}
}
