package etcd

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"assize/daemon/vitals"
)

// statusMethod is no method of etcd's: what it tells, etcd's Status has no field for. Its answer is the node's vitals, as JSON in a BytesValue.
const statusMethod = "/assize.Node/Status"

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
			b, err := vitals.Of(f.(*front).host).JSON()
			if err != nil {
				return nil, status.Error(codes.Internal, err.Error())
			}
			return wrapperspb.Bytes(b), nil
		},
	}},
}
