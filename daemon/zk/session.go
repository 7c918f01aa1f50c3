package zk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/cluster"
)

// sessionTimeout is what a client asks for. go-zookeeper hangs up when it has heard nothing for two thirds of it.
const sessionTimeout = 10 * time.Second

var errBroken = fmt.Errorf("the connection is broken: %w: %w", cluster.ErrRefused, cluster.ErrNotDone)

// session is a go-zookeeper connection that is made once and never again: go-zookeeper would silently make another, to which it would send what it
// has not sent by the first.
type session struct {
	*zookeeper.Conn
	*line
	ready, lost chan struct{} // closed when there is a session; when it is, or never comes to be, any more
	begin, end  sync.Once
}

// hosts is the one server, which is asked for once: each further time is the beginning of another round, in which go-zookeeper gives up all
// that it has not sent.
type hosts struct {
	server string
	round  int
}

func (h *hosts) Init(servers []string) error { h.server = servers[0]; return nil }
func (h *hosts) Len() int                    { return 1 }
func (h *hosts) Connected()                  {}

func (h *hosts) Next() (string, bool) {
	h.round++
	return h.server, h.round > 1
}

// silence is a logger: what go-zookeeper logs, its caller is told as an error.
type silence struct{}

func (silence) Printf(string, ...any) {}

// dial blocks until there is a session, or the server refuses it, or ctx has ended.
func dial(ctx context.Context, address string) (*session, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &session{line: &line{Conn: c}, ready: make(chan struct{}), lost: make(chan struct{})}
	free := make(chan net.Conn, 1)
	free <- s.line
	dialer := func(string, string, time.Duration) (net.Conn, error) {
		select {
		case c := <-free:
			return c, nil
		default:
			return nil, errBroken
		}
	}
	s.Conn, _, err = zookeeper.Connect([]string{address}, sessionTimeout, zookeeper.WithDialer(dialer), zookeeper.WithHostProvider(&hosts{}),
		zookeeper.WithLogger(silence{}), zookeeper.WithLogInfo(false), zookeeper.WithEventCallback(s.event))
	if err != nil {
		c.Close()
		return nil, err
	}
	select {
	case <-s.ready:
		return s, nil
	case <-s.lost:
		err = errors.New("the server hung up")
		if f := s.nonsense(); f != nil {
			err = f
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.drop()
	return nil, err
}

// dialCarried is for a session that is not the connection's own: nothing is sent.
func dialCarried(ctx context.Context, address string, k *carried) (*session, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	l := carriedLine(c, k)
	return &session{Conn: k.conn, line: l, lost: l.dead}, nil
}

// event is called by go-zookeeper's own goroutine.
func (s *session) event(e zookeeper.Event) {
	switch {
	case e.Type != zookeeper.EventSession:
	case e.State == zookeeper.StateHasSession:
		s.begin.Do(func() { close(s.ready) })
	case e.State == zookeeper.StateDisconnected || e.State == zookeeper.StateExpired:
		s.end.Do(func() { close(s.lost) })
	}
}

// broken tells that the connection will never carry anything again.
func (s *session) broken() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

// drop the connection without a word. The session lives on until its server has waited long enough.
func (s *session) drop() {
	s.line.Conn.Close()
	go s.Conn.Close() // for up to a second it waits for an answer that cannot come
}

// leave ends the session and the connection. It takes a second at most.
func (s *session) leave() {
	if !s.broken() {
		s.Conn.Close()
	}
	s.drop()
}
