package zk

import (
	"errors"
	"fmt"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/cluster"
	"assize/history"
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
