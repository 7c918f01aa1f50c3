package znodes

import (
	"errors"
	"slices"
	"testing"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
)

func TestNodes(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Register("a"), "/r-a"}, {Set("a"), "/s-a"}, {Element("a", 0), "/s-a/00000000000000000000"}, {Element("a", 1<<63-1), "/s-a/09223372036854775807"},
		{string(Data(-7)), "-7"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if v, err := Value("a", Data(-7)); v != -7 || err != nil {
		t.Errorf("value %d, %v", v, err)
	}
	if v, err := Value("a", nil); !errors.Is(err, machine.ErrNonsense) {
		t.Errorf("no data is the value %d, %v", v, err)
	}
}

func TestElements(t *testing.T) {
	got, err := Elements("a", []string{"00000000000000000012", "09223372036854775807", "00000000000000000000"})
	if want := []int{0, 12, 1<<63 - 1}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := Elements("a", nil); got != nil || err != nil {
		t.Errorf("an empty set has the elements %v, %v", got, err)
	}
	for _, name := range []string{
		"", "5", "-0000000000000000005", "+0000000000000000005", "0000000000_000000005", "000000000000000000005", "09223372036854775808", "x0000000000000000005",
	} {
		if got, err := Elements("a", []string{"00000000000000000001", name}); got != nil || !errors.Is(err, machine.ErrNonsense) || errors.Is(err, machine.ErrNoEffect) {
			t.Errorf("%q is an element: %v, %v", name, got, err)
		}
	}
}

func TestStep(t *testing.T) {
	write := history.Mop{F: history.Write, Key: "a", In: []int{1}}
	if m, synced, err := Step(history.Txn{write}); err != nil || synced || m.F != write.F {
		t.Errorf("got %+v, %v, %v", m, synced, err)
	}
	sync, read := history.Mop{F: history.Sync, Key: "a"}, history.Mop{F: history.Read, Key: "a"}
	for _, then := range []history.Mop{read, {F: history.Scan, Key: "a"}} {
		if m, synced, err := Step(history.Txn{sync, then}); err != nil || !synced || m.F != then.F {
			t.Errorf("%s behind a sync: got %+v, %v, %v", then.F, m, synced, err)
		}
	}
	for _, txn := range []history.Txn{
		nil, {write, write}, {write, {F: history.Read, Key: "b"}}, {write, {F: history.Check, Key: "b"}}, {{F: history.Check, Key: "b"}}, {{F: Multi}}, {sync, write, {F: history.Delete, Key: "b"}}, {{F: history.Write, Key: "a"}}, {{F: history.Write, Key: "a/b", In: []int{1}}}, {{F: history.Add, Key: "a", In: []int{-1}}},
		{{F: history.CAS, Key: "a", In: []int{1}}}, {sync}, {sync, write}, {sync, sync, read}, {read, sync}, {sync, {F: history.Read, Key: "b"}},
		{{F: history.Sync, Key: "a", In: []int{1}}, read}, {sync, read, read},
	} {
		if m, _, err := Step(txn); err == nil {
			t.Errorf("%v: got %+v", txn, m)
		}
	}
}

func TestMulti(t *testing.T) {
	for _, txn := range []history.Txn{
		{{F: history.Check, Key: "a"}, {F: history.Write, Key: "b", In: []int{1}}},
		{{F: history.Create, Key: "a", In: []int{1}}, {F: history.Delete, Key: "b"}, {F: history.Write, Key: "c", In: []int{2}}},
	} {
		if m, _, err := Step(txn); m.F != Multi || err != nil {
			t.Errorf("%v: %+v, %v", txn, m, err)
		}
	}
	const none, inconsistent, exists = jute.OK, jute.RuntimeInconsistency, jute.NodeExists
	for _, c := range []struct {
		results []jute.Code
		part    int
		code    jute.Code
		sense   bool
	}{
		{[]jute.Code{none, none, none}, -1, none, true}, {[]jute.Code{none, exists, inconsistent}, 1, exists, true}, {[]jute.Code{exists, inconsistent, inconsistent}, 0, exists, true},
		{[]jute.Code{none, none, exists}, 2, exists, true}, {[]jute.Code{none, exists, none}, -1, none, false}, {[]jute.Code{none, exists, exists}, -1, none, false},
		{[]jute.Code{none, none}, -1, none, false}, {nil, -1, none, false},
	} {
		if part, code, err := Failed(c.results, 3); part != c.part || code != c.code || (err == nil) != c.sense || err != nil && !errors.Is(err, machine.ErrNonsense) {
			t.Errorf("%v: part %d, %v, %v", c.results, part, code, err)
		}
	}
}

// TestRefuses holds the list from outside: whoever makes it longer has to argue for it here, too.
func TestRefuses(t *testing.T) {
	always := []jute.Code{jute.NoNode, jute.NoAuth, jute.BadArguments, jute.InvalidACL, jute.NoChildrenForEphemerals, jute.QuotaExceeded, jute.Unimplemented}
	only := map[string][]jute.Code{history.Write: {jute.NodeExists}, history.CreateEphemeral: {jute.NodeExists}, history.CAS: {jute.BadVersion}, Multi: {jute.NodeExists, jute.BadVersion}}
	for _, f := range []string{
		history.Read, history.Scan, history.Write, history.CAS, history.Add, history.CreateEphemeral, history.CreateSequential, history.Delete, history.Watch, history.Close, Multi, history.Remove,
	} {
		for code := jute.Code(-200); code <= 10; code++ {
			want := slices.Contains(always, code) || slices.Contains(only[f], code)
			if got := Refuses(f, code); got != want {
				t.Errorf("%s, %v: got %v, want %v", f, code, got, want)
			}
		}
	}
}
