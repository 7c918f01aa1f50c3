package raft

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"assize/machine"
)

var update = flag.Bool("update", false, "rewrite the expected traces in testdata")

// TestScripts runs testdata/*.txt. A line that begins a line is a command, what is indented is the trace it must leave:
//
//	servers N [option=value ...]        first of all: read flaw snapshot
//	log ID TERM TERM ...                first too: what a server's log holds
//	timeout ID                          its election time-out fires
//	tick N                              time passes for all who are not paused, and messages arrive
//	clock ID DURATION                   its monotonic clock jumps
//	write|read ID KEY [VALUE]           a client asks a server, on a connection of its own
//	join ID | leave AT ID | transfer AT ID
//	deliver [FROM>TO ...]               what is under way on these links now, or everywhere, arrives; not what it gives rise to
//	drop FROM>TO ...                    what is under way on these links is lost
//	again FROM>TO                       the last message delivered on this link arrives once more
//	settle                              all messages arrive, and those they give rise to
//	cut ID ... | heal                   no message from or to these servers arrives
//	kill ID ... | start ID ... | pause ID ... | resume ID ...
//	show [ID ...]                       role, term, commit index and log
//	quietly COMMAND                     without telling of messages
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d scripts: %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(want))
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
			for i := range a {
				if i >= len(b) || a[i] != b[i] {
					t.Fatalf("line %d: got %q, want %q", i+1, a[i], strings.Join(b[min(i, len(b)):min(i+1, len(b))], ""))
				}
			}
			if len(a) != len(b) {
				t.Errorf("got %d lines, want %d", len(a), len(b))
			}
		})
	}
}

// script is one in progress.
type script struct {
	*network
	out   bytes.Buffer
	asked map[uint64]string
	told  int
	last  map[string]machine.Message
	logs  map[int][]uint64
	off   map[int]bool
	quiet bool
}

func runScript(t *testing.T, text string) []byte {
	s := &script{asked: map[uint64]string{}, last: map[string]machine.Message{}, logs: map[int][]uint64{}, off: map[int]bool{}}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue
		}
		fmt.Fprintln(&s.out, line)
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if s.network == nil && words[0] != "log" {
			s.create(t, words)
			continue
		}
		if s.quiet = words[0] == "quietly"; s.quiet {
			words = words[1:]
		}
		s.command(words[0], words[1:])
		if s.network != nil {
			s.answers()
		}
	}
	return s.out.Bytes()
}

func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.out, "  "+format+"\n", args...) }

func (s *script) create(t *testing.T, words []string) {
	if words[0] != "servers" {
		t.Fatalf("%q before servers", words[0])
	}
	o := machine.Options{}
	for _, w := range words[2:] {
		name, v, _ := strings.Cut(w, "=")
		switch name {
		case "read":
			o.Read = v
		case "flaw":
			o.Flaw = v
		case "snapshot":
			o.Snapshot = number(v)
		default:
			t.Fatalf("no option %q", name)
		}
	}
	s.network = newNetwork(t, number(words[1]), o)
	s.network.cut = func(m machine.Message) bool { return s.off[m.From] || s.off[m.To] }
	for id := 1; id <= number(words[1]); id++ {
		if terms := s.logs[id]; terms != nil {
			s.at(id).log = diskOf(terms)
			s.start(id)
		}
	}
}

// diskOf is what a server with such a log has on its disk. Each entry names its term and place.
func diskOf(terms []uint64) (log [][]byte) {
	for i, term := range terms {
		o := order{conn: 1<<40 + term, seq: uint64(i + 1), body: write("x", int(term)*100+i).Encode()}
		e := machine.Encoder{}
		encodeEntries(&e, uint64(i+1), []entry{{term, o.encode(kindCommand)}})
		log = append(log, e.B)
	}
	return log
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func (s *script) command(name string, args []string) {
	ids := func(do func(int)) {
		for _, a := range args {
			do(number(a))
		}
	}
	switch name {
	case "log":
		var terms []uint64
		for _, a := range args[1:] {
			terms = append(terms, uint64(number(a)))
		}
		s.logs[number(args[0])] = terms
	case "timeout":
		s.campaign(number(args[0]))
	case "tick":
		for range number(args[0]) {
			s.now += s.o.Tick
			for _, v := range s.servers {
				s.step(v.id, machine.Event{})
			}
			s.deliverAll()
		}
	case "clock":
		d, _ := time.ParseDuration(args[1])
		s.at(number(args[0])).behind -= d
	case "write":
		s.client(args, write(args[1], number(args[2])))
	case "read":
		s.client(args, get(args[1]))
	case "join":
		s.client(args, machine.Command{Kind: machine.CommandJoin, Node: s.network.join()})
	case "leave":
		s.client(args, machine.Command{Kind: machine.CommandLeave, Node: number(args[1])})
	case "transfer":
		s.client(args, machine.Command{Kind: machine.CommandTransfer, Node: number(args[1])})
	case "deliver", "drop":
		s.pass(args, name == "deliver")
	case "again":
		m := s.last[args[0]]
		s.say("%s", tell(m))
		s.deliver(m)
	case "settle":
		s.deliverAll()
	case "cut":
		ids(func(id int) { s.off[id] = true })
	case "heal":
		clear(s.off)
	case "kill":
		ids(s.kill)
	case "start":
		ids(s.start)
	case "pause":
		ids(func(id int) { s.at(id).paused = true })
	case "resume":
		ids(func(id int) { s.at(id).paused = false })
	case "show":
		if len(args) == 0 {
			for _, v := range s.servers {
				s.show(v.id)
			}
		}
		ids(s.show)
	default:
		s.t.Fatalf("no command %q", name)
	}
}

func (s *script) client(args []string, c machine.Command) {
	conn := s.ask(number(args[0]), c)
	s.asked[conn] = strings.Join(args, " ")
}

func (s *script) answers() {
	for ; s.told < len(s.replies); s.told++ {
		r := s.replies[s.told]
		result, err := machine.DecodeResult(r.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		what := map[machine.Outcome]string{machine.Done: "done", machine.Refused: "refused", machine.Unknown: "unknown"}[result.Outcome]
		if len(result.Responses) > 0 && result.Responses[0].Op == machine.OpRange {
			what = strconv.Itoa(value(result))
		}
		s.say("answer to %s: %s", s.asked[r.Conn], strings.TrimSpace(what+" "+result.Reason))
	}
}

// pass lets what is under way on the links arrive or not.
func (s *script) pass(links []string, arrive bool) {
	now := s.queue
	s.queue = nil
	var left []machine.Message
	for _, m := range now {
		link := fmt.Sprintf("%d>%d", m.From, m.To)
		if len(links) > 0 && !contains(links, link) {
			left = append(left, m)
			continue
		}
		if !arrive {
			s.say("lost %s", tell(m))
			continue
		}
		s.arrive(m)
	}
	s.queue = append(left, s.queue...)
}

func (s *script) arrive(m machine.Message) {
	if s.network.cut(m) || s.at(m.To).down || s.at(m.To).paused {
		return
	}
	if !s.quiet {
		s.say("%s", tell(m))
	}
	s.last[fmt.Sprintf("%d>%d", m.From, m.To)] = m
	s.deliver(m)
}

func (s *script) deliverAll() {
	for len(s.queue) > 0 {
		m := s.queue[0]
		s.queue = s.queue[1:]
		s.arrive(m)
	}
}

func (s *script) show(id int) {
	v := s.at(id)
	if v.down {
		s.say("%d is down", id)
		return
	}
	st := v.Status()
	var terms []string
	if v.Raft.log.base > 0 {
		terms = append(terms, fmt.Sprintf("[%d:%d]", v.Raft.log.base, v.Raft.log.baseTerm))
	}
	for i := v.Raft.log.base + 1; i <= v.Raft.log.last(); i++ {
		terms = append(terms, strconv.FormatUint(v.Raft.log.term(i), 10))
	}
	s.say("%d %s term %d vote %d leader %d commit %d snapshot %d voters %v log %s", id, st.Role, st.Term, v.vote, st.Leader, st.Commit, st.Snapshot,
		st.Voters, strings.Join(terms, " "))
}

// tell a message in words.
func tell(in machine.Message) string {
	var m message
	if err := m.decode(in.Body); err != nil {
		return err.Error()
	}
	head := fmt.Sprintf("%d>%d term %d ", in.From, in.To, m.term)
	yes := map[bool]string{true: "yes", false: "no"}[m.granted]
	switch m.kind {
	case msgPreVote:
		return head + fmt.Sprintf("pre-vote? last %d:%d", m.index, m.logTerm)
	case msgVote:
		return head + fmt.Sprintf("vote? last %d:%d", m.index, m.logTerm) + map[bool]string{true: " by handover"}[m.transfer]
	case msgPreVoteReply:
		return head + "pre-vote " + yes
	case msgVoteReply:
		return head + "vote " + yes
	case msgAppend:
		var terms []string
		for _, e := range m.entries {
			terms = append(terms, strconv.FormatUint(e.term, 10)+[]string{" noop", "", " config"}[e.data[0]])
		}
		return head + strings.TrimSpace(fmt.Sprintf("append after %d:%d commit %d round %d [%s]", m.index, m.logTerm, m.commit, m.round, strings.Join(terms, ", ")))
	case msgAppendReply:
		if m.granted {
			return head + fmt.Sprintf("appended up to %d round %d", m.index, m.round)
		}
		return head + fmt.Sprintf("refused after %d, try %d conflicting term %d round %d", m.index, m.hint, m.hintTerm, m.round)
	case msgSnapshot:
		var i image
		_, _ = i.header(m.data)
		return head + fmt.Sprintf("snapshot up to %d:%d", i.index, i.term)
	}
	return head + map[byte]string{msgTimeoutNow: "campaign now", msgForward: "forwarded", msgRefusal: "refusal", msgQuery: "index to read at?",
		msgIndex: fmt.Sprintf("read at %d", m.index)}[m.kind]
}
