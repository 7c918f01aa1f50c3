package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"assize/cluster"
	"assize/daemon/clienttest"
	"assize/history"
	"assize/machine"
)

// Long enough never to pass by itself, short where a test waits for it.
const (
	long  = 20 * time.Second
	short = 50 * time.Millisecond
)

func connect(t testing.TB, address string, o cluster.Options) cluster.Client {
	t.Helper()
	c, err := Dial(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func one(f, key string, in ...int) history.Txn { return history.Txn{{F: f, Key: key, In: in}} }

// speak has a client do everything that a workload asks for. base is the store's revision before.
func speak(t *testing.T, c cluster.Client, base uint64) {
	t.Helper()
	for i, step := range []struct {
		ask               history.Txn
		out               []int
		version, position uint64
		noEffect          bool
	}{
		{one(history.Read, "a"), nil, 0, 0, false},
		{one(history.Write, "a", 5), nil, 1, 1, false},
		{one(history.Read, "a"), []int{5}, 1, 1, false},
		{one(history.CAS, "a", 4, 6), nil, 0, 0, true},
		{one(history.CAS, "a", 5, 6), nil, 2, 2, false},
		{one(history.Read, "a"), []int{6}, 2, 2, false},
		{one(history.Add, "s", 12), nil, 3, 3, false},
		{one(history.Add, "s", 7), nil, 4, 4, false},
		{one(history.Scan, "s"), []int{7, 12}, 0, 4, false},
		{history.Txn{{F: history.Write, Key: "a", In: []int{9}}, {F: history.Write, Key: "a", In: []int{8}}}, nil, 0, 0, true},
	} {
		a, err := c.Do(t.Context(), step.ask)
		if step.noEffect {
			if !errors.Is(err, cluster.ErrNotDone) || errors.Is(err, cluster.ErrRefused) {
				t.Errorf("%d %v: %v, want a plain ErrNotDone", i, step.ask, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d %v: %v", i, step.ask, err)
			continue
		}
		if step.version > 0 {
			step.version += base
		}
		if got := a.Txn[0].Out; !reflect.DeepEqual(got, step.out) || a.Version != step.version || a.Position != step.position+base {
			t.Errorf("%d %v: got %v, version %d, position %d; want %v, %d, %d", i, step.ask, got, a.Version, a.Position, step.out, step.version,
				step.position+base)
		}
		if a.Note == "" {
			t.Errorf("%d %v: nothing is said of who acknowledged it", i, step.ask)
		}
	}
}

func TestClient(t *testing.T) {
	h := newMemory(0)
	speak(t, connect(t, serve(t, h), cluster.Options{Timeout: long}), 1)
	for _, c := range h.asked {
		if c.Local {
			t.Errorf("%+v was asked as local", c)
		}
	}
}

func TestLocalReads(t *testing.T) {
	h := newMemory(0)
	speak(t, connect(t, serve(t, h), cluster.Options{Timeout: long, Read: "local"}), 1)
	for _, c := range h.asked {
		if c.Local != c.ReadOnly() {
			t.Errorf("%+v: local %v", c, c.Local)
		}
	}
}

// TestClientOfEtcd: the same client against etcd itself.
func TestClientOfEtcd(t *testing.T) {
	address := realEtcd(t)
	for i, read := range []string{"", "serializable"} {
		c := connect(t, address, cluster.Options{Timeout: long, Read: read})
		if i == 0 {
			speak(t, c, 1)
		} else if a, err := c.Do(t.Context(), one(history.Read, "a")); err != nil || !reflect.DeepEqual(a.Txn[0].Out, []int{6}) {
			t.Errorf("a serializable read: %+v, %v", a, err)
		}
	}
}

// realEtcd starts an etcd of its own.
func realEtcd(t *testing.T) (address string) {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("there is no etcd on this machine")
	}
	var ports [2]string
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = l.Addr().String()
		l.Close()
	}
	client, peers := "http://"+ports[0], "http://"+ports[1]
	cmd := exec.Command(binary, "--name", "n1", "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen-client-urls", client,
		"--advertise-client-urls", client, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "n1="+peers,
		"--heartbeat-interval", "20", "--election-timeout", "200")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	// It answers a linearizable read as soon as it leads.
	for end := time.Now().Add(long); ; {
		c, err := Dial(t.Context(), ports[0], cluster.Options{Timeout: time.Second})
		if err == nil {
			_, err = c.Do(t.Context(), one(history.Read, "a"))
			c.Close()
		}
		if err == nil {
			return ports[0]
		}
		if time.Now().After(end) {
			t.Fatalf("etcd does not answer: %v", err)
		}
	}
}

func TestOutcomesOfAHost(t *testing.T) {
	h := newMemory(0)
	address := serve(t, h)
	for _, c := range []struct {
		name             string
		r                machine.Result
		notDone, refused bool
		message          string
	}{
		{"no leader", machine.Result{Outcome: machine.Refused, Reason: "no leader is known"}, true, true, "etcdserver: no leader"},
		{"another reason", machine.Result{Outcome: machine.Refused, Reason: "out of order"}, true, true, "etcdserver: out of order"},
		{"an error of the request", machine.Result{Outcome: machine.Refused, Reason: machine.ReasonDuplicateKey}, true, false, machine.ReasonDuplicateKey},
		{"compacted", machine.Result{Outcome: machine.Compacted}, true, false, "etcdserver: mvcc: required revision has been compacted"},
		{"future", machine.Result{Outcome: machine.Future}, true, false, "etcdserver: mvcc: required revision is a future revision"},
		{"unknown", machine.Result{Outcome: machine.Unknown, Reason: "leader changed"}, false, false, "etcdserver: leader changed"},
		{"unknown, no reason", machine.Result{Outcome: machine.Unknown}, false, false, "etcdserver: request timed out"},
		{"an answer to something else", machine.Result{Outcome: machine.Done}, false, false, errShape.Error()},
	} {
		h.set(func() { h.outcome = &c.r })
		for _, txn := range []history.Txn{one(history.Write, "a", 1), one(history.Read, "a"), one(history.CAS, "a", 1, 2)} {
			_, err := connect(t, address, cluster.Options{Timeout: long}).Do(t.Context(), txn)
			if err == nil || errors.Is(err, cluster.ErrNotDone) != c.notDone || errors.Is(err, cluster.ErrRefused) != c.refused {
				t.Errorf("%s, %s: %v; want not done %v, refused %v", c.name, txn[0].F, err, c.notDone, c.refused)
			} else if got := err.Error(); !strings.Contains(got, c.message) && c.name != "an answer to something else" {
				t.Errorf("%s, %s: %q does not say %q", c.name, txn[0].F, got, c.message)
			}
		}
	}
}

// TestNonsense: a register that holds no number. No workload has written that.
func TestNonsense(t *testing.T) {
	h := newMemory(0)
	h.store.Apply(machine.Command{Kind: machine.CommandTxn, Then: []machine.Operation{{Op: machine.OpPut, Key: []byte("r/a"), Value: []byte("x")}}})
	_, err := connect(t, serve(t, h), cluster.Options{Timeout: long}).Do(t.Context(), one(history.Read, "a"))
	if !errors.Is(err, cluster.ErrNonsense) || errors.Is(err, cluster.ErrNotDone) {
		t.Errorf("got %v, want %v and nothing about its effect", err, cluster.ErrNonsense)
	}
}

func TestSilentNode(t *testing.T) {
	h := newMemory(0)
	h.silent = true
	c := connect(t, serve(t, h), cluster.Options{Timeout: short})
	for range 3 {
		if _, err := c.Do(t.Context(), one(history.Write, "a", 1)); err == nil || errors.Is(err, cluster.ErrNotDone) {
			t.Errorf("a write that was not answered: %v", err)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	nobody := clienttest.Unanswered(t, func(address string) error {
		_, err := Dial(t.Context(), address, cluster.Options{Timeout: short})
		return err
	})
	for what, f := range map[string]func() error{
		"status":   func() error { _, err := Status(t.Context(), nobody); return err },
		"transfer": func() error { return Transfer(t.Context(), nobody, 2) },
		"join":     func() error { return Join(t.Context(), nobody, 4, "127.0.0.1:1") },
		"leave":    func() error { return Leave(t.Context(), nobody, 4) },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// TestBrokenConnection: gRPC would connect again and nobody would know that the next operation went by another connection.
func TestBrokenConnection(t *testing.T) {
	h := newMemory(0)
	address, cut, accepted := clienttest.Relay(t, serve(t, h))
	c := connect(t, address, cluster.Options{Timeout: long})
	if _, err := c.Do(t.Context(), one(history.Write, "a", 1)); err != nil {
		t.Fatal(err)
	}
	h.set(func() { h.silent = true })
	done := make(chan error)
	go func() {
		_, err := c.Do(context.Background(), one(history.Write, "a", 2))
		done <- err
	}()
	cut()
	if err := <-done; err == nil || errors.Is(err, cluster.ErrNotDone) && !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("the write under way: %v", err)
	}
	h.set(func() { h.silent = false })
	h.await(t, "the end of the connection", func() bool { return len(h.gone) == 1 })
	for range 3 {
		if _, err := c.Do(t.Context(), one(history.Write, "a", 3)); !errors.Is(err, cluster.ErrNotDone) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("a write after that: %v", err)
		}
	}
	// An operation that began a moment before the connection broke gets behind the look at its state.
	if _, err := c.(*client).kv.Put(t.Context(), &pb.PutRequest{Key: []byte("a")}); err == nil {
		t.Error("a write after that, unseen by the client, was done")
	}
	if n := accepted(); n != 1 {
		t.Errorf("the client has connected %d times", n)
	}
	if got := h.store.Revision(); got != 2 {
		t.Errorf("revision %d: a write has been repeated", got)
	}
}

func TestConnectionsComeAndGo(t *testing.T) {
	h := newMemory(0)
	address := serve(t, h)
	knock, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	knock.Close()
	for i := range 3 {
		c := connect(t, address, cluster.Options{Timeout: long})
		for range 2 {
			if _, err := c.Do(t.Context(), one(history.Read, "a")); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		h.await(t, fmt.Sprintf("the end of connection %d", i), func() bool { return len(h.gone) == i+1 })
	}
	if h.conns != 3 || !reflect.DeepEqual(h.gone, []uint64{1, 2, 3}) {
		t.Errorf("%d connections came, %v went", h.conns, h.gone)
	}
}

func TestStatusOfANode(t *testing.T) {
	h := newMemory(0)
	h.status.Counters, h.status.Applied = machine.Counters{Elections: 4}, 9
	got, err := Status(t.Context(), serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Wall.Equal(time.Unix(1000, 5)) {
		t.Errorf("wall clock %v", got.Wall)
	}
	if got.Counters["elections"] != 4 || got.Counters["syncs"] != 3 {
		t.Errorf("counters %v", got.Counters)
	}
	if got.Process == 0 {
		t.Error("the process has no name")
	}
	got.Counters, got.Wall, got.Process = nil, time.Time{}, 0
	want := cluster.Status{
		Role: machine.Leader, Leader: "n1", Term: 7, Commit: 9, Applied: 9, Hash: machine.NewStore(0).Hash(), Position: 9, Members: []string{"n1", "n2", "n3"},
		Mono: 77 * time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMembershipFunctions(t *testing.T) {
	h := newMemory(0)
	address := serve(t, h)
	for what, f := range map[string]func() error{
		"join":     func() error { return Join(t.Context(), address, 4, "127.0.0.1:77") },
		"leave":    func() error { return Leave(t.Context(), address, 3) },
		"transfer": func() error { return Transfer(t.Context(), address, 2) },
	} {
		h.set(func() { h.status.Voters, h.status.Leader, h.asked = []int{1, 2, 3}, 1, nil })
		if err := f(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		want := map[string]machine.Command{
			"join":     {Kind: machine.CommandJoin, Node: 4, Address: []byte("127.0.0.1:77")},
			"leave":    {Kind: machine.CommandLeave, Node: 3},
			"transfer": {Kind: machine.CommandTransfer, Node: 2},
		}[what]
		if len(h.asked) != 1 || !reflect.DeepEqual(h.asked[0], want) {
			t.Errorf("%s: asked %+v, want %+v", what, h.asked, want)
		}
		h.set(func() { h.outcome = &machine.Result{Outcome: machine.Refused, Reason: "another change is under way"} })
		if err := f(); err == nil || !strings.Contains(err.Error(), "another change is under way") && what != "transfer" {
			t.Errorf("%s, refused: %v", what, err)
		}
		h.set(func() { h.outcome = nil })
	}
}

func TestOnlyTheLeaderHandsOver(t *testing.T) {
	h := newMemory(0)
	h.status.Leader = 2
	if err := Transfer(t.Context(), serve(t, h), 3); err == nil || !strings.Contains(err.Error(), "not leader") {
		t.Errorf("a follower was asked to hand over: %v", err)
	}
	if len(h.asked) != 0 {
		t.Errorf("its machine was asked for %+v", h.asked)
	}
}

func TestRequestsOfWhichNobodyKnows(t *testing.T) {
	for _, c := range []struct {
		err  error
		want codes.Code
		text string
	}{
		{context.DeadlineExceeded, codes.Unavailable, "etcdserver: request timed out"},
		{context.Canceled, codes.Canceled, "context canceled"},
		{errors.New("stopping"), codes.Unavailable, "etcdserver: stopping"},
	} {
		if s := status.Convert(unknown(c.err)); s.Code() != c.want || s.Message() != c.text {
			t.Errorf("%v is answered as %v %q, want %v %q", c.err, s.Code(), s.Message(), c.want, c.text)
		}
	}
}

// BenchmarkClient is the most that one connection can do: no consensus, no disk.
func BenchmarkClient(b *testing.B) {
	c := connect(b, serve(b, newMemory(0)), cluster.Options{Timeout: long})
	for i := range b.N {
		if _, err := c.Do(b.Context(), one(history.Write, "a", i)); err != nil {
			b.Fatal(err)
		}
	}
}
