package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/history"
)

// limited is a fake on a machine that lacks some powers.
type limited struct {
	*fake
	lacks []cluster.Power
}

func (l limited) Lack(p cluster.Power) error {
	if slices.Contains(l.lacks, p) {
		return fmt.Errorf("no %s here", p)
	}
	return nil
}

func (limited) Choices() []string { return nil }

func TestWhatTheMachineLacksCannotBeBroken(t *testing.T) {
	for _, c := range []struct {
		nemesis Nemesis
		power   cluster.Power
	}{{pause, cluster.Pause}, {partition, cluster.Cut}, {shape, cluster.Shapes}, {clock, cluster.Skews}} {
		if err := c.nemesis.Can(limited{newFake(3), []cluster.Power{cluster.Crash, cluster.Duplicate}}); err != nil {
			t.Errorf("%s: %v", c.nemesis.Name, err)
		}
		if err := c.nemesis.Can(limited{newFake(3), []cluster.Power{c.power}}); err == nil || err.Error() != fmt.Sprintf("no %s here", c.power) {
			t.Errorf("%s without %s: %v", c.nemesis.Name, c.power, err)
		}
	}
}

func TestShapesOfAllKindsOnAllSortsOfLinks(t *testing.T) {
	kinds, sorts := map[string]int{}, map[string]int{}
	breaks(t, shape, 5, nothingWrong, func(t *testing.T, f *fake, fault history.Fault, _ error) {
		how, where, _ := strings.Cut(fault.What, " on ")
		for _, k := range []string{"delay", "up to", "loss", "duplicates", "rate", ","} {
			if strings.Contains(how, k) {
				kinds[k]++
			}
		}
		for _, k := range []string{"all links of n", "links out of n", "links into n", "of the leader n1", "out of the leader n1", "into the leader n1", "half", "all links"} {
			if where == k || k != "all links" && strings.Contains(where, k) {
				sorts[k]++
			}
		}
		for _, l := range f.bent {
			if strings.Contains(where, "out of") && l.From != fault.Nodes[0] || strings.Contains(where, "into") && l.To != fault.Nodes[0] {
				t.Errorf("%v is shaped", l)
			}
		}
		if got := len(f.bent); strings.Contains(where, "half") && got != 10 || where == "all links" && got != 20 {
			t.Errorf("%d links are shaped", got)
		}
		if s := f.bend; s.Rate > 0 && s.Delay+s.Jitter > 0 {
			t.Errorf("rate and delay at once cannot be told apart: %+v", s)
		}
	})
	if len(kinds) != 6 || len(sorts) != 8 {
		t.Errorf("only %v and %v", kinds, sorts)
	}
	for _, counts := range []map[string]int{kinds, sorts} {
		for what, times := range counts {
			if times < seeds/50 {
				t.Errorf("%s came %d times", what, times)
			}
		}
	}
}

func TestNoDuplicatesWhereTheClusterLacksThem(t *testing.T) {
	for seed := range seeds {
		f := limited{newFake(3), []cluster.Power{cluster.Duplicate}}
		fault, err := shape.Break(t.Context(), f, draw(seed))
		if err != nil || !fault.Held || f.bend.Duplicated != 0 {
			t.Fatalf("seed %d: %+v, %v", seed, fault, err)
		}
	}
}

// A link that is cut, or whose end is down, says nothing of its shape; one that fell silent with the shape says that the shape is wrong.
func TestSilentLinksAreNoEvidence(t *testing.T) {
	all := among([]string{"n1", "n2", "n3"}, func(string, string) bool { return true })
	breaks(t, shape, 3, func(f *fake) { f.cut = all }, func(t *testing.T, f *fake, fault history.Fault, err error) {
		if !errors.Is(err, ErrNothing) || fault.Held || len(f.bent) > 0 {
			t.Errorf("with all links cut: %+v", f.bent)
		}
	})
	breaks(t, shape, 3, func(f *fake) { f.cut = []cluster.Link{{From: "n1", To: "n2"}} }, func(t *testing.T, _ *fake, fault history.Fault, err error) {
		alone := strings.Contains(fault.Probe, "over 0 of")
		if fault.Held == alone || (err != nil) != alone {
			t.Error("with one link cut")
		}
	})
}

func TestPartsOfAShapeThatAreNotSeenAreNamed(t *testing.T) {
	whole := cluster.Shape{Delay: 100 * time.Millisecond, Jitter: 80 * time.Millisecond, Loss: 0.1, Duplicated: 0.1}
	seen := evidence{judged: 4, telling: 4, held: 9, lost: 2, duplicated: 1}
	for _, c := range []struct {
		name          string
		shape         cluster.Shape
		e             evidence
		early, uneven int
		want          string
	}{
		{"all", whole, seen, 0, 4, ""},
		{"one link on time", whole, seen, 1, 4, "delay"},
		{"few links uneven", whole, seen, 0, 1, "jitter"},
		{"few answer often enough", whole, evidence{judged: 4, telling: 2, held: 9, lost: 2, duplicated: 1}, 0, 1, ""},
		{"none lost", whole, evidence{judged: 4, telling: 4, held: 9, duplicated: 1}, 0, 4, "loss"},
		{"none doubled", whole, evidence{judged: 4, telling: 4, held: 9, lost: 1}, 0, 4, "duplicates"},
		{"the machine is slow, not the link", whole, evidence{judged: 4, telling: 4, lost: 1, duplicated: 1}, 0, 4, "delay jitter"},
		{"no rate", cluster.Shape{Rate: 1e4}, evidence{judged: 4}, 0, 0, "rate"},
		{"nobody answered", cluster.Shape{Loss: 0.1}, evidence{lost: 1}, 0, 0, "loss"},
	} {
		if got := strings.Join(absent(c.shape, c.e, c.early, c.uneven), " "); got != c.want {
			t.Errorf("%s: %q is missing, want %q", c.name, got, c.want)
		}
	}
}

// machines are a cluster whose nodes have machines of their own.
type machines struct {
	*fake
	frozen, crashed *[]string
}

func newMachines(size int) machines { return machines{newFake(size), new([]string), new([]string)} }

func (m machines) Freeze(ctx context.Context, node string) error {
	*m.frozen = append(*m.frozen, node)
	return m.Pause(ctx, node)
}

func (m machines) Crash(ctx context.Context, node string) error {
	*m.crashed = append(*m.crashed, node)
	return m.Kill(ctx, node)
}

// Some of the pauses freeze the machine and some of the kills crash it; whom they hit does not depend on whether there are machines.
func TestMachinesAreFrozenAndCrash(t *testing.T) {
	for _, n := range []Nemesis{pause, kill} {
		times := 0
		for seed := range seeds {
			f, m := newFake(5), newMachines(5)
			plain, _ := n.Break(t.Context(), f, draw(seed))
			fault, err := n.Break(t.Context(), m, draw(seed))
			if err != nil || !fault.Held || !slices.Equal(fault.Nodes, plain.Nodes) {
				t.Fatalf("%s, seed %d: %+v, %v; without machines %+v", n.Name, seed, fault, err, plain)
			}
			hit := append(*m.frozen, *m.crashed...)
			if want := strings.HasPrefix(fault.What, "freeze") || strings.HasPrefix(fault.What, "crash"); want != slices.Equal(hit, fault.Nodes) || want != (len(hit) > 0) {
				t.Fatalf("%s, seed %d: %+v, but the machines of %v", n.Name, seed, fault, hit)
			}
			if len(hit) > 0 {
				times++
			}
			if mended, err := n.Mend(t.Context(), m); err != nil || !mended.Held || m.whole() != "" {
				t.Fatalf("%s, seed %d: %+v, %v, %s", n.Name, seed, mended, err, m.whole())
			}
		}
		if times < seeds/8 || times > seeds/2 {
			t.Errorf("%s took the machine %d times of %d", n.Name, times, seeds)
		}
	}
}

func TestLinksInWords(t *testing.T) {
	link := func(from, to string) cluster.Link { return cluster.Link{From: from, To: to} }
	for _, c := range []struct {
		prepare func(*fake)
		want    string
	}{
		{nothingWrong, "links: 12 of 12 carry"},
		{func(f *fake) { f.cut = []cluster.Link{link("n1", "n2"), link("n3", "n4")} }, "links: 10 of 12 carry, not n1>n2 n3>n4"},
		{func(f *fake) { f.nodes[1].down = true }, "links: nothing reaches n2; among the others 6 of 6 carry"},
		{func(f *fake) {
			f.nodes[1].paused = true
			f.cut = []cluster.Link{link("n1", "n2"), link("n3", "n4")}
		}, "links: nothing reaches n2; among the others 5 of 6 carry, not n3>n4"},
		{func(f *fake) { f.nodes[0].down, f.nodes[1].down, f.nodes[3].down = true, true, true }, "links: nothing reaches n1 n2 n4"},
	} {
		f := newFake(4)
		c.prepare(f)
		if got := Links(t.Context(), f); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := Links(t.Context(), powerless{}); got != "" {
		t.Errorf("a cluster that cannot tell says %q", got)
	}
}

func TestWholeSeesWhatNoNemesisHasMended(t *testing.T) {
	f := newFake(3)
	if whole, words, err := Whole(t.Context(), f, Stands(t.Context(), f, 0)); err != nil || !whole || !strings.Contains(words, "0 of 6 links") || !strings.Contains(words, "6 of 6 links") {
		t.Errorf("whole: %v, %q, %v", whole, words, err)
	}
	f.nodes[2].down = true // it will have no last words: that is judged elsewhere
	if whole, words, err := Whole(t.Context(), f, Stands(t.Context(), f, 0)); err != nil || !whole {
		t.Errorf("whole but for a node: %v, %q, %v", whole, words, err)
	}
	f = newFake(3)
	f.frozen = cluster.Link{From: "n3", To: "n1"}
	if whole, words, err := Whole(t.Context(), f, Stands(t.Context(), f, 0)); err != nil || whole || !strings.Contains(words, "n3>n1") {
		t.Errorf("with a dead link: %v, %q, %v", whole, words, err)
	}
	f = newFake(3)
	f.Shape(t.Context(), []cluster.Link{{From: "n3", To: "n1"}}, cluster.Shape{Duplicated: 0.5})
	if whole, words, err := Whole(t.Context(), f, Stands(t.Context(), f, 0)); err != nil || whole {
		t.Errorf("with a shaped link: %v, %q, %v", whole, words, err)
	}
	f = newFake(3)
	f.Skew(t.Context(), "n2", cluster.Skew{WallRate: 0.5})
	if whole, words, err := Whole(t.Context(), f, Stands(t.Context(), f, 0)); err != nil || whole || !strings.Contains(words, "n2: rate of the wall clock 1.50") {
		t.Errorf("with a false clock: %v, %q, %v", whole, words, err)
	}
	if whole, words, err := Whole(t.Context(), powerless{}, Stand{}); err != nil || !whole || words != "" {
		t.Errorf("of a cluster that cannot tell: %v, %q, %v", whole, words, err)
	}
}

// TestWallClockThatWasLeftWrong runs at its true rate again, and yet is not whole. One that was wrong before is.
func TestWallClockThatWasLeftWrong(t *testing.T) {
	for _, sloppy := range []bool{false, true} {
		for _, off := range []time.Duration{-time.Hour, -leastJump, leastJump, time.Hour} {
			f := newFake(3)
			f.sloppy = sloppy
			f.nodes[0].wall, f.nodes[0].natural = time.Minute, time.Minute
			stood := Stands(t.Context(), f, 0)
			f.Skew(t.Context(), "n1", cluster.Skew{MonoRate: 0.5})
			f.Skew(t.Context(), "n2", cluster.Skew{Wall: off})
			f.Sleep(20 * time.Second)
			if fault, err := clock.Mend(t.Context(), f); err != nil || !fault.Held {
				t.Errorf("mended: %+v, %v", fault, err)
			}
			whole, words, err := Whole(t.Context(), f, stood)
			if err != nil || whole == sloppy || sloppy != strings.Contains(words, "n2: the wall clock is off by "+off.String()) || strings.Contains(words, "n1: ") {
				t.Errorf("by %v, left %v: whole %v, %q, %v", off, sloppy, whole, words, err)
			}
		}
	}
	f := newFake(1)
	stood := Stands(t.Context(), f, 0.01)
	f.nodes[0].wall = 5 * time.Second
	f.Sleep(10 * time.Minute)
	if whole, words, _ := Whole(t.Context(), f, stood); !whole {
		t.Errorf("what drifts by itself is not whole: %s", words)
	}
}

// TestWallClockThatIsNotLeftWrong: what a busy machine's answers leave open, and what those who discipline its clock do to it, is no fault.
func TestWallClockThatIsNotLeftWrong(t *testing.T) {
	f := newFake(1)
	for _, c := range []struct {
		after, off time.Duration
		fits       bool
	}{
		{time.Second, 100 * time.Millisecond, true}, {time.Second, -100 * time.Millisecond, true}, {time.Second, leastJump, false}, {time.Second, -leastJump, false},
		{1000 * time.Second, time.Second, true}, {1000 * time.Second, 2 * time.Second, false},
	} {
		stood := Stands(t.Context(), f, 0)
		now := stood.sights[0]
		now.asked, now.seen, now.status.Wall = now.asked+c.after, now.seen+c.after, now.status.Wall.Add(c.after+c.off)
		if off, fits := stood.left(now); off != c.off || fits != c.fits {
			t.Errorf("off by %v after %v: got %v, %v", c.off, c.after, off, fits)
		}
	}
}

// TestClocksThatNobodyCanSeeAreNotMended by the word of nobody: the fault stays open until somebody answers.
func TestClocksThatNobodyCanSeeAreNotMended(t *testing.T) {
	f := newFake(2)
	f.nodes[0].down, f.nodes[1].down = true, true
	if fault, err := clock.Mend(t.Context(), f); !errors.Is(err, ErrNothing) || fault.Held {
		t.Errorf("got %+v, %v", fault, err)
	}
	f.nodes[1].down = false
	if fault, err := clock.Mend(t.Context(), f); err != nil || !fault.Held {
		t.Errorf("with one that answers: %+v, %v", fault, err)
	}
}

// TestScarceTrafficIsNoEvidence: a rare event that has not come about among few packets tells nothing, among many it tells that nothing acts.
func TestScarceTrafficIsNoEvidence(t *testing.T) {
	for _, c := range []struct {
		shape   cluster.Shape
		missing []string
		came    int
		want    bool
	}{
		{cluster.Shape{Duplicated: 0.16}, []string{"duplicates"}, 7, true},
		{cluster.Shape{Duplicated: 0.16}, []string{"duplicates"}, 70, false},
		{cluster.Shape{Loss: 0.1, Duplicated: 0.9}, []string{"loss", "duplicates"}, 7, false},
		{cluster.Shape{Loss: 0.1, Rate: 1e5}, []string{"loss", "rate"}, 7, false},
		{cluster.Shape{Loss: 0.1}, nil, 7, false},
	} {
		try := trial{shape: c.shape, missing: c.missing, answered: c.came}
		if got := try.scarce(); got != c.want {
			t.Errorf("%s, %d answered, missing %v: %v, want %v", shapeWords(c.shape), c.came, c.missing, got, c.want)
		}
	}
}

// TestShapeOverWhichTooLittleCame, and which has not been seen to act, is no fault; one that should have shown among as little is, and was none.
func TestShapeOverWhichTooLittleCame(t *testing.T) {
	nothings, failures := 0, 0
	breaks(t, shape, 3, func(f *fake) {
		f.thin, f.weak = true, func(s *cluster.Shape) { s.Loss, s.Duplicated = 0, 0 }
	}, func(t *testing.T, f *fake, fault history.Fault, err error) {
		var percent int
		if n, _ := fmt.Sscanf(fault.What, "loss %d", &percent); n == 0 {
			if n, _ = fmt.Sscanf(fault.What, "duplicates %d", &percent); n == 0 {
				return
			}
		}
		switch {
		case fault.Held:
			t.Error("it held")
		case percent <= 8:
			nothings++
			if !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "too little came") {
				t.Error("too little came to tell")
			}
		case percent >= 25:
			failures++
			if err != nil {
				t.Error("so much came that it should have shown")
			}
		}
	})
	if nothings < 5 || failures < 5 {
		t.Errorf("%d times too little came, %d times enough", nothings, failures)
	}
}

// blinking is a cluster whose links are silent for one look each: nodes are stopped and let go between two looks.
type blinking struct {
	*fake
	silent [][]cluster.Link
	during func() // each look
}

func (b *blinking) Reach(context.Context) ([]cluster.Link, error) {
	if b.during != nil {
		b.during()
	}
	if len(b.silent) == 0 {
		return nil, nil
	}
	dead := b.silent[0]
	if len(b.silent) > 1 {
		b.silent = b.silent[1:]
	}
	return dead, nil
}

func TestNodeThatWasStoppedBetweenLooksIsNoEvidence(t *testing.T) {
	link := func(from, to string) cluster.Link { return cluster.Link{From: from, To: to} }
	into1 := []cluster.Link{link("n2", "n1"), link("n3", "n1")}
	for _, c := range []struct {
		name   string
		cut    []cluster.Link
		silent [][]cluster.Link
		want   bool
	}{
		{"one link after the other", nil, [][]cluster.Link{{link("n1", "n2")}, {link("n2", "n1")}}, false},
		{"one link for ever", nil, [][]cluster.Link{{link("n1", "n2")}}, false},
		{"a node from the beginning", nil, [][]cluster.Link{into1}, false},
		{"a node now and then", nil, [][]cluster.Link{{link("n1", "n2")}, into1}, true},
		{"the cut", into1[:1], [][]cluster.Link{nil, into1[:1]}, true},
		{"a cut that does not act, at a node that is stopped", into1[:1], [][]cluster.Link{nil, into1}, false},
		{"a cut elsewhere, beside a node that is stopped", []cluster.Link{link("n2", "n3")}, [][]cluster.Link{nil, append([]cluster.Link{link("n2", "n3")}, into1...)}, true},
	} {
		f := &blinking{fake: newFake(3), silent: c.silent}
		if seen, _, probe, err := reach(t.Context(), f, c.cut); err != nil || seen != c.want {
			t.Errorf("%s: seen %v, want %v: %s, %v", c.name, seen, c.want, probe, err)
		}
	}
}

func TestNodeThatWasStartedAgainBetweenLooksIsNoEvidence(t *testing.T) {
	for _, again := range []bool{false, true} {
		f := &blinking{fake: newFake(3), silent: [][]cluster.Link{{{From: "n2", To: "n1"}}}}
		f.during = func() {
			if again {
				f.nodes[0].process++
			}
		}
		if seen, _, probe, err := reach(t.Context(), f, nil); err != nil || seen != again {
			t.Errorf("started again %v: seen %v: %s, %v", again, seen, probe, err)
		}
	}
}
