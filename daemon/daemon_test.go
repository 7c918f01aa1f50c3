package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"assize/cluster"
	"assize/machine"
)

// pack is a cluster of toys in this process.
type pack struct {
	every  int // records between two snapshots
	record bool
	t      testing.TB
	dirs   []string // by id
	lines  []*lines
	hosts  []Host
	stop   []context.CancelFunc
	ended  []chan error
}

// lines is a node's journal, and lets a test wait for what it says.
type lines struct {
	t       testing.TB
	mu      sync.Mutex
	changed *sync.Cond
	text    string
}

func newLines(t testing.TB) *lines {
	l := &lines{t: t}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(b)
	l.changed.Broadcast()
	return len(b), nil
}

// wait returns the first line that has all parts.
func (l *lines) wait(parts ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for line := range strings.Lines(l.text) {
			found := strings.HasSuffix(line, "\n")
			for _, p := range parts {
				found = found && strings.Contains(line, p)
			}
			if found {
				return strings.TrimSpace(line)
			}
		}
		l.changed.Wait()
	}
}

// value of key in a journal's line.
func value(line, key string) string {
	_, after, _ := strings.Cut(line, " "+key+"=")
	v, _, _ := strings.Cut(after, " ")
	return v
}

// lineFront is a front end for tests: each line is "put VALUE" or "has VALUE"; it is answered with a line.
func lineFront(l net.Listener, h Host) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			id := h.Connect()
			defer h.Gone(id)
			for s := bufio.NewScanner(conn); s.Scan(); {
				verb, v, _ := strings.Cut(s.Text(), " ")
				c := put(v)
				if verb == "has" {
					c = has(v)
				}
				r, err := h.Do(context.Background(), id, c)
				if err != nil {
					return
				}
				if verb == "put" && r.Outcome == machine.Done || r.Succeeded {
					fmt.Fprintln(conn, "yes")
				} else {
					fmt.Fprintln(conn, "no")
				}
			}
		}()
	}
}

func newPack(t testing.TB, n, every int) *pack {
	p := &pack{
		t: t, every: every, dirs: make([]string, n+1), lines: make([]*lines, n+1), hosts: make([]Host, n+1),
		stop: make([]context.CancelFunc, n+1), ended: make([]chan error, n+1),
	}
	for id := 1; id <= n; id++ {
		p.dirs[id] = t.TempDir()
		p.start(id)
	}
	p.introduce()
	t.Cleanup(func() {
		for id := 1; id <= n; id++ {
			p.halt(id)
		}
	})
	return p
}

func toyConfig(dir string, id, n int) Config {
	var voters []int
	for v := range n {
		voters = append(voters, v+1)
	}
	return Config{
		Node:   cluster.Node{ID: id, Dir: dir, Peer: "127.0.0.1:0", Client: "127.0.0.1:0", Settings: cluster.Settings{Target: "toy"}},
		Voters: voters, New: newToy(50), Front: lineFront,
	}
}

func (p *pack) start(id int) {
	ctx, cancel := context.WithCancel(context.Background())
	p.lines[id], p.stop[id], p.ended[id] = newLines(p.t), cancel, make(chan error, 1)
	c := toyConfig(p.dirs[id], id, len(p.dirs)-1)
	c.New, c.Node.Record = newToy(p.every), p.record
	c.Log = p.lines[id]
	hosts := make(chan Host, 1)
	c.Front = func(l net.Listener, h Host) error {
		hosts <- h
		return lineFront(l, h)
	}
	go func() { p.ended[id] <- Run(ctx, c) }()
	select {
	case p.hosts[id] = <-hosts:
		p.lines[id].wait("ready")
	case err := <-p.ended[id]:
		p.t.Fatal(err)
	}
}

// introduce writes the peers' addresses.
func (p *pack) introduce() {
	introduce(p.t, p.dirs, func(id int) string { return p.address(id, "peer") })
}

func introduce(t testing.TB, dirs []string, address func(id int) string) {
	t.Helper()
	for id := 1; id < len(dirs); id++ {
		peers := map[string]string{}
		for other := 1; other < len(dirs); other++ {
			if other != id {
				peers[strconv.Itoa(other)] = address(other)
			}
		}
		b, err := json.Marshal(peers)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dirs[id], "peers.json")
		if err := errors.Join(os.WriteFile(name+".new", b, 0o644), os.Rename(name+".new", name)); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *pack) address(id int, port string) string { return value(p.lines[id].wait("ready"), port) }

func (p *pack) halt(id int) {
	p.stop[id]()
	if err := <-p.ended[id]; err != nil {
		p.t.Errorf("n%d: %v", id, err)
	}
	p.ended[id] <- nil
}

// do asks until the node has answered.
func (p *pack) do(id int, c machine.Command) machine.Result {
	p.t.Helper()
	h := p.hosts[id]
	conn := h.Connect()
	defer h.Gone(conn)
	r, err := h.Do(p.t.Context(), conn, c)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func TestThreeNodesAnswer(t *testing.T) {
	p := newPack(t, 3, 50)
	var all sync.WaitGroup
	for id := 1; id <= 3; id++ {
		for w := range 4 {
			all.Go(func() {
				h := p.hosts[id]
				conn := h.Connect()
				for i := range 50 {
					r, err := h.Do(t.Context(), conn, put(fmt.Sprint(id, w, i)))
					if err != nil || r.Outcome != machine.Done {
						t.Errorf("n%d: %v, %v", id, r, err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	for id := 1; id <= 3; id++ {
		// Whoever is behind gets there: messages are sent again until everybody has acknowledged them.
		h := p.hosts[id]
		for {
			revision, newer := h.Applied()
			if revision == 600 {
				break
			}
			<-newer
		}
		if c := h.Counters(); c["syncs"] == 0 || c["snapshots"] == 0 || c["sent"] == 0 || c["received"] == 0 || c["requests"] != 200 {
			t.Errorf("n%d: counters %v", id, c)
		}
	}
	if a, b, c := p.hosts[1].Status().Hash, p.hosts[2].Status().Hash, p.hosts[3].Status().Hash; a != b || b != c {
		t.Errorf("hashes %x %x %x", a, b, c)
	}
	if wall, mono := p.hosts[1].Clocks(); mono <= 0 || time.Since(wall) > time.Minute || time.Since(wall) < -time.Minute {
		t.Errorf("clocks %v %v", wall, mono)
	}
}

// TestPeersMove: a node that comes back at another address is found through peers.json.
func TestPeersMove(t *testing.T) {
	p := newPack(t, 2, 50) // of two, both must have it
	if got := p.do(1, put("a")); got.Outcome != machine.Done {
		t.Fatalf("got %v", got)
	}
	p.lines[1].wait("peer-up", "peer=2")
	p.halt(2)
	p.lines[1].wait("peer-down", "peer=2")
	p.start(2)
	p.introduce()
	if got := p.do(1, put("b")); got.Outcome != machine.Done {
		t.Fatalf("got %v", got)
	}
	for _, v := range []string{"a", "b"} {
		if got := p.do(2, has(v)); !got.Succeeded {
			t.Errorf("n2 does not have %s", v)
		}
	}
}

func TestTwoNodesOnOneDirectory(t *testing.T) {
	p := newPack(t, 1, 50)
	err := Run(t.Context(), toyConfig(p.dirs[1], 1, 1))
	if err == nil || !strings.Contains(err.Error(), "another node uses "+p.dirs[1]) {
		t.Errorf("got %v", err)
	}
	if got := p.do(1, put("a")); got.Outcome != machine.Done {
		t.Errorf("the first node: %v", got)
	}
}

func TestDamagedLogStartsNothing(t *testing.T) {
	p := newPack(t, 1, 50)
	for i := range 5 {
		p.do(1, put(fmt.Sprint("value ", i)))
	}
	p.halt(1)
	names, _ := filepath.Glob(filepath.Join(p.dirs[1], "wal", "*.wal"))
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(names[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), toyConfig(p.dirs[1], 1, 1))
	if err == nil || !strings.Contains(err.Error(), names[0]) || !strings.Contains(err.Error(), "offset 64") {
		t.Errorf("got %v", err)
	}
}

// accuser hears nothing but lies.
type accuser struct{}

func (accuser) Step(e machine.Event) (x machine.Effects) {
	if e.Message != nil {
		x.Accused = []machine.Accusation{{Node: e.Message.From, Why: "it was told " + string(e.Message.Body)}}
	}
	return x
}

func (accuser) Status() machine.Status { return machine.Status{} }

// TestAccusationsAreInTheJournal.
func TestAccusationsAreInTheJournal(t *testing.T) {
	log := newLines(t)
	h := newHost(Config{Clock: SystemClock{}, Options: machine.Options{Tick: time.Hour}}, accuser{}, nullDisk{}, &journal{w: log})
	h.step([]machine.Event{{Message: &machine.Message{From: 3, Body: []byte("rubbish")}}})
	if got, want := log.wait("accused"), `accused node=3 why="it was told rubbish"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

type brokenDisk struct{ nullDisk }

func (brokenDisk) Append([][]byte) error { return errors.New("no space left on device") }

// TestNodeThatCannotWriteStops, and answers nothing that is not on its disk.
func TestNodeThatCannotWriteStops(t *testing.T) {
	c := toyConfig(t.TempDir(), 1, 1).withDefaults()
	log := newLines(t)
	h := newHost(c, makeToy(machine.Config{ID: 1, Voters: []int{1}}, 0), brokenDisk{}, &journal{w: log})
	peers, clients := listen(t), listen(t)
	ended := make(chan error, 1)
	go func() { ended <- h.serve(t.Context(), peers, clients) }()
	conn := h.Connect()
	if r, err := h.Do(t.Context(), conn, put("a")); err == nil {
		t.Errorf("got %v", r)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("it ended with %v", err)
	}
	log.wait("stopped", "no space left")
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRubbishOnThePeerPort: strangers, liars and madmen are disconnected, and the node goes on.
func TestRubbishOnThePeerPort(t *testing.T) {
	p := newPack(t, 3, 50)
	address := p.address(1, "peer")
	hash := clusterHash("", "toy")
	good := hello{hash, 2, 1}
	r := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 3000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	said := map[string]string{
		"nothing like a frame":     string(noise),
		"a huge frame":             "\xff\xff\xff\xff\x00\x00\x00\x00",
		"a request for a web page": "GET / HTTP/1.1\r\nHost: n1\r\n\r\n",
		"no hello":                 string(framed("good day")),
		"another cluster":          string(framed(string(hello{hash + 1, 2, 1}.encode()))),
		"another node":             string(framed(string(hello{hash, 2, 3}.encode()))),
		"itself":                   string(framed(string(hello{hash, 1, 1}.encode()))),
		"nobody":                   string(framed(string(hello{hash, 0, 1}.encode()))),
		"noise after a hello":      string(framed(string(good.encode()))) + string(noise),
	}
	for what, bytes := range said {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(bytes)); err != nil {
			t.Fatal(err)
		}
		// It is disconnected, whatever way that shows.
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%s: it was answered", what)
		}
		conn.Close()
	}
	if got := p.hosts[1].Counters()["rejected"]; got != uint64(len(said)) {
		t.Errorf("%d connections were rejected, want %d", got, len(said))
	}
	for range 200 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		n := r.IntN(len(noise))
		conn.Write(append(framed(string(good.encode())), noise[:n]...))
		conn.Close()
	}
	if got := p.do(1, put("after")); got.Outcome != machine.Done {
		t.Errorf("got %v", got)
	}
	p.lines[1].wait("peer-rejected", "remote=")
}

// A connection is ours to talk on: a peer that talks back on it is hung up on, and dialed again.
func TestLinkToAPeerThatTalksBack(t *testing.T) {
	l := listen(t)
	defer l.Close()
	dir := t.TempDir()
	c := toyConfig(dir, 1, 1).withDefaults()
	c.Node.Peers = []cluster.Peer{{ID: 2, Address: l.Addr().String()}}
	tr := newTransport(c, newInbox(), new(counts), &journal{w: io.Discard})
	tr.start()
	for range 2 {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		first, err := readFrame(conn, maxHello)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeHello(first); err != nil || got != (hello{tr.hash, 1, 2}) {
			t.Errorf("hello %v, %v", got, err)
		}
		conn.Write([]byte("x")) // it hangs up and dials again
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Log(err)
		}
		conn.Close()
	}
	tr.inbox.close()
	tr.stop()
}

// TestLinkDropsTheOldest: what a peer that cannot be reached would get is bounded.
func TestLinkDropsTheOldest(t *testing.T) {
	n := new(counts)
	l := &link{transport: &transport{counts: n}, wake: make(chan struct{}, 1)}
	for i := range 10 * queueMessages {
		l.put([]byte(fmt.Sprint(i)))
	}
	got := l.take(nil)
	if len(got) > queueMessages || string(got[len(got)-1]) != fmt.Sprint(10*queueMessages-1) {
		t.Errorf("%d messages, the last %s", len(got), got[len(got)-1])
	}
	if lost := n.dropped.Load(); lost+uint64(len(got)) != 10*queueMessages {
		t.Errorf("%d dropped, %d left", lost, len(got))
	}
	l.put(make([]byte, queueBytes+1))
	l.put([]byte("small"))
	if got := l.take(nil); len(got) != 1 || string(got[0]) != "small" {
		t.Errorf("%d messages", len(got))
	}
}
