package daemon

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// keepAlive finds out within about three seconds that a silent peer's machine is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: 500 * time.Millisecond, Count: 4}

var errTalks = errors.New("the peer talks back on a connection that is ours to talk on")

// pieces writes in pieces, each with its own deadline.
type pieces struct {
	conn  net.Conn
	bytes *atomic.Uint64
}

func (p pieces) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		piece := b[:min(len(b), writePiece)]
		if err := p.conn.SetWriteDeadline(time.Now().Add(writeBound)); err != nil {
			return n, err
		}
		m, err := p.conn.Write(piece)
		n += m
		p.bytes.Add(uint64(m))
		if err != nil {
			return n, err
		}
		b = b[len(piece):]
	}
	return n, nil
}

// tracked is a listener that can close what it has accepted.
type tracked struct {
	net.Listener

	mu     sync.Mutex
	open   map[*trackedConn]bool
	closed bool
}

type trackedConn struct {
	net.Conn
	of *tracked
}

func (l *tracked) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &trackedConn{conn, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	if l.open == nil {
		l.open = map[*trackedConn]bool{}
	}
	l.open[c] = true
	return c, nil
}

func (c *trackedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// closeAll closes the listener and all its connections.
func (l *tracked) closeAll() {
	l.Listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for c := range l.open {
		c.Conn.Close()
	}
}
