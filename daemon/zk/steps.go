package zk

import (
	"errors"
	"fmt"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/cluster"
	"assize/history"
	"assize/machine"
	"assize/machine/jute"
	"assize/machine/znodes"
)

// What only sessions that outlive their connections do.

// changed something by one request, or not.
func (a *attempt) changed(m history.Mop, err error) (cluster.Answer, error) {
	if err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	return a.success(m, a.reply().Zxid)
}

// end the session.
func (a *attempt) end(m history.Mop) (cluster.Answer, error) {
	if err := a.ask(true); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	code, err := a.line.closeSession()
	if err == nil && code != jute.OK {
		err = fmt.Errorf("%v of the end of a session", code)
	}
	return a.changed(m, err)
}

// sequential creates a node below the key's, which it creates if need be.
func (a *attempt) sequential(m history.Mop) (cluster.Answer, error) {
	create := func() error {
		return a.make(znodes.Numbered(m.Key), znodes.Data(m.In[0]), zookeeper.FlagEphemeral|zookeeper.FlagSequence, true)
	}
	err := create()
	if errors.Is(err, zookeeper.ErrNoNode) {
		if err = a.create(znodes.Sequence(m.Key), nil, false); err == nil || errors.Is(err, zookeeper.ErrNodeExists) {
			err = create()
		}
	}
	if err == nil {
		var n int
		n, err = znodes.Number(m.Key, a.made)
		m.Out = []int{n}
	}
	return a.changed(m, err)
}

func (a *attempt) remove(path string) error {
	if err := a.ask(true); err != nil {
		return err
	}
	err := a.Conn.Delete(path, -1)
	a.weigh(err)
	return err
}

// watch looks whether a register is there, and leaves a watch.
func (a *attempt) watch(m history.Mop) (cluster.Answer, error) {
	if err := a.freshen(znodes.Register(m.Key)); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	if err := a.ask(false); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	there, stat, _, err := a.Conn.ExistsW(znodes.Register(m.Key))
	switch {
	case err != nil:
		return cluster.Answer{}, a.fail(err)
	case !there:
		m.Out = []int{0}
		return a.success(m, 0)
	}
	m.Out = []int{1}
	return a.success(m, stat.Mzxid)
}

// watchSet reads the elements of a set, and leaves a watch on them. It creates the set's node if need be: else nobody watches a set before it has had elements.
func (a *attempt) watchSet(m history.Mop) (cluster.Answer, error) {
	path := znodes.Set(m.Key)
	if err := a.freshen(path); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	look := func() (names []string, stat *zookeeper.Stat, err error) {
		if err = a.ask(false); err == nil {
			names, stat, _, err = a.Conn.ChildrenW(path)
		}
		return names, stat, err
	}
	names, stat, err := look()
	if errors.Is(err, zookeeper.ErrNoNode) {
		if err = a.create(path, nil, false); err == nil || errors.Is(err, zookeeper.ErrNodeExists) {
			names, stat, err = look()
		}
	}
	if err == nil {
		m.Out, err = znodes.Elements(m.Key, names)
	}
	if err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	return a.success(m, stat.Pzxid)
}

// several steps at once, of which the first may check a register that is read before.
func (a *attempt) several() (cluster.Answer, error) {
	value, version := 0, int32(0)
	if m := a.txn[0]; m.F == history.Check {
		v, stat, found, err := a.get(m.Key)
		if err == nil && !found {
			err = machine.ErrCompare
		}
		if err != nil {
			return cluster.Answer{}, a.fail(err)
		}
		value, version = v, stat.Version
	}
	if err := a.ask(true); err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	results, err := a.Conn.Multi(a.parts(version)...)
	if len(results) == 0 { // it was not answered, or refused as a whole
		if err == nil {
			err = fmt.Errorf("%w: no results of a multi", machine.ErrNonsense)
		}
		a.weigh(err)
		return cluster.Answer{}, a.fail(err)
	}
	part, code, err := znodes.Failed(a.line.codes(), len(a.txn))
	if part >= 0 {
		if err = fmt.Errorf("%v of step %d", code, part+1); znodes.Refuses(znodes.Multi, code) {
			err = fmt.Errorf("%w: %w", err, machine.ErrNoEffect)
		}
	}
	if err != nil {
		return cluster.Answer{}, a.fail(err)
	}
	r, err := a.success(a.txn[len(a.txn)-1], a.reply().Zxid)
	if r.Txn[0].F == history.Check {
		r.Txn[0].Out = []int{value}
	}
	return r, err
}

// parts of a multi, for go-zookeeper. A check is of this version.
func (a *attempt) parts(version int32) (parts []any) {
	for _, m := range a.txn {
		path := znodes.Register(m.Key)
		switch m.F {
		case history.Create:
			parts = append(parts, &zookeeper.CreateRequest{Path: path, Data: znodes.Data(m.In[0]), Acl: zookeeper.WorldACL(jute.PermAll)})
		case history.Write:
			parts = append(parts, &zookeeper.SetDataRequest{Path: path, Data: znodes.Data(m.In[0]), Version: -1})
		case history.Delete:
			parts = append(parts, &zookeeper.DeleteRequest{Path: path, Version: -1})
		case history.Check:
			parts = append(parts, &zookeeper.CheckVersionRequest{Path: path, Version: version})
		}
	}
	return parts
}
