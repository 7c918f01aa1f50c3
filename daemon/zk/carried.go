package zk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/cluster"
	"assize/history"
	"assize/machine/jute"
	"assize/machine/znodes"
)

// carried is a session that outlives connections: one go-zookeeper connection, which connects anew by itself whenever it has lost the one before, but
// gets a line to do so with only when its user has dialed one and asks to connect. So it is never connected behind the history's back, and what it does
// then, to ask for the same session and to set its watches anew, is what it does for everybody.
//
// go-zookeeper would send by the next line what it has not sent by the last, a request or the list of watches: that would happen twice, or when nobody
// expects it any more. It is told to give up all of that when it asks for the next line, and gets none before.
type carried struct {
	conn  *zookeeper.Conn
	lines chan *line
	quit  chan struct{} // closed when nobody has any use for it
	once  sync.Once

	mu      sync.Mutex
	id      int64
	data    []string      // paths of watches that have been left and have not fired: on nodes that were there,
	exist   []string      // on those that were not,
	child   []string      // and on the children of some
	came    history.Txn   // notifications, since the last reply
	told    history.Txn   // before it
	before  chan struct{} // closed when the last operation has been answered, or never will be; nil: there was none
	unset   bool          // watches have been set anew, and nobody knows whether that was sent
	rewatch bool          // the line that was given last must set watches anew
	over    bool          // a server has said that the session has ended
}

// settle is how long an operation may take to end that go-zookeeper has given up.
const settle = 50 * time.Millisecond

// carry a session on.
func carry(s *cluster.Session) (*carried, error) {
	if k, is := s.State.(*carried); is {
		return k, nil
	}
	k := &carried{lines: make(chan *line), quit: make(chan struct{})}
	var err error
	k.conn, _, err = zookeeper.Connect([]string{"carried:1"}, s.Timeout, zookeeper.WithDialer(k.dial), zookeeper.WithHostProvider(k),
		zookeeper.WithLogger(silence{}), zookeeper.WithLogInfo(false))
	if err != nil {
		return nil, err
	}
	s.State, s.Forget = k, k.forget
	return k, nil
}

// forget the session. It lives on until its servers have waited long enough.
func (k *carried) forget() {
	k.once.Do(func() {
		close(k.quit)
		go k.conn.Close() // for up to a second it waits for an answer that cannot come
	})
}

func (k *carried) Init([]string) error { return nil }
func (k *carried) Len() int            { return 1 }
func (k *carried) Connected()          {}

// Next is asked for before each dial: whether go-zookeeper is to give up all that it has not sent, and to wait for a second.
func (k *carried) Next() (server string, giveUp bool) {
	open := k.open(settle)
	k.mu.Lock()
	defer k.mu.Unlock()
	giveUp, k.unset = open || k.unset, false
	select {
	case <-k.quit:
		giveUp = true
	default:
	}
	return "", giveUp
}

// open tells whether an operation has not ended, after so long.
func (k *carried) open(patience time.Duration) bool {
	k.mu.Lock()
	before := k.before
	k.mu.Unlock()
	if before == nil {
		return false
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-before:
		return false
	case <-late.C:
	}
	select {
	case <-before: // both, and one was chosen
		return false
	default:
		return true
	}
}

// dial takes the line that the next operation brings.
func (k *carried) dial(string, string, time.Duration) (net.Conn, error) {
	select {
	case l := <-k.lines:
		if k.open(0) { // it was asked for when the line before had just ended
			l.Conn.Close()
			l.end()
			return nil, errBroken
		}
		k.mu.Lock()
		if k.over { // nobody waited for that answer, and go-zookeeper would ask for another session
			k.mu.Unlock()
			l.greeting <- jute.ConnectResponse{}
			return nil, errBroken
		}
		k.rewatch = len(k.data)+len(k.exist)+len(k.child) > 0
		k.unset = k.rewatch
		k.mu.Unlock()
		return l, nil
	case <-k.quit:
		return nil, errBroken
	}
}

// connect a line, and wait until the session goes on by it, with its watches, or is known to have ended.
func (k *carried) connect(ctx context.Context, l *line) (cluster.Answer, error) {
	select {
	case k.lines <- l:
	case <-ctx.Done():
		return cluster.Answer{}, fmt.Errorf("%w: %w: %w", ctx.Err(), cluster.ErrRefused, cluster.ErrNotDone)
	}
	r, err := wait(ctx, l, l.greeting)
	if err != nil {
		return cluster.Answer{}, err
	}
	k.mu.Lock()
	k.id = r.Session
	again := k.rewatch && r.Session != 0
	k.mu.Unlock()
	if again {
		if _, err := wait(ctx, l, l.rewatched); err != nil {
			return cluster.Answer{}, err
		}
	}
	return cluster.Answer{Txn: history.Txn{{F: history.Connect, Out: []int{int(r.Timeout)}}}}, nil
}

// wait for what a line brings.
func wait[T any](ctx context.Context, l *line, from chan T) (got T, err error) {
	select {
	case got = <-from:
		return got, nil
	case <-l.dead:
		select {
		case got = <-from: // it came before the end
			return got, nil
		default:
		}
		if err = l.nonsense(); err == nil {
			err = errors.New("the server hung up")
		}
		return got, err
	case <-ctx.Done():
		return got, ctx.Err()
	}
}

// hear a notification. The error is that it makes no sense.
func (k *carried) hear(e jute.Event) error {
	m, err := znodes.Told(e)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.came = append(k.came, m)
	is := func(path string) bool { return path == e.Path }
	if e.Type == jute.EventChildrenChanged {
		k.child = slices.DeleteFunc(k.child, is)
		return nil
	}
	if e.Type != jute.EventCreated {
		k.data = slices.DeleteFunc(k.data, is)
	}
	k.exist = slices.DeleteFunc(k.exist, is)
	return nil
}

// greeted: the answer to a handshake has come.
func (k *carried) greeted(r *jute.ConnectResponse) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = r.Session == 0
}

// answered: a reply has come. What has come before it was told before it. That to a ping answers no operation: it may come, with a notification before it,
// before the operation that was answered just then has been told of, which has not seen what the notification tells of.
func (k *carried) answered(q sent, code jute.Code) error {
	if q.op == jute.Ping {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told, k.came = append(k.told, k.came...), nil
	switch {
	case q.op == jute.SetWatches:
		k.unset = false
		if code != jute.OK {
			return fmt.Errorf("%v of setting watches anew", code)
		}
	case q.watched == "":
	case q.op == jute.GetChildren2:
		if code == jute.OK && !slices.Contains(k.child, q.watched) {
			k.child = append(k.child, q.watched)
		}
	case code == jute.OK && !slices.Contains(k.data, q.watched):
		k.data = append(k.data, q.watched)
	case code == jute.NoNode && !slices.Contains(k.exist, q.watched):
		k.exist = append(k.exist, q.watched)
	}
	return nil
}

// tell what the session is and has been told before an answer, or, where there was none, until now.
func (k *carried) tell(a *cluster.Answer, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && !errors.Is(err, cluster.ErrNotDone) {
		k.told, k.came = append(k.told, k.came...), nil
	}
	a.Session, a.Told, k.told = uint64(k.id), k.told, nil
}

// begin an operation that ends when done is closed.
func (k *carried) begin(done chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = done
}
