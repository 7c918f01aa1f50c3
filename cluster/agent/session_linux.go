package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	maxSessions = 64  // one more ends the oldest
	maxOrders   = 256 // of one session that have not been carried out
	maxUnread   = 256 // lines that a session has not read
	maxProbes   = 64  // of one session at a time
	writeBound  = 10 * time.Second
)

// session with one controller.
type session struct {
	agent  *agent
	conn   net.Conn
	out    chan []byte
	cancel context.CancelFunc
	work   sync.WaitGroup // whoever may still say something
	probes chan struct{}  // a place for each
}

// serve one session to its end, which is the end of its input, rubbish, or the end of the connection. What has been asked for until then is done.
func (a *agent) serve(conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{agent: a, conn: conn, out: make(chan []byte, maxUnread), cancel: cancel, probes: make(chan struct{}, maxProbes)}
	defer s.sever()
	orders := make(chan request, maxOrders)
	s.work.Go(func() {
		for q := range orders {
			s.say(q.ID, a.obey(q))
		}
	})
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.write()
	}()
	if a.hub.admit(s) {
		s.read(ctx, orders)
	}
	a.hub.leave(s)
	close(orders)
	s.work.Wait()
	close(s.out)
	<-written
}

// sever the connection at once.
func (s *session) sever() {
	s.cancel()
	s.conn.Close()
}

func (s *session) read(ctx context.Context, orders chan<- request) {
	lines := linesOf(s.conn)
	for lines.Scan() {
		var q request
		err := decode(lines.Bytes(), &q)
		if err == nil && q.ID == 0 {
			err = errors.New("a request without an id")
		}
		if err != nil {
			s.say(0, answer{Error: err.Error()})
			return
		}
		s.agent.vigil.hear()
		s.take(ctx, q, orders)
	}
	switch err := lines.Err(); {
	case errors.Is(err, os.ErrDeadlineExceeded): // see hub.close
		s.say(0, answer{Error: errEnding.Error()})
	case errors.Is(err, bufio.ErrTooLong):
		s.say(0, answer{Error: fmt.Sprintf("a line of more than %d bytes", maxLine)})
	case err != nil:
		s.say(0, answer{Error: err.Error()})
	}
}

// take one request. Only what changes something waits for its turn.
func (s *session) take(ctx context.Context, q request, orders chan<- request) {
	switch q.Do {
	case doBeat:
		s.say(q.ID, answer{})
	case doListen:
		s.agent.hub.listen(s)
		s.say(q.ID, answer{State: &State{Grace: s.agent.config.Grace}})
	case doNoted:
		s.agent.hub.noted(q.Life)
		s.say(q.ID, answer{})
	case doProbe:
		if err := checkTargets(q.Targets); err != nil {
			s.say(q.ID, answer{Error: err.Error()})
			return
		}
		select {
		case s.probes <- struct{}{}:
			s.work.Go(func() {
				defer func() { <-s.probes }()
				s.say(q.ID, answer{Trips: probe(ctx, q.Targets)})
			})
		default:
			s.say(q.ID, answer{Error: fmt.Sprintf("%d probes are under way", maxProbes)})
		}
	default:
		select {
		case orders <- q:
		default:
			s.say(q.ID, answer{Error: fmt.Sprintf("%d requests are waiting", maxOrders)})
		}
	}
}

// say something; a session that does not listen ends.
func (s *session) say(id uint64, a answer) {
	a.ID, a.Lapse = id, s.agent.lapse.Load()
	line, err := encode(a)
	if err != nil {
		line, _ = encode(answer{ID: id, Error: err.Error()})
	}
	select {
	case s.out <- line:
	default:
		s.sever()
	}
}

func (s *session) write() {
	for line := range s.out {
		s.conn.SetWriteDeadline(time.Now().Add(writeBound))
		if _, err := s.conn.Write(line); err != nil {
			s.sever() // the lines that follow fail as fast
		}
	}
}

// hub knows the sessions and what they have not been told.
type hub struct {
	mu        sync.Mutex
	closed    bool
	sessions  []*session // in the order of their coming
	listeners []*session // in the order in which they began to listen
	ends      []*pending
}

// pending end of a life: nobody has noted it.
type pending struct {
	end   End
	given *session // that has been told; nil: none that is there still
}

// admit a session unless the agent is ending.
func (h *hub) admit(s *session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if len(h.sessions) >= maxSessions {
		h.sessions[0].sever() // its controller may have gone without a word
		h.sessions = h.sessions[1:]
	}
	h.sessions = append(h.sessions, s)
	return true
}

func (h *hub) leave(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	same := func(other *session) bool { return other == s }
	h.sessions = slices.DeleteFunc(h.sessions, same)
	h.listeners = slices.DeleteFunc(h.listeners, same)
	for _, p := range h.ends {
		if p.given == s {
			p.given = nil
		}
	}
	h.offer()
}

// listen tells the session all that nobody has noted: another one that has been told may be dead.
func (h *hub) listen(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.listeners, s) {
		return
	}
	h.listeners = append(h.listeners, s)
	for _, p := range h.ends {
		p.given = nil
	}
	h.offer()
}

// ended tells the session that listens last.
func (h *hub) ended(end End) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends = append(h.ends, &pending{end: end})
	if len(h.ends) > maxEnds {
		h.ends = h.ends[1:]
	}
	h.offer()
}

func (h *hub) noted(life uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends = slices.DeleteFunc(h.ends, func(p *pending) bool { return p.end.Life == life })
}

// offer what is pending. Under mu.
func (h *hub) offer() {
	if len(h.listeners) == 0 {
		return
	}
	s := h.listeners[len(h.listeners)-1]
	for _, p := range h.ends {
		if p.given == nil {
			p.given = s
			s.say(0, answer{Event: &Event{Ended: &p.end}})
		}
	}
}

// close ends all sessions when they have read what they have been told.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.sessions {
		s.cancel() // probes
		s.conn.SetReadDeadline(time.Now())
		time.AfterFunc(closeBound, s.sever)
	}
}
