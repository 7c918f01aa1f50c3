// Package etcd is the etcd v3 front end of a node, and the client that tests use with it and with etcd itself.
//
// Served are KV (but for Compact and RangeStream), Watch, the Status and MoveLeader of Maintenance, the list, addition and removal of members of
// Cluster, gRPC's health service, and /assize.Node/Status. All else answers Unimplemented. There are no leases, no users, no nested
// transactions. Where etcd has an error for what is wrong, it is answered with etcd's own text.
//
// An answer that proves that its operation has had no effect and never will carries a trailer that says so.
package etcd

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"assize/machine"
)

const (
	maxRequest     = 2 << 20 // bytes; etcd takes 1.5 MiB and a little more
	maxStreams     = 4096    // of one connection at a time
	workers        = 64      // goroutines whose stacks have grown already
	handshakeBound = 10 * time.Second
	// requestBound is how long a request without a deadline may take, in which etcd does about the same.
	requestBound = 7 * time.Second
	// progressEvery is how often a watch that asked for it hears that nothing has happened; as in etcd.
	progressEvery = 10 * time.Minute
)

// Serve answers clients until the listener is closed. The error is the listener's.
func Serve(l net.Listener, h Host) error {
	s := newServer(h, progressEvery)
	err := s.Serve(l)
	s.Stop()
	return err
}

func newServer(h Host, progress time.Duration) *grpc.Server {
	s := grpc.NewServer(
		grpc.Creds(door{h}),
		grpc.NumStreamWorkers(workers),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeBound),
		// etcd's clients ask every 10 s whether we are still there; gRPC would hang up on them.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	f := front{h}
	pb.RegisterKVServer(s, &keys{front: f})
	pb.RegisterWatchServer(s, &watches{front: f, progress: progress})
	pb.RegisterMaintenanceServer(s, &maintenance{front: f})
	pb.RegisterClusterServer(s, &members{front: f})
	grpc_health_v1.RegisterHealthServer(s, &health{front: f})
	s.RegisterService(&nodeService, &f)
	return s
}

// front is what all services share.
type front struct{ host Host }

// do executes a command for the connection that ctx came with. The error is ready to be answered.
func (f front) do(ctx context.Context, c machine.Command) (machine.Result, error) {
	v, err := visitorOf(ctx)
	if err != nil {
		return machine.Result{}, err
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestBound)
		defer cancel()
	}
	r, err := f.host.Do(ctx, v.name(), c)
	if err != nil {
		return machine.Result{}, unknown(err)
	}
	if r.Outcome != machine.Done {
		return machine.Result{}, refusal(ctx, r)
	}
	return r, nil
}

// header of an answer. The cluster has one name for all nodes and all time: nobody can tell more of it.
func (f front) header(revision int64, term uint64) *pb.ResponseHeader {
	s := f.host.Status()
	if term == 0 {
		term = s.Term
	}
	return &pb.ResponseHeader{ClusterId: clusterID, MemberId: uint64(s.ID), Revision: revision, RaftTerm: term}
}

// now is the header of an answer that executes nothing.
func (f front) now() *pb.ResponseHeader { return f.header(f.host.Status().Revision, 0) }

const clusterID = 0x617373697a65 // "assize"

// visitor is a client's connection. It gets its name with its first request: whoever only knocks, or talks rubbish, is nobody to the machine.
type visitor struct {
	net.Conn
	host Host
	once sync.Once
	id   atomic.Uint64
}

func (v *visitor) name() uint64 {
	v.once.Do(func() { v.id.Store(v.host.Connect()) })
	return v.id.Load()
}

// Close is called by gRPC when the connection has ended, from whichever side. No request of it can come later.
func (v *visitor) Close() error {
	v.once.Do(func() {})
	if id := v.id.Swap(0); id != 0 {
		v.host.Gone(id)
	}
	return v.Conn.Close()
}

// AuthType makes the visitor what gRPC hands to each request of a connection.
func (v *visitor) AuthType() string { return "none" }

var errNoVisitor = errors.New("the request came by no connection")

func visitorOf(ctx context.Context) (*visitor, error) {
	if p, ok := peer.FromContext(ctx); ok {
		if v, ok := p.AuthInfo.(*visitor); ok {
			return v, nil
		}
	}
	return nil, errNoVisitor
}

// door lets everybody in and knows each connection's beginning and end. gRPC's stats.Handler could do that too, but it is called, and allocates,
// for every request.
type door struct{ host Host }

func (d door) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	v := &visitor{Conn: c, host: d.host}
	return v, v, nil
}

func (d door) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("this is a server's door")
}

func (d door) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

func (d door) Clone() credentials.TransportCredentials { return d }

func (d door) OverrideServerName(string) error { return nil }
