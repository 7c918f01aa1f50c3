package daemon

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"assize/machine"
)

// crier pushes: "put V" is logged, told to its own client as "put V" and to all others as "news V"; after "leave" comes the answer and the end,
// after "vanish" the end.
type crier struct {
	mu    sync.Mutex // for the test's eyes
	conns []uint64
	gone  []uint64
	deaf  bool // it closes nothing
	fx    machine.Effects
}

func (m *crier) Status() machine.Status { return machine.Status{ID: 1, Voters: []int{1}} }

func (m *crier) Step(e machine.Event) machine.Effects {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.fx.Reply)
	m.fx = machine.Effects{Reply: m.fx.Reply[:0]}
	switch {
	case e.Gone != 0:
		m.gone = append(m.gone, e.Gone)
		m.conns = slices.DeleteFunc(m.conns, func(c uint64) bool { return c == e.Gone })
	case e.Request != nil:
		if !slices.Contains(m.conns, e.Request.Conn) {
			m.conns = append(m.conns, e.Request.Conn)
		}
		m.request(e.Request.Conn, string(e.Request.Body))
	}
	return m.fx
}

func (m *crier) request(conn uint64, body string) {
	switch verb, v, _ := strings.Cut(body, " "); verb {
	case "put":
		m.fx.Log = append(m.fx.Log, []byte(v))
		for _, other := range m.conns {
			if other != conn {
				m.fx.Reply = append(m.fx.Reply, machine.Reply{Conn: other, Body: []byte("news " + v)})
			}
		}
		m.fx.Reply = append(m.fx.Reply, machine.Reply{Conn: conn, Body: []byte(body)})
	case "get":
		m.fx.Reply = append(m.fx.Reply, machine.Reply{Conn: conn, Body: []byte(body)})
	case "leave":
		m.fx.Reply = append(m.fx.Reply, machine.Reply{Conn: conn, Body: []byte("bye"), Close: !m.deaf})
	case "vanish":
		m.fx.Reply = append(m.fx.Reply, machine.Reply{Conn: conn, Close: true})
	}
}

// criersFront passes lines on, both ways.
func criersFront(l net.Listener, h Host) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			said := make(chan []byte, 4<<10) // more than any test says
			id := h.Open(func(body []byte, close bool) {
				if body != nil {
					said <- append(body[:len(body):len(body)], '\n')
				}
				if close {
					said <- nil
				}
			})
			go func() {
				defer conn.Close()
				for line := range said {
					if line == nil {
						conn.Close()
					}
					conn.Write(line)
				}
			}()
			for s := bufio.NewScanner(conn); s.Scan() && h.Send(id, []byte(s.Text())) == nil; {
			}
			h.Gone(id)
			close(said)
		}()
	}
}

// node runs a machine until the test ends; stop ends it before, and returns when it has ended.
func node(t *testing.T, m machine.Machine) (h Host, address string, stop func()) {
	t.Helper()
	c := toyConfig(t.TempDir(), 1, 1)
	said, hosts, ended := newLines(t), make(chan Host, 1), make(chan error, 1)
	c.New = func(machine.Config) machine.Machine { return m }
	c.Log = said
	c.Front = func(l net.Listener, h Host) error {
		hosts <- h
		return criersFront(l, h)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- Run(ctx, c) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return <-hosts, value(said.wait("ready"), "client"), stop
}

// TestPushesComeInTheirOrder over TCP: each client's own answers in the order of its requests, and everybody's news in one order.
func TestPushesComeInTheirOrder(t *testing.T) {
	const clients, each = 5, 300
	m := &crier{}
	_, address, _ := node(t, m)
	var all, arrived sync.WaitGroup
	news := make([][]string, clients)
	arrived.Add(clients)
	for i := range clients {
		all.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				arrived.Done()
				return
			}
			defer conn.Close()
			r := bufio.NewScanner(conn)
			fmt.Fprintln(conn, "get")
			if !r.Scan() || r.Text() != "get" {
				t.Errorf("got %q", r.Text())
			}
			arrived.Done()
			arrived.Wait() // whoever is there hears all
			go func() {
				for n := range each {
					// Every other request needs the disk, and what comes behind must not overtake it.
					fmt.Fprintf(conn, "put %d-%d\nget %d\n", i, n, n)
				}
				fmt.Fprintln(conn, "leave")
			}()
			news[i] = answers(t, r, i, each)
			if r.Scan() {
				t.Errorf("client %d: %q after the end", i, r.Text())
			}
		})
	}
	all.Wait()
	slices.SortFunc(news, func(a, b []string) int { return len(a) - len(b) })
	for i, n := range news {
		if last := news[clients-1]; !slices.Equal(n, last[:len(n)]) {
			t.Errorf("client %d heard the news in another order", i)
		}
	}
}

// answers reads a client's answers up to "bye", and returns the news, its own among them.
func answers(t *testing.T, r *bufio.Scanner, client, each int) (news []string) {
	for next := 0; next <= 2*each; {
		if !r.Scan() {
			t.Errorf("client %d: the connection has ended after %d answers and %d news", client, next, len(news))
			return news
		}
		verb, v, _ := strings.Cut(r.Text(), " ")
		if verb == "news" {
			news = append(news, v)
			continue
		}
		want := fmt.Sprintf("put %d-%d", client, next/2)
		switch {
		case next == 2*each:
			want = "bye"
		case next%2 == 1:
			want = fmt.Sprintf("get %d", next/2)
		}
		if r.Text() != want {
			t.Errorf("client %d got %q, want %q", client, r.Text(), want)
			return news
		}
		if verb == "put" {
			news = append(news, v)
		}
		next++
	}
	return news
}

// told keeps what is told.
type told struct {
	said []string
	end  int
}

func (t *told) hear(body []byte, close bool) {
	if body != nil {
		t.said = append(t.said, string(body))
	}
	if close {
		t.end++
	}
}

// TestCloseComesBehindWhatWasSaid, all of it by the time that the replies are out, and nothing comes behind.
func TestCloseComesBehindWhatWasSaid(t *testing.T) {
	d := testDesk(10)
	var heard told
	conn := d.call(heard.hear)
	d.answer([]machine.Reply{
		{Conn: conn, Body: []byte("a")}, {Conn: conn, Seq: 3, Body: []byte("b")}, {Conn: conn, Body: []byte("c"), Close: true}, {Conn: conn, Body: []byte("d")},
	})
	if !slices.Equal(heard.said, []string{"a", "b", "c"}) || heard.end != 1 {
		t.Errorf("got %q, closed %d times", heard.said, heard.end)
	}
	if d.send(conn, nil) == nil {
		t.Error("a closed connection takes requests")
	}
	d.gone(conn)
	d.close()
	if events, _ := d.inbox.take(nil, 10); len(events) != 1 || events[0].Gone != conn || heard.end != 1 {
		t.Errorf("got %+v, closed %d times", events, heard.end)
	}
}

// TestNothingIsToldAfterGone, not even the end.
func TestNothingIsToldAfterGone(t *testing.T) {
	d := testDesk(10)
	var heard told
	conn := d.call(heard.hear)
	d.gone(conn)
	d.answer([]machine.Reply{{Conn: conn, Body: []byte("a")}, {Conn: conn, Close: true}})
	d.close()
	if len(heard.said) != 0 || heard.end != 0 {
		t.Errorf("got %q, closed %d times", heard.said, heard.end)
	}
}

// TestManyBytesWait though they are few requests of each.
func TestManyBytesWait(t *testing.T) {
	d := testDesk(10)
	a, b := d.call(new(told).hear), d.call(new(told).hear)
	d.send(a, make([]byte, inboxBytes))
	done := make(chan error)
	go func() { done <- d.send(b, nil) }()
	if batch, _ := d.inbox.take(nil, 10); len(batch) != 1 {
		t.Errorf("%d requests", len(batch))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCloseEndsAConnectionOfCommands(t *testing.T) {
	d := testDesk(10)
	conn := d.connect()
	_, first, _ := d.submit(conn, nil)
	_, second, _ := d.submit(conn, nil)
	d.answer([]machine.Reply{{Conn: conn, Seq: 1, Body: []byte("x"), Close: true}})
	if got := <-first; string(got) != "x" {
		t.Errorf("got %q", got)
	}
	if _, ok := <-second; ok || d.waiting != 0 {
		t.Errorf("an answer after the end, or %d wait", d.waiting)
	}
	events, _ := d.inbox.take(nil, 10)
	if _, _, refusal := d.submit(conn, nil); refusal == "" || len(events) != 3 || events[2].Gone != conn {
		t.Errorf("refusal %q, events %+v", refusal, events)
	}
}

func TestStoppingNodeEndsItsConnections(t *testing.T) {
	m := &crier{}
	h, _, stop := node(t, m)
	answered := make(chan bool, 1)
	var heard told
	conn := h.Open(func(body []byte, close bool) {
		heard.hear(body, close)
		answered <- true
	})
	h.Send(conn, []byte("get"))
	<-answered
	stop()
	if !slices.Equal(heard.said, []string{"get"}) || heard.end != 1 {
		t.Errorf("got %q, closed %d times", heard.said, heard.end)
	}
	if h.Send(conn, nil) == nil || h.Send(h.Open(func([]byte, bool) {}), nil) == nil {
		t.Error("a node that has stopped takes requests")
	}
}

// TestGoneIsToldOnce, whoever ends the connection.
func TestGoneIsToldOnce(t *testing.T) {
	m := &crier{}
	_, address, stop := node(t, m)
	for _, verb := range []string{"leave", "vanish", "hang up"} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(conn, "get")
		r := bufio.NewReader(conn)
		r.ReadString('\n')
		if verb == "hang up" {
			conn.Close()
			continue
		}
		fmt.Fprintln(conn, verb)
		rest, _ := io.ReadAll(r)
		if want := map[string]string{"leave": "bye\n"}[verb]; string(rest) != want {
			t.Errorf("%s: got %q", verb, rest)
		}
		conn.Close()
	}
	for gone := 0; gone < 3; runtime.Gosched() {
		m.mu.Lock()
		gone = len(m.gone)
		m.mu.Unlock()
	}
	stop()
	slices.Sort(m.gone)
	if len(m.gone) != 3 || len(slices.Compact(m.gone)) != 3 {
		t.Errorf("gone: %v", m.gone)
	}
}

// TestClosesAreRecorded: a machine that closes replays, and one that says the same and does not close is another.
func TestClosesAreRecorded(t *testing.T) {
	request := func(seq uint64, body string) machine.Event {
		return machine.Event{Request: &machine.Request{Conn: 5, Seq: seq, Body: []byte(body)}}
	}
	r, name := recorded(t, func(machine.Config) machine.Machine { return &crier{} }, [][]machine.Event{
		{request(1, "put a"), {}}, {request(2, "leave")}, {{Gone: 5}}, {request(1, "vanish")},
	})
	r.close()
	b, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		t.Fatal(err)
	}
	got, err := replayed(b, func(machine.Config) machine.Machine { return &crier{} })
	if err != nil || got.Difference != nil || got.End != InOrder || got.Batches != 4 {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = replayed(b, func(machine.Config) machine.Machine { return &crier{deaf: true} })
	if err != nil || got.Difference == nil || got.Difference.Batch != 2 {
		t.Errorf("one that does not close: got %+v, %v", got, err)
	}
	if !bytes.HasPrefix(b, []byte(recordMagic)) {
		t.Errorf("it begins with %.16q", b)
	}
}
