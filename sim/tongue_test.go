package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/machine"
)

// parrot is a machine whose clients speak a language of their own: each of its nodes keeps one register and answers by pushes alone, numbered
// for each connection. A connection begins with "hello N". What one writes is news to all others.
type parrot struct {
	c     machine.Config
	value string
	conns []*parrotConn // open ones
	gone  []uint64
	fx    machine.Effects
}

type parrotConn struct {
	id     uint64
	pushed int
	closed bool
}

func newParrot(c machine.Config) machine.Machine {
	p := &parrot{c: c, value: "0"}
	for _, r := range c.Log {
		p.value = string(r)
	}
	return p
}

func (p *parrot) Status() machine.Status {
	return machine.Status{ID: p.c.ID, Role: machine.Follower, Voters: p.c.Voters}
}

func (p *parrot) push(c *parrotConn, what string) {
	c.pushed++
	p.fx.Reply = append(p.fx.Reply, machine.Reply{Conn: c.id, Body: fmt.Appendf(nil, "%d %s", c.pushed, what)})
}

func (p *parrot) Step(e machine.Event) machine.Effects {
	// A machine may use its slices again: hosts must not look at them later.
	clear(p.fx.Reply)
	p.fx = machine.Effects{Reply: p.fx.Reply[:0]}
	at := func(id uint64) int { return slices.IndexFunc(p.conns, func(c *parrotConn) bool { return c.id == id }) }
	switch {
	case e.Gone != 0:
		p.gone = append(p.gone, e.Gone)
		if i := at(e.Gone); i >= 0 {
			p.conns = slices.Delete(p.conns, i, i+1)
		}
	case e.Request != nil:
		i := at(e.Request.Conn)
		if i < 0 {
			i = len(p.conns)
			p.conns = append(p.conns, &parrotConn{id: e.Request.Conn})
		}
		if c := p.conns[i]; !c.closed {
			p.request(c, string(e.Request.Body))
		}
	}
	return p.fx
}

func (p *parrot) request(c *parrotConn, body string) {
	verb, v, _ := strings.Cut(body, " ")
	switch verb {
	case "hello":
		p.push(c, "welcome")
	case "get":
		p.push(c, "value "+p.value)
	case "sync":
		p.push(c, "synced")
	case "put":
		p.value = v
		p.fx.Log = append(p.fx.Log, []byte(v))
		for _, other := range p.conns {
			if other != c && !other.closed {
				p.push(other, "news "+v)
			}
		}
		p.push(c, "put")
	case "leave": // the answer, and the end
		p.push(c, "put")
		p.fx.Reply[len(p.fx.Reply)-1].Close = true
		c.closed = true
	case "refuse":
		p.push(c, "sorry")
		p.fx.Reply[len(p.fx.Reply)-1].Close = true
		c.closed = true
	case "vanish":
		p.fx.Reply = append(p.fx.Reply, machine.Reply{Conn: c.id, Close: true})
		c.closed = true
	case "babble": // after it has closed
		p.fx.Reply = append(p.fx.Reply, machine.Reply{Conn: c.id, Close: true}, machine.Reply{Conn: c.id, Body: []byte("x")})
		c.closed = true
	}
}

// accent is a parrot's Tongue. It reads by two requests at once, and compares with a second request once it has heard the first's answer.
type accent struct {
	hello string
	put   string // what a write says
	t     history.Txn
	heard int
	news  []string
	wrong []string // pushes that were not the next
	last  string
	end   error
}

func (a *accent) Hello() []byte { return []byte(a.hello) }

func (a *accent) Ask(t history.Txn) ([][]byte, error) {
	a.t = t
	switch t[0].F {
	case history.Write:
		return [][]byte{fmt.Appendf(nil, "%s %d", a.put, t[0].In[0])}, nil
	case history.Read:
		return [][]byte{[]byte("sync"), []byte("get")}, nil
	case history.CAS:
		return [][]byte{[]byte("get")}, nil
	}
	return nil, errors.New("a parrot cannot do that")
}

func (a *accent) Hear(r machine.Reply) (more [][]byte, done bool) {
	number, what, _ := strings.Cut(string(r.Body), " ")
	if a.heard++; number != strconv.Itoa(a.heard) {
		a.wrong = append(a.wrong, string(r.Body))
	}
	switch verb, v, _ := strings.Cut(what, " "); verb {
	case "news":
		a.news = append(a.news, v)
		return nil, false
	case "sorry":
		a.end = fmt.Errorf("it is sorry: %w", machine.ErrNoEffect)
		return nil, true
	case "synced":
		return nil, false
	case "value":
		a.last = v
		if a.t[0].F == history.CAS && v == strconv.Itoa(a.t[0].In[0]) {
			return [][]byte{fmt.Appendf(nil, "put %d", a.t[0].In[1])}, false
		}
	}
	return nil, true
}

func (a *accent) Answer() (out history.Txn, version, position uint64, note string, err error) {
	out = slices.Clone(a.t)
	switch v, _ := strconv.Atoi(a.last); {
	case a.end != nil:
		return nil, 0, 0, "", a.end
	case a.t[0].F == history.Read:
		out[0].Out = []int{v}
	case a.t[0].F == history.CAS && v != a.t[0].In[0]:
		return nil, 0, 0, "", machine.ErrCompare
	}
	return out, 0, uint64(a.heard), "heard " + strconv.Itoa(a.heard), nil
}

func (a *accent) Closed() error { return a.end }

// parrots are n of them and the tongues of all connections, in the order of their opening; change is what a test does to one.
func parrots(seed uint64, n int, change func(*accent)) (c Config, made *[]*parrot, accents *[]*accent) {
	made, accents = new([]*parrot), new([]*accent)
	c = toyConfig(seed, "")
	c.Nodes = n
	c.New = func(c machine.Config) machine.Machine {
		p := newParrot(c).(*parrot)
		*made = append(*made, p)
		return p
	}
	c.Tongue = func(string) machine.Tongue {
		a := &accent{hello: fmt.Sprint("hello ", len(*accents)), put: "put"}
		if change != nil {
			change(a)
		}
		*accents = append(*accents, a)
		return a
	}
	return c, made, accents
}

// chatter is what clients of two parrots saw while these were paused and killed.
func chatter(t *testing.T, seed uint64) (lines []string) {
	c, _, accents := parrots(seed, 2, nil)
	s := New(c)
	err := s.Run(func() {
		for i := range 6 {
			s.Go(func() {
				for n := 0; s.Now() < 3*time.Second; n++ {
					line, err := s.Dial(ctx, s.Nodes()[i%2], cluster.Options{Timeout: 150 * time.Millisecond})
					for k := 0; err == nil && k < 40; k++ {
						txn := []history.Txn{put(1000*i + n), get, {{F: history.CAS, Key: "k", In: []int{1000*i + n, n}}}}[k%3]
						var a cluster.Answer
						if a, err = line.Do(ctx, txn); errors.Is(err, machine.ErrCompare) {
							err = nil
						}
						lines = append(lines, fmt.Sprint(s.Now(), i, n, a, err))
						s.Sleep(time.Duration(k) * time.Millisecond)
					}
					if line != nil {
						line.Close()
					}
					s.Sleep(10 * time.Millisecond)
				}
			})
		}
		for i := range 4 {
			s.Sleep(300 * time.Millisecond)
			s.Pause(ctx, "n1")
			s.Sleep(time.Duration(i) * 70 * time.Millisecond)
			s.Resume(ctx, "n1")
			s.Sleep(300 * time.Millisecond)
			s.Kill(ctx, "n2")
			s.Sleep(50 * time.Millisecond)
			s.Start(ctx, "n2")
		}
		s.Wait()
	})
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	news := 0
	for _, a := range *accents {
		if len(a.wrong) > 0 {
			t.Errorf("seed %d: pushes out of their order: %v", seed, a.wrong)
		}
		news += len(a.news)
		lines = append(lines, strings.Join(a.news, " "))
	}
	if news < 300 || len(*accents) < 10 {
		t.Errorf("seed %d: only %d news on %d connections", seed, news, len(*accents))
	}
	return lines
}

func TestPushesComeInTheirOrderAndOneSeedIsOneRun(t *testing.T) {
	for seed := range uint64(5) {
		a, b := chatter(t, seed), chatter(t, seed)
		if !slices.Equal(a, b) {
			t.Errorf("seed %d gave two runs", seed)
		}
		if seed > 0 && slices.Equal(a, chatter(t, seed-1)) {
			t.Errorf("seeds %d and %d gave one run", seed-1, seed)
		}
	}
}

// TestOperationsAwaitTheHandshake: what ends before it is over has asked for nothing.
func TestOperationsAwaitTheHandshake(t *testing.T) {
	for _, c := range []struct {
		hello, want string
		took        time.Duration
	}{
		{"hello", "", 0},
		{"refuse", "it is sorry", 0},
		{"vanish", "connection reset", 0},
		{"silence", "timed out", time.Second},
	} {
		config, made, _ := parrots(1, 1, func(a *accent) { a.hello = c.hello })
		s := New(config)
		err := s.Run(func() {
			line := dial(t, s, "n1")
			for i := range 2 {
				began := s.Now()
				_, err := line.Do(ctx, put(5+i))
				if c.want == "" {
					if err != nil {
						t.Errorf("%s: %v", c.hello, err)
					}
					continue
				}
				if !errors.Is(err, cluster.ErrNotDone) || i == 0 && (!errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s, attempt %d: got %v", c.hello, i, err)
				}
				if took := s.Now() - began; i == 0 && (took < c.took || took > c.took+100*time.Millisecond) {
					t.Errorf("%s: it took %v", c.hello, took)
				}
			}
			s.Sleep(time.Second)
			line.Close()
			s.Sleep(time.Second)
		})
		p := (*made)[0]
		if want := map[bool]string{true: "6", false: "0"}[c.want == ""]; err != nil || p.value != want || len(p.gone) != 1 {
			t.Errorf("%s: %v, the register is %s, %d connections have ended", c.hello, err, p.value, len(p.gone))
		}
	}
}

// TestMachineClosesAConnection: what it said before is heard, the client learns of the end, and the machine hears of it once.
func TestMachineClosesAConnection(t *testing.T) {
	for _, c := range []struct {
		put     string
		ok      bool
		refused bool
	}{
		{"leave", true, false},
		{"refuse", false, true},
		{"vanish", false, false},
	} {
		config, made, accents := parrots(1, 1, func(a *accent) { a.put = c.put })
		s := New(config)
		err := s.Run(func() {
			line := dial(t, s, "n1")
			if _, err := line.Do(ctx, get); err != nil {
				t.Error(err)
			}
			_, err := line.Do(ctx, put(1))
			if (err == nil) != c.ok || errors.Is(err, cluster.ErrNotDone) != c.refused {
				t.Errorf("%s: got %v", c.put, err)
			}
			s.Sleep(100 * time.Millisecond)
			if _, err := line.Do(ctx, get); !errors.Is(err, cluster.ErrRefused) || !errors.Is(err, cluster.ErrNotDone) {
				t.Errorf("%s, then: got %v", c.put, err)
			}
			line.Close()
			s.Sleep(100 * time.Millisecond)
			s.Kill(ctx, "n1")
			s.Sleep(100 * time.Millisecond)
		})
		if gone := (*made)[0].gone; err != nil || !slices.Equal(gone, []uint64{1}) || len((*accents)[0].wrong) > 0 {
			t.Errorf("%s: %v, gone %v, wrong %v", c.put, err, gone, (*accents)[0].wrong)
		}
	}
}

// TestCloseExplainsWhatBecameOfTheOperation that it ended.
func TestCloseExplainsWhatBecameOfTheOperation(t *testing.T) {
	for _, end := range []error{nil, errors.New("moved"), fmt.Errorf("expired: %w", machine.ErrNoEffect)} {
		config, _, accents := parrots(1, 1, func(a *accent) { a.put = "vanish" })
		s := New(config)
		s.Run(func() {
			line := dial(t, s, "n1")
			line.Do(ctx, get)
			s.Go(func() {
				s.Sleep(time.Microsecond)
				(*accents)[0].end = end
			})
			_, err := line.Do(ctx, put(1))
			if !errors.Is(err, errReset) || errors.Is(err, cluster.ErrNotDone) != errors.Is(end, machine.ErrNoEffect) || end != nil && !errors.Is(err, end) {
				t.Errorf("closed for %v: got %v", end, err)
			}
		})
	}
}

func TestRepliesThatBreakTheContract(t *testing.T) {
	config, _, _ := parrots(1, 1, func(a *accent) { a.put = "babble" })
	s := New(config)
	err := s.Run(func() { dial(t, s, "n1").Do(context.Background(), put(1)) })
	if err == nil || !strings.Contains(err.Error(), "replies to connection 1, which it has closed") {
		t.Errorf("after the end: got %v", err)
	}
	config.Tongue = nil
	s = New(config)
	err = s.Run(func() {
		// A parrot says nothing to what it does not know; so it is taught a word.
		s.nodes[0].machine = &pusher{s.nodes[0].machine}
		dial(t, s, "n1").Do(context.Background(), put(1))
	})
	if err == nil || !strings.Contains(err.Error(), "reply that cannot be read: a push") {
		t.Errorf("pushed to a client of commands: got %v", err)
	}
}

// pusher answers each request with a push.
type pusher struct{ machine.Machine }

func (p *pusher) Step(e machine.Event) machine.Effects {
	if e.Request == nil {
		return p.Machine.Step(e)
	}
	return machine.Effects{Reply: []machine.Reply{{Conn: e.Request.Conn, Body: machine.Result{Outcome: machine.Done}.Encode()}}}
}

// TestNothingFollowsALostRequest: of two requests a full inbox took one, and what comes after it has room is not the second.
func TestNothingFollowsALostRequest(t *testing.T) {
	config, made, _ := parrots(1, 1, nil)
	s := New(config)
	s.Run(func() {
		line := dial(t, s, "n1").(*conn)
		line.Do(ctx, get)
		s.Pause(ctx, "n1")
		n := s.nodes[0]
		for len(n.inbox) < inboxBound-1 {
			s.deliver(n, input{kind: tick})
		}
		line.send([]byte("put 1"))
		line.send([]byte("put 2"))
		s.Sleep(time.Second)
		s.Resume(ctx, "n1")
		line.send([]byte("put 3"))
		s.Sleep(time.Second)
	})
	if got := (*made)[0].value; got != "1" {
		t.Errorf("the register is %s", got)
	}
}
