package machine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// model is the store as one would write it without caring about speed: a copy of the whole state for each revision.
type model struct {
	states  []map[string]KeyValue // by revision; states[0] is not used
	changes []Change
}

func newModel() *model {
	return &model{states: []map[string]KeyValue{nil, {}}}
}

func (m *model) revision() int64 { return int64(len(m.states) - 1) }

func inRange(key, from, end string) bool {
	switch {
	case end == "":
		return key == from
	case end == "\x00":
		return key >= from
	}
	return key >= from && key < end
}

func sorted(state map[string]KeyValue, from, end string) (found []KeyValue) {
	for key, p := range state {
		if inRange(key, from, end) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b KeyValue) int { return bytes.Compare(a.Key, b.Key) })
	return found
}

func (m *model) holds(c Compare, state map[string]KeyValue) bool {
	found := sorted(state, string(c.Key), string(c.End))
	if len(found) == 0 {
		if c.Target == TargetValue {
			return false
		}
		found = []KeyValue{{}}
	}
	for _, p := range found {
		var order int
		switch c.Target {
		case TargetValue:
			order = bytes.Compare(p.Value, c.Value)
		case TargetVersion:
			order = int(p.Version - c.Number)
		case TargetCreate:
			order = int(p.Create - c.Number)
		case TargetMod:
			order = int(p.Mod - c.Number)
		}
		if ok := map[Relation]bool{Equal: order == 0, NotEqual: order != 0, Less: order < 0, Greater: order > 0}[c.Relation]; !ok {
			return false
		}
	}
	return true
}

func (m *model) apply(c Command, oldest int64) Result {
	now := m.revision()
	for _, branch := range [][]Operation{c.Then, c.Else} {
		for i, a := range branch {
			for j, b := range branch {
				if i != j && a.Op == OpPut && (b.Op == OpPut && string(a.Key) == string(b.Key) ||
					b.Op == OpDelete && inRange(string(a.Key), string(b.Key), string(b.End))) {
					return Result{Outcome: Refused, Reason: ReasonDuplicateKey, Revision: now}
				}
			}
		}
	}
	state := map[string]KeyValue{}
	for key, p := range m.states[now] {
		state[key] = p
	}
	r := Result{Outcome: Done, Succeeded: true, Revision: now}
	for _, cmp := range c.Compare {
		r.Succeeded = r.Succeeded && m.holds(cmp, state)
	}
	steps := c.Then
	if !r.Succeeded {
		steps = c.Else
	}
	var changes []Change
	for _, o := range steps {
		switch {
		case o.Op == OpPut && (o.Keep || o.Exists) && state[string(o.Key)].Key == nil:
			return Result{Outcome: Refused, Reason: ReasonKeyNotFound, Revision: now}
		case o.Op == OpRange && o.Revision > now:
			return Result{Outcome: Future, Revision: now}
		case o.Op == OpRange && o.Revision > 0 && o.Revision < oldest:
			return Result{Outcome: Compacted, Revision: now, Oldest: oldest}
		}
		r.Responses = append(r.Responses, m.step(o, state, &changes))
	}
	if len(changes) > 0 {
		m.states = append(m.states, state)
		m.changes = append(m.changes, changes...)
		r.Revision++
	}
	return r
}

func (m *model) step(o Operation, state map[string]KeyValue, changes *[]Change) Response {
	p, next := Response{Op: o.Op}, m.revision()+1
	switch o.Op {
	case OpRange:
		if o.Revision > 0 {
			state = m.states[o.Revision]
		}
		found := sorted(state, string(o.Key), string(o.End))
		p.Count = int64(len(found))
		if o.Count {
			return p
		}
		if o.Limit > 0 && len(found) > int(o.Limit) {
			found, p.More = found[:o.Limit], true
		}
		for _, f := range found {
			if o.KeysOnly {
				f.Value = nil
			}
			p.Pairs = append(p.Pairs, f)
		}
	case OpPut:
		before, there := state[string(o.Key)]
		now := KeyValue{Key: o.Key, Value: o.Value, Create: next, Mod: next, Version: 1}
		if there {
			now.Create, now.Version = before.Create, before.Version+1
		}
		if o.Keep {
			now.Value = before.Value
		}
		c := Change{Pair: now}
		if there {
			c.Previous = &before
			if o.Previous {
				p.Previous = []KeyValue{before}
			}
		}
		state[string(o.Key)] = now
		*changes = append(*changes, c)
	case OpDelete:
		for _, before := range sorted(state, string(o.Key), string(o.End)) {
			delete(state, string(before.Key))
			p.Count++
			if o.Previous {
				p.Previous = append(p.Previous, before)
			}
			*changes = append(*changes, Change{Pair: KeyValue{Key: before.Key, Mod: next}, Deleted: true, Previous: &before})
		}
	}
	return p
}

// draw makes random commands over a few keys, so that they meet.
type draw struct{ *rand.Rand }

func (d draw) key() []byte { return []byte(fmt.Sprintf("k%02d", d.IntN(30))) }

func (d draw) end() []byte {
	switch d.IntN(5) {
	case 0:
		return []byte{0}
	case 1:
		return d.key()
	}
	return nil
}

func (d draw) value() []byte {
	if d.IntN(8) == 0 {
		return nil
	}
	return []byte(fmt.Sprintf("value %d", d.IntN(6)))
}

func (d draw) operation(revision int64) Operation {
	o := Operation{Op: Op(1 + d.IntN(3)), Key: d.key(), Previous: d.IntN(2) == 0}
	switch o.Op {
	case OpRange:
		o.End, o.Previous, o.KeysOnly, o.Count = d.end(), false, d.IntN(4) == 0, d.IntN(6) == 0
		o.Limit = int64(max(0, d.IntN(12)-6))
		if d.IntN(3) == 0 {
			o.Revision = max(0, revision+2-int64(d.IntN(40)))
		}
	case OpPut:
		o.Value, o.Keep, o.Exists = d.value(), d.IntN(10) == 0, d.IntN(10) == 0
		if o.Keep {
			o.Value = nil
		}
	case OpDelete:
		if d.IntN(3) == 0 {
			o.End = d.end()
		}
	}
	return o
}

func (d draw) operations(n int, revision int64) (list []Operation) {
	for range n {
		list = append(list, d.operation(revision))
	}
	return list
}

func (d draw) compare(revision int64) Compare {
	c := Compare{Key: d.key(), End: d.end(), Target: Target(d.IntN(4)), Relation: Relation(d.IntN(4))}
	if c.Target == TargetValue {
		c.Value = d.value()
	} else if c.Number = int64(d.IntN(3)); c.Target != TargetVersion && d.IntN(2) == 0 {
		c.Number = revision - int64(d.IntN(20))
	}
	return c
}

func (d draw) command(revision int64) Command {
	c := Command{Kind: CommandTxn, Then: d.operations(1, revision)}
	if d.IntN(2) == 0 {
		c.Then, c.Else = d.operations(d.IntN(4), revision), d.operations(d.IntN(4), revision)
		for range d.IntN(3) {
			c.Compare = append(c.Compare, d.compare(revision))
		}
	}
	return c
}

// TestStoreAgainstModel gives the same random commands to the store and to the model, sends some of them through their encoding and
// replaces the store by its own restored snapshot now and then.
func TestStoreAgainstModel(t *testing.T) {
	const keep = 25
	outcomes, succeeded := map[Outcome]int{}, 0
	for seed := range uint64(60) {
		d := draw{rand.New(rand.NewPCG(seed, 1))}
		s, m := NewStore(keep), newModel()
		for n := range 500 {
			c := d.command(m.revision())
			oldest := max(1, m.revision()-keep+1)
			want := m.apply(c, oldest)
			got := through(t, s, c)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, command %d: %+v\ngot  %+v\nwant %+v", seed, n, c, got, want)
			}
			outcomes[got.Outcome]++
			if got.Succeeded && len(c.Compare) > 0 {
				succeeded++
			}
			if d.IntN(20) == 0 {
				s = restored(t, s, keep)
			}
			compareChanges(t, d, s, m, keep)
		}
	}
	for _, o := range []Outcome{Done, Refused, Compacted, Future} {
		if outcomes[o] < 100 {
			t.Errorf("outcome %d came %d times: the test tries too little", o, outcomes[o])
		}
	}
	if succeeded < 500 {
		t.Errorf("only %d comparisons held", succeeded)
	}
}

// through sends the command and its result through their encodings.
func through(t *testing.T, s *Store, c Command) Result {
	t.Helper()
	c, err := DecodeCommand(c.Encode())
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	if c.ReadOnly() {
		before, revision := s.Snapshot(), s.Revision()
		r = s.Read(c)
		if !bytes.Equal(s.Snapshot(), before) || s.Revision() != revision {
			t.Fatalf("%+v changed the store", c)
		}
	} else {
		r = s.Apply(c)
	}
	r, err = DecodeResult(r.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func restored(t *testing.T, s *Store, keep int) *Store {
	t.Helper()
	b := s.Snapshot()
	again, err := RestoreStore(b, keep)
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash() != s.Hash() || again.Revision() != s.Revision() || again.Oldest() != s.Oldest() {
		t.Fatalf("restored: hash %x, revision %d, oldest %d; want %x, %d, %d", again.Hash(), again.Revision(), again.Oldest(), s.Hash(), s.Revision(),
			s.Oldest())
	}
	if !bytes.Equal(again.Snapshot(), b) {
		t.Fatal("the snapshot of the restored store is another")
	}
	return again
}

func compareChanges(t *testing.T, d draw, s *Store, m *model, keep int64) {
	t.Helper()
	from := max(1, m.revision()-keep+1)
	c := Command{Kind: CommandChanges, Key: d.key(), End: d.end(), Revision: from + int64(d.IntN(25)), Limit: int64(d.IntN(4))}
	var want []Change
	for _, change := range m.changes {
		if change.Pair.Mod < c.Revision || !inRange(string(change.Pair.Key), string(c.Key), string(c.End)) {
			continue
		}
		if c.Limit > 0 && len(want) >= int(c.Limit) && want[len(want)-1].Pair.Mod != change.Pair.Mod {
			break
		}
		want = append(want, change)
	}
	got := through(t, s, c)
	if got.Outcome != Done || got.Revision != m.revision() || !reflect.DeepEqual(got.Changes, want) {
		t.Fatalf("%+v\ngot  %+v\nwant %+v", c, got, want)
	}
	c.Revision = from - 1
	if got := through(t, s, c); got.Outcome != Compacted || got.Oldest != from {
		t.Fatalf("changes from %d: %+v, want compacted up to %d", c.Revision, got, from)
	}
}
