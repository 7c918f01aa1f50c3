package etcd

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"assize/daemon/vitals"
	"assize/machine"
)

// version of etcd whose API this is.
const version = "3.4.0"

// maintenance is etcd's Maintenance.
type maintenance struct {
	pb.UnimplementedMaintenanceServer
	front
}

func (m *maintenance) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	s := m.host.Status()
	r := &pb.StatusResponse{
		Header: m.header(s.Revision, s.Term), Version: version, Leader: uint64(s.Leader), RaftTerm: s.Term, RaftIndex: s.Commit, RaftAppliedIndex: s.Applied,
		IsLearner: s.Role == machine.Learner,
	}
	if s.Leader == 0 {
		r.Errors = []string{status.Convert(rpctypes.ErrGRPCNoLeader).Message()}
	}
	return r, nil
}

// MoveLeader must be asked of the leader, as in etcd.
func (m *maintenance) MoveLeader(ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	s := m.host.Status()
	if s.Leader != s.ID {
		return nil, harmless(ctx, rpctypes.ErrGRPCNotLeader)
	}
	if !slices.Contains(s.Voters, int(r.TargetID)) {
		return nil, harmless(ctx, rpctypes.ErrGRPCBadLeaderTransferee)
	}
	result, err := m.do(ctx, machine.Command{Kind: machine.CommandTransfer, Node: int(r.TargetID)})
	if err != nil {
		return nil, err
	}
	return &pb.MoveLeaderResponse{Header: m.header(result.Revision, result.Term)}, nil
}

// members is etcd's Cluster.
type members struct {
	pb.UnimplementedClusterServer
	front
}

func (m *members) list() []*pb.Member {
	var list []*pb.Member
	for _, id := range m.host.Status().Voters {
		list = append(list, &pb.Member{ID: uint64(id), Name: vitals.Name(id)})
	}
	return list
}

func (m *members) MemberList(context.Context, *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	return &pb.MemberListResponse{Header: m.now(), Members: m.list()}, nil
}

// MemberAdd takes one peer URL, which names the node: http://n4@127.0.0.1:2380. In etcd the server thinks out an id and the new
// node has to find it by its URL; here a node has its id from whoever starts it.
func (m *members) MemberAdd(ctx context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	if r.IsLearner {
		return nil, harmless(ctx, status.Error(codes.Unimplemented, "learners are not served"))
	}
	id, address, err := parsePeer(r.PeerURLs)
	if err != nil {
		return nil, harmless(ctx, status.Error(codes.InvalidArgument, err.Error()))
	}
	result, err := m.do(ctx, machine.Command{Kind: machine.CommandJoin, Node: id, Address: []byte(address)})
	if err != nil {
		return nil, err
	}
	return &pb.MemberAddResponse{
		Header: m.header(result.Revision, result.Term), Member: &pb.Member{ID: uint64(id), Name: vitals.Name(id), PeerURLs: r.PeerURLs}, Members: m.list(),
	}, nil
}

func (m *members) MemberRemove(ctx context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	if id := int(r.ID); id <= 0 || uint64(id) != r.ID {
		return nil, harmless(ctx, rpctypes.ErrGRPCMemberNotFound)
	}
	result, err := m.do(ctx, machine.Command{Kind: machine.CommandLeave, Node: int(r.ID)})
	if err != nil {
		return nil, err
	}
	return &pb.MemberRemoveResponse{Header: m.header(result.Revision, result.Term), Members: m.list()}, nil
}

func peerURL(id int, address string) string {
	return (&url.URL{Scheme: "http", User: url.User(vitals.Name(id)), Host: address}).String()
}

// parsePeer is the inverse of peerURL.
func parsePeer(urls []string) (id int, address string, err error) {
	if len(urls) != 1 {
		return 0, "", fmt.Errorf("%d peer URLs, want one like http://n4@127.0.0.1:2380", len(urls))
	}
	u, err := url.Parse(urls[0])
	if err == nil && u.Host != "" {
		if id, ok := parseNode(u.User.Username()); ok {
			return id, u.Host, nil
		}
	}
	return 0, "", fmt.Errorf("peer URL %q does not name the node, want one like http://n4@127.0.0.1:2380", urls[0])
}

func parseNode(name string) (id int, ok bool) {
	digits, ok := strings.CutPrefix(name, "n")
	id, err := strconv.Atoi(digits)
	return id, ok && err == nil && id > 0
}

// health is gRPC's own health service.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	front
}

// Check says that a node serves as long as it knows a leader.
func (h *health) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	answer := grpc_health_v1.HealthCheckResponse_SERVING
	if h.host.Status().Leader == 0 {
		answer = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return &grpc_health_v1.HealthCheckResponse{Status: answer}, nil
}
