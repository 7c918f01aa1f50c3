package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"time"
)

const (
	socketName = "agent.sock"
	// An engine answers an exec before the agent, just started, listens.
	attachBound = 10 * time.Second
	attachEvery = 10 * time.Millisecond
)

// Attach joins in and out to the agent whose directory dir is, until the agent ends the session or ctx is done. The end of in ends the session
// when the agent has answered what was asked. in may still be being read from when Attach returns.
func Attach(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	conn, err := dial(ctx, filepath.Join(dir, socketName))
	if err != nil {
		return fmt.Errorf("attach to the agent: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	go func() {
		io.Copy(conn, in)
		conn.CloseWrite()
	}()
	// An agent that ends with a word of ours unread ends the session by a reset.
	if _, err := io.Copy(out, conn); err != nil && ctx.Err() == nil && !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("attached to the agent: %w", err)
	}
	return ctx.Err()
}

func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, attachBound)
	defer cancel()
	again := time.NewTicker(attachEvery)
	defer again.Stop()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}
