package etcd

import (
	"context"
	"encoding/json"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"assize/cluster"
	"assize/machine"
)

// statusMethod is no method of etcd's: what it tells, etcd's Status has no field for.
const statusMethod = "/assize.Node/Status"

// nodeStatus is its answer, as JSON in a BytesValue.
type nodeStatus struct {
	Machine machine.Status    `json:"machine"`
	Wall    time.Time         `json:"wall"`
	Mono    time.Duration     `json:"mono"`
	Process uint64            `json:"process"`
	Host    map[string]uint64 `json:"host"`
}

// process tells this process from others of the same node.
var process = uint64(time.Now().UnixNano())

// nodeService is registered by hand: one method does not need a compiler of its own.
var nodeService = grpc.ServiceDesc{
	ServiceName: "assize.Node",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Status",
		Handler: func(f any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(new(wrapperspb.BytesValue)); err != nil {
				return nil, err
			}
			return f.(*front).nodeStatus()
		},
	}},
}

func (f *front) nodeStatus() (*wrapperspb.BytesValue, error) {
	s := nodeStatus{Machine: f.host.Status(), Process: process, Host: f.host.Counters()}
	s.Wall, s.Mono = f.host.Clocks()
	b, err := json.Marshal(s)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return wrapperspb.Bytes(b), nil
}

// cluster status of the same.
func (s *nodeStatus) cluster() cluster.Status {
	m := &s.Machine
	c := cluster.Status{
		Role: m.Role, Term: m.Term, Commit: m.Commit, Applied: m.Applied, Hash: m.Hash, Wall: s.Wall, Mono: s.Mono,
		Process: s.Process, Counters: s.Host,
	}
	if m.Leader != 0 {
		c.Leader = nodeName(m.Leader)
	}
	for _, id := range m.Voters {
		c.Members = append(c.Members, nodeName(id))
	}
	if c.Counters == nil {
		c.Counters = map[string]uint64{}
	}
	for name, n := range map[string]uint64{
		"last": m.Last, "snapshot": m.Snapshot, "revision": uint64(m.Revision), "elections": m.Counters.Elections, "snapshots-taken": m.Counters.SnapshotsTaken,
		"snapshots-loaded": m.Counters.SnapshotsLoaded, "truncations": m.Counters.Truncations, "lease-reads": m.Counters.LeaseReads,
		"index-reads": m.Counters.IndexReads,
	} {
		c.Counters[name] = n
	}
	return c
}
