package fleet

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"assize/cluster"
)

// site is a host and its only place. Making it takes until somebody lets it go on.
type site struct {
	begun, goOn  chan bool
	made, closed atomic.Int64
}

func (s *site) Make(context.Context, *Node) (Place, error) {
	s.made.Add(1)
	s.begun <- true
	<-s.goOn
	return s, nil
}

func (s *site) Connect(*Node, []*Node) error                         { return nil }
func (s *site) Disconnect(*Node)                                     {}
func (s *site) PeerAddress(_, _ *Node) string                        { return "" }
func (s *site) Alone(context.Context, []*Node, []cluster.Link) error { return nil }
func (s *site) Listen() (dir, peer, client string)                   { return "", "", "" }
func (s *site) Addresses() (peer, client string)                     { return "", "" }
func (s *site) Tell(context.Context, map[string]string) error        { return nil }
func (s *site) Ignite(context.Context, func() []string) (Life, error) {
	return nil, errors.New("started")
}
func (s *site) Moved() (bool, error)         { return false, nil }
func (s *site) Kill(context.Context) error   { return nil }
func (s *site) Resume(context.Context) error { return nil }
func (s *site) Answering() bool              { return false }
func (s *site) Down(context.Context) bool    { return true }
func (s *site) Close() error                 { s.closed.Add(1); return nil }

// TestNodeThatComesAsTheClusterCloses is not left behind, and after that none comes.
func TestNodeThatComesAsTheClusterCloses(t *testing.T) {
	s := &site{begun: make(chan bool), goOn: make(chan bool)}
	c, err := New(t.Context(), Config{Dir: t.TempDir(), Nodes: 1}, s)
	if err != nil {
		t.Fatal(err)
	}
	joined := make(chan error)
	go func() {
		_, err := c.Join(t.Context())
		joined <- err
	}()
	<-s.begun
	if _, err := c.Close(); err != nil {
		t.Error(err)
	}
	s.goOn <- true
	if err := <-joined; !errors.Is(err, errClosed) || s.closed.Load() != 1 {
		t.Errorf("join: %v, its place was closed %d times", err, s.closed.Load())
	}
	if _, err := c.Join(t.Context()); !errors.Is(err, errClosed) || s.made.Load() != 1 {
		t.Errorf("another join: %v, %d places made", err, s.made.Load())
	}
}
