package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// protocol is what a server's clients speak.
type protocol struct {
	name       string
	operations []string // the first one writes
	leads      func(ctx context.Context, address string) (bool, error)
	// prepare what the operations need; nil: nothing.
	prepare func(ctx context.Context, address string) error
	// dial opens one connection, the number'th of a load.
	dial func(ctx context.Context, address string, number int) (session, error)
}

// session is a connection that has one request under way at a time.
type session interface {
	// do the i'th operation.
	do(ctx context.Context, operation string, i int, value []byte) error
	close()
}

var protocols = []protocol{etcd, zookeeper}

// Where connections go.
const (
	toLeader = "leader"
	toAll    = "all"
)

const (
	valueSize    = 100
	keys         = 1000
	requestBound = 30 * time.Second
)

// load is one measurement: each connection has one request under way at a time.
type load struct {
	protocol
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

// leader asks the endpoints who leads.
func (p protocol) leader(ctx context.Context, endpoints []string) (string, error) {
	var all []error
	for _, address := range endpoints {
		leads, err := p.leads(ctx, address)
		if leads {
			return address, nil
		}
		all = append(all, err)
	}
	return "", fmt.Errorf("none of %s leads: %w", strings.Join(endpoints, ", "), errors.Join(all...))
}

// run measures. Any failed request ends it with an error: a rate is of a system that works.
func (l load) run(ctx context.Context) (result, error) {
	if !slices.Contains(l.operations, l.operation) {
		return result{}, fmt.Errorf("operation %q is not known; operations are %s", l.operation, strings.Join(l.operations, ", "))
	}
	if l.connections < 1 || l.to != toLeader && l.to != toAll {
		return result{}, fmt.Errorf("want one connection or more to %s or %s", toLeader, toAll)
	}
	endpoints := l.endpoints
	if l.to == toLeader {
		address, err := l.leader(ctx, endpoints)
		if err != nil {
			return result{}, err
		}
		endpoints = []string{address}
	}
	if l.prepare != nil {
		if err := l.prepare(ctx, endpoints[0]); err != nil {
			return result{}, err
		}
	}
	value := bytes.Repeat([]byte{'v'}, valueSize)
	sessions := make([]session, l.connections)
	for i := range sessions {
		s, err := l.dial(ctx, endpoints[i%len(endpoints)], i)
		if err != nil {
			return result{}, err
		}
		defer s.close()
		sessions[i] = s
	}
	// The first requests, by which some clients connect, are not counted.
	if _, err := l.drive(ctx, sessions, 0, 1, func() bool { return true }, value); err != nil {
		return result{}, err
	}
	began := time.Now()
	all, err := l.drive(ctx, sessions, 1, 2, func() bool { return time.Since(began) >= l.time }, value)
	if err != nil {
		return result{}, err
	}
	took := time.Since(began)
	slices.Sort(all)
	return result{float64(len(all)) / took.Seconds(), all[len(all)/2], all[len(all)*99/100]}, nil
}

// drive sends requests over all sessions, the from'th and those that follow, at least up to the one before to, until it is over.
func (l load) drive(ctx context.Context, sessions []session, from, to int, over func() bool, value []byte) (all []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	latencies := make([][]time.Duration, len(sessions))
	var work sync.WaitGroup
	for n, s := range sessions {
		work.Go(func() {
			for i := from; (i < to || !over()) && ctx.Err() == nil; i++ {
				began := time.Now()
				if err := s.do(ctx, l.operation, i, value); err != nil {
					cancel(fmt.Errorf("%s: %w", l.operation, err))
					return
				}
				latencies[n] = append(latencies[n], time.Since(began))
			}
		})
	}
	work.Wait()
	return slices.Concat(latencies...), context.Cause(ctx)
}

// key that the i'th operation of a connection is about.
func key(number, i int) int { return (number*7919 + i) % keys }
