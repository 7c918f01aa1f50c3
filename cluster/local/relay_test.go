package local

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"assize/cluster"
)

func TestCutDirectionIsSilenceAndHealedGoesOn(t *testing.T) {
	c, _ := newTown(t, 2)
	say(t, c, "n1", "n2", "before")
	until(t, c, "word before the cut", func() bool { return slices.Contains(heard(t, c, "n2").Got, "before") })
	if err := c.Cut(t.Context(), []cluster.Link{{From: "n1", To: "n2"}}); err != nil {
		t.Fatal(err)
	}
	say(t, c, "n1", "n2", "during") // no reset: the sender notices nothing
	say(t, c, "n2", "n1", "backward")
	until(t, c, "word in the other direction", func() bool { return slices.Contains(heard(t, c, "n1").Got, "backward") })
	// The probe listens to the silence long enough for what would have come.
	dead, err := c.Reach(t.Context())
	if want := []cluster.Link{{From: "n1", To: "n2"}}; err != nil || !slices.Equal(dead, want) {
		t.Errorf("dead links %v, %v, want %v", dead, err, want)
	}
	if got, want := heard(t, c, "n2").Got, []string{"before"}; !slices.Equal(got, want) {
		t.Errorf("through a cut link came %q, want %q", got, want)
	}
	relays := c.allRelays()
	one := relays[slices.IndexFunc(relays, func(r *relay) bool { return r.link.From == "n1" })]
	until(t, c, "the probe takes itself back", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return len(one.pipes) == 1
	})
	say(t, c, "n1", "n2", "still during")
	if err := c.Cut(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	say(t, c, "n1", "n2", "after")
	want := []string{"before", "during", "still during", "after"}
	until(t, c, "word after the healing", func() bool { return len(heard(t, c, "n2").Got) == len(want) })
	if got := heard(t, c, "n2").Got; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if dead, err := c.Reach(t.Context()); err != nil || len(dead) > 0 {
		t.Errorf("dead links after healing: %v, %v", dead, err)
	}
}

func TestCutHoldsNewConnections(t *testing.T) {
	c, _ := newTown(t, 2)
	if err := c.Cut(t.Context(), []cluster.Link{{From: "n1", To: "n2"}}); err != nil {
		t.Fatal(err)
	}
	say(t, c, "n1", "n2", "first ever")
	if _, err := c.Reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := heard(t, c, "n2").Got; len(got) > 0 {
		t.Errorf("through a cut link came %q", got)
	}
	// Its sender dies; what it has sent is under way all the same.
	if err := c.Kill(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Cut(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	until(t, c, "late word of a dead sender", func() bool { return slices.Equal(heard(t, c, "n2").Got, []string{"first ever"}) })
}

// ends are both ends of one connection through a relay.
func ends(t *testing.T) (r *relay, from, to net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err = newRelay(cluster.Link{From: "n1", To: "n2"}, l.Addr().String, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	if from, err = net.Dial("tcp", r.address()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close() })
	if to, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close() })
	return r, from, to
}

// drain reads until nothing has come for a while, or the end.
func drain(conn net.Conn) (n int, err error) {
	b := make([]byte, 64<<10)
	for {
		conn.SetReadDeadline(time.Now().Add(silence))
		m, err := conn.Read(b)
		n += m
		if err != nil {
			return n, err
		}
	}
}

func TestClosingIsNewsThatACutHolds(t *testing.T) {
	for _, who := range []string{"sender", "target"} {
		r, from, to := ends(t)
		// The relay has its own end of the connection when something has come through.
		if _, err := from.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := drain(to); n != 1 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		r.set(true)
		other := to
		if who == "sender" {
			from.Close()
		} else {
			to.Close()
			other = from
		}
		if n, err := drain(other); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the closing of the %s came through a cut link: %v", who, err)
		}
		r.set(false)
		other.SetReadDeadline(time.Time{})
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after healing the closing of the %s comes as %v", who, err)
		}
	}
}

// A probe knows a target that is down by the reset; an end without one means that a living target closed.
func TestTargetThatIsDownIsAReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r, err := newRelay(cluster.Link{From: "n1", To: "n2"}, l.Addr().String, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	conn, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read: %v, want a reset", err)
	}
}

func TestReachSeesTheDeadAndTheStopped(t *testing.T) {
	c, _ := newTown(t, 3)
	if dead, err := c.Reach(t.Context()); err != nil || len(dead) > 0 {
		t.Errorf("dead links %v, %v, want none", dead, err)
	}
	want := []cluster.Link{{From: "n1", To: "n2"}, {From: "n3", To: "n2"}}
	if err := c.Kill(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if dead, err := c.Reach(t.Context()); err != nil || !slices.Equal(dead, want) {
		t.Errorf("with n2 down the dead links are %v, %v, want %v", dead, err, want)
	}
	if err := c.Start(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if dead, err := c.Reach(t.Context()); err != nil || len(dead) > 0 {
		t.Errorf("dead links %v, %v, want none", dead, err)
	}
	if err := c.Pause(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if dead, err := c.Reach(t.Context()); err != nil || !slices.Equal(dead, want) {
		t.Errorf("with n2 stopped the dead links are %v, %v, want %v", dead, err, want)
	}
}

func TestShapedLinkKeepsOrder(t *testing.T) {
	c, _ := newTown(t, 2)
	links := []cluster.Link{{From: "n1", To: "n2"}}
	if err := c.Shape(t.Context(), links, cluster.Shape{Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 50 {
		word := fmt.Sprint(i)
		want = append(want, word)
		say(t, c, "n1", "n2", word)
	}
	until(t, c, "all words", func() bool { return len(heard(t, c, "n2").Got) >= len(want) })
	if got := heard(t, c, "n2").Got; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if dead, err := c.Reach(t.Context()); err != nil || len(dead) > 0 {
		t.Errorf("a slow link is not dead: %v, %v", dead, err)
	}
	for _, s := range []cluster.Shape{{Duplicated: 0.1}, {Loss: 1}, {Delay: -1}, {Rate: -1}} {
		if c.Shape(t.Context(), links, s) == nil {
			t.Errorf("shape %+v was taken", s)
		}
	}
}

func TestDueTimes(t *testing.T) {
	r := &relay{random: rand.New(rand.NewPCG(1, 2))}
	if held, pause := r.due(term{}, 1); held != (term{}) || pause != (term{}) {
		t.Errorf("an unshaped link holds until %v", held.at)
	}
	r.setShape(cluster.Shape{Delay: time.Hour, Jitter: time.Minute, Loss: 0.5})
	var last term
	least, most := time.Duration(1<<62), time.Duration(0)
	for range 1000 {
		now := time.Now()
		fresh, _ := r.due(term{}, 1)
		least, most = min(least, fresh.at.Sub(now)), max(most, fresh.at.Sub(now))
		held, _ := r.due(last, 1)
		if held.at.Before(last.at) {
			t.Fatalf("held until %v, before %v of the one ahead", held.at, last.at)
		}
		last = held
	}
	if least < time.Hour || most < time.Hour+mostStall {
		t.Errorf("delays from %v to %v: want no less than the delay and, with so much loss, all retransmissions at some time", least, most)
	}
	// What a link that has been healed since held is not ahead any more.
	r.setShape(cluster.Shape{})
	r.setShape(cluster.Shape{Delay: time.Minute})
	if held, _ := r.due(last, 1); time.Until(held.at) > time.Minute {
		t.Errorf("held until %v, behind what has been let go", held.at)
	}
}

// Healed, a link lets go at once what it holds, all of it in order, also what its sender had to wait with.
func TestHealedLinkHoldsNothing(t *testing.T) {
	r, from, to := ends(t)
	r.setShape(cluster.Shape{Delay: time.Hour, Rate: 1000})
	const words = 500
	for i := range words {
		if _, err := fmt.Fprintf(from, "%7d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	for held := uint64(0); held < 5; held, _ = r.doings() { // of at most 256 bytes each; more than a second's work
		time.Sleep(time.Millisecond)
	}
	r.setShape(cluster.Shape{})
	to.SetReadDeadline(time.Now().Add(30 * time.Second))
	for lines, i := bufio.NewScanner(to), 0; i < words; i++ {
		if want := fmt.Sprintf("%7d", i); !lines.Scan() || lines.Text() != want {
			t.Fatalf("word %q, want %q: %v", lines.Text(), want, lines.Err())
		}
	}
}

// Every loss that a shape can bring about is one that a probe waits for.
func TestProbesWaitForWhatIsLost(t *testing.T) {
	r := &relay{random: rand.New(rand.NewPCG(1, 2))}
	r.setShape(cluster.Shape{Loss: 0.99, Delay: time.Second})
	longest := time.Duration(0)
	for range 100 {
		held, _ := r.due(term{}, 1)
		longest = max(longest, time.Until(held.at))
	}
	if got := r.patience(true); got < longest+patience {
		t.Errorf("a probe waits %v, of which it may be stalled %v", got, longest)
	}
}

func TestDirectClusterHasNoRelays(t *testing.T) {
	w := &town{members: []string{"n1", "n2"}}
	c, err := New(t.Context(), Config{System: w.system(), Dir: t.TempDir(), Nodes: 2, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say(t, c, "n1", "n2", "direct")
	until(t, c, "word", func() bool { return slices.Contains(heard(t, c, "n2").Got, "direct") })
	if c.Cut(t.Context(), nil) == nil || c.Shape(t.Context(), nil, cluster.Shape{}) == nil {
		t.Error("it pretends to cut and to shape")
	}
	if _, err := c.Reach(t.Context()); err == nil {
		t.Error("it pretends to probe")
	}
}
