package checkers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"assize/history"
)

// What the realm does to sets, and to several registers at once.

// alter the set.
func (w *realm) alter(v *visitor, m history.Mop) *history.Op {
	newest := len(w.states) - 1
	element := fmt.Sprintf("s/%06d", m.In[0])
	if _, there := w.states[newest][element]; there == (m.F == history.Add) {
		return nil
	}
	at := w.commit(history.Txn{{F: history.Members, Key: "s"}}, func(s map[string]cell) {
		if s["s"] = (cell{made: newest + 1}); m.F == history.Add {
			s[element] = cell{value: m.In[0]}
		} else {
			delete(s, element)
		}
	})
	w.reach(v, at)
	return done(at, at)
}

func elements(s map[string]cell) (list []int) {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(key, "s/") {
			list = append(list, s[key].value)
		}
	}
	return list
}

// together does all steps at one version, or none.
func (w *realm) together(v *visitor, txn history.Txn) *history.Op {
	newest := len(w.states) - 1
	var out []int
	var told history.Txn
	var changes []func(map[string]cell)
	for _, m := range txn {
		is := w.states[newest][m.Key]
		if (is.made > 0) == (m.F == history.Create) {
			if len(changes) > 0 && w.errs("partial") {
				w.commit(told, func(s map[string]cell) { changes[0](s) })
			}
			return nil
		}
		set := func(s map[string]cell) { s[m.Key] = cell{m.In[0], len(w.states), 0} }
		switch m.F {
		case history.Check: // what was found a while ago is found to be so still
			if out = []int{is.value}; w.errs("unchecked") {
				for _, s := range w.states[max(newest-4, 0):] {
					if s[m.Key].made > 0 {
						out = []int{s[m.Key].value}
						break
					}
				}
			}
		case history.Delete:
			told, changes = append(told, history.Mop{F: history.Deleted, Key: m.Key}), append(changes, func(s map[string]cell) { delete(s, m.Key) })
		case history.Create:
			told, changes = append(told, history.Mop{F: history.Created, Key: m.Key}), append(changes, set)
		case history.Write:
			told, changes = append(told, history.Mop{F: history.Changed, Key: m.Key}), append(changes, set)
		}
	}
	if len(changes) > 1 && w.errs("torn") {
		w.commit(told[:1], func(s map[string]cell) { changes[0](s) })
		told, changes = told[1:], changes[1:]
	}
	at := w.commit(told, func(s map[string]cell) {
		for _, change := range changes {
			change(s)
		}
	})
	w.reach(v, at)
	return done(at, at, out...)
}

// TestPossibleAgainstForce: a doubt can have been exactly at the versions that the words of possible say, looked at one by one.
func TestPossibleAgainstForce(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	count := map[bool]int{}
	n := randoms(t, 200_000)
	for i := range n {
		const most = 12
		var quiet [most + 2]bool
		var taken [most + 2]bool
		l := &ledger{doubts: map[string][]doubt{}, quiet: map[string][]stretch{}}
		var list []stretch
		for range r.IntN(4) {
			from := uint64(r.IntN(most))
			s := stretch{from, from + uint64(r.IntN(5))}
			list = append(list, s)
			for v := s.from + 1; v <= min(s.to, most); v++ {
				quiet[v] = true
			}
		}
		l.quiet["k"] = merged(list)
		for v := uint64(1); v <= most; v++ {
			if taken[v] = r.IntN(3) == 0; taken[v] {
				l.taken = append(l.taken, v)
			}
		}
		after := uint64(0)
		for n := range r.IntN(4) {
			after += uint64(r.IntN(4))
			l.doubts["k"] = append(l.doubts["k"], doubt{n * 2, after, r.IntN(2) == 0})
		}
		deleted, from, to, event := r.IntN(2) == 0, uint64(r.IntN(most)), uint64(r.IntN(most+1)), r.IntN(8)
		want, is := uint64(0), false
		for v := from + 1; v < to && !is; v++ {
			for _, d := range l.doubts["k"] {
				if d.deleted == deleted && d.asked < event && d.after < v && !quiet[v] && !taken[v] && !is {
					want, is = v, true
				}
			}
		}
		count[is]++
		if got, can := l.possible("k", deleted, from, to, event); got != want || can != is {
			t.Fatalf("%d: got %d, %v, want %d, %v: deleted %v, from %d to %d at %d, %+v", i, got, can, want, is, deleted, from, to, event, l)
		}
	}
	if count[true] < n/20 || count[false] < n/20 {
		t.Errorf("possible or not: %v", count)
	}
}

// TestTellsWhatMultisBreak, each by its own words.
func TestTellsWhatMultisBreak(t *testing.T) {
	both := func(a, b history.Mop) history.Txn { return history.Txn{a, b} }
	write := func(key string, v int) history.Mop { return history.Mop{F: history.Write, Key: key, In: []int{v}} }
	create := func(key string, v int) history.Mop { return history.Mop{F: history.Create, Key: key, In: []int{v}} }
	read := func(key string, out ...int) history.Txn { return history.Txn{{F: history.Read, Key: key, Out: out}} }
	type answer struct {
		txn               history.Txn
		kind              history.Kind
		version, position uint64
	}
	done := answer{both(create("a", 1), create("b", 2)), history.OK, 5, 5}
	removed := answer{history.Txn{{F: history.Delete, Key: "a"}}, history.OK, 7, 7}
	for _, c := range []struct {
		name    string
		answers []answer
		want    string // words; empty: nothing is broken
	}{
		{"all is seen", []answer{done, {read("a", 1), history.OK, 5, 6}, {read("b", 2), history.OK, 5, 6}}, ""},
		{"two versions", []answer{done, {read("a", 1), history.OK, 6, 6}}, "saw it at version 6, and it was written at 5"},
		{"two versions of one of which nobody knows", []answer{{both(write("a", 1), write("b", 2)), history.Info, 0, 0}, {read("a", 1), history.OK, 5, 6}, {read("b", 2), history.OK, 6, 6}}, "saw it at version 6"},
		{"the half of it", []answer{done, {read("b"), history.OK, 0, 6}}, "has found nothing"},
		{"nothing before it", []answer{done, {read("b"), history.OK, 0, 4}}, ""},
		{"refused", []answer{{both(write("a", 1), create("b", 2)), history.Fail, 0, 0}, {read("a", 1), history.OK, 5, 6}}, "saw what had been refused"},
		{"of nobody", []answer{{read("a", 1), history.OK, 5, 6}}, "nobody has asked for"},
		{"missed", []answer{done, {both(write("a", 3), write("b", 4)), history.OK, 8, 8}, {read("b", 2), history.OK, 5, 8}}, "missed the change at 8"},
		{"created what is there", []answer{done, {both(create("a", 3), write("b", 4)), history.OK, 8, 8}}, "has found nothing"},
		{"created anew", []answer{done, removed, {both(create("a", 3), write("b", 4)), history.OK, 8, 8}}, ""},
		{"wrote what is not there", []answer{done, removed, {both(write("a", 3), write("b", 4)), history.OK, 8, 8}}, "has found it there"},
		{"deleted what is not there", []answer{done, removed, {history.Txn{{F: history.Delete, Key: "a"}}, history.OK, 8, 8}}, "has found it there"},
		{"checked", []answer{done, {history.Txn{{F: history.Check, Key: "a", Out: []int{1}}, write("b", 4)}, history.OK, 8, 8}}, ""},
		{"checked what has changed", []answer{done, {history.Txn{write("a", 3)}, history.OK, 7, 7}, {history.Txn{{F: history.Check, Key: "a", Out: []int{1}}, write("b", 4)}, history.OK, 8, 8}},
			"missed the change at 7"},
		{"gone with its owner", []answer{{history.Txn{{F: history.CreateEphemeral, Key: "a", In: []int{1}}}, history.OK, 5, 5}, {read("a"), history.OK, 0, 7}}, ""},
		{"made by whom nobody knows when", []answer{done, {both(create("a", 3), write("b", 4)), history.OK, 0, 0}}, ""},
		{"checked what was made anew", []answer{done, removed, {both(create("a", 3), write("b", 4)), history.OK, 8, 8},
			{history.Txn{{F: history.Check, Key: "a", Out: []int{1}}, write("b", 5)}, history.OK, 9, 9}}, ""},
	} {
		var h []history.Op
		for p, a := range c.answers {
			op := history.Op{Index: len(h), Process: p, Txn: slices.Clone(a.txn)}
			for i := range op.Txn {
				op.Txn[i].Out = nil
			}
			h = append(h, op)
			if op.Index, op.Kind, op.Version, op.Position = len(h), a.kind, a.version, a.position; a.kind == history.OK {
				op.Txn = a.txn
			}
			h = append(h, op)
		}
		got, err := checkMulti(h, Limits{})
		if err != nil || (got.Verdict == Invalid) != (c.want != "") || !strings.Contains(got.Note, c.want) {
			t.Errorf("%s: %s %s, %v; want %q", c.name, got.Verdict, got.Note, err, c.want)
		}
	}
}
