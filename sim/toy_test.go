package sim

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/machine"
)

// toy is the least machine that keeps a replicated log: n1 is primary for ever, in term 1, all others copy. It is right as long as flaw is
// empty; each flaw breaks one invariant.
type toy struct {
	c       machine.Config
	flaw    string
	log     []entry // entry i+1 at i
	commit  uint64
	applied uint64
	store   *machine.Store
	changed uint64
	acked   map[int]uint64 // by follower: its last entry
	asked   map[uint64]machine.Request
	late    [][]byte // records that should have been logged before
	term    uint64
	role    string
	ticks   int
	wall    time.Time
	mono    time.Duration
	fx      machine.Effects
}

type entry struct {
	term uint64
	body []byte
}

func newToy(flaw string) func(machine.Config) machine.Machine {
	return func(c machine.Config) machine.Machine {
		t := &toy{c: c, flaw: flaw, store: machine.NewStore(0), acked: map[int]uint64{}, asked: map[uint64]machine.Request{}, term: 1, role: machine.Follower}
		for _, r := range c.Log {
			t.append(entry{1, r})
		}
		return t
	}
}

func (t *toy) append(e entry) {
	t.log = append(t.log, e)
	if t.changed == 0 {
		t.changed = uint64(len(t.log))
	}
}

func (t *toy) last() uint64 { return uint64(len(t.log)) }

func (t *toy) Status() machine.Status {
	return machine.Status{
		ID: t.c.ID, Role: t.role, Term: t.term, Leader: 1, Voters: t.c.Voters, Commit: t.commit, Applied: t.applied,
		Last: t.last(), Revision: t.store.Revision(), Hash: t.store.Hash(),
	}
}

func (t *toy) Changed() uint64 {
	c := t.changed
	t.changed = 0
	return c
}

func (t *toy) Entry(i uint64) (uint64, []byte, bool) {
	if i < 1 || i > t.last() {
		return 0, nil, false
	}
	return t.log[i-1].term, t.log[i-1].body, true
}

// A message is (kind, index of the body's entry or of the last entry held, commit, body).
const (
	toyCopy = iota
	toyHave
)

func (t *toy) send(to int, kind byte, index uint64, body []byte) {
	e := machine.Encoder{}
	e.Byte(kind)
	e.Uint(index)
	e.Uint(t.commit)
	e.Bytes(body)
	t.fx.Send = append(t.fx.Send, machine.Message{From: t.c.ID, To: to, Body: e.B})
}

func (t *toy) Step(e machine.Event) machine.Effects {
	t.fx = machine.Effects{}
	t.wall, t.mono = e.Wall, e.Mono
	if t.late != nil {
		t.fx.Log, t.late = t.late, nil
	}
	switch {
	case e.Request != nil:
		t.request(*e.Request)
	case e.Message != nil:
		d := machine.NewDecoder(e.Message.Body)
		kind, index, commit, body := d.Byte(), d.Uint(), d.Uint(), d.Bytes()
		if kind == toyCopy {
			t.copy(index, commit, body)
		} else {
			t.have(e.Message.From, index)
		}
	case e.Gone != 0:
		delete(t.asked, e.Gone)
	default:
		t.tick()
	}
	return t.fx
}

func (t *toy) tick() {
	t.ticks++
	if t.c.ID == 1 {
		t.role = machine.Leader
		for _, v := range t.c.Voters[1:] {
			t.resend(v)
		}
	}
	t.misbehave()
}

// misbehave after a while, once.
func (t *toy) misbehave() {
	if t.ticks != 40 {
		return
	}
	switch {
	case t.flaw == "panic" && t.c.ID == 3:
		panic("as planned")
	case t.flaw == "lie" && t.c.ID == 3:
		t.fx.Accused = append(t.fx.Accused, machine.Accusation{Node: 1, Why: "as planned"})
	case t.flaw == "two leaders" && t.c.ID == 2:
		t.role = machine.Leader
	case t.flaw == "leader without entries" && t.c.ID == 2:
		t.log, t.changed, t.term, t.role = t.log[:1], 2, 2, machine.Leader
	case t.flaw == "leader truncates" && t.c.ID == 1:
		t.log, t.changed = t.log[:t.applied-1], t.applied
	case t.flaw == "commit back" && t.c.ID == 2:
		t.commit--
		t.applied--
	case t.flaw == "unknown connection" && t.c.ID == 1:
		t.fx.Reply = append(t.fx.Reply, machine.Reply{Conn: 1 << 40, Seq: 1})
	}
}

func (t *toy) resend(to int) {
	if next := t.acked[to] + 1; next <= t.last() {
		t.send(to, toyCopy, next, t.log[next-1].body)
	} else {
		t.send(to, toyCopy, 0, nil)
	}
}

func (t *toy) request(r machine.Request) {
	c, err := machine.DecodeCommand(r.Body)
	switch {
	case err != nil || c.Kind != machine.CommandTxn || t.c.ID != 1:
		t.reply(r, machine.Result{Outcome: machine.Refused, Reason: "not the primary"})
		return
	case c.ReadOnly():
		result := t.store.Read(c)
		result.Term, result.Index = 1, t.applied
		t.reply(r, result)
		return
	}
	t.fx.Log = append(t.fx.Log, r.Body)
	t.append(entry{1, r.Body})
	t.asked[t.last()] = r
	if t.flaw == "minority" {
		t.apply(t.last())
	}
	for _, v := range t.c.Voters[1:] {
		t.resend(v)
	}
}

func (t *toy) reply(r machine.Request, result machine.Result) {
	t.fx.Reply = append(t.fx.Reply, machine.Reply{Conn: r.Conn, Seq: r.Seq, Body: result.Encode()})
	if t.flaw == "replies twice" {
		t.fx.Reply = append(t.fx.Reply, t.fx.Reply[0])
	}
}

func (t *toy) copy(index, commit uint64, body []byte) {
	if index == t.last()+1 {
		if t.flaw == "another entry" && index == 5 && t.c.ID == 2 {
			body = append([]byte(nil), body...)
			body[len(body)-1]++
		}
		t.append(entry{1, body})
		if t.flaw == "ack before sync" {
			t.late = append(t.late, body)
		} else {
			t.fx.Log = append(t.fx.Log, body)
		}
	}
	t.send(1, toyHave, t.last(), nil)
	t.apply(min(commit, t.last()))
}

func (t *toy) have(from int, last uint64) {
	if t.flaw == "flood" {
		t.resend(from)
		t.resend(from)
	}
	if last <= t.acked[from] {
		return // else duplicates would breed duplicates
	}
	t.acked[from] = max(t.acked[from], last)
	for i := t.commit + 1; i <= t.last(); i++ {
		have := 1
		for _, v := range t.c.Voters[1:] {
			if t.acked[v] >= i {
				have++
			}
		}
		if 2*have <= len(t.c.Voters) {
			break
		}
		t.apply(i)
	}
	if t.acked[from] < t.last() {
		t.resend(from)
	}
}

func (t *toy) apply(commit uint64) {
	if commit <= t.commit {
		return
	}
	t.commit = commit
	for t.applied < commit {
		t.applied++
		c, err := machine.DecodeCommand(t.log[t.applied-1].body)
		if err != nil {
			panic(err)
		}
		if t.flaw == "another state" && t.c.ID == 3 && t.applied == 7 {
			c.Then[0].Value = []byte("99")
		}
		result := t.store.Apply(c)
		result.Term, result.Index = 1, t.applied
		t.fx.Applied = append(t.fx.Applied, machine.Applied{Index: t.applied, Revision: t.store.Revision(), Hash: t.store.Hash()})
		if r, ok := t.asked[t.applied]; ok && t.c.ID == 1 {
			delete(t.asked, t.applied)
			t.reply(r, result)
		}
	}
	if t.flaw == "applied too early" && t.c.ID == 1 && t.applied > 3 {
		t.commit = t.applied - 1
	}
}

func toyConfig(seed uint64, flaw string) Config {
	return Config{
		Seed: seed, Nodes: 3, New: newToy(flaw), Options: machine.Options{Tick: 25 * time.Millisecond, Election: 300 * time.Millisecond},
		Weather: Weather{Delay: 2 * time.Millisecond, Spread: 0.8, Loss: 0.02, Duplicate: 0.05, Sync: time.Millisecond, Tear: 0.5, Drift: 0.02},
	}
}

func put(v int) history.Txn { return history.Txn{{F: history.Write, Key: "k", In: []int{v}}} }

var get = history.Txn{{F: history.Read, Key: "k"}}

var patient = cluster.Options{Timeout: time.Second}

// drive writes and reads on the primary until the time is up, with a connection for each operation that went wrong. It returns how many
// operations succeeded.
func drive(s *Sim, until time.Duration) (ok int) {
	for i := 0; s.Now() < until; i++ {
		c, err := s.Dial(context.Background(), "n1", patient)
		for err == nil && s.Now() < until {
			if _, err = c.Do(context.Background(), put(i)); err == nil {
				ok++
				_, err = c.Do(context.Background(), get)
			}
			i++
			s.Sleep(20 * time.Millisecond)
		}
		if c != nil {
			c.Close()
		}
		s.Sleep(10 * time.Millisecond)
	}
	return ok
}

// TestInvariantsFire breaks each invariant and sees the court tell which one, and nothing where nothing was broken.
func TestInvariantsFire(t *testing.T) {
	for _, c := range []struct{ flaw, want string }{
		{"", ""},
		{"panic", "on n3: panic: panic: as planned, at toy_test.go"},
		{"lie", "on n3: lie: of n1: as planned"},
		{"two leaders", "on n2: election safety: leads term 1, as n1 does"},
		{"leader without entries", "on n2: leader completeness: leads term 2 without entry"},
		{"leader truncates", "on n1: leader append-only: leads term 1 and has changed its log"},
		{"another entry", "on n2: log matching: its log up to entry 5 of term 1"},
		{"another state", "on n3: state machine safety: its state after entry 7"},
		{"commit back", "on n2: progress: term 1, entry 26 committed and entry 26 applied, after term 1, entry 27 committed"},
		{"applied too early", "on n1: progress: applied up to entry 4, committed up to entry 3"},
		{"ack before sync", "on n1: durability: acknowledged entry"},
		{"minority", "on n1: durability: acknowledged entry"},
		{"replies twice", "on n1: reply: replies to request 1 of connection 1; the last was 1, answered before: true"},
		{"flood", "flood: 16384 messages are under way"},
		{"unknown connection", "on n1: reply: replies to connection 1099511627776"},
	} {
		s := New(toyConfig(1, c.flaw))
		var ok int
		err := s.Run(func() { ok = drive(s, 3*time.Second) })
		got := ""
		if err != nil {
			got = err.Error()
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.flaw, got, c.want)
		}
		if c.want == "" && ok < 50 {
			t.Errorf("only %d writes succeeded", ok)
		}
	}
}

// polite is a toy whose terms are epochs and whose entries have names.
type polite struct{ *toy }

func (polite) Words() (term, entry, revision string) { return "epoch", "transaction", "zxid" }

func (p polite) Name(index uint64) string {
	if index < 1 || index > p.last() {
		return ""
	}
	return fmt.Sprintf("zxid %#x", p.log[index-1].term<<32|index)
}

// TestInvariantsAreToldInTheProtocolsWords where it has words of its own.
func TestInvariantsAreToldInTheProtocolsWords(t *testing.T) {
	for _, c := range []struct{ flaw, want string }{
		{"two leaders", "on n2: election safety: leads epoch 1, as n1 does"},
		{"leader without entries", "on n2: leader completeness: leads epoch 2 without zxid 0x"},
		{"leader truncates", "on n1: leader append-only: leads epoch 1 and has changed its log"},
		{"another entry", "on n2: log matching: its log up to zxid 0x100000005 is another"},
		{"another state", "on n3: state machine safety: its state after zxid 0x100000007"},
		{"commit back", "on n2: progress: epoch 1, zxid 0x10000001a committed"},
		{"applied too early", "on n1: progress: applied up to zxid 0x100000004, committed up to zxid 0x100000003"},
		{"ack before sync", "on n1: durability: acknowledged zxid 0x1"},
		{"minority", "on n1: durability: acknowledged zxid 0x1"},
	} {
		config := toyConfig(1, c.flaw)
		plain := config.New
		config.New = func(m machine.Config) machine.Machine { return polite{plain(m).(*toy)} }
		s := New(config)
		err := s.Run(func() { drive(s, 3*time.Second) })
		first, _, _ := strings.Cut(fmt.Sprint(err), "\n")
		if !strings.Contains(first, c.want) || strings.Contains(first, "term") || strings.Contains(first, "entry") {
			t.Errorf("%s: got %q, want %q", c.flaw, first, c.want)
		}
	}
}
