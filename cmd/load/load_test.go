package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// counter is a server that counts.
type counter struct {
	pb.UnimplementedKVServer
	pb.UnimplementedMaintenanceServer
	leads             bool
	puts, gets, local atomic.Int64
	failAfter         int64
}

func (c *counter) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	if n := c.puts.Add(1); c.failAfter > 0 && n > c.failAfter {
		return nil, errors.New("no more")
	}
	if len(r.Value) != valueSize {
		return nil, errors.New("a value of another size")
	}
	return &pb.PutResponse{}, nil
}

func (c *counter) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if r.Serializable {
		c.local.Add(1)
	} else {
		c.gets.Add(1)
	}
	return &pb.RangeResponse{}, nil
}

func (c *counter) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	s := &pb.StatusResponse{Header: &pb.ResponseHeader{MemberId: 7}, Leader: 8}
	if c.leads {
		s.Leader = 7
	}
	return s, nil
}

func serve(t *testing.T, c *counter) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterKVServer(s, c)
	pb.RegisterMaintenanceServer(s, c)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func TestLoadCountsWhatWasAnswered(t *testing.T) {
	follower, leads := new(counter), &counter{leads: true}
	endpoints := []string{serve(t, follower), serve(t, leads)}
	const n = 3
	for _, operation := range etcd.operations {
		for _, to := range []string{toLeader, toAll} {
			if _, err := (load{etcd, endpoints, operation, n, time.Millisecond, to}).run(t.Context()); err != nil {
				t.Errorf("%s to %s: %v", operation, to, err)
			}
		}
	}
	// The shortest measurement is two requests of each connection; of three connections to all, two go to the first endpoint.
	for what, got := range map[string]int64{"puts": follower.puts.Load(), "gets": follower.gets.Load(), "local reads": follower.local.Load()} {
		if got < 2*2 {
			t.Errorf("%d %s of the follower, want 4 or more", got, what)
		}
	}
	for what, got := range map[string]int64{"puts": leads.puts.Load(), "gets": leads.gets.Load(), "local reads": leads.local.Load()} {
		if got < 2*n+2 {
			t.Errorf("%d %s of the leader, want %d or more", got, what, 2*n+2)
		}
	}
}

func TestLoadThatFailsHasNoRate(t *testing.T) {
	good := load{etcd, []string{serve(t, &counter{leads: true})}, put, 2, time.Millisecond, toLeader}
	for want, change := range map[string]func(*load){
		"no more":          func(l *load) { l.endpoints = []string{serve(t, &counter{leads: true, failAfter: 3})} },
		"leads":            func(l *load) { l.endpoints = []string{serve(t, new(counter))} },
		"operations are":   func(l *load) { l.operation = "sing" },
		"one connection":   func(l *load) { l.connections = 0 },
		"connection or mo": func(l *load) { l.to = "nobody" },
	} {
		l := good
		change(&l)
		if r, err := l.run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v, want %q", r, err, want)
		}
	}
}

func TestTable(t *testing.T) {
	rate := func(rates ...float64) (all []result) {
		for _, r := range rates {
			all = append(all, result{r, time.Millisecond, 2 * time.Millisecond})
		}
		return all
	}
	var out bytes.Buffer
	k := contest{base: 1, rows: []row{{put, 1}, {put, 50}, {get, 1}, {get, 50}}}
	err := k.print(&out, []*servers{{name: "ours"}, {name: "theirs"}}, [][][]result{
		{rate(100, 300, 200), rate(100, 100, 50)}, {rate(50), rate(100)}, {rate(10), rate(10)}, {rate(7), rate(5)},
	})
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err != nil || len(got) != 8 {
		t.Fatalf("%v\n%s", err, &out)
	}
	// The ratio is the median of 1, 3 and 4, not that of the medians.
	if want := "put 1 200 1.00 2.00 100 1.00 2.00 3.00"; strings.Join(strings.Fields(got[1]), " ") != want {
		t.Errorf("got %q, want %q", got[1], want)
	}
	if want := "in 3 of 4 rows"; !strings.Contains(got[5], want) {
		t.Errorf("got %q, want %q in it", got[5], want)
	}
}

func TestMemoryIsThatOfTheProcesses(t *testing.T) {
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skip("this system does not tell")
	}
	own := &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}
	one, two := (&servers{processes: []*exec.Cmd{own}}).memory(), (&servers{processes: []*exec.Cmd{own, own}}).memory()
	if one < 1<<20 || two < one*3/2 {
		t.Errorf("%d bytes of one process, %d of it twice", one, two)
	}
}

func TestCompareSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, want := range map[string]string{"etcd": "etcd is not installed", "zookeeper": "ZooKeeper is not installed"} {
		k, err := find("contest", contests, nameOfContest, name)
		if err != nil {
			t.Fatal(err)
		}
		c := comparison{contests: []contest{k}, time: time.Second, rounds: 1, to: toLeader, dir: t.TempDir(), binary: "/none"}
		k.systems = k.systems[1:] // ours could not start either
		if err := k.run(t.Context(), new(bytes.Buffer), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := find("contest", contests, nameOfContest, "x"); err == nil || !strings.Contains(err.Error(), "there are etcd,zookeeper,observers") {
		t.Errorf("got %v", err)
	}
}
