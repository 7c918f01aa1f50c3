package main

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Operations on etcd.
const (
	put          = "put"
	get          = "get"          // linearizable
	serializable = "serializable" // a read of the node's own state
)

var etcd = protocol{
	name:       "etcd",
	operations: []string{put, get, serializable},
	leads:      leadsEtcd,
	dial: func(_ context.Context, address string, number int) (session, error) {
		conn, err := dialEtcd(address)
		if err != nil {
			return nil, err
		}
		return &etcdSession{conn, pb.NewKVClient(conn), number}, nil
	},
}

func dialEtcd(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
}

func leadsEtcd(ctx context.Context, address string) (bool, error) {
	conn, err := dialEtcd(address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	s, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	return err == nil && s.Leader != 0 && s.Leader == s.Header.MemberId, err
}

type etcdSession struct {
	conn   *grpc.ClientConn
	kv     pb.KVClient
	number int
}

func (s *etcdSession) close() { s.conn.Close() }

func (s *etcdSession) do(ctx context.Context, operation string, i int, value []byte) (err error) {
	ctx, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	k := fmt.Appendf(nil, "key %04d", key(s.number, i))
	if operation == put {
		_, err = s.kv.Put(ctx, &pb.PutRequest{Key: k, Value: value})
		return err
	}
	_, err = s.kv.Range(ctx, &pb.RangeRequest{Key: k, Serializable: operation == serializable})
	return err
}
