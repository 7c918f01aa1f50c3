package checkers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/history"
)

// realm is a ZooKeeper whose servers are behind in one log, with sessions, ephemeral nodes and watches: what the judgements of sessions must find valid. A wrong,
// at one place each, is what they must convict.
type realm struct {
	r       *rand.Rand
	watches bool // registers are watched, and most belong to nobody; else they are ephemeral
	wrong   string
	wronged bool
	now     time.Duration
	h       []history.Op
	states  []map[string]cell // by version
	changed []history.Txn     // by version: what is told of it
	number  int
	last    int // value, and session
	all     []*visitor
}

// cell is a register.
type cell struct {
	value, made int
	owner       uint64
}

// visitor is a client with a session.
type visitor struct {
	process int
	id      uint64
	open    bool
	ended   bool            // the session
	heard   time.Duration   // by its server
	floor   int             // version that its server had reached
	left    map[string]cell // watches, and what they found
	told    []history.Mop   // not yet on record
	late    []history.Mop   // that the wrong has held back
	had     bool            // what was asked to be watched was watched before
	asked   int             // invocation under way; -1: none
	answer  *history.Op     // to it; nil: none yet
}

const realmTimeout = time.Second

// errs where this wrong is asked for, now and then.
func (w *realm) errs(what string) bool {
	if w.wrong != what || w.r.IntN(3) > 0 {
		return false
	}
	w.wronged = true
	return true
}

func (w *realm) record(op history.Op) int {
	op.Index, op.Time = len(w.h), w.now
	w.h = append(w.h, op)
	return op.Index
}

func (w *realm) phase(phase string) {
	w.record(history.Op{Process: history.Harness, Kind: history.Info, Phase: phase})
}

// commit a change of the state at the next version.
func (w *realm) commit(told history.Txn, change func(map[string]cell)) int {
	s := maps.Clone(w.states[len(w.states)-1])
	if change != nil {
		change(s)
	}
	w.states, w.changed = append(w.states, s), append(w.changed, told)
	return len(w.states) - 1
}

// reach a version: of what a session watches and has changed until then it is told.
func (w *realm) reach(v *visitor, version int) {
	for v.floor < version {
		v.floor++
		for n, m := range w.changed[v.floor] {
			if _, watched := v.left[m.Key]; watched {
				delete(v.left, m.Key)
				w.fire(v, m, n)
			}
		}
	}
	if w.wrong == "order" && len(v.told) > 1 && v.told[0].Key != v.told[1].Key {
		w.wronged = true
		slices.Reverse(v.told)
	}
}

// fire a watch, by what is the n-th change of a version.
func (w *realm) fire(v *visitor, m history.Mop, n int) {
	other := map[string]string{history.Created: history.Changed, history.Changed: history.Deleted, history.Deleted: history.Changed, history.Members: history.Deleted}
	switch {
	case w.errs("lost"):
	case n > 0 && w.errs("half told"):
	case m.F == history.Members && w.errs("members lost"):
	case w.errs("late"):
		v.late = append(v.late, m)
	case w.errs("twice"):
		v.told = append(v.told, m, m)
	case w.errs("kind"):
		v.told = append(v.told, history.Mop{F: other[m.F], Key: m.Key})
	default:
		v.told = append(v.told, m)
	}
}

// end a session, with all that is its own.
func (w *realm) end(v *visitor) int {
	v.ended = true
	var gone history.Txn
	for _, key := range []string{"a", "b", "c"} {
		if w.states[len(w.states)-1][key].owner == v.id && v.id != 0 && !w.errs("outlives") {
			gone = append(gone, history.Mop{F: history.Deleted, Key: key})
		}
	}
	return w.commit(gone, func(s map[string]cell) {
		for _, m := range gone {
			delete(s, m.Key)
		}
		for _, key := range sequentials(s) {
			if s[key].owner == v.id && !w.errs("numbered outlives") {
				delete(s, key)
			}
		}
	})
}

// close a session.
func (w *realm) close(v *visitor) *history.Op {
	if w.watches && v.ended { // its connection has ended with it, and its watches
		return nil
	}
	at := w.end(v)
	w.reach(v, at)
	return done(at, 0)
}

// sequentials are the sequential nodes, in their order.
func sequentials(s map[string]cell) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s)), func(key string) bool { return !strings.HasPrefix(key, "q/") })
}

func done(version, position int, out ...int) *history.Op {
	return &history.Op{Version: uint64(version), Position: uint64(position), Txn: history.Txn{{Out: out}}}
}

// connect gives the session, or says that it has ended.
func (w *realm) connect(v *visitor) *history.Op {
	op := done(0, 0, int(realmTimeout.Milliseconds()))
	switch {
	case v.id != 0 && v.ended && w.wrong == "replaced":
		w.wronged = true
		fallthrough
	case v.id == 0:
		w.last++
		*v = visitor{process: v.process, id: uint64(w.last), left: map[string]cell{}, asked: v.asked, told: v.told}
		w.commit(nil, nil)
		v.floor = w.r.IntN(len(w.states))
	case v.ended && !w.errs("revived"):
		return done(0, 0, 0)
	default:
		w.resume(v)
	}
	v.open = true
	op.Session = v.id
	return op
}

// resume on another server: what was missed is told as it is there.
func (w *realm) resume(v *visitor) {
	if w.errs("back") {
		v.floor = w.r.IntN(v.floor + 1)
	} else {
		v.floor += w.r.IntN(len(w.states) - v.floor)
	}
	if w.errs("unset") {
		v.left = map[string]cell{}
	}
	for _, key := range []string{"a", "b", "c", "s"} {
		was, watched := v.left[key]
		is := w.states[v.floor][key]
		f := ""
		switch {
		case !watched:
		case key == "s" && is.made > was.made:
			f = history.Members
		case key == "s":
		case was.made == 0 && is.made > 0:
			f = history.Created
		case was.made > 0 && is.made == 0:
			if f = history.Deleted; w.wrong == "missed" {
				f, w.wronged = history.Changed, true
			}
		case is.made > was.made:
			f = history.Changed
		}
		if f != "" {
			delete(v.left, key)
			v.told = append(v.told, history.Mop{F: f, Key: key})
		}
	}
}

// perform what was asked, by a server that is somewhere behind; nil: it is refused.
func (w *realm) perform(v *visitor, m history.Mop) *history.Op {
	newest := len(w.states) - 1
	is := w.states[newest][m.Key]
	switch m.F {
	case history.Connect:
		return w.connect(v)
	case history.Close:
		return w.close(v)
	case history.CreateEphemeral, history.Write:
		if m.F == history.CreateEphemeral && is.made > 0 && !w.errs("shared") {
			return nil
		}
		f := history.Changed
		if is.made == 0 {
			f = history.Created
		}
		owner := v.id
		if m.F == history.Write {
			owner = is.owner
		}
		at := w.commit(history.Txn{{F: f, Key: m.Key}}, func(s map[string]cell) { s[m.Key] = cell{m.In[0], newest + 1, owner} })
		w.reach(v, at)
		return done(at, at)
	case history.Add, history.Remove:
		return w.alter(v, m)
	case history.Delete:
		if is.made == 0 {
			return nil
		}
		at := w.commit(history.Txn{{F: history.Deleted, Key: m.Key}}, func(s map[string]cell) { delete(s, m.Key) })
		w.reach(v, at)
		return done(at, at)
	case history.CreateSequential:
		w.number += 1 + w.r.IntN(2)
		if w.errs("number") {
			w.number -= 2 + w.r.IntN(3)
		}
		at := w.commit(nil, func(s map[string]cell) { s[fmt.Sprintf("q/%06d", w.number)] = cell{w.number, newest + 1, v.id} })
		w.reach(v, at)
		return done(at, at, w.number)
	}
	w.reach(v, v.floor+w.r.IntN(newest-v.floor+1))
	is = w.states[v.floor][m.Key]
	if m.F == history.WatchSet {
		_, v.had = v.left["s"]
		v.left["s"] = is
		return done(is.made, v.floor, w.elements(w.states[v.floor])...)
	}
	if m.F == history.Watch {
		_, v.had = v.left[m.Key]
		v.left[m.Key] = is
		return done(is.made, v.floor, min(is.made, 1))
	}
	if m.F == history.List {
		op := done(0, v.floor)
		for _, key := range sequentials(w.states[v.floor]) {
			if !w.errs("numbered vanishes") {
				op.Txn[0].Out = append(op.Txn[0].Out, w.states[v.floor][key].value)
			}
		}
		return op
	}
	if w.errs("vanishes") {
		is = cell{}
	}
	if is.made == 0 {
		return done(0, v.floor)
	}
	return done(is.made, v.floor, is.value)
}

// choose something to ask for; nil: the visitor leaves.
func (w *realm) choose(v *visitor) history.Txn {
	which := w.r.IntN(3)
	key, other := string("abc"[which]), string("abc"[(which+1+w.r.IntN(2))%3])
	w.last++
	d := w.r.IntN(20)
	switch {
	case !v.open:
		return history.Txn{{F: history.Connect}}
	case d == 0:
		return nil
	case w.watches && d == 1 && w.wrong == "": // what goes with its owner excuses many a wrong
		return []history.Txn{{{F: history.CreateEphemeral, Key: key, In: []int{w.last}}}, {{F: history.Close}}}[w.r.IntN(5)/4]
	case w.watches:
		return []history.Txn{{{F: history.Watch, Key: key}}, {{F: history.Write, Key: key, In: []int{w.last}}}, {{F: history.Read, Key: key}},
			{{F: history.Delete, Key: key}}, {{F: history.Watch, Key: key}}, {{F: history.WatchSet, Key: "s"}}, {{F: history.Add, Key: "s", In: []int{w.last}}},
			{{F: history.Remove, Key: "s", In: []int{w.last - 1 - w.r.IntN(30)}}},
			{{F: history.Check, Key: key}, {F: history.Write, Key: other, In: []int{w.last}}},
			{{F: history.Create, Key: key, In: []int{w.last}}, {F: history.Write, Key: other, In: []int{w.last}}},
			{{F: history.Write, Key: other, In: []int{w.last}}, {F: history.Create, Key: key, In: []int{w.last}}},
			{{F: history.Write, Key: other, In: []int{w.last}}, {F: history.Delete, Key: key}}}[w.r.IntN(12)]
	case d == 1:
		return history.Txn{{F: history.Close}}
	}
	return []history.Txn{{{F: history.CreateEphemeral, Key: key, In: []int{w.last}}}, {{F: history.Read, Key: key}},
		{{F: history.CreateSequential, Key: "q", In: []int{w.last}}}, {{F: history.List, Key: "q"}}}[w.r.IntN(4)]
}

// step of a visitor: it asks, or its question takes effect, or it is answered.
func (w *realm) step(v *visitor) {
	w.now += time.Duration(w.r.IntN(20)) * time.Millisecond
	switch {
	case v.asked < 0:
		if t := w.choose(v); t != nil {
			w.ask(v, t)
		} else {
			v.open = false
		}
	case v.answer == nil:
		w.take(v)
	default:
		w.told(v)
	}
}

func (w *realm) ask(v *visitor, t history.Txn) {
	v.asked = w.record(history.Op{Process: v.process, Kind: history.Invoke, Txn: t, Session: v.id, Node: "n1"})
}

func (w *realm) take(v *visitor) {
	m := w.h[v.asked].Txn[0]
	switch txn := w.h[v.asked].Txn; {
	case v.ended && m.F != history.Connect && m.F != history.Close:
	case len(txn) > 1:
		v.answer = w.together(v, txn)
	default:
		v.answer = w.perform(v, m)
	}
	if v.answer == nil {
		v.answer = &history.Op{Kind: history.Fail}
		return
	}
	v.answer.Kind = history.OK
	if v.heard = w.now; m.F == history.CreateEphemeral && w.errs("early") {
		w.end(v)
	}
}

// told what was asked for, and before it what came before. Sometimes it is not, and another process goes on.
func (w *realm) told(v *visitor) {
	asked, op := w.h[v.asked], *v.answer
	m, txn := asked.Txn[0], slices.Clone(asked.Txn)
	if op.Kind == history.OK {
		m.Out = op.Txn[0].Out
		txn[0].Out = m.Out
	}
	op.Process, op.Node, op.Txn = v.process, "n1", txn
	if op.Session == 0 {
		op.Session = asked.Session
	}
	for _, told := range v.told {
		w.record(history.Op{Process: v.process, Kind: history.Notify, Session: asked.Session, Node: "n1", Txn: history.Txn{told}})
	}
	v.told, v.late, v.asked, v.answer = v.late, nil, -1, nil
	switch {
	case w.r.IntN(30) == 0 && asked.Session != 0:
		op = asked
		op.Kind, v.open = history.Info, false
		v.process += 100
		if watches(m) && !v.had { // the client does not know of it, and its connection has ended
			delete(v.left, m.Key)
		}
	case op.Kind == history.OK && m.F == history.Close:
		v.open = false
	case op.Kind == history.OK && m.F == history.Connect && m.Out[0] == 0:
		*v = visitor{process: v.process, asked: -1}
	}
	w.record(op)
}

// run to the end: all that nobody uses expires, and new sessions look for what is left.
func (w *realm) run() []history.Op {
	w.states, w.changed = []map[string]cell{{}}, []history.Txn{nil}
	for p := range 4 {
		w.all = append(w.all, &visitor{process: p, asked: -1})
	}
	w.phase(history.PhaseStorm)
	for range 400 {
		v := w.all[w.r.IntN(len(w.all))]
		for _, v := range w.all {
			if v.id != 0 && !v.ended && w.now-v.heard > realmTimeout && w.r.IntN(4) == 0 {
				w.end(v)
				v.open = false
			}
		}
		w.step(v)
	}
	for _, v := range w.all {
		for v.asked >= 0 {
			w.step(v)
		}
	}
	w.phase(history.PhaseMend)
	w.phase(history.PhaseRest)
	w.now += 4 * realmTimeout
	for _, v := range w.all {
		if v.open = false; !w.watches && v.id != 0 && !v.ended && !w.errs("immortal") {
			w.end(v)
		}
	}
	w.phase(history.PhaseFinal)
	for _, v := range w.all {
		for range 6 { // an info may come in between
			if !v.open {
				w.ask(v, history.Txn{{F: history.Connect}})
				w.take(v)
				w.told(v)
				continue
			}
			for _, m := range []history.Mop{{F: history.Read, Key: "a"}, {F: history.Read, Key: "b"}, {F: history.Read, Key: "c"}, {F: history.List, Key: "q"}} {
				if v.open && !(w.watches && m.F == history.List) {
					w.reach(v, len(w.states)-1)
					w.ask(v, history.Txn{m})
					w.take(v)
					w.told(v)
				}
			}
		}
	}
	return w.h
}

// TestSessionsOfAGoodRealmAreNeverConvicted, and those of a bad one often enough by whom it concerns.
func TestSessionsOfAGoodRealmAreNeverConvicted(t *testing.T) {
	lists := map[bool][]Checker{false: {expiry, ephemeral, sequence, image}, true: {image, watch, multi}}
	for _, c := range []struct {
		wrong   string
		watches bool
		by      []string
		percent int // of the runs in which it happened that must be convicted: not all wrongs are seen by anybody
	}{
		{"", false, nil, 0}, {"", true, nil, 0},
		{"replaced", false, []string{"expiry"}, 90}, {"revived", false, []string{"expiry"}, 50}, {"early", false, []string{"expiry"}, 50},
		{"outlives", false, []string{"ephemeral"}, 50}, {"numbered outlives", false, []string{"ephemeral"}, 90}, {"numbered vanishes", false, []string{"ephemeral"}, 90}, {"vanishes", false, []string{"ephemeral"}, 50}, {"shared", false, []string{"ephemeral", "expiry"}, 90},
		{"immortal", false, []string{"ephemeral"}, 50}, {"immortal", false, []string{"expiry"}, 90}, {"number", false, []string{"sequence"}, 90}, {"back", false, []string{"image"}, 40},
		{"lost", true, []string{"watch"}, 90}, {"late", true, []string{"watch"}, 90}, {"twice", true, []string{"watch"}, 90}, {"kind", true, []string{"watch"}, 80},
		{"order", true, []string{"watch"}, 50}, {"unset", true, []string{"watch"}, 50}, {"half told", true, []string{"watch"}, 90}, {"members lost", true, []string{"watch"}, 90},
		{"partial", true, []string{"multi"}, 40}, {"member vanishes", true, []string{"multi"}, 90}, {"member stays", true, []string{"multi"}, 50}, {"torn", true, []string{"multi"}, 40}, {"unchecked", true, []string{"multi"}, 30}, {"missed", true, []string{"watch"}, 50}, {"back", true, []string{"image"}, 40},
	} {
		happened, convicted, judged := 0, 0, map[string]int{}
		seeds := 100
		if c.wrong == "" {
			seeds = randoms(t, seeds)
		}
		for seed := range uint64(seeds) {
			w := &realm{r: rand.New(rand.NewPCG(seed, 1)), wrong: c.wrong, watches: c.watches}
			h := w.run()
			guilty := false
			for _, k := range lists[c.watches] {
				r, err := k.Check(h, Limits{})
				if err != nil {
					t.Fatalf("%q, seed %d: %v", c.wrong, seed, err)
				}
				judged[k.Name+" "+string(r.Verdict)]++
				if r.Verdict == Invalid && !w.wronged {
					t.Fatalf("%q, seed %d: %s convicts: %s %+v", c.wrong, seed, k.Name, r.Note, r.Evidence)
				}
				guilty = guilty || r.Verdict == Invalid && slices.Contains(c.by, k.Name)
			}
			if w.wronged {
				happened++
			}
			if guilty {
				convicted++
			}
		}
		t.Logf("%q: %d happened, %d convicted; %v", c.wrong, happened, convicted, judged)
		if c.wrong != "" && (happened < 25 || convicted*100 < happened*c.percent) {
			t.Errorf("%q: happened in %d runs and was convicted in %d, want %d %%", c.wrong, happened, convicted, c.percent)
		}
	}
}
