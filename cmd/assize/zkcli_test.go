package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"assize/daemon/clienttest"
)

var update = flag.Bool("update", false, "rewrite testdata/zkcli.txt by what Apache ZooKeeper does")

const (
	zkCli    = "/usr/share/zookeeper/bin/zkCli.sh"
	dialogue = "testdata/zkcli.txt"
	finished = "ZooKeeper CLI version: " // what is printed by version, which asks no server
	dead     = "Not connected"           // and by all commands once the session is known to have failed
)

// TestZkCliCannotTell: ZooKeeper's own shell is told the same by a ZooKeeper and by three servers of ours, each of which has one of three sessions. What
// is indented in the dialogue is what the shell prints, or the next event that one of its watches hears. Our servers are so patient that a
// busy machine is no reason for an election, by which clients lose their connections.
func TestZkCliCannotTell(t *testing.T) {
	if _, err := os.Stat(zkCli); err != nil {
		t.Skip("there is no zkCli.sh (Debian: zookeeper)")
	}
	b, err := os.ReadFile(dialogue)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	if *update {
		want = converse(t, want, slices.Repeat([]string{clienttest.Apache(t)}, 3))
		if err := os.WriteFile(dialogue, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		servers func(*testing.T) []string
	}{
		{"apache", func(t *testing.T) []string { return slices.Repeat([]string{clienttest.Apache(t)}, 3) }},
		{"assize", func(t *testing.T) []string { return upAndRunning(t, "--target", "zab", "--election", "2s") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, want := strings.Split(converse(t, want, c.servers(t)), "\n"), strings.Split(want, "\n")
			for i, line := range got {
				if i >= len(want) || line != want[i] {
					t.Fatalf("line %d: got %q, want %q", i+1, line, want[min(i, len(want)-1)])
				}
			}
			if len(got) < len(want) {
				t.Errorf("it ends before %q", want[len(got)])
			}
		})
	}
}

// converse says what is not indented in the text, and gives the text with the answers. Each line begins with the name of a session: a, b or c.
func converse(t *testing.T, text string, servers []string) string {
	shells := map[string]*shell{}
	for i, name := range []string{"a", "b", "c"} {
		shells[name] = newShell(t, servers[i])
	}
	for _, s := range shells {
		s.connected()
	}
	var out bytes.Buffer
	defer func() {
		if t.Failed() {
			t.Logf("so far:\n%s", &out)
		}
	}()
	sessions := map[string]string{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, " ") {
			continue
		}
		out.WriteString(line)
		name, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || name == "#" {
			continue
		}
		var said []string
		switch s := shells[name]; command {
		case "hears":
			said = []string{s.hear()}
		case "quit":
			said = s.quit()
		default:
			said = s.ask(command)
		}
		for _, one := range said {
			fmt.Fprintf(&out, "  %s\n", mask(one, sessions))
		}
	}
	return out.String()
}

var (
	times  = regexp.MustCompile(`^([cm]time) = .*`)
	zxids  = regexp.MustCompile(`Zxid = 0x([0-9a-f]+)`)
	owners = regexp.MustCompile(`ephemeralOwner = 0x([0-9a-f]+)`)
)

// mask what differs from run to run: times, epochs, and the numbers of sessions. What a TTL or container node has in place of an owner is its own.
func mask(line string, sessions map[string]string) string {
	line = times.ReplaceAllString(line, "$1 = TIME")
	line = zxids.ReplaceAllStringFunc(line, func(s string) string {
		zxid, _ := strconv.ParseUint(zxids.FindStringSubmatch(s)[1], 16, 64)
		return fmt.Sprintf("Zxid = EPOCH+%d", uint32(zxid))
	})
	return owners.ReplaceAllStringFunc(line, func(s string) string {
		owner := owners.FindStringSubmatch(s)[1]
		if owner == "0" || owner[0] >= '8' && len(owner) == 16 {
			return s
		}
		if sessions[owner] == "" {
			sessions[owner] = fmt.Sprintf("ephemeralOwner = SESSION %d", len(sessions)+1)
		}
		return sessions[owner]
	})
}

// shell is a zkCli.sh with a session.
type shell struct {
	t      *testing.T
	in     io.Writer
	lines  chan string
	events []string // of its watches, that nobody has asked for yet
}

func newShell(t *testing.T, server string) *shell {
	t.Helper()
	cmd := exec.Command(zkCli, "-server", server, "-timeout", "10000")
	cmd.Env = append(os.Environ(), "CLIENT_JVMFLAGS=-Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, both, err := os.Pipe() // what it prints as an answer and what as an error, in order
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = both, both
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	both.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		out.Close()
	})
	s := &shell{t: t, in: in, lines: make(chan string, 10_000)}
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	return s
}

// connected waits until it has said all that it says of itself, in whichever order.
func (s *shell) connected() {
	s.t.Helper()
	for want := []string{"JLine support is disabled", "WatchedEvent state:SyncConnected type:None path:null"}; len(want) > 0; {
		line, ok := s.next()
		if !ok {
			s.t.Fatal("zkCli.sh has ended")
		}
		want = slices.DeleteFunc(want, func(w string) bool { return w == line })
	}
}

// next line, but for those that only set others off, and what the logger has to say; false: it has ended.
func (s *shell) next() (line string, ok bool) {
	s.t.Helper()
	for end := time.After(time.Minute); ; {
		select {
		case line, ok = <-s.lines:
		case <-end:
			s.t.Fatal("zkCli.sh says nothing any more")
		}
		if !ok || line != "" && line != "WATCHER::" && !strings.HasPrefix(line, "SLF4J: ") {
			return line, ok
		}
	}
}

// ask runs a command and gives what it says.
func (s *shell) ask(command string) (said []string) {
	s.t.Helper()
	fmt.Fprintf(s.in, "%s\nversion\n", command)
	for {
		line, ok := s.next()
		event, heard := strings.CutPrefix(line, "WatchedEvent ")
		switch {
		case !ok:
			s.t.Fatalf("zkCli.sh has ended at %q: %q", command, said)
		case heard:
			s.events = append(s.events, event)
		case strings.HasPrefix(line, finished), line == dead:
			return said
		default:
			said = append(said, line)
		}
	}
}

// hear the next event.
func (s *shell) hear() string {
	s.t.Helper()
	if len(s.events) == 0 {
		line, _ := s.next()
		event, heard := strings.CutPrefix(line, "WatchedEvent ")
		if !heard {
			s.t.Fatalf("got %q, want an event", line)
		}
		return event
	}
	event := s.events[0]
	s.events = s.events[1:]
	return event
}

// quit closes the session, and gives all that it has not been asked for. Of the end itself the shell tells only if it is quick enough.
func (s *shell) quit() (said []string) {
	s.t.Helper()
	fmt.Fprintln(s.in, "quit")
	for {
		line, ok := s.next()
		if !ok {
			return append(s.events, said...)
		}
		if line != "WatchedEvent state:Closed type:None path:null" {
			said = append(said, line)
		}
	}
}
