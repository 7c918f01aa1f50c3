package daemon

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestMain is also the node of the tests that need real processes to kill.
func TestMain(m *testing.M) {
	dir, id, n := os.Getenv("DAEMON_TEST_DIR"), os.Getenv("DAEMON_TEST_ID"), os.Getenv("DAEMON_TEST_NODES")
	if dir == "" {
		os.Exit(m.Run())
	}
	number := func(s string) int {
		i, err := strconv.Atoi(s)
		if err != nil {
			panic(err)
		}
		return i
	}
	c := toyConfig(dir, number(id), number(n))
	c.Log = os.Stderr
	if err := Run(context.Background(), c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// life of a node in a process of its own.
type life struct {
	cmd   *exec.Cmd
	lines *lines
}

func spawn(t *testing.T, dir string, id, n int) *life {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &life{cmd: exec.Command(self), lines: newLines(t)}
	l.cmd.Env = append(os.Environ(), "DAEMON_TEST_DIR="+dir, fmt.Sprint("DAEMON_TEST_ID=", id), fmt.Sprint("DAEMON_TEST_NODES=", n))
	l.cmd.Stderr = l.lines
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.kill)
	return l
}

// kill is SIGKILL. Idempotent.
func (l *life) kill() {
	l.cmd.Process.Kill()
	l.cmd.Wait()
}

func (l *life) address(port string) string { return value(l.lines.wait("ready"), port) }

// ask sends one line to a node's front end; false where no answer comes.
func ask(r *bufio.Reader, conn net.Conn, line string) (string, bool) {
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", false
	}
	s, err := r.ReadString('\n')
	return strings.TrimSpace(s), err == nil
}

// TestAcknowledgedValuesSurviveKills kills all of three processes with SIGKILL at random moments, several times, in the middle of many clients' writes: at the
// end every acknowledged value is on a majority, because it is on the disks.
func TestAcknowledgedValuesSurviveKills(t *testing.T) {
	const n, lives = 3, 5
	dirs := make([]string, n+1)
	for id := 1; id <= n; id++ {
		dirs[id] = t.TempDir()
	}
	nodes := make([]*life, n+1)
	start := func() {
		for id := 1; id <= n; id++ {
			nodes[id] = spawn(t, dirs[id], id, n)
		}
		introduce(t, dirs, func(id int) string { return nodes[id].address("peer") })
	}
	var mu sync.Mutex
	var acknowledged []string
	r := rand.New(rand.NewPCG(3, 3))
	for round := range lives {
		start()
		enough := make(chan bool)
		var left atomic.Int64
		left.Store(int64(100 + r.IntN(300)))
		var clients sync.WaitGroup
		for id := 1; id <= n; id++ {
			for w := range 4 {
				address := nodes[id].address("client")
				clients.Go(func() {
					conn, err := net.Dial("tcp", address)
					if err != nil {
						return
					}
					defer conn.Close()
					in := bufio.NewReader(conn)
					for i := 0; ; i++ {
						v := fmt.Sprintf("%d.%d.%d.%d", round, id, w, i)
						answer, ok := ask(in, conn, "put "+v)
						if !ok {
							return
						}
						if answer != "yes" {
							t.Errorf("put %s: %s", v, answer)
						}
						mu.Lock()
						acknowledged = append(acknowledged, v)
						mu.Unlock()
						if left.Add(-1) == 0 {
							close(enough)
						}
					}
				})
			}
		}
		<-enough
		for _, id := range r.Perm(n) {
			nodes[id+1].kill()
		}
		clients.Wait()
	}
	start()
	copies := copiesOf(t, nodes[1:], acknowledged)
	for _, v := range acknowledged {
		if copies[v] < 2 {
			t.Errorf("%s was acknowledged and is on %d nodes", v, copies[v])
		}
	}
	t.Logf("%d acknowledged values", len(acknowledged))
}

// copiesOf counts for each value the nodes that have it.
func copiesOf(t *testing.T, nodes []*life, values []string) map[string]int {
	t.Helper()
	copies := map[string]int{}
	for i, n := range nodes {
		conn, err := net.Dial("tcp", n.address("client"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		for _, v := range values {
			switch answer, ok := ask(in, conn, "has "+v); {
			case !ok:
				t.Fatalf("n%d does not answer", i+1)
			case answer == "yes":
				copies[v]++
			}
		}
	}
	return copies
}

func TestSecondProcessOnOneDirectory(t *testing.T) {
	dir := t.TempDir()
	first := spawn(t, dir, 1, 1)
	first.lines.wait("ready")
	second := spawn(t, dir, 1, 1)
	if err := second.cmd.Wait(); err == nil || second.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the second ended with %v", err)
	}
	second.lines.wait("another node uses")
	first.kill()
	spawn(t, dir, 1, 1).lines.wait("ready") // a dead node's lock is free
}
