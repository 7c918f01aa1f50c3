package zk

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"assize/cluster"
	"assize/daemon/vitals"
)

const (
	askBound  = 10 * time.Second
	maxAnswer = 16 << 20 // bytes
)

// Ask a server, ours or ZooKeeper's, a four-letter word. It takes 10 s at most.
func Ask(ctx context.Context, address, word string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err = io.WriteString(c, word); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(c, maxAnswer))
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(b), err
}

// Status asks a node of ours about itself.
func Status(ctx context.Context, address string) (cluster.Status, error) {
	answer, err := Ask(ctx, address, "assz")
	if err != nil {
		return cluster.Status{}, fmt.Errorf("status of %s: %w", address, err)
	}
	v, err := vitals.Read([]byte(answer))
	if err != nil {
		return cluster.Status{}, fmt.Errorf("status of %s: %w in %.40q", address, err, answer)
	}
	return v.Cluster(), nil
}
