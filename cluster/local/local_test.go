package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"assize/cluster"
	"assize/cluster/fleet"
)

func TestKillAndRestart(t *testing.T) {
	c, _ := newTown(t, 3)
	if got, want := c.Nodes(), []string{"n1", "n2", "n3"}; !slices.Equal(got, want) {
		t.Fatalf("nodes %v, want %v", got, want)
	}
	first := heard(t, c, "n2").Pid
	for range 2 { // idempotent
		if err := c.Kill(t.Context(), "n2"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Status(t.Context(), "n2"); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("status of a killed node: %v, want it refused", err)
	}
	if _, err := c.Status(t.Context(), "n1"); err != nil {
		t.Errorf("the others were not killed: %v", err)
	}
	for range 2 {
		if err := c.Start(t.Context(), "n2"); err != nil {
			t.Fatal(err)
		}
	}
	if second := heard(t, c, "n2").Pid; second == first {
		t.Errorf("process %d outlived its killing", first)
	}
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("a node that was killed is no violation: %q", v)
	}
	b, err := os.ReadFile(filepath.Join(c.config.Dir, "nodes", "n2", "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(regexp.MustCompile(`(?m)^ *\d+\.\d{6} serving$`).FindAll(b, -1)); got != 2 {
		t.Errorf("%d stamped lines say that it serves, want 2:\n%s", got, b)
	}
}

func TestUnknownNodeIsRefused(t *testing.T) {
	c, _ := newTown(t, 1)
	if _, err := c.Status(t.Context(), "n7"); !errors.Is(err, cluster.ErrRefused) || !errors.Is(err, cluster.ErrNotDone) {
		t.Errorf("status of a stranger: %v", err)
	}
}

func TestNodeThatDiesByItselfIsAViolation(t *testing.T) {
	c, _ := newTown(t, 2)
	address, _ := c.Address("n1")
	var none string
	if err := ask(t.Context(), address, "die", &none); err == nil {
		t.Fatal("it answered instead of dying")
	}
	var v []string
	until(t, c, "violation", func() bool {
		v = c.Violations()
		return len(v) > 0
	})
	if len(v) != 1 || !strings.Contains(v[0], "n1 died by itself with exit status 3") || !strings.Contains(v[0], "last words") {
		t.Errorf("violations %q", v)
	}
	if again := c.Violations(); len(again) > 0 {
		t.Errorf("told twice: %q", again)
	}
	if err := c.Start(t.Context(), "n1"); err != nil {
		t.Error(err)
	}
}

// TestNodeThatDiesWhileItIsToBeKilled: that a fault was about to kill it does not excuse a node that ended with an exit status of its own.
func TestNodeThatDiesWhileItIsToBeKilled(t *testing.T) {
	c, _ := newTown(t, 2)
	n, _ := c.place("n1")
	n.process.mu.Lock()
	n.process.expected = true // Kill has begun, and its signal has not been sent
	n.process.mu.Unlock()
	address, _ := c.Address("n1")
	var none string
	if err := ask(t.Context(), address, "die", &none); err == nil {
		t.Fatal("it answered instead of dying")
	}
	<-n.process.done
	if v := c.Violations(); len(v) != 1 || !strings.Contains(v[0], "n1 died by itself with exit status 3") {
		t.Errorf("violations %q", v)
	}
	if err := c.Start(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("violations of a node that was killed: %q", v)
	}
}

func TestNodeWhosePortIsTakenGetsAnother(t *testing.T) {
	c, _ := newTown(t, 2)
	if err := c.Kill(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	n, _ := c.place("n1")
	peer, _ := n.Addresses()
	n.mu.Lock()
	n.release()
	n.mu.Unlock()
	l, err := net.Listen("tcp", peer)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := c.Start(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if now, _ := n.Addresses(); now == peer {
		t.Errorf("still at %s", peer)
	}
	say(t, c, "n2", "n1", "found you")
	until(t, c, "word to the node at its new port", func() bool { return slices.Contains(heard(t, c, "n1").Got, "found you") })
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("a taken port is no violation: %q", v)
	}
}

// A node that leaves while it is about to be started is not: nobody would end it any more.
func TestNodeThatLeavesIsNotStarted(t *testing.T) {
	c, _ := newTown(t, 2)
	if err := c.Kill(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	n, _ := c.place("n1")
	life, err := n.Ignite(t.Context(), func() []string {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		dir, peer, client := n.Listen()
		return n.of.config.System.Args(cluster.Node{ID: 1, Dir: dir, Peer: peer, Client: client})
	})
	if life != nil || err == nil {
		t.Errorf("a node that has left was started: %v", err)
	}
	_, client := n.Addresses()
	l, err := net.Listen("tcp", client)
	if err != nil {
		t.Fatalf("it keeps its ports from others: %v", err)
	}
	l.Close()
}

func TestNodeThatCannotStartIsAnError(t *testing.T) {
	w := &town{}
	system := w.system()
	system.Args = func(cluster.Node) []string { return []string{"node", "-id", "rubbish"} }
	dir := t.TempDir()
	c, err := New(t.Context(), Config{System: system, Dir: dir, Nodes: 1})
	if err == nil {
		c.Close()
		t.Fatal("started")
	}
	if !strings.Contains(err.Error(), "start n1") || !strings.Contains(err.Error(), "invalid value") {
		t.Errorf("error without the node or its words: %v", err)
	}
	if !errors.Is(err, cluster.ErrSystem) {
		t.Errorf("a server that ends by itself is the test's doing: %v", err)
	}
	if _, err := New(t.Context(), Config{System: w.system(), Dir: dir, Nodes: 1, Binary: filepath.Join(dir, "none")}); err == nil || errors.Is(err, cluster.ErrSystem) {
		t.Errorf("started without a binary, or that was the system's doing: %v", err)
	}
	if _, err := New(t.Context(), Config{System: w.system(), Dir: dir}); err == nil {
		t.Error("started without nodes")
	}
}

func TestMembersJoinWithNewIDsAndLeaveForGood(t *testing.T) {
	c, w := newTown(t, 3)
	name, err := c.Join(t.Context())
	if err != nil || name != "n4" {
		t.Fatalf("join: %q, %v", name, err)
	}
	say(t, c, "n1", "n4", "welcome")
	say(t, c, "n4", "n2", "thanks")
	until(t, c, "word to the new node", func() bool { return slices.Contains(heard(t, c, "n4").Got, "welcome") })
	until(t, c, "word from the new node", func() bool { return slices.Contains(heard(t, c, "n2").Got, "thanks") })
	if err := c.Leave(t.Context(), "n4"); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context(), "n4"); err == nil {
		t.Error("started a node that has left")
	}
	if name, err = c.Join(t.Context()); err != nil || name != "n5" {
		t.Errorf("join: %q, %v; ids are never used again", name, err)
	}
	if got, want := c.Nodes(), []string{"n1", "n2", "n3", "n5"}; !slices.Equal(got, want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
	if dead, err := c.Reach(t.Context()); err != nil || len(dead) > 0 {
		t.Errorf("dead links %v, %v", dead, err)
	}
	if got, want := w.asked, []string{"join 4", "leave 4", "join 5"}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	b, err := os.ReadFile(filepath.Join(c.config.Dir, "nodes", "n1", "data", "peers.json"))
	if err != nil || strings.Contains(string(b), `"4"`) || !strings.Contains(string(b), `"5"`) {
		t.Errorf("peers of n1: %s, %v", b, err)
	}
	if c.Size() != 3 {
		t.Errorf("size %d, want that of the beginning", c.Size())
	}
}

// A join whose answer never came may commit later, so its node must be there.
func TestJoinInDoubtIsTakenUpAgain(t *testing.T) {
	c, w := newTown(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	w.join = func(_ context.Context, address string, id int, _ string) error {
		cancel()
		return errors.Join(errors.New("no answer"), w.request("join", address, id))
	}
	if name, err := c.Join(ctx); err == nil {
		t.Fatalf("%s joined", name)
	}
	if got := c.Nodes(); len(got) != 3 {
		t.Errorf("nodes %v, want the first three", got)
	}
	say(t, c, "n1", "n4", "are you there")
	if dead, err := c.Reach(t.Context()); err != nil || len(dead) > 0 {
		t.Errorf("dead links %v, %v", dead, err)
	}
	if name, err := c.Join(t.Context()); err != nil || name != "n4" {
		t.Errorf("second try: %q, %v; want the same node", name, err)
	}
	if got, want := w.asked, []string{"join 4"}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q: the members show that it has joined", got, want)
	}
}

// An isolated leader counts a node that nobody else counts.
func TestOneWitnessSettlesNoMembership(t *testing.T) {
	c, w := newTown(t, 3)
	lone, _ := c.Address("n1")
	w.see = func(_ context.Context, address string) (cluster.Status, error) {
		if address == lone {
			return cluster.Status{Role: "leader", Term: 2, Members: []string{"n1", "n2", "n3", "n4"}}, nil
		}
		return cluster.Status{Role: "follower", Term: 2, Members: []string{"n1", "n2", "n3"}}, nil
	}
	if c.Settled(t.Context(), "n4", true) {
		t.Error("settled by the leader's word alone")
	}
	if c.Settled(t.Context(), "n3", false) {
		t.Error("n3 has not left")
	}
	if !c.Settled(t.Context(), "n3", true) {
		t.Error("all count n3")
	}
}

func TestTransferAsksTheLeader(t *testing.T) {
	c, w := newTown(t, 3)
	w.mu.Lock()
	w.leader, _ = c.Address("n2")
	w.mu.Unlock()
	var at string
	w.transfer = func(_ context.Context, address string, to int) error {
		at = fmt.Sprintf("%s to %d", address, to)
		return nil
	}
	if err := c.Transfer(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	if want := w.leader + " to 3"; at != want {
		t.Errorf("asked %s, want %s", at, want)
	}
	w.mu.Lock()
	w.leader = "nobody"
	w.mu.Unlock()
	if err := c.Transfer(t.Context(), "n3"); !errors.Is(err, fleet.ErrNoLeader) {
		t.Errorf("without a leader: %v", err)
	}
}

func TestQuorumIsMendedAndAllElseBroken(t *testing.T) {
	c, _ := newTown(t, 5)
	for _, n := range []string{"n1", "n2", "n3", "n4"} {
		if err := c.Kill(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Cut(t.Context(), []cluster.Link{{From: "n1", To: "n2"}, {From: "n2", To: "n3"}, {From: "n5", To: "n4"}}); err != nil {
		t.Fatal(err)
	}
	kept, err := c.MendQuorum(t.Context(), 7)
	if err != nil || len(kept) != 3 || !slices.IsSorted(kept) {
		t.Fatalf("kept %v, %v", kept, err)
	}
	for _, n := range c.Nodes() {
		_, err := c.Status(t.Context(), n)
		if got, want := err == nil, slices.Contains(kept, n); got != want {
			t.Errorf("%s answers: %v, want %v", n, got, want)
		}
	}
	// Started again, the others are still cut off.
	for _, n := range c.Nodes() {
		if err := c.Start(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := c.Reach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []cluster.Link
	for _, from := range c.Nodes() {
		for _, to := range c.Nodes() {
			if from != to && !(slices.Contains(kept, from) && slices.Contains(kept, to)) {
				want = append(want, cluster.Link{From: from, To: to})
			}
		}
	}
	if !slices.Equal(dead, want) {
		t.Errorf("dead links %v, want %v", dead, want)
	}
	other := false
	for draw := range uint64(6) {
		if err := c.Pause(t.Context(), kept[0]); err != nil {
			t.Fatal(err)
		}
		again, err := c.MendQuorum(t.Context(), draw)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range again {
			if _, err := c.Status(t.Context(), n); err != nil {
				t.Errorf("%s of the mended quorum: %v", n, err)
			}
		}
		if err := c.Start(t.Context(), kept[0]); err != nil {
			t.Fatal(err)
		}
		other = other || !slices.Equal(again, kept)
	}
	if !other {
		t.Errorf("every draw keeps %v", kept)
	}
}

// A join in doubt: whoever has heard of it counts six, and three are then no majority.
func TestQuorumIsOneOfEveryConfiguration(t *testing.T) {
	c, w := newTown(t, 5)
	ctx, cancel := context.WithCancel(t.Context())
	w.join = func(context.Context, string, int, string) error {
		cancel()
		return errors.New("no answer")
	}
	if name, err := c.Join(ctx); err == nil {
		t.Fatalf("%s joined", name)
	}
	pending := c.Everybody()[5].Place
	for draw := range uint64(4) {
		w.mu.Lock()
		w.members = []string{"n1", "n2", "n3", "n4", "n5", "n6"}
		w.mu.Unlock()
		kept, err := c.MendQuorum(t.Context(), draw)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range c.Nodes() {
			_, err := c.Status(t.Context(), n)
			if got, want := err == nil, slices.Contains(kept, n); got != want {
				t.Errorf("draw %d: %s answers: %v, want %v", draw, n, got, want)
			}
		}
		running := len(kept)
		if pending.Answering() {
			running++
		}
		if running != 4 {
			t.Errorf("draw %d: %v and n6: %v are not four", draw, kept, pending.Answering())
		}
	}
	if err := pending.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context(), "n1"); err != nil || !pending.Answering() {
		t.Errorf("the node that may have joined is down: %v", err)
	}
}

// Observers are nodes like others, but of a quorum they are no part: it has two of the three that vote, however many observers are in it.
func TestQuorumIsOneOfThoseThatVote(t *testing.T) {
	w := &town{members: []string{"n1", "n2", "n3"}}
	c, err := New(t.Context(), Config{System: w.system(), Dir: t.TempDir(), Nodes: 3, Observers: 4, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, want := c.Observers(), []string{"n4", "n5", "n6", "n7"}; !slices.Equal(got, want) || c.Size() != 7 || len(c.Nodes()) != 7 {
		t.Fatalf("observers %v of %v, want %v", got, c.Nodes(), want)
	}
	w.mu.Lock()
	w.members = nil // nobody tells
	w.mu.Unlock()
	least := 7
	for draw := range uint64(8) {
		kept, err := c.MendQuorum(t.Context(), draw)
		if err != nil {
			t.Fatal(err)
		}
		voting := slices.DeleteFunc(slices.Clone(kept), func(n string) bool { return n > "n3" })
		if len(voting) != 2 {
			t.Errorf("draw %d: of %v two must vote", draw, kept)
		}
		least = min(least, len(kept))
	}
	if least > 3 {
		t.Errorf("no quorum has fewer than %d nodes", least)
	}
}

func TestInterruptWakesSleepers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &town{members: []string{"n1"}}
	c, err := New(ctx, Config{System: w.system(), Dir: t.TempDir(), Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Go(func() { c.Sleep(1 << 62) })
	c.Go(cancel)
	c.Wait()
	c.Sleep(1 << 62) // returns, too, else the test never ends
}
