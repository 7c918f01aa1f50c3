package machine

import (
	"errors"
	"reflect"
	"testing"

	"assize/history"
)

// do a transaction as a host does it.
func do(t *testing.T, s *Store, txn history.Txn) (history.Txn, uint64, uint64, error) {
	t.Helper()
	c, err := CommandOf(txn, false)
	if err != nil {
		t.Fatal(err)
	}
	if c.ReadOnly() {
		return AnswerOf(txn, s.Read(c))
	}
	return AnswerOf(txn, s.Apply(c))
}

func TestTransactionsOfAHistory(t *testing.T) {
	s := NewStore(0)
	read := func(key string, out ...int) history.Mop { return history.Mop{F: history.Read, Key: key, Out: out} }
	for i, c := range []struct {
		ask               history.Txn
		want              history.Txn // nil: as asked
		version, position uint64
		err               error
	}{
		{history.Txn{read("a")}, nil, 0, 1, nil},
		{history.Txn{{F: history.Write, Key: "a", In: []int{-7}}}, nil, 2, 2, nil},
		{history.Txn{read("a")}, history.Txn{read("a", -7)}, 2, 2, nil},
		{history.Txn{{F: history.CAS, Key: "a", In: []int{3, 4}}}, nil, 0, 0, ErrCompare},
		{history.Txn{{F: history.CAS, Key: "b", In: []int{0, 4}}}, nil, 0, 0, ErrCompare},
		{history.Txn{{F: history.CAS, Key: "a", In: []int{-7, 8}}}, nil, 3, 3, nil},
		{history.Txn{{F: history.Scan, Key: "a"}}, nil, 0, 3, nil},
		{history.Txn{{F: history.Add, Key: "a", In: []int{100}}}, nil, 4, 4, nil},
		{history.Txn{{F: history.Add, Key: "a", In: []int{20}}}, nil, 5, 5, nil},
		{history.Txn{{F: history.Add, Key: "a0", In: []int{5}}}, nil, 6, 6, nil},
		{history.Txn{{F: history.Scan, Key: "a"}}, history.Txn{{F: history.Scan, Key: "a", Out: []int{20, 100}}}, 0, 6, nil},
		{history.Txn{read("a")}, history.Txn{read("a", 8)}, 3, 6, nil},
		{
			history.Txn{read("a"), {F: history.Write, Key: "b", In: []int{1}}, {F: history.CAS, Key: "a", In: []int{8, 9}}, read("a")},
			history.Txn{read("a", 8), {F: history.Write, Key: "b", In: []int{1}}, {F: history.CAS, Key: "a", In: []int{8, 9}}, read("a", 9)},
			7, 7, nil,
		},
		{history.Txn{{F: history.Write, Key: "b", In: []int{2}}, {F: history.CAS, Key: "a", In: []int{8, 9}}}, nil, 0, 0, ErrCompare},
		{history.Txn{read("a"), read("b")}, history.Txn{read("a", 9), read("b", 1)}, 0, 7, nil},
		{history.Txn{{F: history.Write, Key: "b", In: []int{2}}, {F: history.Write, Key: "b", In: []int{3}}}, nil, 0, 0, ErrNoEffect},
	} {
		out, version, position, err := do(t, s, c.ask)
		want := c.want
		if want == nil {
			want = c.ask
		}
		if c.err != nil {
			want = nil
			if !errors.Is(err, ErrNoEffect) {
				t.Errorf("%d: %v: an error that does not say that it had no effect: %v", i, c.ask, err)
			}
		}
		if !errors.Is(err, c.err) || version != c.version || position != c.position || !reflect.DeepEqual(out, want) {
			t.Errorf("%d: %v: got %v, %d, %d, %v; want %v, %d, %d, %v", i, c.ask, out, version, position, err, want, c.version, c.position, c.err)
		}
	}
}

func TestReadsMayBeLocalAndWritesNever(t *testing.T) {
	for f, in := range map[string][]int{history.Read: nil, history.Scan: nil, history.Write: {1}, history.Add: {1}, history.CAS: {1, 2}} {
		c, err := CommandOf(history.Txn{{F: f, Key: "a", In: in}}, true)
		reads := f == history.Read || f == history.Scan
		if err != nil || c.Local != reads || c.ReadOnly() != reads {
			t.Errorf("%s: local %v, read-only %v, %v", f, c.Local, c.ReadOnly(), err)
		}
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	for _, txn := range []history.Txn{
		nil,
		{{F: "append", Key: "a", In: []int{1}}},
		{{F: history.Write, Key: "a"}},
		{{F: history.Read, Key: "a", In: []int{1}}},
		{{F: history.CAS, Key: "a", In: []int{1}}},
		{{F: history.Read}},
		{{F: history.Scan, Key: "a/b"}},
		{{F: history.Add, Key: "a", In: []int{-1}}},
		{{F: history.Sync, Key: "a"}},
		{{F: history.Sync, Key: "a"}, {F: history.Read, Key: "a"}},
	} {
		if c, err := CommandOf(txn, false); err == nil {
			t.Errorf("%v became %+v", txn, c)
		}
	}
}

// TestAnswersThatProveNothing: only an error that proves that nothing was done may say so.
func TestAnswersThatProveNothing(t *testing.T) {
	ask := history.Txn{{F: history.Read, Key: "a"}}
	pair := func(key, value string) []Response {
		return []Response{{Op: OpRange, Pairs: []KeyValue{{Key: []byte(key), Value: []byte(value), Mod: 2}}}}
	}
	for _, c := range []struct {
		name     string
		ask      history.Txn
		r        Result
		noEffect bool
		nonsense bool
	}{
		{"unknown", ask, Result{Outcome: Unknown, Reason: "lost"}, false, false},
		{"no outcome", ask, Result{}, false, false},
		{"refused", ask, Result{Outcome: Refused, Reason: "no leader"}, true, false},
		{"compacted", ask, Result{Outcome: Compacted}, true, false},
		{"too few answers", ask, Result{Outcome: Done, Succeeded: true}, false, true},
		{"another answer", ask, Result{Outcome: Done, Succeeded: true, Responses: []Response{{Op: OpPut}}}, false, true},
		{"no number", ask, Result{Outcome: Done, Succeeded: true, Responses: pair("r/a", "x")}, false, true},
		{"another key", ask, Result{Outcome: Done, Succeeded: true, Responses: pair("r/b", "1")}, false, true},
		{"another set", history.Txn{{F: history.Scan, Key: "a"}}, Result{Outcome: Done, Succeeded: true, Responses: pair("s/b/1", "")}, false, true},
	} {
		out, _, _, err := AnswerOf(c.ask, c.r)
		if err == nil || errors.Is(err, ErrNoEffect) != c.noEffect || errors.Is(err, ErrNonsense) != c.nonsense {
			t.Errorf("%s: got %v, %v; want no effect %v, nonsense %v", c.name, out, err, c.noEffect, c.nonsense)
		}
	}
}
