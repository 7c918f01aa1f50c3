package znodes

import (
	"errors"
	"slices"
	"testing"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
)

func TestNumbers(t *testing.T) {
	if n, err := Number("a", "/q-a/n-0000000012"); n != 12 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for _, path := range []string{"", "/q-a/n-", "/q-a/n-12", "/q-b/n-0000000012", "/q-a/n-000000001x", "/q-a/n--000000001", "/q-a/n-+000000001", "/q-a/n-9999999999", "/q-a/n-00000000012"} {
		if n, err := Number("a", path); !errors.Is(err, machine.ErrNonsense) {
			t.Errorf("%q is number %d, %v", path, n, err)
		}
	}
}

func TestListOfNumbers(t *testing.T) {
	if got, err := Numbers("a", []string{"n-0000000012", "n-0000000003"}); !slices.Equal(got, []int{3, 12}) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Numbers("a", []string{"n-0000000012", "m-0000000003"}); got != nil || !errors.Is(err, machine.ErrNonsense) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestTold(t *testing.T) {
	for _, c := range []struct {
		e    jute.Event
		want history.Mop
	}{
		{jute.Event{Type: jute.EventCreated, State: 3, Path: "/r-a"}, history.Mop{F: history.Created, Key: "a"}},
		{jute.Event{Type: jute.EventDeleted, State: 3, Path: "/r-a"}, history.Mop{F: history.Deleted, Key: "a"}},
		{jute.Event{Type: jute.EventDataChanged, State: 3, Path: "/r-a"}, history.Mop{F: history.Changed, Key: "a"}},
		{jute.Event{Type: jute.EventChildrenChanged, State: 3, Path: "/r-a"}, history.Mop{}},
		{jute.Event{Type: jute.EventCreated, State: 0, Path: "/r-a"}, history.Mop{}},
		{jute.Event{Type: jute.EventCreated, State: 3, Path: "/s-a"}, history.Mop{}},
		{jute.Event{Type: jute.EventCreated, State: 3, Path: "/r-"}, history.Mop{}},
	} {
		if got, err := Told(c.e); got.F != c.want.F || got.Key != c.want.Key || (c.want.F == "") != errors.Is(err, machine.ErrNonsense) {
			t.Errorf("%+v: got %+v, %v", c.e, got, err)
		}
	}
}

func TestStepOfASession(t *testing.T) {
	for _, m := range []history.Mop{
		{F: history.Connect}, {F: history.Close}, {F: history.Delete, Key: "a"}, {F: history.List, Key: "a"}, {F: history.Watch, Key: "a"},
		{F: history.CreateEphemeral, Key: "a", In: []int{1}}, {F: history.CreateSequential, Key: "a", In: []int{1}},
	} {
		if got, _, err := Step(history.Txn{m}); err != nil || got.F != m.F {
			t.Errorf("%+v: got %+v, %v", m, got, err)
		}
		m.In = append(m.In, 2)
		if got, _, err := Step(history.Txn{m}); err == nil {
			t.Errorf("%+v: got %+v", m, got)
		}
	}
	sync := history.Mop{F: history.Sync, Key: "a"}
	if got, synced, err := Step(history.Txn{sync, {F: history.Watch, Key: "a"}}); err != nil || !synced || got.F != history.Watch {
		t.Errorf("a watch behind a sync: %+v, %v, %v", got, synced, err)
	}
	if got, _, err := Step(history.Txn{sync, {F: history.Delete, Key: "a"}}); err == nil {
		t.Errorf("a delete behind a sync: %+v", got)
	}
	for _, m := range []history.Mop{{F: history.Connect, Key: "a"}, {F: history.Watch}, {F: history.Watch, Key: "a/b"}} {
		if got, _, err := Step(history.Txn{m}); err == nil {
			t.Errorf("%+v: got %+v", m, got)
		}
	}
}
