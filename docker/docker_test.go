package docker

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/nemesis"
)

func TestServersAndContainersDieAndComeBack(t *testing.T) {
	c := town(t, 3, nil)
	if got, want := c.Nodes(), []string{"n1", "n2", "n3"}; !slices.Equal(got, want) {
		t.Fatalf("nodes %v, want %v", got, want)
	}
	write(t, c, "n1", "k", 1)
	for _, end := range []struct {
		what string
		do   func(node string) error
	}{
		{"kill", func(n string) error { return c.Kill(t.Context(), n) }},
		{"crash", func(n string) error { return c.Crash(t.Context(), n) }},
	} {
		before := status(t, c, "n2").Process
		for range 2 { // idempotent
			must(t, end.do("n2"))
		}
		if _, err := c.Status(t.Context(), "n2"); !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("%s: status %v, want it refused", end.what, err)
		}
		write(t, c, "n1", "k", 2)
		if err := c.Pause(t.Context(), "n2"); !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("pause after %s: %v", end.what, err)
		}
		if err := c.Freeze(t.Context(), "n2"); !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("freeze after %s: %v", end.what, err)
		}
		must(t, c.Resume(t.Context(), "n2"))
		for range 2 {
			must(t, c.Start(t.Context(), "n2"))
		}
		if after := status(t, c, "n2").Process; after == before {
			t.Errorf("%s: process %d has outlived it", end.what, before)
		}
		until(t, c, "n2 has all again", func() bool {
			one, two := status(t, c, "n1"), status(t, c, "n2")
			return one.Applied == two.Applied && one.Hash == two.Hash
		})
		reach(t, c)
	}
	log, err := os.ReadFile(filepath.Join(c.config.Dir, "nodes", "n2", "server.log"))
	must(t, err)
	if got := len(regexp.MustCompile(`(?m)^ *\d+\.\d{6} ready `).FindAll(log, -1)); got != 3 {
		t.Errorf("%d stamped lines say that it is ready, want 3:\n%s", got, log)
	}
	if v := c.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
}

func TestStoppedAndFrozenNodesHangAndGoOn(t *testing.T) {
	c := town(t, 3, nil)
	for _, stop := range []struct {
		what string
		do   func(node string) error
	}{
		{"pause", func(n string) error { return c.Pause(t.Context(), n) }},
		{"freeze", func(n string) error { return c.Freeze(t.Context(), n) }},
	} {
		before := status(t, c, "n3").Process
		for range 2 {
			must(t, stop.do("n3"))
		}
		if _, err := c.Status(t.Context(), "n3"); err == nil || errors.Is(err, cluster.ErrRefused) {
			t.Errorf("%s: status %v, want a time-out", stop.what, err)
		}
		// What is set meanwhile is in force when it goes on.
		cut := cluster.Link{From: "n1", To: "n3"}
		must(t, c.Cut(t.Context(), []cluster.Link{cut}))
		must(t, c.Skew(t.Context(), "n3", cluster.Skew{Wall: time.Hour}))
		for range 2 {
			must(t, c.Resume(t.Context(), "n3"))
		}
		s := status(t, c, "n3")
		if s.Process != before {
			t.Errorf("%s: process %d, want the same as before, %d", stop.what, s.Process, before)
		}
		if ahead := time.Until(s.Wall); ahead < 50*time.Minute {
			t.Errorf("%s: its clock is %v ahead, want an hour", stop.what, ahead)
		}
		reach(t, c, cut)
		// What is mended meanwhile is mended when it goes on.
		must(t, stop.do("n3"))
		must(t, c.Cut(t.Context(), nil))
		must(t, c.Skew(t.Context(), "n3", cluster.Skew{}))
		must(t, c.Resume(t.Context(), "n3"))
		if ahead := time.Until(status(t, c, "n3").Wall); ahead > 50*time.Minute {
			t.Errorf("%s: its clock is %v ahead, want none", stop.what, ahead)
		}
		reach(t, c)
		// Kill ends stopped ones, too.
		must(t, stop.do("n3"))
		must(t, c.Kill(t.Context(), "n3"))
		must(t, c.Start(t.Context(), "n3"))
		must(t, stop.do("n3"))
		must(t, c.Crash(t.Context(), "n3"))
		must(t, c.Start(t.Context(), "n3"))
		status(t, c, "n3")
	}
}

func TestCutsAreOfOneDirectionAndOutlastDeath(t *testing.T) {
	c := town(t, 3, nil)
	one := cluster.Link{From: "n2", To: "n1"}
	must(t, c.Cut(t.Context(), []cluster.Link{one, {From: "n9", To: "n1"}}))
	reach(t, c, one)
	must(t, c.Kill(t.Context(), "n1"))
	must(t, c.Start(t.Context(), "n1"))
	reach(t, c, one)
	for _, node := range []string{"n1", "n2"} { // with its network's rules
		must(t, c.Crash(t.Context(), node))
		must(t, c.Start(t.Context(), node))
		reach(t, c, one)
	}
	// n3 is in touch with both: whoever leads, it can write.
	write(t, c, "n3", "k", 1)
	both := []cluster.Link{{From: "n1", To: "n2"}, {From: "n1", To: "n3"}, {From: "n2", To: "n1"}, {From: "n3", To: "n1"}}
	must(t, c.Cut(t.Context(), both))
	reach(t, c, both...)
	if _, err := c.Status(t.Context(), "n1"); err != nil {
		t.Errorf("clients still reach it: %v", err)
	}
	write(t, c, "n2", "k", 2)
	must(t, c.Cut(t.Context(), nil))
	reach(t, c)
}

func TestShapesAreSeen(t *testing.T) {
	c := town(t, 3, nil)
	if err := c.Lack(cluster.Shapes); err != nil {
		t.Fatal(err)
	}
	link := cluster.Link{From: "n1", To: "n2"}
	median := func() time.Duration {
		trips, err := c.Trips(t.Context(), []cluster.Link{link}, 9)
		must(t, err)
		times := slices.Sorted(slices.Values(trips[0].Times))
		return times[len(times)/2]
	}
	before := median()
	must(t, c.Shape(t.Context(), []cluster.Link{link}, cluster.Shape{Delay: 300 * time.Millisecond}))
	if slow := median(); before < 0 || slow < before+300*time.Millisecond {
		t.Errorf("median of trips %v before, %v with 300 ms delay", before, slow)
	}
	trips, err := c.Trips(t.Context(), []cluster.Link{link, {From: "n2", To: "n1"}}, 1)
	must(t, err)
	if trips[0].Held == 0 || trips[1].Held != 0 {
		t.Errorf("held %d packets there, %d back", trips[0].Held, trips[1].Held)
	}
	must(t, c.Shape(t.Context(), []cluster.Link{link}, cluster.Shape{Loss: 0.5}))
	until(t, c, "a packet is lost", func() bool {
		trips, err := c.Trips(t.Context(), []cluster.Link{link}, 3)
		return err == nil && trips[0].Lost > 0
	})
	for _, rate := range []float64{3e3, 300e3} {
		must(t, c.Shape(t.Context(), []cluster.Link{link}, cluster.Shape{Rate: rate}))
		until(t, c, "a packet waits", func() bool {
			trips, err := c.Trips(t.Context(), []cluster.Link{link}, 3)
			return err == nil && trips[0].Held > 0
		})
	}
	if err := c.Shape(t.Context(), []cluster.Link{link}, cluster.Shape{Loss: 2}); err == nil {
		t.Error("a loss of 2 is taken")
	}
	must(t, c.Shape(t.Context(), nil, cluster.Shape{}))
	reach(t, c)
}

func TestClocksOfOneNodeLie(t *testing.T) {
	c := town(t, 3, nil)
	if err := c.Lack(cluster.Skews); err != nil {
		t.Fatal(err)
	}
	host := time.Now()
	must(t, c.Skew(t.Context(), "n2", cluster.Skew{Wall: time.Hour}))
	ahead := func(node string) time.Duration { return time.Until(status(t, c, node).Wall).Round(time.Minute) }
	check := func(when string) {
		t.Helper()
		if got := ahead("n2"); got != time.Hour {
			t.Errorf("%s: n2 is %v ahead, want an hour", when, got)
		}
		for _, other := range []string{"n1", "n3"} {
			if got := ahead(other); got != 0 {
				t.Errorf("%s: %s is %v ahead", when, other, got)
			}
		}
	}
	check("skewed")
	must(t, c.Kill(t.Context(), "n2"))
	must(t, c.Start(t.Context(), "n2"))
	check("restarted")
	must(t, c.Crash(t.Context(), "n2"))
	must(t, c.Start(t.Context(), "n2"))
	check("after a crash")
	must(t, c.Skew(t.Context(), "n2", cluster.Skew{}))
	if got := ahead("n2"); got != 0 {
		t.Errorf("mended, n2 is %v ahead", got)
	}
	if d := time.Now().Round(0).Sub(host.Round(0)) - time.Since(host); d.Abs() > time.Second {
		t.Errorf("the host's clock has moved by %v", d)
	}
}

func TestMembersComeAndGo(t *testing.T) {
	c := town(t, 3, nil)
	write(t, c, "n1", "k", 1)
	name, err := c.Join(t.Context())
	if err != nil || name != "n4" {
		t.Fatalf("join: %q, %v", name, err)
	}
	reach(t, c)
	must(t, c.Leave(t.Context(), "n1"))
	// Nobody is where it was, least of all the one who asks.
	trips, err := c.Trips(t.Context(), []cluster.Link{{From: "n2", To: "n1"}, {From: "n2", To: "n3"}}, 2)
	if err != nil || slices.Max(trips[0].Times) >= 0 || slices.Min(trips[1].Times) < 0 {
		t.Errorf("trips %v, %v, want none to a node that has left", trips, err)
	}
	if got, want := c.Nodes(), []string{"n2", "n3", "n4"}; !slices.Equal(got, want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
	write(t, c, "n4", "k", 2)
	kept, err := c.MendQuorum(t.Context(), 3)
	if err != nil || len(kept) != 2 {
		t.Fatalf("kept %v, %v", kept, err)
	}
	for _, n := range c.Nodes() {
		_, err := c.Status(t.Context(), n)
		if got, want := err == nil, slices.Contains(kept, n); got != want {
			t.Errorf("%s answers: %v, want %v", n, got, want)
		}
	}
	write(t, c, kept[0], "k", 3)
}

// TestServerThatDiesByItselfIsAViolation, also where it takes its container with it. See TestServerThatDiesAloneIsAViolation.
func TestServerThatDiesByItselfIsAViolation(t *testing.T) {
	c := town(t, 2, nil)
	p, err := c.place("n1")
	must(t, err)
	// Somebody else kills the server: the agent has not been asked.
	must(t, c.engine.ContainerKill(t.Context(), p.id, "KILL"))
	var v []string
	until(t, c, "a violation", func() bool {
		v = append(v, c.Violations()...)
		return len(v) > 0
	})
	if len(v) != 1 || !strings.Contains(v[0], "n1 died by itself with its container's exit status 137") {
		t.Errorf("violations %q", v)
	}
	must(t, c.Start(t.Context(), "n1"))
	status(t, c, "n1")
}

func TestPublishedPorts(t *testing.T) {
	c := town(t, 3, func(config *Config) { config.Publish = true })
	address, err := c.Address("n1")
	must(t, err)
	if !strings.HasPrefix(address, "127.0.0.1:") {
		t.Errorf("clients reach n1 at %s", address)
	}
	write(t, c, "n1", "k", 1)
	must(t, c.Kill(t.Context(), "n1"))
	if _, err := c.Status(t.Context(), "n1"); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("behind a port that the engine keeps open: %v, want it refused", err)
	}
	must(t, c.Pause(t.Context(), "n2"))
	if _, err := c.Status(t.Context(), "n2"); err == nil || errors.Is(err, cluster.ErrRefused) {
		t.Errorf("status of a stopped node: %v, want a time-out", err)
	}
	must(t, c.Resume(t.Context(), "n2"))
	must(t, c.Crash(t.Context(), "n1"))
	must(t, c.Start(t.Context(), "n1"))
	write(t, c, "n1", "k", 2)
}

// TestEveryNemesisTakesHold breaks and mends a real cluster in every way there is.
func TestEveryNemesisTakesHold(t *testing.T) {
	c := town(t, 3, nil)
	for _, n := range nemesis.Table {
		if err := n.Can(c); err != nil {
			t.Errorf("%s: %v", n.Name, err)
			continue
		}
		held := 0
		for draw := range uint64(3) {
			broken, err := n.Break(t.Context(), c, drawn(draw))
			nothing := errors.Is(err, nemesis.ErrNothing)
			switch {
			case nothing:
				t.Logf("%s: %v", n.Name, err)
			case err != nil || !broken.Held:
				t.Errorf("%s: %s: held %v, %v: %s", n.Name, broken.What, broken.Held, err, broken.Probe)
			default:
				held++
			}
			// As a run does: what was overtaken halfway is not to outlast it.
			mended, err := n.Mend(t.Context(), c)
			if nothing && errors.Is(err, nemesis.ErrNothing) {
				continue
			}
			if err != nil || !mended.Held {
				t.Errorf("%s: %s: held %v, %v: %s", n.Name, mended.What, mended.Held, err, mended.Probe)
			}
			t.Logf("%s: %s (%s); %s (%s)", n.Name, broken.What, broken.Probe, mended.What, mended.Probe)
		}
		if held == 0 {
			t.Errorf("%s: it has never taken hold", n.Name)
		}
	}
}

// TestDisconnectIsNoPartition: it is there for comparison, and this is what it lacks.
func TestDisconnectIsNoPartition(t *testing.T) {
	c := town(t, 3, func(config *Config) { config.Disconnect = true })
	off := []cluster.Link{{From: "n1", To: "n2"}, {From: "n1", To: "n3"}, {From: "n2", To: "n1"}, {From: "n3", To: "n1"}}
	must(t, c.Cut(t.Context(), off))
	reach(t, c, off...)
	if conn, err := c.Dial(t.Context(), "n1", cluster.Options{Timeout: time.Second}); err == nil {
		t.Error("clients reach a container that has no network")
		conn.Close()
	}
	status(t, c, "n1") // its server runs
	must(t, c.Pause(t.Context(), "n1"))
	if _, err := c.Status(t.Context(), "n1"); err == nil || errors.Is(err, cluster.ErrRefused) {
		t.Errorf("its server has been stopped: status %v, want a time-out", err)
	}
	must(t, c.Kill(t.Context(), "n1"))
	until(t, c, "n1 refuses", func() bool {
		_, err := c.Status(t.Context(), "n1")
		return errors.Is(err, cluster.ErrRefused)
	})
	must(t, c.Start(t.Context(), "n1")) // though nobody can see it answer
	status(t, c, "n1")
	must(t, c.Kill(t.Context(), "n1"))
	if err := c.Cut(t.Context(), off[:1]); wrong(err, "cannot cut n1 from n2 alone") {
		t.Errorf("one direction: %v", err)
	}
	for range 2 {
		must(t, c.Cut(t.Context(), nil))
	}
	must(t, c.Start(t.Context(), "n1"))
	// A quorum that is left alone has no shaped links either.
	must(t, c.Shape(t.Context(), []cluster.Link{{From: "n2", To: "n3"}}, cluster.Shape{Delay: time.Second}))
	must(t, c.Alone(t.Context(), c.Members(), nil))
	p, err := c.place("n2")
	must(t, err)
	if s, err := p.reachable().State(t.Context()); err != nil || len(s.Packets.Shaped) > 0 {
		t.Errorf("packets %+v, %v, want them to pass", s.Packets, err)
	}
	reach(t, c)
	write(t, c, "n1", "k", 1)
}
