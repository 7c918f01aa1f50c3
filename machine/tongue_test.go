package machine

import (
	"errors"
	"reflect"
	"testing"

	"assize/history"
)

// TestCommandsSpeakOneRequestATransaction: what a store answers to it comes out as AnswerOf says.
func TestCommandsSpeakOneRequestATransaction(t *testing.T) {
	s := NewStore(0)
	var c Commands
	if c.Hello() != nil || c.Closed() != nil {
		t.Error("it greets, or knows of an end")
	}
	for i, x := range []struct {
		txn, want history.Txn
		err       error
	}{
		{history.Txn{{F: history.Write, Key: "k", In: []int{7}}}, history.Txn{{F: history.Write, Key: "k", In: []int{7}}}, nil},
		{history.Txn{{F: history.Read, Key: "k"}}, history.Txn{{F: history.Read, Key: "k", Out: []int{7}}}, nil},
		{history.Txn{{F: history.CAS, Key: "k", In: []int{8, 9}}}, nil, ErrCompare},
	} {
		requests, err := c.Ask(x.txn)
		if err != nil || len(requests) != 1 {
			t.Fatalf("%v: %d requests, %v", x.txn, len(requests), err)
		}
		command, err := DecodeCommand(requests[0])
		if err != nil {
			t.Fatal(err)
		}
		result := s.Apply(command)
		result.Term, result.Index = 3, uint64(i)+1
		r := Reply{Conn: 1, Seq: uint64(i) + 1, Body: result.Encode()}
		if e, err := c.Acknowledged(r); e != (Entry{Term: 3, Index: uint64(i) + 1}) || err != nil {
			t.Errorf("%v: acknowledges %+v, %v", x.txn, e, err)
		}
		if more, done := c.Hear(r); more != nil || !done {
			t.Errorf("%v: heard: %v, %v", x.txn, more, done)
		}
		out, _, position, note, err := c.Answer()
		if !reflect.DeepEqual(out, x.want) || !errors.Is(err, x.err) || err == nil && (position == 0 || note != "term 3 index "+string(rune('1'+i))) {
			t.Errorf("%v: got %v at %d, %q, %v", x.txn, out, position, note, err)
		}
	}
}

func TestCommandsWithoutEffectAcknowledgeNothing(t *testing.T) {
	var c Commands
	r := Reply{Seq: 1, Body: Result{Outcome: Refused, Term: 3, Index: 5}.Encode()}
	if e, err := c.Acknowledged(r); e != (Entry{}) || err != nil {
		t.Errorf("a refusal acknowledges %+v, %v", e, err)
	}
}

func TestCommandsKnowWhatIsNoReply(t *testing.T) {
	var c Commands
	c.Ask(history.Txn{{F: history.Read, Key: "k"}})
	if _, done := c.Hear(Reply{Body: Result{Outcome: Done}.Encode()}); done {
		t.Error("a push is an answer")
	}
	if _, err := c.Acknowledged(Reply{}); err == nil {
		t.Error("a push acknowledges")
	}
	if _, done := c.Hear(Reply{Seq: 1, Body: []byte("rubbish")}); !done {
		t.Error("rubbish is no answer")
	}
	if _, _, _, _, err := c.Answer(); !errors.Is(err, ErrNonsense) {
		t.Errorf("rubbish: got %v", err)
	}
	if _, err := c.Ask(history.Txn{{F: "dance"}}); err == nil {
		t.Error("it asks anything")
	}
}
