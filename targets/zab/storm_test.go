package zab

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"assize/machine"
)

// storm is one random run: faults and load, then quiet. It returns the broken invariant, or nothing.
func storm(seed uint64, flaw string, ticks int) (*world, string) {
	w := newWorld(seed, 3, 0, machine.Options{})
	r := w.rand
	voters, observers := 3+2*r.IntN(2), r.IntN(2)
	o := machine.Options{Flaw: flaw, Snapshot: 4 + r.IntN(40), Keep: 1 + r.IntN(12), Tick: 10 * time.Millisecond}
	w = newWorld(seed, voters, observers, o)
	w.loss, w.repeat, w.delay, w.lag = 0.05*r.Float64(), 0.05*r.Float64(), r.IntN(4), r.IntN(4)
	if r.IntN(3) == 0 {
		w.loss, w.delay = 0.3*r.Float64(), 2*w.delay
	}
	busy := r.Float64() * 0.5
	calm := 20 + r.IntN(200) // ticks between faults
	for _, n := range w.nodes {
		n.platter.rand = rand.New(rand.NewPCG(seed, uint64(100+n.id)))
	}
	w.startAll()
	for until := 0; w.now < ticks && w.broken == ""; {
		if w.now >= until {
			until = w.now + 1 + r.IntN(2*calm)
			w.fault()
		}
		w.tick(1)
		if r.Float64() < busy {
			w.load()
		}
	}
	if w.broken != "" {
		return w, w.broken
	}
	w.cut = func(machine.Message) bool { return false }
	w.loss = min(w.loss, 0.05)
	w.startAll()
	if !w.settled(4000) && w.broken == "" {
		w.violate("nothing settles: %s", w.states())
	}
	before := len(w.order)
	for tries := 0; len(w.order) == before && w.broken == ""; tries++ {
		w.write()
		if w.tick(20); tries == 50 {
			w.violate("nothing is written: %s", w.states())
		}
	}
	if !w.settled(1000) && w.broken == "" {
		w.violate("nothing settles after a write: %s", w.states())
	}
	w.matching()
	return w, w.broken
}

// fault does one thing to the ensemble.
func (w *world) fault() {
	r := w.rand
	n := w.nodes[r.IntN(len(w.nodes))]
	if l := w.leader(); l != nil && r.IntN(3) == 0 {
		n = l
	}
	switch r.IntN(8) {
	case 0, 1:
		if n.up {
			n.crash()
		} else {
			n.start()
		}
	case 2:
		n.crash()
		n.start()
	case 3:
		for _, n := range w.nodes {
			if r.IntN(2) == 0 {
				n.crash()
			}
		}
	case 4:
		w.startAll()
	case 5:
		side := make([]bool, len(w.nodes)+1)
		for i := range side {
			side[i] = r.IntN(2) == 0
		}
		w.cut = func(m machine.Message) bool { return side[m.From] != side[m.To] }
	case 6:
		id, one := n.id, r.IntN(3)
		w.cut = func(m machine.Message) bool { return one != 1 && m.From == id || one != 2 && m.To == id }
	default:
		w.startAll()
		w.cut = func(machine.Message) bool { return false }
	}
}

// load is one thing that a service does.
func (w *world) load() {
	n := w.nodes[w.rand.IntN(len(w.nodes))]
	if !n.up {
		return
	}
	w.tokens++
	token := w.tokens
	n.step(func() {
		switch {
		case n.leads() && w.rand.IntN(4) == 0:
			w.asked[token] = len(w.order)
			n.confirm(token)
		case n.leads():
			for range 1 + w.rand.IntN(3) {
				n.propose([]byte(fmt.Sprintf("w%d", token)))
			}
		case n.serves():
			n.seq++
			e := machine.Encoder{}
			e.Uint(n.lives<<32 | n.seq)
			n.forward(e.B)
		}
	})
}

// matching: where two logs have a transaction of one epoch at one position, they are the same there, and up to there.
func (w *world) matching() {
	for _, a := range w.nodes {
		for _, b := range w.nodes[a.id:] {
			low, high := max(a.log.basePos, b.log.basePos), min(a.log.lastPos(), b.log.lastPos())
			same := false
			for pos := high; pos > low; pos-- {
				x, y := a.log.at(pos), b.log.at(pos)
				same = same || epochOf(x.zxid) == epochOf(y.zxid)
				if same && string(x.record) != string(y.record) {
					w.violate("n%d and n%d differ at %d below a transaction of one epoch", a.id, b.id, pos)
				}
			}
		}
	}
}

const storms = 300

// TestStorms: claims B1 to B6, B8, B12, E1, E5 under random faults, and that all comes to rest after them.
func TestStorms(t *testing.T) {
	var kinds [syncKinds]uint64
	told, sure, txns, epochs, late, lost, snaps := 0, 0, 0, 0, 0, 0, uint64(0)
	for seed := range uint64(storms) {
		w, broken := storm(seed, "", 2500)
		if broken != "" {
			t.Fatalf("seed %d: %s", seed, broken)
		}
		told, sure, txns, epochs = told+w.told, sure+w.sure, txns+len(w.order), epochs+len(w.leaders)
		for _, n := range w.nodes {
			for k := range kinds {
				kinds[k] += n.syncs[k]
			}
			late, lost, snaps = late+n.late, lost+n.lost, snaps+n.counts.SnapshotsTaken
		}
	}
	t.Logf("%d storms: %d transactions, %d epochs, DIFF TRUNC TRUNC+DIFF SNAP %v, %d told, %d confirmed, %d snapshots, %d of them late, %d lost", storms, txns, epochs, kinds, told, sure, snaps, late, lost)
	for k, n := range kinds {
		if n == 0 {
			t.Errorf("no learner was synchronized in way %d", k)
		}
	}
	if told == 0 || sure == 0 || txns == 0 || late == 0 || lost == 0 {
		t.Error("the storms were calm")
	}
}

// The same events give the same effects.
func TestSameSeedSameStorm(t *testing.T) {
	for seed := range uint64(10) {
		a, _ := storm(seed, "", 1000)
		b, _ := storm(seed, "", 1000)
		if x, y := a.states(), b.states(); x != y || len(a.order) != len(b.order) || a.order[len(a.order)-1] != b.order[len(b.order)-1] {
			t.Errorf("seed %d: %s and %s", seed, x, y)
		}
	}
}
