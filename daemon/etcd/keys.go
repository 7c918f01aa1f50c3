package etcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"assize/machine"
)

// keys is etcd's KV.
type keys struct {
	pb.UnimplementedKVServer
	front
}

func (k *keys) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	o, err := operationOfRange(r)
	if err != nil {
		return nil, harmless(ctx, err)
	}
	p, h, err := k.one(ctx, o, r.Serializable)
	if err != nil {
		return nil, err
	}
	return rangeAnswer(p, r, h), nil
}

func (k *keys) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	o, err := operationOfPut(r)
	if err != nil {
		return nil, harmless(ctx, err)
	}
	p, h, err := k.one(ctx, o, false)
	if err != nil {
		return nil, err
	}
	return putAnswer(p, h), nil
}

func (k *keys) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	if len(r.Key) == 0 {
		return nil, harmless(ctx, rpctypes.ErrGRPCEmptyKey)
	}
	p, h, err := k.one(ctx, operationOfDelete(r), false)
	if err != nil {
		return nil, err
	}
	return deleteAnswer(p, h), nil
}

func (k *keys) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	c, err := commandOfTxn(r)
	if err != nil {
		return nil, harmless(ctx, err)
	}
	if err := k.led(ctx); err != nil {
		return nil, harmless(ctx, err)
	}
	result, err := k.do(ctx, c)
	if err != nil {
		return nil, err
	}
	requests := r.Success
	if !result.Succeeded {
		requests = r.Failure
	}
	if len(result.Responses) != len(requests) {
		return nil, errShape
	}
	h := k.header(result.Revision, result.Term)
	answer := &pb.TxnResponse{Header: h, Succeeded: result.Succeeded, Responses: make([]*pb.ResponseOp, len(requests))}
	for i := range requests {
		// As in etcd the header of a step tells the revision only.
		answer.Responses[i] = answerOf(&result.Responses[i], requests[i].GetRequestRange(), &pb.ResponseHeader{Revision: h.Revision})
	}
	return answer, nil
}

// errShape tells of a machine that answers another question than was asked.
var errShape = status.Error(codes.Internal, "the answer does not have the form of the request")

// one executes a transaction of one step.
func (k *keys) one(ctx context.Context, o machine.Operation, local bool) (*machine.Response, *pb.ResponseHeader, error) {
	if err := k.led(ctx); err != nil {
		return nil, nil, harmless(ctx, err)
	}
	r, err := k.do(ctx, machine.Command{Kind: machine.CommandTxn, Local: local, Then: []machine.Operation{o}})
	if err != nil {
		return nil, nil, err
	}
	if len(r.Responses) != 1 || r.Responses[0].Op != o.Op {
		return nil, nil, errShape
	}
	return &r.Responses[0], k.header(r.Revision, r.Term), nil
}

// led is an error where the client wants to be served only under a leader and there is none.
func (f front) led(ctx context.Context) error {
	if f.host.Status().Leader != 0 {
		return nil
	}
	if v := metadata.ValueFromIncomingContext(ctx, rpctypes.MetadataRequireLeaderKey); len(v) > 0 && v[0] == rpctypes.MetadataHasLeader {
		return rpctypes.ErrGRPCNoLeader
	}
	return nil
}
