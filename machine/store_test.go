package machine

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func put(key, value string) Operation {
	return Operation{Op: OpPut, Key: []byte(key), Value: []byte(value), Previous: true}
}

func get(key string) Operation { return Operation{Op: OpRange, Key: []byte(key)} }

func txn(steps ...Operation) Command { return Command{Kind: CommandTxn, Then: steps} }

func TestOneRevisionForEachChangingTransaction(t *testing.T) {
	s := NewStore(0)
	for i, c := range []struct {
		name string
		c    Command
		want int64
	}{
		{"first put", txn(put("a", "1")), 2},
		{"two puts together", txn(put("a", "2"), put("b", "1")), 3},
		{"a delete of nothing", txn(Operation{Op: OpDelete, Key: []byte("z")}), 3},
		{"a read", txn(get("a")), 3},
		{"a put of the same value", txn(put("a", "2")), 4},
		{"a delete of two", txn(Operation{Op: OpDelete, Key: []byte("a"), End: []byte("c")}), 5},
		{"a branch that is empty", Command{Kind: CommandTxn, Else: []Operation{put("a", "1")}}, 5},
	} {
		r := s.Apply(c.c)
		if r.Outcome != Done || r.Revision != c.want || s.Revision() != c.want {
			t.Errorf("%d %s: outcome %d, revision %d, store %d; want %d", i, c.name, r.Outcome, r.Revision, s.Revision(), c.want)
		}
	}
}

func TestCountersOfAPair(t *testing.T) {
	s := NewStore(0)
	s.Apply(txn(put("other", "")))
	s.Apply(txn(put("a", "1")))
	s.Apply(txn(put("a", "2")))
	got := s.Read(txn(get("a"))).Responses[0].Pairs
	want := []KeyValue{{Key: []byte("a"), Value: []byte("2"), Create: 3, Mod: 4, Version: 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s.Apply(txn(Operation{Op: OpDelete, Key: []byte("a")}))
	s.Apply(txn(put("a", "3")))
	got = s.Read(txn(get("a"))).Responses[0].Pairs
	want = []KeyValue{{Key: []byte("a"), Value: []byte("3"), Create: 6, Mod: 6, Version: 1}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("created again: got %+v, want %+v", got, want)
	}
}

func TestStepsSeeTheStepsBefore(t *testing.T) {
	s := NewStore(0)
	s.Apply(txn(put("a", "old")))
	r := s.Apply(txn(get("a"), put("a", "new"), get("a"), Operation{Op: OpRange, Key: []byte("a"), Revision: 2}))
	for i, want := range map[int]string{0: "old", 2: "new", 3: "old"} {
		if got := string(r.Responses[i].Pairs[0].Value); got != want {
			t.Errorf("step %d reads %q, want %q", i, got, want)
		}
	}
}

func TestRefusedTransactions(t *testing.T) {
	many := make([]Operation, MaxSteps+1)
	for i := range many {
		many[i] = put(fmt.Sprint(i), "")
	}
	remove := func(from, end string) Operation { return Operation{Op: OpDelete, Key: []byte(from), End: []byte(end)} }
	for _, c := range []struct {
		name string
		c    Command
		want string
	}{
		{"one key put twice", txn(put("a", "1"), put("a", "2")), ReasonDuplicateKey},
		{"in the branch that is not taken", Command{Kind: CommandTxn, Else: []Operation{put("a", "1"), put("a", "2")}}, ReasonDuplicateKey},
		{"put, then deleted", txn(put("a", "1"), remove("a", "")), ReasonDuplicateKey},
		{"deleted with others, then put", txn(remove("a", "c"), put("b", "1")), ReasonDuplicateKey},
		{"deleted with all that follow, then put", txn(remove("a", "\x00"), put("b", "1")), ReasonDuplicateKey},
		{"deleted twice", txn(remove("a", ""), remove("a", "")), ""},
		{"beside what is deleted", txn(remove("a", "b"), put("b", "1")), ""},
		{"one put in each branch", Command{Kind: CommandTxn, Then: []Operation{put("a", "1")}, Else: []Operation{put("a", "2")}}, ""},
		{"no key", txn(get("")), ReasonEmptyKey},
		{"a comparison without a key", Command{Kind: CommandTxn, Compare: []Compare{{}}}, ReasonEmptyKey},
		{"too many steps", txn(many...), ReasonTooManySteps},
		{"as many as there may be", txn(many[1:]...), ""},
		{"the value of a missing key", txn(Operation{Op: OpPut, Key: []byte("missing"), Keep: true}), ReasonKeyNotFound},
		{"only if it exists", txn(put("a", "1"), Operation{Op: OpPut, Key: []byte("missing"), Exists: true}), ReasonKeyNotFound},
		{"no transaction", Command{Kind: CommandJoin}, ReasonNoTxn},
	} {
		s := NewStore(0)
		r := s.Apply(c.c)
		if r.Reason != c.want || (r.Outcome == Refused) != (c.want != "") {
			t.Errorf("%s: outcome %d, %q; want %q", c.name, r.Outcome, r.Reason, c.want)
		}
		if c.want != "" && s.Revision() != 1 {
			t.Errorf("%s: was refused and yet changed the store", c.name)
		}
	}
}

func TestComparisonsOfAMissingKey(t *testing.T) {
	s := NewStore(0)
	for _, c := range []struct {
		compare Compare
		want    bool
	}{
		{Compare{Target: TargetVersion, Relation: Equal}, true},
		{Compare{Target: TargetCreate, Relation: Equal}, true},
		{Compare{Target: TargetMod, Relation: Less, Number: 1}, true},
		{Compare{Target: TargetMod, Relation: Greater}, false},
		{Compare{Target: TargetValue, Relation: Equal}, false},
		{Compare{Target: TargetValue, Relation: NotEqual, Value: []byte("x")}, false},
		{Compare{End: []byte{0}, Target: TargetVersion, Relation: Equal}, true},
		{Compare{End: []byte{0}, Target: TargetValue, Relation: NotEqual}, false},
	} {
		c.compare.Key = []byte("missing")
		if got := s.Apply(Command{Kind: CommandTxn, Compare: []Compare{c.compare}}).Succeeded; got != c.want {
			t.Errorf("%+v: got %v, want %v", c.compare, got, c.want)
		}
	}
}

func TestReadsOfThePast(t *testing.T) {
	s := NewStore(3)
	for i := range 5 {
		s.Apply(txn(put("a", fmt.Sprint(i+2))))
	}
	for _, c := range []struct {
		revision int64
		outcome  Outcome
		value    string
	}{{0, Done, "6"}, {6, Done, "6"}, {5, Done, "5"}, {4, Done, "4"}, {3, Compacted, ""}, {1, Compacted, ""}, {7, Future, ""}} {
		r := s.Read(txn(Operation{Op: OpRange, Key: []byte("a"), Revision: c.revision}))
		if r.Outcome != c.outcome || r.Revision != 6 {
			t.Errorf("at %d: outcome %d at %d, want %d at 6", c.revision, r.Outcome, r.Revision, c.outcome)
		} else if r.Outcome == Done && string(r.Responses[0].Pairs[0].Value) != c.value {
			t.Errorf("at %d: %+v, want %q", c.revision, r.Responses, c.value)
		} else if r.Outcome == Compacted && r.Oldest != 4 {
			t.Errorf("at %d: oldest %d, want 4", c.revision, r.Oldest)
		}
	}
}

func TestReadRefusesWrites(t *testing.T) {
	s := NewStore(0)
	if r := s.Read(txn(put("a", "1"))); r.Outcome != Refused || s.Revision() != 1 {
		t.Errorf("outcome %d at revision %d", r.Outcome, s.Revision())
	}
}

// TestCallerKeepsItsBytes holds the promise that the store keeps nothing of a command: the log may be overwritten.
func TestCallerKeepsItsBytes(t *testing.T) {
	s := NewStore(0)
	b := txn(put("a", "1")).Encode()
	c, err := DecodeCommand(b)
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(c)
	clear(b)
	if r := s.Read(txn(get("a"))); r.Responses[0].Count != 1 || string(r.Responses[0].Pairs[0].Value) != "1" {
		t.Errorf("got %+v", r.Responses)
	}
}

func TestHashTellsStatesApart(t *testing.T) {
	build := func(steps ...Command) uint64 {
		s := NewStore(0)
		for _, c := range steps {
			s.Apply(c)
		}
		return s.Hash()
	}
	remove := Operation{Op: OpDelete, Key: []byte("b")}
	seen := map[uint64]string{}
	for name, h := range map[string]uint64{
		"empty":                       build(),
		"a":                           build(txn(put("a", "1"))),
		"another value":               build(txn(put("a", "2"))),
		"another key":                 build(txn(put("b", "1"))),
		"no value":                    build(txn(put("a", ""))),
		"the key's end in the value":  build(txn(put("a1", ""))),
		"another version":             build(txn(put("a", "1")), txn(put("a", "1"))),
		"another creation":            build(txn(put("b", "1")), txn(put("a", "1"), remove)),
		"another revision":            build(txn(put("a", "1")), txn(put("b", "1")), txn(remove)),
		"two keys":                    build(txn(put("a", "1")), txn(put("b", "1"))),
		"two keys, the other order":   build(txn(put("b", "1")), txn(put("a", "1"))),
		"two keys, values swapped":    build(txn(put("a", "2"), put("b", "1"))),
		"two keys, values as written": build(txn(put("a", "1"), put("b", "2"))),
	} {
		if other, there := seen[h]; there {
			t.Errorf("%q and %q have one hash", name, other)
		}
		seen[h] = name
	}
	if got, want := build(txn(put("a", "1"), put("b", "2"))), build(txn(put("b", "2"), put("a", "1"))); got != want {
		t.Errorf("one state, reached in two ways, has two hashes")
	}
}

// TestHashIsTheSameEverywhere: two builds of one node must agree.
func TestHashIsTheSameEverywhere(t *testing.T) {
	s := NewStore(0)
	s.Apply(txn(put("key", "a value that is longer than sixteen bytes")))
	if got, want := s.Hash(), uint64(0x8f339efa495988c8); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

func TestManyKeysStayInOrder(t *testing.T) {
	for _, name := range []string{"random", "ascending", "descending"} {
		d := rand.New(rand.NewPCG(1, 2))
		s, n := NewStore(1), 3000
		numbers := d.Perm(n)
		for i := range numbers {
			switch name {
			case "ascending":
				numbers[i] = i
			case "descending":
				numbers[i] = n - 1 - i
			}
			s.Apply(txn(put(fmt.Sprintf("%05d", numbers[i]), "")))
		}
		for _, i := range d.Perm(n)[:n/2] {
			s.Apply(txn(Operation{Op: OpDelete, Key: []byte(fmt.Sprintf("%05d", i))}))
		}
		r := s.Read(txn(Operation{Op: OpRange, Key: []byte{0}, End: []byte{0}})).Responses[0]
		if r.Count != int64(n/2) || len(r.Pairs) != n/2 {
			t.Fatalf("%s: %d keys, %d pairs, want %d", name, r.Count, len(r.Pairs), n/2)
		}
		for i := 1; i < len(r.Pairs); i++ {
			if string(r.Pairs[i-1].Key) >= string(r.Pairs[i].Key) {
				t.Fatalf("%s: %q before %q", name, r.Pairs[i-1].Key, r.Pairs[i].Key)
			}
		}
		restored(t, s, 1)
	}
}

func BenchmarkPut(b *testing.B) {
	s := NewStore(0)
	commands := make([]Command, 1000)
	for i := range commands {
		commands[i] = txn(Operation{Op: OpPut, Key: []byte(fmt.Sprintf("r/k%d", i)), Value: []byte("12345")})
	}
	b.ReportAllocs()
	for i := range b.N {
		s.Apply(commands[i%len(commands)])
	}
}

func BenchmarkPutNewKeys(b *testing.B) {
	s := NewStore(0)
	d := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for range b.N {
		s.Apply(txn(Operation{Op: OpPut, Key: []byte(fmt.Sprintf("key %020d", d.Uint64())), Value: make([]byte, 100)}))
	}
}

func BenchmarkRead(b *testing.B) {
	s := NewStore(0)
	s.Apply(txn(put("r/k1", "1")))
	c := txn(get("r/k1"))
	b.ReportAllocs()
	for range b.N {
		s.Read(c)
	}
}

// BenchmarkLife of one write: encode, decode, apply, encode and decode the result.
func BenchmarkLife(b *testing.B) {
	s := NewStore(0)
	c := txn(Operation{Op: OpPut, Key: []byte("r/k1"), Value: []byte("12345")})
	b.ReportAllocs()
	for range b.N {
		c, err := DecodeCommand(c.Encode())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := DecodeResult(s.Apply(c).Encode()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for _, keys := range []int{500, 200_000} {
		b.Run(fmt.Sprint(keys, " keys"), func(b *testing.B) {
			s := NewStore(0)
			value := strings.Repeat("v", 100)
			for i := range 4 * keys {
				s.Apply(txn(put(fmt.Sprintf("r/k%d", i*7919%keys), value)))
			}
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(int64(len(s.Snapshot())))
			}
		})
	}
}
