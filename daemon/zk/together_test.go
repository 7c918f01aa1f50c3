package zk

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"assize/cluster"
	"assize/daemon/clienttest"
	"assize/history"
)

// TestSetsAndMultisOfASession are asked of ZooKeeper itself: watches on the elements of a set, also by another connection, and several steps at once.
func TestSetsAndMultisOfASession(t *testing.T) {
	address := clienttest.Apache(t)
	v := travel(t)
	a, err := v.to(address)
	if err != nil {
		t.Fatal(err)
	}
	id := a.Session
	v.wants(history.Mop{F: history.List, Key: "q"}, id, nil)
	v.wants(history.Mop{F: history.CreateSequential, Key: "q", In: []int{1}}, id, []int{0})
	v.wants(history.Mop{F: history.List, Key: "q"}, id, []int{0})
	v.wants(history.Mop{F: history.WatchSet, Key: "s"}, id, nil) // nobody has added anything
	added := v.wants(history.Mop{F: history.Add, Key: "s", In: []int{7}}, id, nil, history.Mop{F: history.Members, Key: "s"})
	if a := v.wants(history.Mop{F: history.WatchSet, Key: "s"}, id, []int{7}); a.Version != added.Version || a.Position != added.Position {
		t.Errorf("after %+v: %+v", added, a)
	}
	v.wants(history.Mop{F: history.Remove, Key: "s", In: []int{7}}, id, nil, history.Mop{F: history.Members, Key: "s"})
	v.wants(history.Mop{F: history.WatchSet, Key: "s"}, id, nil)
	other := travel(t)
	if _, err := other.to(address); err != nil {
		t.Fatal(err)
	}
	v.c.Close()
	if _, err := other.c.Do(t.Context(), history.Txn{{F: history.Add, Key: "s", In: []int{8}}}); err != nil {
		t.Fatal(err)
	}
	if a, err := v.to(address); err != nil || !reflect.DeepEqual([]history.Mop(a.Told), []history.Mop{{F: history.Members, Key: "s"}}) {
		t.Errorf("what was missed: %+v, %v", a, err)
	}
	write := func(n int) history.Mop { return history.Mop{F: history.Write, Key: "b", In: []int{n}} }
	v.wants(write(1), id, nil)
	for _, c := range []struct {
		with history.Mop
		out  []int
		fail string // words; empty: it is done
	}{
		{history.Mop{F: history.Check, Key: "a"}, nil, "compared value"},
		{history.Mop{F: history.Create, Key: "a", In: []int{2}}, nil, ""},
		{history.Mop{F: history.Create, Key: "a", In: []int{3}}, nil, "NodeExists of step 2"},
		{history.Mop{F: history.Check, Key: "a"}, []int{2}, ""},
		{history.Mop{F: history.Delete, Key: "a"}, nil, ""},
		{history.Mop{F: history.Delete, Key: "a"}, nil, "NoNode of step 2"},
	} {
		txn := history.Txn{write(10), c.with}
		if c.with.F == history.Check {
			slices.Reverse(txn)
		}
		a, err := v.c.Do(t.Context(), txn)
		switch {
		case c.fail != "" && (!errors.Is(err, cluster.ErrNotDone) || errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), c.fail)):
			t.Errorf("%v: %v, want %q", txn, err, c.fail)
		case c.fail == "" && (err != nil || len(a.Txn) != 2 || !slices.Equal(a.Txn[0].Out, c.out) || a.Version == 0 || a.Version != a.Position):
			t.Errorf("%v: %+v, %v", txn, a, err)
		}
	}
}
