package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"assize/cluster"
	"assize/daemon/vitals"
	"assize/history"
	"assize/machine"
)

// Bounds where the caller gives none.
const (
	defaultTimeout = 5 * time.Second
	adminBound     = 10 * time.Second
)

// line is one connection that is made once and never again: gRPC would silently make another, and what is sent twice, or to a node that has
// been restarted, would not be in the history.
type line struct {
	*grpc.ClientConn
	broken atomic.Bool
}

// once is the line's TCP connection: gRPC closes it as soon as it has seen it fail.
type once struct {
	net.Conn
	broken *atomic.Bool
}

func (c *once) Close() error {
	c.broken.Store(true)
	return c.Conn.Close()
}

var errBroken = fmt.Errorf("the connection is broken: %w: %w", cluster.ErrRefused, cluster.ErrNotDone)

// dial blocks until the line is ready, is refused, or ctx has ended.
func dial(ctx context.Context, address string) (*line, error) {
	l := new(line)
	var used atomic.Bool
	var refused error
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errBroken
			}
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", address)
			if err != nil {
				refused = err // happens before the change of state that the caller waits for
				l.broken.Store(true)
				return nil, err
			}
			return &once{c, &l.broken}, nil
		}),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, err
	}
	l.ClientConn = conn
	conn.Connect()
	for {
		switch state := conn.GetState(); {
		case state == connectivity.Ready:
			return l, nil
		case state == connectivity.TransientFailure || state == connectivity.Shutdown || l.broken.Load():
			conn.Close()
			if refused != nil {
				return nil, refused
			}
			return nil, errors.New("the node hung up")
		default:
			if !conn.WaitForStateChange(ctx, state) {
				conn.Close()
				return nil, ctx.Err()
			}
		}
	}
}

// client of one node.
type client struct {
	*line
	kv      pb.KVClient
	local   bool
	timeout time.Duration
}

// Dial connects to an etcd or to a node of ours. It returns within Timeout; an error means that nothing was sent, and wraps cluster.ErrRefused. The
// read modes "local" and "serializable" read a node's own state, all others leave it to the server what a read rests on.
func Dial(ctx context.Context, address string, o cluster.Options) (cluster.Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	l, err := dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w: %w: %w", address, err, cluster.ErrRefused, cluster.ErrNotDone)
	}
	return &client{line: l, kv: pb.NewKVClient(l), local: o.Read == "local" || o.Read == "serializable", timeout: o.Timeout}, nil
}

func (c *client) Do(ctx context.Context, t history.Txn) (cluster.Answer, error) {
	command, err := machine.CommandOf(t, c.local)
	if err != nil {
		return cluster.Answer{}, fmt.Errorf("%w: %w", err, cluster.ErrNotDone)
	}
	if c.broken.Load() || c.GetState() != connectivity.Ready {
		return cluster.Answer{}, errBroken
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var trailer metadata.MD
	r, err := c.call(ctx, command, grpc.Trailer(&trailer))
	if err != nil {
		return cluster.Answer{}, judge(err, trailer)
	}
	a := cluster.Answer{Note: fmt.Sprintf("term %d", r.Term)}
	if a.Txn, a.Version, a.Position, err = machine.AnswerOf(t, r); err != nil {
		switch {
		case errors.Is(err, machine.ErrNoEffect):
			err = fmt.Errorf("%w: %w", err, cluster.ErrNotDone)
		case errors.Is(err, machine.ErrNonsense):
			err = fmt.Errorf("%w: %w", err, cluster.ErrNonsense)
		}
		return cluster.Answer{}, err
	}
	return a, nil
}

// call sends a command in the simplest request that can carry it.
func (c *client) call(ctx context.Context, command machine.Command, trailer grpc.CallOption) (machine.Result, error) {
	if len(command.Compare)+len(command.Else) == 0 && len(command.Then) == 1 {
		switch o := &command.Then[0]; o.Op {
		case machine.OpRange:
			answer, err := c.kv.Range(ctx, rangeOf(o, command.Local), trailer)
			if err != nil {
				return machine.Result{}, err
			}
			return withOne(answer.GetHeader(), ofRange(answer))
		case machine.OpPut:
			answer, err := c.kv.Put(ctx, putOf(o), trailer)
			if err != nil {
				return machine.Result{}, err
			}
			return withOne(answer.GetHeader(), ofPut(answer))
		}
	}
	answer, err := c.kv.Txn(ctx, txnOf(command), trailer)
	if err != nil {
		return machine.Result{}, err
	}
	if answer.GetHeader() == nil {
		return machine.Result{}, errNoHeader
	}
	return resultOf(answer)
}

func withOne(h *pb.ResponseHeader, p machine.Response) (machine.Result, error) {
	if h == nil {
		return machine.Result{}, errNoHeader
	}
	r := resultFrom(h)
	r.Responses = []machine.Response{p}
	return r, nil
}

// judge says whether an error proves that nothing was done. Our nodes say so; of etcd's errors those prove it that come before the request
// is proposed, or instead of its execution. A time-out, a lost leader and a lost connection prove nothing.
func judge(err error, trailer metadata.MD) error {
	s := status.Convert(err)
	said := len(trailer.Get(noEffect)) > 0
	switch {
	case said && s.Code() == codes.Unavailable:
		return fmt.Errorf("%s: %w: %w", s.Message(), cluster.ErrRefused, cluster.ErrNotDone)
	case said || s.Code() == codes.InvalidArgument || s.Code() == codes.OutOfRange || s.Message() == "etcdserver: too many requests":
		return fmt.Errorf("%s: %w", s.Message(), cluster.ErrNotDone)
	}
	return err
}

// ask opens a line to a node for one question.
func ask(ctx context.Context, address string, question func(context.Context, *line) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminBound)
	defer cancel()
	l, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer l.Close()
	return question(ctx, l)
}

// Status asks a node of ours about itself.
func Status(ctx context.Context, address string) (cluster.Status, error) {
	var v vitals.Vitals
	err := ask(ctx, address, func(ctx context.Context, l *line) error {
		answer := new(wrapperspb.BytesValue)
		if err := l.Invoke(ctx, statusMethod, new(wrapperspb.BytesValue), answer); err != nil {
			return err
		}
		var err error
		v, err = vitals.Read(answer.GetValue())
		return err
	})
	if err != nil {
		return cluster.Status{}, fmt.Errorf("status of %s: %w", address, err)
	}
	return v.Cluster(), nil
}

// Transfer asks the leader at address to hand over to another node. It returns when the leader has agreed.
func Transfer(ctx context.Context, address string, to int) error {
	return ask(ctx, address, func(ctx context.Context, l *line) error {
		_, err := pb.NewMaintenanceClient(l).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: uint64(to)})
		return err
	})
}

// Join asks the node at address to make a new node a member.
func Join(ctx context.Context, address string, id int, peer string) error {
	return ask(ctx, address, func(ctx context.Context, l *line) error {
		_, err := pb.NewClusterClient(l).MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{peerURL(id, peer)}})
		return err
	})
}

// Leave asks the node at address to remove a member.
func Leave(ctx context.Context, address string, id int) error {
	return ask(ctx, address, func(ctx context.Context, l *line) error {
		_, err := pb.NewClusterClient(l).MemberRemove(ctx, &pb.MemberRemoveRequest{ID: uint64(id)})
		return err
	})
}
