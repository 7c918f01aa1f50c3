package history

import (
	"reflect"
	"strings"
	"testing"
)

func ev(p int, k Kind, t ...Mop) Op { return Op{Process: p, Kind: k, Node: "n1", Txn: t} }

func number(ops ...Op) []Op {
	for i := range ops {
		ops[i].Index = i
	}
	return ops
}

func TestPair(t *testing.T) {
	read, write := Mop{F: Read, Key: "k"}, Mop{F: Write, Key: "k", In: []int{1}}
	got, err := Pair(number(
		Op{Process: Harness, Kind: Info, Phase: PhaseStorm},
		ev(1, Invoke, write),
		ev(0, Invoke, read),
		ev(1, Info, write),
		Op{Process: 0, Kind: Notify, Session: 1, Txn: Txn{{F: Changed, Key: "k"}}},
		ev(0, OK, Mop{F: Read, Key: "k", Out: []int{1}}),
		Op{Process: 0, Kind: Notify, Session: 1, Txn: Txn{{F: Deleted, Key: "k"}}},
		ev(0, Invoke, read),
		ev(11, Invoke, read),
		ev(0, Fail, read),
	))
	want := []Call{{1, 3, Info}, {2, 5, OK}, {7, 9, Fail}, {8, -1, Info}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestPairRefuses(t *testing.T) {
	read, write := Mop{F: Read, Key: "k"}, Mop{F: Write, Key: "k", In: []int{1}}
	for _, c := range []struct {
		want string
		ops  []Op
	}{
		{"event 1 stands where event 0 belongs", []Op{{Index: 1, Process: Harness}}},
		{"asks while its event 0 is open", number(ev(1, Invoke, read), ev(1, Invoke, read))},
		{"has asked for nothing", number(ev(1, OK, read))},
		{"has asked for nothing", number(ev(1, Invoke, read), ev(1, OK, read), ev(1, OK, read))},
		{"has asked for nothing", number(ev(1, Invoke, read), ev(2, OK, read))},
		{"step 1 is write", number(ev(1, Invoke, read), ev(1, OK, write))},
		{"step 1 is read j", number(ev(1, Invoke, read), ev(1, OK, Mop{F: Read, Key: "j"}))},
		{"step 1 is write k [2]", number(ev(1, Invoke, write), ev(1, OK, Mop{F: Write, Key: "k", In: []int{2}}))},
		{"it has 2 steps, not 1", number(ev(1, Invoke, read), ev(1, OK, read, read))},
		{`it is of node "n2"`, number(ev(1, Invoke, read), Op{Process: 1, Kind: OK, Node: "n2", Txn: Txn{read}})},
		{"goes on after an info", number(ev(1, Invoke, read), ev(1, Info, read), ev(1, Invoke, read))},
		{"goes on after an info", number(ev(1, Invoke, read), ev(1, Info, read), ev(1, OK, read))},
		{"it has no operation", number(ev(1, Invoke))},
		{"invoke has results", number(ev(1, Invoke, Mop{F: Read, Key: "k", Out: []int{1}}))},
		{"fail has results", number(ev(1, Invoke, read), ev(1, Fail, Mop{F: Read, Key: "k", Out: []int{1}}))},
		{"is no client's", number(ev(Nemesis, Info, read))},
		{"is nobody's", number(ev(-3, Info))},
		{"want one, and a session", number(ev(1, Notify, Mop{F: Changed, Key: "k"}))},
		{"want one, and a session", number(Op{Process: 1, Kind: Notify, Session: 1, Txn: Txn{read, read}})},
		{"goes on after an info", number(ev(1, Invoke, read), ev(1, Info, read), Op{Process: 1, Kind: Notify, Session: 1, Txn: Txn{read}})},
		{"notify has results", number(Op{Process: 1, Kind: Notify, Session: 1, Txn: Txn{{F: Changed, Out: []int{1}}}})},
		{"is no kind", number(ev(1, 7, read))},
		{"has a fault", number(Op{Process: 1, Txn: Txn{read}, Phase: PhaseStop})},
	} {
		calls, err := Pair(c.ops)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, %v; want %q", calls, err, c.want)
		}
	}
}
