package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"assize/cluster"
)

const (
	chunkBytes  = 16 << 10 // forwarded at once; what Shape loses or delays
	queueChunks = 64       // under way in one connection; then the sender has to wait
	dialBound   = 2 * time.Second
	// retransmit is how long TCP waits before it sends again what was lost; twice as long after each further loss.
	retransmit     = 200 * time.Millisecond
	mostRetransmit = 5
	mostStall      = retransmit * (1<<mostRetransmit - 1)
	// leastPiece and mostPace: a link of limited rate forwards pieces that take no longer than mostPace, or of leastPiece where that is more.
	leastPiece = 256
	mostPace   = 50 * time.Millisecond
	// backlog of a link of limited rate, beyond which its senders have to wait.
	backlog = time.Second
	// refusal of a connection whose target is down comes after this pause, so that a sender that redials at once does not spin.
	refusalPause = 20 * time.Millisecond
)

// relay carries what node From sends to node To: From is told the relay's address as that of To.
//
// A cut is silence. Connections are accepted (by the kernel) but not served, what is under way is held, and neither end learns that the
// other has closed. After healing, the same connections go on: what was held arrives late, even from a node that has been
// restarted since, as packets can; nobody has to wait for a redial.
type relay struct {
	link     cluster.Link
	listener net.Listener
	target   func() string
	done     chan struct{}
	work     sync.WaitGroup

	mu     sync.Mutex
	cut    bool
	open   chan struct{} // closed while the link is not cut
	shape  cluster.Shape
	eased  chan struct{} // closed when the link is not shaped any more; nil: it is not
	free   time.Time     // when a link of limited rate has sent all that it was given
	held   uint64        // pieces that the shape has delayed
	lost   uint64        // and stalled as lost
	random *rand.Rand
	pipes  []*pipe
	closed bool
}

func newRelay(link cluster.Link, target func() string, seed uint64) (*relay, error) {
	l, err := listen()
	if err != nil {
		return nil, fmt.Errorf("relay from %s to %s: %w", link.From, link.To, err)
	}
	r := &relay{
		link: link, listener: l, target: target, random: rand.New(rand.NewPCG(seed, 0)),
		open: make(chan struct{}), done: make(chan struct{}),
	}
	close(r.open)
	r.work.Go(r.accept)
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			if r.isClosed() {
				return
			}
			time.Sleep(pollEvery) // out of file descriptors: connections end, too
			continue
		}
		p := &pipe{relay: r, from: conn, gone: make(chan struct{})}
		if !r.admit(p) {
			conn.Close()
			return
		}
		r.work.Go(p.run)
	}
}

func (r *relay) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *relay) admit(p *pipe) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.pipes = append(r.pipes, p)
	return true
}

// attach gives the pipe its other end.
func (r *relay) attach(p *pipe, to net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	p.to = to
	if r.cut {
		to.SetWriteDeadline(past)
	}
	return true
}

func (r *relay) dismiss(p *pipe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, q := range r.pipes {
		if q == p {
			last := len(r.pipes) - 1
			r.pipes[i], r.pipes[last] = r.pipes[last], nil
			r.pipes = r.pipes[:last]
			break
		}
	}
	p.from.Close()
	if p.to != nil {
		p.to.Close()
	}
}

var past = time.Unix(1, 0)

// set cuts or heals. After a cut has been set nothing more is sent: the deadline ends a write that is under way. What our kernel had taken before
// that is on the wire: the target gets it, when it reads.
func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut == cut || r.closed {
		return
	}
	r.cut = cut
	deadline := time.Time{}
	if cut {
		r.open = make(chan struct{})
		deadline = past
	}
	for _, p := range r.pipes {
		if p.to != nil {
			p.to.SetWriteDeadline(deadline)
		}
	}
	if !cut {
		close(r.open)
	}
}

func (r *relay) state() (cut bool, s cluster.Shape) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cut, r.shape
}

// setShape lets go of all that is held, in order, where the link is to be free.
func (r *relay) setShape(s cluster.Shape) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shape, r.free, r.held, r.lost = s, time.Time{}, 0, 0
	switch shaped := s != (cluster.Shape{}); {
	case shaped && r.eased == nil:
		r.eased = make(chan struct{})
	case !shaped && r.eased != nil:
		close(r.eased)
		r.eased = nil
	}
}

// doings are what the shape has done since it was set.
func (r *relay) doings() (held, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held, r.lost
}

// term of what is held: until then, or until the link is free.
type term struct {
	at    time.Time
	eased <-chan struct{} // nil: it is free
}

// due is until when a chunk of that size read now is held, never shorter than the one ahead of it. pause is how long its sender has to wait before
// the next one is taken.
func (r *relay) due(last term, size int) (held, pause term) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shape
	if s == (cluster.Shape{}) {
		return term{}, term{} // what is ahead of it has been let go
	}
	now := time.Now()
	at, wait := now, time.Duration(0)
	if s.Rate > 0 {
		if r.free.Before(now) {
			r.free = now
		}
		r.free = r.free.Add(time.Duration(float64(size) / s.Rate * float64(time.Second)))
		at = r.free
		wait = max(0, r.free.Sub(now)-backlog)
	}
	at = at.Add(s.Delay)
	if s.Jitter > 0 {
		at = at.Add(time.Duration(r.random.Int64N(int64(s.Jitter))))
	}
	if at.After(now) {
		r.held++
	}
	stall := retransmit
	for i := 0; i < mostRetransmit && r.random.Float64() < s.Loss; i++ {
		if i == 0 {
			r.lost++
		}
		at = at.Add(stall)
		stall *= 2
	}
	if last.eased == r.eased && at.Before(last.at) {
		at = last.at
	}
	return term{at, r.eased}, term{now.Add(wait), r.eased}
}

// piece is how much is forwarded at once.
func (r *relay) piece() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shape.Rate > 0 {
		return min(chunkBytes, max(leastPiece, int(min(chunkBytes, r.shape.Rate*mostPace.Seconds()))))
	}
	return chunkBytes
}

// drop ends the connection that came from address. A probe that met silence takes its own back with it, lest it arrive after the healing.
func (r *relay) drop(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pipes {
		if p.from.RemoteAddr().String() == address {
			p.stop()
		}
	}
}

// close ends all connections and waits for all that served them.
func (r *relay) close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	close(r.done)
	r.listener.Close()
	for _, p := range r.pipes {
		p.from.Close()
		if p.to != nil {
			p.to.Close()
		}
	}
	r.mu.Unlock()
	r.work.Wait()
}

// pipe is one connection through a relay.
type pipe struct {
	relay *relay
	from  net.Conn
	to    net.Conn // nil until the target has been dialed; set under relay.mu
	once  sync.Once
	gone  chan struct{} // closed when the pipe must end
}

type chunk struct {
	bytes []byte
	held  term
}

func (p *pipe) stop() { p.once.Do(func() { close(p.gone) }) }

func (p *pipe) run() {
	r := p.relay
	defer r.dismiss(p)
	defer p.stop()
	if !p.pass() {
		return
	}
	to, err := net.DialTimeout("tcp", r.target(), dialBound)
	if err != nil {
		p.refuse()
		return
	}
	if !r.attach(p, to) {
		to.Close()
		return
	}
	queue := make(chan chunk, queueChunks)
	r.work.Go(func() { p.read(queue) })
	r.work.Go(p.watch)
	for {
		select {
		case c, more := <-queue:
			if !more {
				p.pass() // the sender's closing is news too
				return
			}
			if !p.await(c.held) || p.write(c.bytes) != nil {
				return
			}
		case <-p.gone:
			return
		case <-r.done:
			return
		}
	}
}

// pass blocks while the link is cut. False: the pipe must end.
func (p *pipe) pass() bool {
	for {
		r := p.relay
		r.mu.Lock()
		cut, open := r.cut, r.open
		r.mu.Unlock()
		if cut {
			select {
			case <-open:
				continue
			case <-r.done:
				return false
			case <-p.gone:
				return false
			}
		}
		select {
		case <-r.done:
			return false
		case <-p.gone:
			return false
		default:
			return true
		}
	}
}

// refuse resets the connection, as the target's system would. Probes tell it so from a target that lives and closes.
func (p *pipe) refuse() {
	pause := time.NewTimer(refusalPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-p.relay.done:
	}
	if tcp, ok := p.from.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
}

func (p *pipe) read(queue chan<- chunk) {
	defer close(queue)
	var held, pause term
	for {
		b := make([]byte, chunkBytes)
		n, err := p.from.Read(b)
		for rest := b[:n]; len(rest) > 0; {
			// Only now, since the link may have been shaped while the sender was silent.
			piece := rest[:min(len(rest), p.relay.piece())]
			rest = rest[len(piece):]
			held, pause = p.relay.due(held, len(piece))
			select {
			case queue <- chunk{piece, held}:
			case <-p.gone:
				return
			case <-p.relay.done:
				return
			}
			if !p.await(pause) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// watch learns that the target has closed. Nothing else comes from it: messages go one way.
func (p *pipe) watch() {
	var b [512]byte
	for {
		if _, err := p.to.Read(b[:]); err != nil {
			break
		}
	}
	p.pass()
	p.stop()
}

// await the end of a term. False: the pipe must end.
func (p *pipe) await(held term) bool {
	if held.eased == nil {
		return true
	}
	d := time.Until(held.at)
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-held.eased:
		return true
	case <-p.gone:
		return false
	case <-p.relay.done:
		return false
	}
}

// write holds what has not been written while the link is cut.
func (p *pipe) write(b []byte) error {
	for len(b) > 0 {
		if !p.pass() {
			return net.ErrClosed
		}
		n, err := p.to.Write(b)
		b = b[n:]
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}
