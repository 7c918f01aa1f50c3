package local

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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

// A target that does not read fills its buffers; a cut must stop even the write that is stuck in them.
func TestCutStopsAWriteUnderWay(t *testing.T) {
	c, _ := newTown(t, 2)
	if err := c.Pause(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	const words = 400
	long := strings.Repeat("x", 60<<10)
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		address, _ := c.Address("n1")
		for i := range words {
			var answer string
			if ask(t.Context(), address, fmt.Sprintf("send 2 %d%s", i, long), &answer) != nil {
				return
			}
		}
	}()
	relays := c.allRelays()
	one := relays[slices.IndexFunc(relays, func(r *relay) bool { return r.link.From == "n1" })]
	until(t, c, "a connection", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return len(one.pipes) == 1 && one.pipes[0].to != nil
	})
	if err := c.Cut(t.Context(), []cluster.Link{one.link}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(heard(t, c, "n2").Got)
	if _, err := c.Reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := len(heard(t, c, "n2").Got); after != before || after == words {
		t.Errorf("%d words and then %d came through a cut link", before, after)
	}
	if err := c.Cut(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	<-stuck
	until(t, c, "all words", func() bool { return len(heard(t, c, "n2").Got) == words })
	for i, word := range heard(t, c, "n2").Got {
		if want := fmt.Sprintf("%d%s", i, long); word != want {
			t.Fatalf("word %d begins %.8q and has %d bytes, want %d", i, word, len(word), len(want))
		}
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
	for _, s := range []cluster.Shape{{Duplicated: 0.1}, {Loss: 1}, {Delay: -1}} {
		if c.Shape(t.Context(), links, s) == nil {
			t.Errorf("shape %+v was taken", s)
		}
	}
}

func TestDueTimes(t *testing.T) {
	r := &relay{random: rand.New(rand.NewPCG(1, 2))}
	if due := r.due(time.Time{}); !due.IsZero() {
		t.Errorf("an unshaped link delays until %v", due)
	}
	r.setShape(cluster.Shape{Delay: time.Hour, Jitter: time.Minute, Loss: 0.5})
	var last time.Time
	least, most := time.Duration(1<<62), time.Duration(0)
	for range 1000 {
		now := time.Now()
		if fresh := r.due(time.Time{}).Sub(now); true {
			least, most = min(least, fresh), max(most, fresh)
		}
		due := r.due(last)
		if due.Before(last) {
			t.Fatalf("due %v, before %v of the one ahead", due, last)
		}
		last = due
	}
	if least < time.Hour || most < time.Hour+retransmit*(1<<mostRetransmit-1) {
		t.Errorf("delays from %v to %v: want no less than the delay and, with so much loss, all retransmissions at some time", least, most)
	}
	// A link that has been healed still delivers in order.
	r.setShape(cluster.Shape{})
	if due := r.due(last); due != last {
		t.Errorf("due %v, want %v as the one ahead", due, last)
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
