package etcd

import (
	"context"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"assize/machine"
)

// noEffect is the trailer of an error that proves that the operation has had no effect and never will.
const noEffect = "assize-no-effect"

const etcdPrefix = "etcdserver: "

// known errors of etcd by their text: what a machine calls by the same name, with or without etcd's prefix, is answered as etcd does.
var known = byText(
	rpctypes.ErrGRPCEmptyKey, rpctypes.ErrGRPCKeyNotFound, rpctypes.ErrGRPCTooManyOps, rpctypes.ErrGRPCDuplicateKey, rpctypes.ErrGRPCNoLeader,
	rpctypes.ErrGRPCNotLeader, rpctypes.ErrGRPCLeaderChanged, rpctypes.ErrGRPCTimeout, rpctypes.ErrGRPCStopped, rpctypes.ErrGRPCMemberExist,
	rpctypes.ErrGRPCMemberNotFound, rpctypes.ErrGRPCUnhealthy, rpctypes.ErrGRPCBadLeaderTransferee, rpctypes.ErrGRPCRequestTooManyRequests,
	rpctypes.ErrGRPCNotSupportedForLearner, rpctypes.ErrGRPCRequestTooLarge,
)

func byText(errs ...error) map[string]error {
	m := map[string]error{}
	for _, err := range errs {
		m[status.Convert(err).Message()] = err
	}
	// What machines and hosts call otherwise.
	m[etcdPrefix+"no leader is known"] = rpctypes.ErrGRPCNoLeader
	m[etcdPrefix+"too many requests are waiting"] = rpctypes.ErrGRPCRequestTooManyRequests
	return m
}

// say turns a machine's reason into an error. What etcd has no name for is Unavailable: the client may try elsewhere.
func say(reason string) error {
	if !strings.HasPrefix(reason, etcdPrefix) {
		reason = etcdPrefix + reason
	}
	if err := known[reason]; err != nil {
		return err
	}
	return status.Error(codes.Unavailable, reason)
}

// refusal is the error for an outcome that is not Done.
func refusal(ctx context.Context, r machine.Result) error {
	switch r.Outcome {
	case machine.Refused:
		return harmless(ctx, say(r.Reason))
	case machine.Compacted:
		return harmless(ctx, rpctypes.ErrGRPCCompacted)
	case machine.Future:
		return harmless(ctx, rpctypes.ErrGRPCFutureRev)
	}
	if r.Reason == "" {
		return rpctypes.ErrGRPCTimeout
	}
	return say(r.Reason)
}

// harmless marks an error as one that proves that nothing has been done.
func harmless(ctx context.Context, err error) error {
	// It fails only where there is no stream to carry a trailer; then the error proves nothing, which is never wrong.
	_ = grpc.SetTrailer(ctx, metadata.Pairs(noEffect, "1"))
	return err
}

// unknown is the error for a request of which nobody knows what became.
func unknown(err error) error {
	if s := status.FromContextError(err); s.Code() != codes.Unknown {
		if s.Code() == codes.DeadlineExceeded {
			return rpctypes.ErrGRPCTimeout
		}
		return s.Err()
	}
	return status.Error(codes.Unavailable, etcdPrefix+err.Error())
}
