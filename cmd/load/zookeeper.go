package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	ours "assize/daemon/zk"
)

// Operations on ZooKeeper.
const (
	set     = "setData"
	create  = "create"
	getData = "getData" // of the server's own state
)

var zookeeper = protocol{
	name:       "zookeeper",
	operations: []string{set, create, getData},
	leads: func(ctx context.Context, address string) (bool, error) {
		answer, err := ours.Ask(ctx, address, "srvr")
		return strings.Contains(answer, "Mode: leader"), err
	},
	prepare: prepareZooKeeper,
	dial: func(ctx context.Context, address string, number int) (session, error) {
		conn, err := dialZooKeeper(address)
		if err != nil {
			return nil, err
		}
		return &zkSession{conn, number, fmt.Sprintf("/created/%d-%d-", time.Now().UnixNano(), number)}, nil
	},
}

type zkSession struct {
	conn   *zk.Conn
	number int
	path   string // of what it creates
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

func dialZooKeeper(address string) (*zk.Conn, error) {
	conn, _, err := zk.Connect([]string{address}, requestBound, zk.WithLogger(quiet{}), zk.WithLogInfo(false))
	return conn, err
}

// prepareZooKeeper makes the nodes, once: the last one made is the sign that all are there.
func prepareZooKeeper(_ context.Context, address string) error {
	conn, err := dialZooKeeper(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	there, _, err := conn.Exists("/created")
	if there || err != nil {
		return err
	}
	paths := make([]string, 0, keys+1)
	for i := range keys {
		paths = append(paths, fmt.Sprintf("/key%04d", i))
	}
	for _, path := range append(paths, "/created") {
		if _, err := conn.Create(path, []byte("v"), zk.FlagPersistent, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	return nil
}

func (s *zkSession) close() { s.conn.Close() }

func (s *zkSession) do(_ context.Context, operation string, i int, value []byte) (err error) {
	switch operation {
	case set:
		_, err = s.conn.Set(fmt.Sprintf("/key%04d", key(s.number, i)), value, -1)
	case create:
		_, err = s.conn.Create(fmt.Sprint(s.path, i), value, zk.FlagPersistent, zk.WorldACL(zk.PermAll))
	default:
		_, _, err = s.conn.Get(fmt.Sprintf("/key%04d", key(s.number, i)))
	}
	return err
}
