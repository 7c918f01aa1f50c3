package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"assize/machine"
)

func testDesk(limit int) *desk { return newDesk(limit, newInbox(), new(counts)) }

func TestRequestsOfAConnectionAreNumberedInTheirOrder(t *testing.T) {
	d := testDesk(1000)
	conns := []uint64{d.connect(), d.connect()}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				if _, _, refusal := d.submit(conns[i%2], nil); refusal != "" {
					t.Error(refusal)
				}
			}
		})
	}
	all.Wait()
	last := map[uint64]uint64{}
	events, _ := d.inbox.take(nil, 1000)
	for _, e := range events {
		if last[e.Request.Conn]++; e.Request.Seq != last[e.Request.Conn] {
			t.Fatalf("seq %d of %d comes where %d should", e.Request.Seq, e.Request.Conn, last[e.Request.Conn])
		}
	}
	if last[conns[0]] != 200 || last[conns[1]] != 200 || conns[0] == 0 || conns[0] == conns[1] {
		t.Errorf("got %v of %v, want 200 each", last, conns)
	}
}

func TestRequestIsAnsweredOnce(t *testing.T) {
	d := testDesk(10)
	conn := d.connect()
	seq, answer, _ := d.submit(conn, nil)
	body := machine.Result{Outcome: machine.Done, Revision: 7}.Encode()
	d.answer([]machine.Reply{{Conn: conn, Seq: seq + 1}, {Conn: conn + 1, Seq: seq}, {Conn: conn, Seq: seq, Body: body}, {Conn: conn, Seq: seq}})
	if got := <-answer; string(got) != string(body) {
		t.Errorf("got %q", got)
	}
	if d.waiting != 0 {
		t.Errorf("%d wait", d.waiting)
	}
}

func TestTooManyRequestsAreRefused(t *testing.T) {
	d := testDesk(2)
	conn := d.connect()
	for range 2 {
		if _, _, refusal := d.submit(conn, nil); refusal != "" {
			t.Fatal(refusal)
		}
	}
	got, err := d.do(t.Context(), conn, machine.Command{Kind: machine.CommandTxn})
	if err != nil || got.Outcome != machine.Refused {
		t.Errorf("got %v, %v, want it refused", got, err)
	}
	d.forget(conn, 1)
	if _, _, refusal := d.submit(conn, nil); refusal != "" {
		t.Errorf("refused after one was forgotten: %s", refusal)
	}
}

func TestDoEndsWithItsContext(t *testing.T) {
	d := testDesk(2)
	conn := d.connect()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.do(ctx, conn, machine.Command{Kind: machine.CommandTxn}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if d.waiting != 0 {
		t.Errorf("%d wait", d.waiting)
	}
	if events, _ := d.inbox.take(nil, 10); len(events) != 1 {
		t.Errorf("%d events, want the request", len(events))
	}
}

func TestGoneConnection(t *testing.T) {
	d := testDesk(10)
	conn, other := d.connect(), d.connect()
	_, answer, _ := d.submit(conn, nil)
	_, kept, _ := d.submit(other, nil)
	d.gone(conn)
	d.gone(conn)
	if _, ok := <-answer; ok {
		t.Error("an answer for a connection that has gone")
	}
	if _, _, refusal := d.submit(conn, nil); refusal == "" {
		t.Error("a connection that has gone takes requests: their numbers would begin again")
	}
	d.answer([]machine.Reply{{Conn: other, Seq: 1, Body: []byte("x")}})
	if got := <-kept; string(got) != "x" {
		t.Errorf("got %q", got)
	}
	events, _ := d.inbox.take(nil, 10)
	if got, want := fmt.Sprint(len(events), events[len(events)-1].Gone), fmt.Sprint(3, conn); got != want {
		t.Errorf("got %s events, want %s", got, want)
	}
	d.close()
	if _, _, refusal := d.submit(other, nil); refusal == "" {
		t.Error("a closed desk takes requests")
	}
}

func TestInboxKeepsTheOrderAndItsBounds(t *testing.T) {
	b := newInbox()
	for i := range 10 {
		b.put(machine.Event{Gone: uint64(i + 1)})
	}
	var got []machine.Event
	for more := true; more; {
		got, more = b.take(got, 3)
	}
	for i, e := range got {
		if e.Gone != uint64(i+1) {
			t.Fatalf("event %d is %d", i, e.Gone)
		}
	}
	big := &machine.Message{Body: make([]byte, inboxBytes)}
	b.putMessage(big)
	through := make(chan bool)
	go func() { through <- b.putMessage(&machine.Message{}) }()
	b.put(machine.Event{Gone: 1}) // requests do not wait
	first, _ := b.take(nil, 1)
	if first[0].Message != big || !<-through {
		t.Error("no space after what was there has been taken")
	}
	b.putMessage(big)
	go func() { through <- b.putMessage(&machine.Message{}) }()
	b.close()
	if <-through {
		t.Error("a closed inbox took a message")
	}
}
