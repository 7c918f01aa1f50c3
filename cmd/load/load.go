package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Operations.
const (
	put          = "put"
	get          = "get"          // linearizable
	serializable = "serializable" // a read of the node's own state
)

var operations = []string{put, get, serializable}

// Where connections go.
const (
	toLeader = "leader"
	toAll    = "all"
)

const (
	valueSize    = 100
	keys         = 1000
	requestBound = 10 * time.Second
)

// load is one measurement: each connection has one request under way at a time.
type load struct {
	endpoints   []string
	operation   string
	connections int
	time        time.Duration
	to          string
}

type result struct {
	rate         float64 // answers a second
	median, tail time.Duration
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
}

// leader asks the endpoints who leads.
func leader(ctx context.Context, endpoints []string) (string, error) {
	var all []error
	for _, address := range endpoints {
		leads, err := isLeader(ctx, address)
		if leads {
			return address, nil
		}
		all = append(all, err)
	}
	return "", fmt.Errorf("none of %s leads: %w", strings.Join(endpoints, ", "), errors.Join(all...))
}

func isLeader(ctx context.Context, address string) (bool, error) {
	conn, err := dial(address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	s, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	return err == nil && s.Leader != 0 && s.Leader == s.Header.MemberId, err
}

// run measures. Any failed request ends it with an error: a rate is of a system that works.
func (l load) run(ctx context.Context) (result, error) {
	if !slices.Contains(operations, l.operation) {
		return result{}, fmt.Errorf("operation %q is not known; operations are %s", l.operation, strings.Join(operations, ", "))
	}
	if l.connections < 1 || l.to != toLeader && l.to != toAll {
		return result{}, fmt.Errorf("want one connection or more to %s or %s", toLeader, toAll)
	}
	endpoints := l.endpoints
	if l.to == toLeader {
		address, err := leader(ctx, endpoints)
		if err != nil {
			return result{}, err
		}
		endpoints = []string{address}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type part struct {
		latencies []time.Duration
		err       error
	}
	parts := make(chan part, l.connections)
	began := time.Now()
	for i := range l.connections {
		go func() {
			latencies, err := l.drive(ctx, endpoints[i%len(endpoints)], i, began.Add(l.time))
			parts <- part{latencies, err}
		}()
	}
	var all []time.Duration
	var failed error
	for range l.connections {
		p := <-parts
		all = append(all, p.latencies...)
		if p.err != nil && failed == nil {
			failed = p.err
			cancel()
		}
	}
	if failed != nil {
		return result{}, fmt.Errorf("%s: %w", l.operation, failed)
	}
	took := time.Since(began)
	slices.Sort(all)
	return result{float64(len(all)) / took.Seconds(), all[len(all)/2], all[len(all)*99/100]}, nil
}

// drive sends requests over one connection until the end. The first one, which connects, is not counted.
func (l load) drive(ctx context.Context, address string, number int, end time.Time) (latencies []time.Duration, err error) {
	conn, err := dial(address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	value := bytes.Repeat([]byte{'v'}, valueSize)
	for i := 0; i < 2 || time.Now().Before(end); i++ {
		key := fmt.Appendf(nil, "key %04d", (number*7919+i)%keys)
		began := time.Now()
		if err := l.request(ctx, kv, key, value); err != nil {
			return nil, err
		}
		if i > 0 {
			latencies = append(latencies, time.Since(began))
		}
	}
	return latencies, nil
}

func (l load) request(ctx context.Context, kv pb.KVClient, key, value []byte) (err error) {
	ctx, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	if l.operation == put {
		_, err = kv.Put(ctx, &pb.PutRequest{Key: key, Value: value})
		return err
	}
	_, err = kv.Range(ctx, &pb.RangeRequest{Key: key, Serializable: l.operation == serializable})
	return err
}
