package zk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/cluster"
	"assize/history"
	"assize/machine"
	"assize/machine/jute"
	"assize/machine/znodes"
)

// defaultTimeout is the bound where the caller gives none.
const defaultTimeout = 5 * time.Second

// client of one server.
type client struct {
	session *session
	timeout time.Duration
	before  chan struct{} // closed when the last operation has been answered, or never will be; nil: there was none
	carried *carried      // nil: the session is the connection's own
}

// Dial connects to a ZooKeeper or to a node of ours. It returns within Timeout; an error means that nothing was sent, but for the wish to
// have a session, and wraps cluster.ErrRefused. Whether a read is behind a sync is for its transaction to say.
//
// Registers and sets are the nodes of package znodes. A write is a setData, and a create where there was no node; a compare-and-set is a getData and a
// setData of the version that was found. The requests of one operation are sent one after the other, none twice.
func Dial(ctx context.Context, address string, o cluster.Options) (cluster.Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	c := &client{timeout: o.Timeout}
	var err error
	if o.Session == nil {
		c.session, err = dial(ctx, address)
	} else if c.carried, err = carry(o.Session); err == nil {
		c.session, err = dialCarried(ctx, address, c.carried)
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w: %w: %w", address, err, cluster.ErrRefused, cluster.ErrNotDone)
	}
	return c, nil
}

// Close ends the session, unless the connection is known to be broken. Where nobody answers it takes a second. A session that outlives its connections goes
// on.
func (c *client) Close() error {
	if c.carried != nil {
		return c.session.line.hangUp()
	}
	c.session.leave()
	return nil
}

func (c *client) Do(ctx context.Context, t history.Txn) (cluster.Answer, error) {
	a, err := c.do(ctx, t)
	if c.carried != nil {
		c.carried.tell(&a, err)
	}
	return a, err
}

func (c *client) do(ctx context.Context, t history.Txn) (cluster.Answer, error) {
	m, synced, err := znodes.Step(t)
	if err != nil {
		return cluster.Answer{}, fmt.Errorf("%w: %w", err, cluster.ErrNotDone)
	}
	if c.carried == nil && znodes.NeedsSession(m.F) {
		return cluster.Answer{}, fmt.Errorf("%q needs a session that outlives its connection: %w", m.F, cluster.ErrNotDone)
	}
	if c.session.broken() {
		return cluster.Answer{}, errBroken
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if m.F == history.Connect {
		return c.carried.connect(ctx, c.session.line)
	}
	if !c.free(ctx) {
		return cluster.Answer{}, fmt.Errorf("the operation before has not been answered: %w: %w", cluster.ErrRefused, cluster.ErrNotDone)
	}
	a := &attempt{session: c.session, txn: t, f: m.F, synced: synced, done: make(chan struct{})}
	c.before = a.done
	if c.carried != nil {
		c.carried.begin(a.done)
	}
	go func() {
		defer close(a.done)
		a.answer, a.err = a.perform(m)
	}()
	select {
	case <-a.done:
		return a.answer, a.err
	case <-ctx.Done():
	}
	if c.carried != nil {
		// What the session was told with the answer, and the watch that it has left, must not be there without the answer: it has come by now, or never will.
		c.session.line.hangUp()
		if !c.carried.open(settle) {
			return a.answer, a.err
		}
	}
	return cluster.Answer{}, a.abandon(ctx.Err())
}

// free waits for the answer to an operation whose caller has not waited: replies come in order, so that none comes before it.
func (c *client) free(ctx context.Context) bool {
	if c.before == nil {
		return true
	}
	select {
	case <-c.before:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt at one operation.
type attempt struct {
	*session
	txn    history.Txn
	f      string // what its step does
	synced bool   // behind a sync
	done   chan struct{}
	answer cluster.Answer
	err    error
	made   string // path of the node that was created last

	mu        sync.Mutex
	abandoned bool // nothing more is sent
	effect    bool // something has been sent that may take effect
}

var errAbandoned = errors.New("abandoned")

// ask before each request; change: it may take effect.
func (a *attempt) ask(change bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.abandoned {
		return errAbandoned
	}
	a.effect = a.effect || change
	return nil
}

// settled tells that what was sent has had no effect: the server said so.
func (a *attempt) settled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.effect = false
}

// abandon the operation: what has not been sent by now never will be.
func (a *attempt) abandon(why error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.abandoned = true
	return a.verdict(why, false)
}

// fail with an error of the last request, or with what its answer makes impossible.
func (a *attempt) fail(err error) error {
	if errors.Is(err, machine.ErrNonsense) {
		err = fmt.Errorf("%w: %w", err, cluster.ErrNonsense)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.verdict(err, errors.Is(err, machine.ErrNoEffect) || definite(a.f, err, a.reply()))
}

// verdict on an error: whether it proves that nothing was done. said: the server has said so. Under mu.
func (a *attempt) verdict(err error, said bool) error {
	if f := a.nonsense(); f != nil {
		err = fmt.Errorf("%w: %w", err, f)
	}
	switch {
	case errors.Is(err, zookeeper.ErrNoServer): // it was not sent
	case said:
		return fmt.Errorf("%w: %w", err, cluster.ErrNotDone)
	case a.effect || a.txn.ReadOnly():
		return err
	}
	return fmt.Errorf("%w: %w: %w", err, cluster.ErrRefused, cluster.ErrNotDone)
}

// perform an operation that znodes.Step has found to make sense. The error is as in cluster.Client.
func (a *attempt) perform(m history.Mop) (cluster.Answer, error) {
	switch m.F {
	case history.Close:
		return a.end(m)
	case history.CreateEphemeral:
		return a.changed(m, a.make(znodes.Register(m.Key), znodes.Data(m.In[0]), zookeeper.FlagEphemeral, true))
	case history.CreateSequential:
		return a.sequential(m)
	case history.Delete:
		return a.changed(m, a.remove(znodes.Register(m.Key)))
	case history.Watch:
		return a.watch(m)
	case history.Remove:
		return a.changed(m, a.remove(znodes.Element(m.Key, m.In[0])))
	case history.WatchSet:
		return a.watchSet(m)
	case znodes.Multi:
		return a.several()
	case history.Read:
		return a.read(m)
	case history.Write:
		return a.write(m)
	case history.CAS:
		return a.swap(m)
	case history.Add:
		return a.add(m)
	case history.Scan:
		return a.children(m, znodes.Set(m.Key), znodes.Elements)
	case history.List:
		return a.children(m, znodes.Sequence(m.Key), znodes.Numbers)
	}
	panic(fmt.Sprintf("zk: %q makes sense, and nobody knows how it is asked", m.F))
}

// success of the request that was answered last. What the reply's header says is the zxid of a write, or that which the server had reached
// when it read.
func (a *attempt) success(m history.Mop, version int64) (cluster.Answer, error) {
	h := a.reply()
	r := cluster.Answer{Txn: slices.Clone(a.txn), Note: fmt.Sprintf("zxid 0x%x", uint64(h.Zxid))}
	r.Txn[len(r.Txn)-1] = m
	if version > 0 {
		r.Version = uint64(version)
	}
	if h.Zxid > 0 {
		r.Position = uint64(h.Zxid)
	}
	return r, nil
}

// get the value of a register; found is false where there is none. With nonsense in the node the error wraps machine.ErrNonsense.
func (a *attempt) get(key string) (value int, stat *zookeeper.Stat, found bool, err error) {
	if err = a.ask(false); err != nil {
		return 0, nil, false, err
	}
	data, stat, err := a.Conn.Get(znodes.Register(key))
	switch {
	case errors.Is(err, zookeeper.ErrNoNode):
		return 0, nil, false, nil
	case err != nil:
		return 0, nil, false, err
	}
	if value, err = znodes.Value(key, data); err != nil {
		return 0, nil, false, err
	}
	return value, stat, true, nil
}

// freshen has the server catch up with the leader before it reads, if that is asked for.
func (a *attempt) freshen(path string) error {
	if !a.synced {
		return nil
	}
	if err := a.ask(false); err != nil {
		return err
	}
	_, err := a.Conn.Sync(path)
	return err
}

func (a *attempt) read(m history.Mop) (cluster.Answer, error) {
	if err := a.freshen(znodes.Register(m.Key)); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	v, stat, found, err := a.get(m.Key)
	switch {
	case err != nil:
		return cluster.Answer{}, a.fail(err)
	case !found:
		return a.success(m, 0)
	}
	m.Out = []int{v}
	return a.success(m, stat.Mzxid)
}

// write sets the data of a node, and creates it if it is not there; another client may have done so in between. Nobody deletes it.
func (a *attempt) write(m history.Mop) (cluster.Answer, error) {
	data := znodes.Data(m.In[0])
	stat, err := a.setData(m.Key, data, -1)
	if errors.Is(err, zookeeper.ErrNoNode) {
		if err = a.create(znodes.Register(m.Key), data, true); err == nil {
			return a.success(m, a.reply().Zxid)
		}
		if errors.Is(err, zookeeper.ErrNodeExists) {
			stat, err = a.setData(m.Key, data, -1)
		}
	}
	if err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	return a.success(m, stat.Mzxid)
}

// swap finds the version that has the value, and replaces no other.
func (a *attempt) swap(m history.Mop) (cluster.Answer, error) {
	v, stat, found, err := a.get(m.Key)
	if err == nil && (!found || v != m.In[0]) {
		err = machine.ErrCompare
	}
	if err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	if stat, err = a.setData(m.Key, znodes.Data(m.In[1]), stat.Version); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	return a.success(m, stat.Mzxid)
}

// add creates a node below the set's, which it creates if need be. Of an element that is there already nobody knows who has added it.
func (a *attempt) add(m history.Mop) (cluster.Answer, error) {
	path := znodes.Element(m.Key, m.In[0])
	err := a.create(path, nil, true)
	if errors.Is(err, zookeeper.ErrNoNode) {
		if err = a.create(znodes.Set(m.Key), nil, false); err == nil || errors.Is(err, zookeeper.ErrNodeExists) {
			err = a.create(path, nil, true)
		}
	}
	if err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	return a.success(m, a.reply().Zxid)
}

// children of a node, by what their names mean.
func (a *attempt) children(m history.Mop, path string, mean func(key string, names []string) ([]int, error)) (cluster.Answer, error) {
	if err := a.freshen(path); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	if err := a.ask(false); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	names, _, err := a.Conn.Children(path)
	if err != nil && !errors.Is(err, zookeeper.ErrNoNode) {
		return cluster.Answer{}, a.fail(err)
	}
	if m.Out, err = mean(m.Key, names); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	return a.success(m, 0)
}

func (a *attempt) setData(key string, data []byte, version int32) (*zookeeper.Stat, error) {
	if err := a.ask(true); err != nil {
		return nil, err
	}
	stat, err := a.Conn.Set(znodes.Register(key), data, version)
	a.weigh(err)
	if h := a.reply(); err == nil && stat.Mzxid != h.Zxid {
		err = fmt.Errorf("a write of register %q at 0x%x is answered at 0x%x: %w", key, uint64(stat.Mzxid), uint64(h.Zxid), cluster.ErrNonsense)
	}
	return stat, err
}

// create a node. own: it is what the operation is about.
func (a *attempt) create(path string, data []byte, own bool) error {
	return a.make(path, data, zookeeper.FlagPersistent, own)
}

func (a *attempt) make(path string, data []byte, flags int32, own bool) error {
	if err := a.ask(own); err != nil {
		return err
	}
	if data == nil {
		data = []byte{}
	}
	var err error
	a.made, err = a.Conn.Create(path, data, flags, zookeeper.WorldACL(jute.PermAll))
	a.weigh(err)
	return err
}

// weigh what a server has answered to a request that changes something.
func (a *attempt) weigh(err error) {
	if definite(a.f, err, a.reply()) {
		a.settled()
	}
}
