package local

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"assize/cluster"
)

// The test binary is also the node's program and the controller's: no stand-in for processes will do where processes are what is tested.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "node":
			os.Exit(runNode(os.Args[2:]))
		case "controller":
			os.Exit(runController(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

// runController starts a cluster, tells its processes and waits for its own end. Its nodes care neither for the end of their standard
// input nor for signals, so that only the kernel can end them.
func runController(dir string) int {
	w := &town{}
	system := w.system()
	args := system.Args
	system.Args = func(n cluster.Node) []string { return append(args(n), "-dogged") }
	c, err := New(context.Background(), Config{System: system, Dir: dir, Nodes: 3})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if err := c.Pause(context.Background(), "n3"); err != nil {
		fmt.Println(err)
		return 1
	}
	for _, n := range c.Members() {
		fmt.Println(n.Place.(*place).process.cmd.Process.Pid)
	}
	fmt.Println("ready")
	select {}
}

// gossip is a tiny server: it sends a line to a peer when a client tells it to, and tells clients what has come.
type gossip struct {
	id  int
	dir string

	mu   sync.Mutex
	got  []string
	open map[string]net.Conn // by address
}

func runNode(args []string) int {
	f := flag.NewFlagSet("node", flag.ExitOnError)
	g := &gossip{open: map[string]net.Conn{}}
	f.IntVar(&g.id, "id", 0, "")
	f.StringVar(&g.dir, "dir", "", "")
	peer, client := f.String("peer", "", ""), f.String("client", "", "")
	dogged := f.Bool("dogged", false, "go on when the parent is gone")
	f.Parse(args)
	if *dogged {
		signal.Ignore()
	} else {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	for address, serve := range map[string]func(net.Conn){*peer: g.hear, *client: g.answer} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go serve(conn)
			}
		}()
	}
	fmt.Fprintln(os.Stderr, "serving")
	select {}
}

func (g *gossip) hear(conn net.Conn) {
	defer conn.Close()
	for {
		var head [4]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > 1<<16 {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			return
		}
		g.mu.Lock()
		g.got = append(g.got, string(b))
		g.mu.Unlock()
	}
}

type gossipStatus struct {
	Pid  int
	Got  []string
	Wall time.Time
}

func (g *gossip) answer(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		words := strings.SplitN(lines.Text(), " ", 3)
		switch words[0] {
		case "status":
			g.mu.Lock()
			b, _ := json.Marshal(gossipStatus{Pid: os.Getpid(), Got: g.got, Wall: time.Now()})
			g.mu.Unlock()
			fmt.Fprintf(conn, "%s\n", b)
		case "send":
			fmt.Fprintln(conn, g.send(words[1], words[2]))
		case "die":
			fmt.Fprintln(os.Stderr, "last words")
			os.Exit(3)
		default:
			fmt.Fprintln(conn, further[words[0]]())
		}
	}
}

// further commands, which not every system has.
var further = map[string]func() int{}

func (g *gossip) send(to, text string) error {
	b, err := os.ReadFile(filepath.Join(g.dir, "peers.json"))
	if err != nil {
		return err
	}
	peers := map[string]string{}
	if err := json.Unmarshal(b, &peers); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	conn := g.open[peers[to]]
	if conn == nil {
		if conn, err = net.Dial("tcp", peers[to]); err != nil {
			return err
		}
		g.open[peers[to]] = conn
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	if _, err = conn.Write(append(frame, text...)); err != nil {
		delete(g.open, peers[to])
	}
	return err
}

// town is what the gossips' System knows beside them: who leads and who is a member.
type town struct {
	mu      sync.Mutex
	leader  string // address of its clients; empty: the first who is asked
	members []string
	asked   []string
	refuse  error
	// What a test puts in the place of the usual answers.
	join     func(ctx context.Context, address string, id int, peer string) error
	see      func(ctx context.Context, address string) (cluster.Status, error)
	transfer func(ctx context.Context, address string, to int) error
}

func (w *town) request(what, address string, id int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, fmt.Sprintf("%s %d", what, id))
	if w.refuse != nil {
		return w.refuse
	}
	name := fmt.Sprintf("n%d", id)
	switch what {
	case "join":
		w.members = append(w.members, name)
	case "leave":
		w.members = slices.DeleteFunc(w.members, func(m string) bool { return m == name })
	}
	return nil
}

func (w *town) status(ctx context.Context, address string) (cluster.Status, error) {
	var s gossipStatus
	if err := ask(ctx, address, "status", &s); err != nil {
		return cluster.Status{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	status := cluster.Status{Role: "follower", Term: 1, Members: slices.Clone(w.members)}
	if w.leader == "" {
		w.leader = address
	}
	if w.leader == address {
		status.Role = "leader"
	}
	return status, nil
}

func (w *town) system() cluster.System {
	return cluster.System{
		Name: "gossip",
		Args: func(n cluster.Node) []string {
			return []string{"node", "-id", strconv.Itoa(n.ID), "-dir", n.Dir, "-peer", n.Peer, "-client", n.Client}
		},
		Status: func(ctx context.Context, address string) (cluster.Status, error) {
			if w.see != nil {
				return w.see(ctx, address)
			}
			return w.status(ctx, address)
		},
		Transfer: func(ctx context.Context, address string, to int) error { return w.transfer(ctx, address, to) },
		Join: func(ctx context.Context, address string, id int, peer string) error {
			if w.join != nil {
				return w.join(ctx, address, id, peer)
			}
			return w.request("join", address, id)
		},
		Leave: func(_ context.Context, address string, id int) error { return w.request("leave", address, id) },
	}
}

// ask sends one line to a gossip and reads one.
func ask(ctx context.Context, address, line string, answer any) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(past) })()
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return err
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if text, ok := answer.(*string); ok {
		*text = strings.TrimSpace(got)
		return nil
	}
	return json.Unmarshal([]byte(got), answer)
}

func newTown(t *testing.T, nodes int) (*Cluster, *town) {
	t.Helper()
	w := &town{}
	for i := range nodes {
		w.members = append(w.members, fmt.Sprintf("n%d", i+1))
	}
	c, err := New(t.Context(), Config{System: w.system(), Dir: t.TempDir(), Nodes: nodes, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, w
}

func say(t *testing.T, c *Cluster, from, to, text string) {
	t.Helper()
	address, err := c.Address(from)
	if err != nil {
		t.Fatal(err)
	}
	var answer string
	if err := ask(t.Context(), address, "send "+strings.TrimPrefix(to, "n")+" "+text, &answer); err != nil {
		t.Fatal(err)
	}
	if answer != "<nil>" {
		t.Fatalf("%s says %q to %s: %s", from, text, to, answer)
	}
}

func heard(t *testing.T, c *Cluster, node string) gossipStatus {
	t.Helper()
	address, err := c.Address(node)
	if err != nil {
		t.Fatal(err)
	}
	var s gossipStatus
	if err := ask(t.Context(), address, "status", &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// until waits for something that must come; it fails only after so long that nothing but its never coming explains it.
func until(t *testing.T, c *Cluster, what string, done func() bool) {
	t.Helper()
	for end := c.Now() + 30*time.Second; !done(); c.Sleep(5 * time.Millisecond) {
		if c.Now() > end {
			t.Fatalf("%s: never", what)
		}
	}
}
