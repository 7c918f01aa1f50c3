package targets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assize/cluster"
	"assize/daemon"
	"assize/daemon/etcd"
	"assize/history"
	"assize/machine"
)

// trio is three nodes on sockets and disks in this process.
type trio struct {
	t       *testing.T
	peers   []string
	clients []string
	dirs    []string
	stop    []context.CancelFunc
	ended   []chan error
}

func newTrio(t *testing.T) *trio {
	const n = 3
	c := &trio{
		t: t, peers: addresses(t, n), clients: addresses(t, n), stop: make([]context.CancelFunc, n), ended: make([]chan error, n),
	}
	for i := range n {
		c.dirs = append(c.dirs, t.TempDir())
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range n {
			c.halt(i)
		}
	})
	return c
}

func addresses(t *testing.T, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

func (c *trio) start(i int) {
	target, _ := Find("raft")
	o := target.Defaults
	o.Snapshot = 100
	config := daemon.Config{
		Node: cluster.Node{
			ID: i + 1, Dir: c.dirs[i], Peer: c.peers[i], Client: c.clients[i], Seed: uint64(i), Cluster: "trio",
			Settings: cluster.Settings{Target: target.Name},
		},
		Voters: []int{1, 2, 3}, New: target.New, Options: o, Front: target.Front, Log: io.Discard,
	}
	for j, p := range c.peers {
		if j != i {
			config.Node.Peers = append(config.Node.Peers, cluster.Peer{ID: j + 1, Address: p})
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop[i], c.ended[i] = cancel, make(chan error, 1)
	go func() {
		for poll := time.NewTicker(50 * time.Millisecond); ; <-poll.C {
			// While it was down somebody's outgoing connection may have been given its port.
			if err := daemon.Run(ctx, config); !errors.Is(err, syscall.EADDRINUSE) || ctx.Err() != nil {
				c.ended[i] <- err
				return
			}
		}
	}()
}

func (c *trio) halt(i int) {
	c.stop[i]()
	if err := <-c.ended[i]; err != nil {
		c.t.Errorf("node %d: %v", i+1, err)
	}
	c.ended[i] <- nil
}

// do repeats a transaction through node i until it is answered: each writes the same value, so that twice is as good as once.
func (c *trio) do(i int, t history.Txn) cluster.Answer {
	c.t.Helper()
	for ctx, poll := c.t.Context(), time.NewTicker(20*time.Millisecond); ; <-poll.C {
		client, err := etcd.Dial(ctx, c.clients[i], cluster.Options{Timeout: time.Second})
		if err != nil {
			continue
		}
		answer, err := client.Do(ctx, t)
		client.Close()
		if err == nil {
			return answer
		}
	}
}

// settled waits until all nodes have applied the same and returns their status.
func (c *trio) settled() (all [3]cluster.Status) {
	for poll := time.NewTicker(20 * time.Millisecond); ; <-poll.C {
		same := true
		for i := range all {
			s, err := etcd.Status(c.t.Context(), c.clients[i])
			if err != nil {
				same = false
			}
			all[i] = s
		}
		if same && all[0].Applied == all[1].Applied && all[1].Applied == all[2].Applied && all[0].Leader != "" {
			return all
		}
	}
}

// TestNodesOnSocketsAndDisks writes through every node while one after the other is stopped and started again, over several snapshots.
func TestNodesOnSocketsAndDisks(t *testing.T) {
	c := newTrio(t)
	key := func(i int) string { return fmt.Sprint(i % 7) }
	last := map[string]int{}
	for i := range 300 {
		if i%50 == 25 {
			c.halt(i / 50 % 3)
		}
		c.do((i/50+1+i%2)%3, history.Txn{{F: history.Write, Key: key(i), In: []int{i}}})
		last[key(i)] = i
		if i%50 == 45 {
			c.start(i / 50 % 3)
		}
	}
	for node := range 3 {
		for k, want := range last {
			answer := c.do(node, history.Txn{{F: history.Read, Key: k}})
			if got := answer.Txn[0].Out; len(got) != 1 || got[0] != want {
				t.Errorf("node %d: key %s is %v, want %d", node+1, k, got, want)
			}
		}
	}
	all := c.settled()
	for i, s := range all {
		if s.Hash != all[0].Hash || s.Term == 0 || s.Mono <= 0 || s.Counters["syncs"] == 0 || s.Counters["snapshot"] == 0 {
			t.Errorf("node %d: %+v", i+1, s)
		}
	}
}

// TestEveryTargetIsWhole: whoever is in the table can be simulated, served, talked to and tried. One that lacks something fails here and not in the
// middle of a run.
func TestEveryTargetIsWhole(t *testing.T) {
	lacks := map[string][]cluster.Power{"zab": {cluster.Transfers, cluster.Membership}}
	for _, target := range Table {
		system := target.System
		if target.New == nil || target.Tongue == nil || target.Front == nil || system.Args == nil || system.Dial == nil || system.Status == nil || len(target.Modes) == 0 {
			t.Errorf("%s lacks something: %+v", target.Name, target)
			continue
		}
		if s := target.New(machine.Config{ID: 1, Voters: []int{1}, Options: target.Defaults}).Status(); s.ID != 1 || s.Role == "" {
			t.Errorf("%s: %+v", target.Name, s)
		}
		for _, read := range target.Modes {
			if a, b := target.Tongue(read), target.Tongue(read); a == nil || a == b {
				t.Errorf("%s, %s: two connections need two tongues, got %v and %v", target.Name, read, a, b)
			}
		}
		if got := fmt.Sprintf(target.Try, "a:1,b:2"); !strings.Contains(got, "a:1,b:2") || strings.Contains(got, "%!") {
			t.Errorf("%s is tried by %q", target.Name, got)
		}
		for _, power := range []cluster.Power{cluster.Transfers, cluster.Membership} {
			if got, want := system.Lack(power) != nil, slices.Contains(lacks[target.Name], power); got != want {
				t.Errorf("%s lacks %s: %v, want %v", target.Name, power, got, want)
			}
		}
	}
}
