package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTwoSessionsAtOnce(t *testing.T) {
	w := startWard(t, "-hold")
	one, onesEnds := w.connect()
	must(t, one.Start(t.Context(), serving(w)))
	two, twosEnds := w.connect()
	if s := stateOf(t, two); s.Life != 1 {
		t.Errorf("state %+v", s)
	}
	must(t, one.Kill(t.Context()))
	// Exactly one of them is told.
	select {
	case <-onesEnds:
	case <-twosEnds:
	case <-time.After(patience):
		t.Fatal("nobody was told")
	}
	must(t, one.Close())
	must(t, two.Start(t.Context(), serving(w)))
	must(t, two.Kill(t.Context()))
	if got := next(t, twosEnds, "the end"); got.Life != 2 || len(onesEnds)+len(twosEnds) > 0 {
		t.Errorf("got %+v", got)
	}
}

// knock at the agent's socket, without an Attach between.
func (w *ward) knock() *net.UnixConn {
	w.t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(w.dir, socketName), Net: "unix"})
	must(w.t, err)
	return conn
}

func TestRubbishEndsTheSessionOnly(t *testing.T) {
	w := startWard(t, "-hold")
	r, _ := w.connect()
	stateOf(t, r)
	for _, rubbish := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"\x00\xff\n",
		"{}\n",
		`{"id":1,"do":"beat"} {"id":2,"do":"beat"}` + "\n",
		`{"id":1,"do":"beat","extra":1}` + "\n",
		`{"id":-1,"do":"beat"}` + "\n",
		`{"id":1,"do":"packets","packets":{"to":[{"address":"nowhere"}]}}` + "\n",
		strings.Repeat("x", maxLine+10) + "\n",
	} {
		stream := w.knock()
		if _, err := io.WriteString(stream, rubbish); err != nil && len(rubbish) < 1000 {
			t.Error(err)
		}
		got, err := io.ReadAll(stream)
		if errors.Is(err, syscall.ECONNRESET) && len(rubbish) > maxLine {
			err = nil // the rest of a line that is too long is not read
		}
		if err != nil || !bytes.HasPrefix(got, []byte(`{"error":`)) || bytes.Count(got, []byte("\n")) != 1 {
			t.Errorf("%.50q: answer %q, %v", rubbish, got, err)
		}
		stream.Close()
	}
	for _, c := range []struct{ request, want string }{
		{`{"id":5,"do":"dance"}`, `{"id":5,"error":"it cannot \"dance\""}`},
		{`{"id":6,"do":"packets"}`, `{"id":6,"error":"no set of packets"}`},
		{`{"id":7,"do":"skew"}`, `{"id":7,"error":"no skew"}`},
		{`{"id":8,"do":"pause"}`, `{"id":8,"error":"the server is down: refused","down":true}`},
		{`{"id":9,"do":"noted","life":77}`, `{"id":9}`},
		{`{"id":10,"do":"probe","targets":[{"address":"127.0.0.1:1","wait":1,"times":1000000}]}`, `{"id":10,"error":"probe 127.0.0.1:1`},
	} {
		stream := w.knock()
		fmt.Fprintln(stream, c.request)
		must(t, stream.CloseWrite()) // what was asked is answered
		if got, err := io.ReadAll(stream); err != nil || !strings.HasPrefix(string(got), c.want) {
			t.Errorf("%s: got %q, %v, want %s", c.request, got, err, c.want)
		}
		stream.Close()
	}
	if s := stateOf(t, r); s.Life != 0 {
		t.Errorf("state %+v", s)
	}
}

// A session that asks and never reads must cost the agent nothing but that session, and controllers that went without a word must not lock out others.
func TestSessionsAreBounded(t *testing.T) {
	w := startWard(t, "-hold")
	r, _ := w.connect()
	stateOf(t, r)
	deaf := w.knock()
	defer deaf.Close()
	var err error
	deaf.SetDeadline(time.Now().Add(patience))
	for i := 1; err == nil; i++ {
		_, err = fmt.Fprintf(deaf, `{"id":%d,"do":"state"}`+"\n", i)
	}
	if os.IsTimeout(err) {
		t.Error("it was never hung up on")
	}
	for range 2 * maxSessions {
		defer w.knock().Close()
	}
	// Those that have knocked are let in side by side, some perhaps after us: then it is we who are the oldest.
	for attempt := 1; ; attempt++ {
		again, _ := w.connect()
		_, err := again.State(t.Context())
		if err == nil {
			break
		}
		if attempt == 10 {
			t.Fatal(err)
		}
	}
	next(t, r.Done(), "the end of the oldest session")
}

func TestWriteReplacesFilesOfTheDirectoryOnly(t *testing.T) {
	w := startWard(t, "-hold")
	r, _ := w.connect()
	big := bytes.Repeat([]byte{0, 0xff}, maxContent/2)
	for _, content := range [][]byte{[]byte("first"), nil, big} {
		must(t, r.Write(t.Context(), "peers.json", content))
		if got, err := os.ReadFile(filepath.Join(w.dir, "peers.json")); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v, want %d", len(got), err, len(content))
		}
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc/x", socketName, "nul\x00", strings.Repeat("long", 100)} {
		if err := r.Write(t.Context(), name, nil); err == nil {
			t.Errorf("wrote %q", name)
		}
	}
	if err := r.Write(t.Context(), "big", append(big, 1)); err == nil {
		t.Error("wrote a file that is too big")
	}
	if got, _ := filepath.Glob(filepath.Join(w.dir, ".agent-*")); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

func TestProbeTellsAnswersFromSilence(t *testing.T) {
	listenAs := func(serve func(*net.TCPConn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go serve(conn.(*net.TCPConn))
			}
		}()
		return l.Addr().String()
	}
	greeting := func(c *net.TCPConn) { io.ReadFull(c, make([]byte, len(rubbish))) }
	open := listenAs(func(c *net.TCPConn) { greeting(c); c.Close() })
	talking := listenAs(func(c *net.TCPConn) { greeting(c); io.WriteString(c, "what?\n"); c.Close() })
	resets := listenAs(func(c *net.TCPConn) { greeting(c); c.SetLinger(0); c.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	closed.Close()
	silent := listenSilently(t)
	w := startWard(t, "-hold")
	r, _ := w.connect()
	got, err := r.Probe(t.Context(), []Target{
		{Address: open, Wait: patience, Times: 20}, {Address: talking, Wait: patience, Times: 2}, {Address: silent, Wait: 50 * time.Millisecond, Times: 3}, {Address: closed.Addr().String(), Wait: patience, Times: 2}, {Address: resets, Wait: patience, Times: 2}, {Address: "nonsense", Wait: patience, Times: 1}, {Address: open, Wait: patience, Times: 0},
	})
	must(t, err)
	for i, want := range []struct{ times, answered int }{{20, 20}, {2, 2}, {3, 0}, {2, 0}, {2, 0}, {1, 0}, {0, 0}} {
		answered := 0
		for _, d := range got[i] {
			if d > 0 {
				answered++
			}
		}
		if len(got[i]) != want.times || answered != want.answered {
			t.Errorf("target %d: trips %v, want %d of %d", i, got[i], want.answered, want.times)
		}
	}
}

// TestEventsThatCameBeforeTheSessionBrokeAreTold, all of them: there may be no other session.
func TestEventsThatCameBeforeTheSessionBrokeAreTold(t *testing.T) {
	in, out := io.Pipe()
	var r *Remote
	connected := make(chan bool)
	told := make(chan uint64, 3)
	r = Connect(pipes{in, discard{}}, func(e Event) {
		<-connected
		<-r.Done()
		told <- e.Ended.Life
	})
	close(connected)
	for life := range 3 {
		fmt.Fprintf(out, "{\"event\":{\"ended\":{\"life\":%d,\"status\":\"\"}}}\n", life+1)
	}
	out.Close()
	for want := range uint64(3) {
		if got := next(t, told, "an event"); got != want+1 {
			t.Errorf("life %d, want %d", got, want+1)
		}
	}
}

// discard takes all.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }
