package checkers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"assize/history"
)

// asks are calls one after the other.
type asks []history.Op

func (a *asks) ask(process int, session uint64, m history.Mop, done history.Op) {
	asked := m
	asked.Out = nil
	*a = append(*a, history.Op{Index: len(*a), Process: process, Kind: history.Invoke, Session: session, Txn: history.Txn{asked}})
	done.Index, done.Process, done.Session, done.Txn = len(*a), process, session, history.Txn{m}
	if done.Kind == history.Invoke {
		done.Kind = history.OK
	}
	*a = append(*a, done)
}

// nodeLook is a read of a name, in the state of a position.
type nodeLook struct {
	key      string
	position int
	value    int   // 0: nothing
	listed   []int // of the key "q": numbers, ascending
}

type nodeMade struct {
	key            string
	version, value int
	session        int
}

// drawn is a random history of creates, reads and closes, one after the other, and what the oracle needs of it.
type drawn struct {
	asks
	now    int
	made   []nodeMade
	writes [][2]int // session, version
	closes [][2]int
	looks  []nodeLook
}

func drawLives(r *rand.Rand) (d drawn) {
	floors := map[int]int{}
	for range 3 + r.IntN(6) {
		s := 1 + r.IntN(3)
		key := string("ab"[r.IntN(2)])
		switch r.IntN(8) {
		case 5:
			d.now++
			d.made = append(d.made, nodeMade{"q", d.now, d.now, s})
			d.writes = append(d.writes, [2]int{s, d.now})
			d.ask(s, uint64(s), history.Mop{F: history.CreateSequential, Key: "q", In: []int{d.now}, Out: []int{d.now}}, history.Op{Version: uint64(d.now), Position: uint64(d.now)})
			floors[s] = d.now
		case 6, 7:
			if d.now == 0 {
				continue
			}
			l := nodeLook{key: "q", position: max(1, floors[s]+r.IntN(d.now-floors[s]+1))}
			for _, m := range d.made {
				if m.key == l.key && m.version <= l.position && r.IntN(3) > 0 {
					l.listed = append(l.listed, m.value)
				}
			}
			d.looks = append(d.looks, l)
			d.ask(s, uint64(s), history.Mop{F: history.List, Key: "q", Out: l.listed}, history.Op{Position: uint64(l.position)})
			floors[s] = l.position
		case 0, 1:
			d.now++
			d.made = append(d.made, nodeMade{key, d.now, d.now, s})
			d.writes = append(d.writes, [2]int{s, d.now})
			d.ask(s, uint64(s), history.Mop{F: history.CreateEphemeral, Key: key, In: []int{d.now}}, history.Op{Version: uint64(d.now), Position: uint64(d.now)})
			floors[s] = d.now
		case 2:
			if r.IntN(3) > 0 || slices.ContainsFunc(d.closes, func(c [2]int) bool { return c[0] == s }) {
				continue
			}
			d.now++
			d.closes = append(d.closes, [2]int{s, d.now})
			d.ask(s, uint64(s), history.Mop{F: history.Close}, history.Op{Version: uint64(d.now)})
			floors[s] = d.now
		default:
			if d.now == 0 {
				continue
			}
			l := nodeLook{key: key, position: max(1, floors[s]+r.IntN(d.now-floors[s]+1))}
			for _, m := range d.made {
				if m.key == key && m.version <= l.position && r.IntN(2) == 0 {
					l.value = m.value
				}
			}
			d.looks = append(d.looks, l)
			m, done := history.Mop{F: history.Read, Key: key}, history.Op{Position: uint64(l.position)}
			if l.value > 0 {
				m.Out, done.Version = []int{l.value}, uint64(l.value)
			}
			d.ask(s, uint64(s), m, done)
			floors[s] = l.position
		}
	}
	return d
}

// possible tells whether there are versions at which the sessions can have ended.
func (d *drawn) possible() bool {
	for a := range d.now + 2 {
		for b := range d.now + 2 {
			for c := range d.now + 2 {
				if d.explained([]int{0, a, b, c}) {
					return true
				}
			}
		}
	}
	return false
}

func (d *drawn) explained(end []int) bool {
	for _, w := range d.writes {
		if w[1] >= end[w[0]] {
			return false
		}
	}
	for _, c := range d.closes {
		if end[c[0]] > c[1] { // it may have expired just before: ZooKeeper closes what is no session
			return false
		}
	}
	for i, m := range d.made {
		for _, before := range d.made[:i] {
			if m.key != "q" && before.key == m.key && end[before.session] >= m.version {
				return false
			}
		}
	}
	return !slices.ContainsFunc(d.looks, func(l nodeLook) bool {
		there := 0
		var listed []int
		for _, m := range d.made {
			if m.key == l.key && m.version <= l.position && l.position < end[m.session] {
				there = m.value
				listed = append(listed, m.value)
			}
		}
		return l.key == "q" && !slices.Equal(listed, l.listed) || l.key != "q" && there != l.value
	})
}

func TestEphemeralAgainstForce(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	count := map[bool]int{}
	n := randoms(t, 60_000)
	for i := range n {
		d := drawLives(r)
		got, err := checkEphemeral(d.asks, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want := d.possible()
		count[want]++
		if (got.Verdict != Invalid) != want {
			t.Fatalf("%d: %s, possible %v: %s\n%+v", i, got.Verdict, want, got.Note, d.asks)
		}
	}
	if count[true] < n/12 || count[false] < n/12 {
		t.Errorf("possible: %v", count)
	}
}

// TestSequenceAgainstForce holds each pair of nodes against the sentence.
func TestSequenceAgainstForce(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	count := map[bool]int{}
	n := randoms(t, 60_000)
	for i := range n {
		var h []history.Op
		open := map[int]history.Mop{}
		for v := 0; v < 4+r.IntN(8) || len(open) > 0; v++ {
			p := r.IntN(3)
			m, is := open[p]
			op := history.Op{Index: len(h), Process: p, Kind: history.OK}
			if is {
				m.Out = []int{v/2 + r.IntN(2)}
				op.Version = uint64(r.IntN(2) * (v/2 + 1 + r.IntN(2)))
				delete(open, p)
			} else {
				m = history.Mop{F: history.CreateSequential, Key: "q", In: []int{v}}
				op.Kind, open[p] = history.Invoke, m
			}
			op.Txn = history.Txn{m}
			h = append(h, op)
		}
		got, err := checkSequence(h, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		calls, _ := history.Pair(h)
		wrong := false
		for _, a := range calls {
			for _, b := range calls {
				x, y := h[a.Complete], h[b.Complete]
				before := a.Complete < b.Invoke || x.Version > 0 && y.Version > 0 && x.Version < y.Version
				wrong = wrong || a != b && (x.Txn[0].Out[0] == y.Txn[0].Out[0] || before && x.Txn[0].Out[0] > y.Txn[0].Out[0])
			}
		}
		count[wrong]++
		if (got.Verdict == Invalid) != wrong {
			t.Fatalf("%d: %s, wrong %v: %s\n%+v", i, got.Verdict, wrong, got.Note, h)
		}
	}
	if count[true] < n/60 || count[false] < n/60 {
		t.Errorf("wrong: %v", count)
	}
}

// TestWatchOfWhichNobodyKnows: its answer may have come when nobody waited for it any more, and then the client has it set anew wherever it goes on.
func TestWatchOfWhichNobodyKnows(t *testing.T) {
	notify := func(a *asks) {
		*a = append(*a, history.Op{Index: len(*a), Process: 1, Kind: history.Notify, Session: 7, Txn: history.Txn{{F: history.Created, Key: "a"}}})
	}
	for _, c := range []struct {
		kind    history.Kind
		notices int
		want    Verdict
	}{
		{history.Fail, 1, Valid}, {history.Fail, 2, Invalid}, {history.OK, 1, Valid}, {history.OK, 2, Invalid},
	} {
		var a asks
		m := history.Mop{F: history.Watch, Key: "a"}
		if c.kind == history.OK {
			m.Out = []int{0}
		}
		a.ask(1, 7, m, history.Op{Kind: c.kind, Position: 4})
		a.ask(2, 8, history.Mop{F: history.Write, Key: "a", In: []int{1}}, history.Op{Version: 5, Position: 5})
		for range c.notices {
			notify(&a)
		}
		a.ask(1, 7, history.Mop{F: history.Read, Key: "a", Out: []int{1}}, history.Op{Version: 5, Position: 5})
		got, err := checkWatch(a, Limits{})
		if err != nil || got.Verdict != c.want {
			t.Errorf("%v and told %d times: %s %s, %v; want %s", c.kind, c.notices, got.Verdict, got.Note, err, c.want)
		}
	}
}

// TestNumberedNodeIsMissedWhereItWasFirst: a list from an older state, though it was asked for later, shows that the node was gone there, and its session had not ended by then.
func TestNumberedNodeIsMissedWhereItWasFirst(t *testing.T) {
	list := func(a *asks, session uint64, position uint64) {
		a.ask(int(session), session, history.Mop{F: history.List, Key: "q"}, history.Op{Position: position})
	}
	for _, c := range []struct {
		newer, older uint64
		want         Verdict
	}{{9, 5, Invalid}, {9, 8, Valid}, {5, 9, Invalid}} {
		var a asks
		a.ask(1, 1, history.Mop{F: history.CreateSequential, Key: "q", In: []int{1}, Out: []int{1}}, history.Op{Version: 3, Position: 3})
		a.ask(1, 1, history.Mop{F: history.CreateEphemeral, Key: "e", In: []int{2}}, history.Op{Version: 7, Position: 7})
		for session := uint64(2); session < 4; session++ {
			a.ask(int(session), session, history.Mop{F: history.List, Key: "q", Out: []int{1}}, history.Op{Position: 4})
		}
		list(&a, 2, c.newer)
		list(&a, 3, c.older)
		h := append([]history.Op{}, a...)
		for _, phase := range []string{history.PhaseRest, history.PhaseFinal} {
			h = append(h, history.Op{Index: len(h), Process: history.Harness, Kind: history.Info, Phase: phase})
		}
		got, err := checkEphemeral(h, Limits{})
		if err != nil || got.Verdict != c.want {
			t.Errorf("missed at %d, and then at %d: %s %s, %v; want %s", c.newer, c.older, got.Verdict, got.Note, err, c.want)
		}
	}
}
