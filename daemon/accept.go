package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"assize/machine"
)

const (
	helloBound   = 5 * time.Second
	maxStrangers = 256 // connections, those that have said hello included
	maxOfOne     = 16  // connections of one peer: old ones that nobody has told us the end of
	acceptPause  = 20 * time.Millisecond
)

// incoming is a connection that a peer has dialed.
type incoming struct {
	order uint64
	from  int // 0: it has not said hello
}

// accept serves peers' connections until the listener is closed.
func (t *transport) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, most likely: some will come back.
			t.journal.seldom("accept-failed", "id", t.self, "error", err)
			time.Sleep(acceptPause)
			continue
		}
		if !t.admit(conn) {
			conn.Close()
			continue
		}
		t.work.Go(func() {
			defer t.dismiss(conn)
			if err := t.receive(conn); err != nil {
				t.counts.rejected.Add(1)
				t.journal.seldom("peer-rejected", "id", t.self, "remote", conn.RemoteAddr(), "error", err)
			}
		})
	}
}

func (t *transport) admit(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || len(t.incoming) >= maxStrangers {
		return false
	}
	t.accepted++
	t.incoming[conn] = &incoming{order: t.accepted}
	return true
}

func (t *transport) dismiss(conn net.Conn) {
	t.mu.Lock()
	delete(t.incoming, conn)
	t.mu.Unlock()
	conn.Close()
}

// name remembers who has dialed, and closes his oldest connection where he has too many.
func (t *transport) name(conn net.Conn, from int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.incoming[conn].from = from
	var oldest net.Conn
	n := 0
	for c, i := range t.incoming {
		if i.from != from {
			continue
		}
		n++
		if oldest == nil || i.order < t.incoming[oldest].order {
			oldest = c
		}
	}
	if n > maxOfOne {
		oldest.Close()
	}
}

// receive passes a peer's messages on. An error is rubbish; that a connection has broken is none.
func (t *transport) receive(conn net.Conn) error {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(keepAlive) // a connection that cannot have it works too
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	conn.SetReadDeadline(time.Now().Add(helloBound))
	first, err := readFrame(r, maxHello)
	if err != nil {
		return rubbish(err)
	}
	conn.SetReadDeadline(time.Time{})
	h, err := decodeHello(first)
	switch {
	case err != nil:
		return err
	case h.cluster != t.hash:
		return errors.New("the peer belongs to another cluster")
	case h.to != uint64(t.self):
		return fmt.Errorf("the peer looks for n%d, this is n%d", h.to, t.self)
	case h.from == h.to || h.from == 0 || h.from > 1<<31:
		return fmt.Errorf("n%d cannot be a peer of n%d", h.from, t.self)
	}
	t.name(conn, int(h.from))
	for {
		body, err := readFrame(r, maxFrame)
		if err != nil {
			return rubbish(err)
		}
		t.counts.received.Add(1)
		if !t.inbox.putMessage(&machine.Message{From: int(h.from), To: t.self, Body: body}) {
			return nil
		}
	}
}

// rubbish returns nil for errors of the network, as they happen to good peers.
func rubbish(err error) error {
	var network net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) {
		return nil
	}
	return err
}
