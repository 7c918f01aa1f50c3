package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"assize/cluster"
	"assize/history"
)

var shape = Nemesis{
	Name: "shape",
	Doc: "makes links bad without cutting them: slower, uneven so that they reorder, losing, duplicating, of low rate, or several of it; all links of " +
		"one node or of the leader, outgoing, incoming or both, a random half of all links, or all; mended by letting all run free",
	Can:   canShape,
	Break: breakShape,
	Mend:  mendShape,
}

func canShape(c cluster.Cluster) error {
	if err := cluster.Lack(c, cluster.Shapes); err != nil {
		return err
	}
	if len(c.Nodes()) < 2 {
		return errors.New("a cluster of one node has no links")
	}
	return nil
}

// Sizes as real networks have them, from a neighbouring city to a link that is nearly broken, and across the time-outs of protocols.
const (
	leastDelay, mostDelay   = 20 * time.Millisecond, time.Second
	leastJitter, mostJitter = 40 * time.Millisecond, 600 * time.Millisecond
	leastLoss, mostLoss     = 0.05, 0.3
	leastDouble, mostDouble = 0.05, 0.5
	leastRate, mostRate     = 2e3, 300e3 // bytes a second
)

const (
	shapeProbes = 8 // of each link, each time
	// swift is what a trip may take on a link that is not shaped, where all others are quicker by far: on a busy machine one of 164 ms was seen. What
	// the shaper says that it has done comes first, and that must be nothing.
	swift       = 500 * time.Millisecond
	swiftFactor = 4
)

// chooseShape draws one. Rate never comes with delay or jitter: that the shaper holds packets would show the one as well as the other, and
// a fault is to be seen to act in all its parts.
func chooseShape(r *rand.Rand, duplicates bool) cluster.Shape {
	delay := func(most time.Duration) time.Duration { return logUniform(r, leastDelay, most).Round(time.Millisecond) }
	jitter := func() time.Duration { return logUniform(r, leastJitter, mostJitter).Round(time.Millisecond) }
	percent := func(least, most float64) float64 { return math.Round(100*(least+(most-least)*r.Float64())) / 100 }
	rate := func() float64 { return math.Round(leastRate * math.Pow(mostRate/leastRate, r.Float64())) }
	switch choice := r.IntN(12); {
	case choice < 2:
		return cluster.Shape{Delay: delay(mostDelay)}
	case choice < 4:
		return cluster.Shape{Delay: delay(mostDelay / 4), Jitter: jitter()}
	case choice < 6:
		return cluster.Shape{Loss: percent(leastLoss, mostLoss)}
	case choice < 7 && duplicates:
		return cluster.Shape{Duplicated: percent(leastDouble, mostDouble)}
	case choice < 9:
		return cluster.Shape{Rate: rate()}
	case choice < 10:
		return cluster.Shape{Rate: rate(), Loss: percent(leastLoss, mostLoss/2)}
	}
	s := cluster.Shape{Delay: delay(mostDelay / 4), Jitter: jitter(), Loss: percent(leastLoss, mostLoss/2)}
	if duplicates {
		s.Duplicated = percent(leastDouble, mostDouble/2)
	}
	return s
}

// shapeWords: "delay 40ms + up to 100ms, loss 12 %".
func shapeWords(s cluster.Shape) string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(s.Delay > 0 && s.Jitter == 0, "delay %v", s.Delay)
	add(s.Jitter > 0, "delay %v + up to %v", s.Delay, s.Jitter)
	add(s.Rate > 0, "rate %.1f kB/s", s.Rate/1000)
	add(s.Loss > 0, "loss %.0f %%", 100*s.Loss)
	add(s.Duplicated > 0, "duplicates %.0f %%", 100*s.Duplicated)
	return strings.Join(parts, ", ")
}

// chooseLinks draws whose links. order is the nodes with the one that is aimed at in front; leader is empty where none is known.
func chooseLinks(nodes, order []string, leader string, r *rand.Rand) split {
	one, who := order[0], order[0]
	choice := r.IntN(8)
	switch {
	case choice < 1:
		return split{what: "all links", nodes: nodes, links: among(nodes, func(string, string) bool { return true })}
	case choice < 3:
		links := among(nodes, func(string, string) bool { return true })
		r.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
		half := links[:(len(links)+1)/2]
		return split{
			what: "a random half of the links", nodes: nodes,
			links: among(nodes, func(from, to string) bool { return slices.Contains(half, cluster.Link{From: from, To: to}) }),
		}
	case choice < 5 && leader != "":
		one, who = leader, "the leader "+leader
	}
	in, out := true, true
	which := "all links of "
	switch r.IntN(3) {
	case 0:
		in, which = false, "links out of "
	case 1:
		out, which = false, "links into "
	}
	return split{
		what: which + who, nodes: []string{one},
		links: among(nodes, func(from, to string) bool { return out && from == one || in && to == one }),
	}
}

func breakShape(ctx context.Context, c cluster.Cluster, r *rand.Rand) (history.Fault, error) {
	shaper := c.(cluster.Shaper)
	nodes := c.Nodes()
	before := look(ctx, c, nodes)
	order := shuffled(before, r)
	s := chooseShape(r, cluster.Lack(c, cluster.Duplicate) == nil)
	fault := history.Fault{What: shapeWords(s)}
	if len(order) < 2 {
		return fault, nothing("no link has two live ends: %s", told(before))
	}
	leader, _ := leaderOf(before)
	target := chooseLinks(nodes, order, leader.node, r)
	fault.What, fault.Nodes = shapeWords(s)+" on "+target.what, target.nodes
	free, err := shaper.Trips(ctx, target.links, shapeProbes)
	if err != nil {
		return fault, fmt.Errorf("probe links: %w", err)
	}
	if err := shaper.Shape(ctx, target.links, s); err != nil {
		return fault, fmt.Errorf("shape: %w", err)
	}
	t := trial{shape: s, free: free, missing: absent(s, evidence{}, 0, 0)}
	fault.Held = t.shows(ctx, c, probeBound) || t.scarce() && t.shows(ctx, c, 2*probeBound)
	fault.Probe = t.seen.words()
	switch {
	case t.err == nil && !fault.Held && t.seen.judged == 0:
		return fault, silent(ctx, c, target.links, t.seen)
	case !fault.Held && t.scarce():
		return fault, nothing("too little came over the links that were shaped: %s", t.seen.words())
	}
	return fault, t.err
}

// trial of a shape that has been set: what one look has shown need not be shown by the next, since other faults come and go meanwhile.
type trial struct {
	shape    cluster.Shape
	free     []cluster.Trip
	seen     evidence
	missing  []string // parts that no look has shown yet
	answered int      // probes since the shape was set
	err      error
}

// shows looks until every part of the shape has shown.
func (t *trial) shows(ctx context.Context, c cluster.Cluster, bound time.Duration) bool {
	await(ctx, c, bound, func() bool {
		t.seen, t.err = attest(ctx, c, t.free, t.shape)
		t.missing = slices.DeleteFunc(t.missing, func(part string) bool { return !slices.Contains(t.seen.missing, part) })
		t.seen.missing = t.missing
		t.answered += t.seen.answered
		return t.err != nil || len(t.missing) == 0 || t.seen.judged == 0 && !t.seen.carried
	})
	return t.err == nil && len(t.missing) == 0
}

// scarce tells whether all that has not shown is left to chance, and so little came over the links that even with the shape nothing need have.
func (t *trial) scarce() bool {
	const enough = 0.001 // the chance that a shape that acts has not shown
	if t.err != nil || len(t.missing) == 0 {
		return false
	}
	came := float64(max(uint64(t.answered), t.seen.held))
	for _, part := range t.missing {
		chance := map[string]float64{"loss": t.shape.Loss, "duplicates": t.shape.Duplicated}[part]
		if math.Pow(1-chance, came) < enough || chance == 0 {
			return false
		}
	}
	return true
}

// silent judges links of which none answers: that is no news of the shape where they are as silent without it, being cut or their ends down.
func silent(ctx context.Context, c cluster.Cluster, links []cluster.Link, seen evidence) error {
	shaper := c.(cluster.Shaper)
	if err := shaper.Shape(ctx, nil, cluster.Shape{}); err != nil {
		return fmt.Errorf("unshape: %w", err)
	}
	trips, _, err := live(ctx, c, links)
	if err != nil {
		return err
	}
	if seen.carried && slices.ContainsFunc(trips, answered) {
		return nil // they carry now: so it was the shape that silenced them, which it should not
	}
	return nothing("no link that was shaped carries anything: %s", seen.words())
}

// live sends probes over links, and tells which trips had ends that answered right before and right after. What the shaper has done counts on all links.
func live(ctx context.Context, c cluster.Cluster, links []cluster.Link) (trips, all []cluster.Trip, err error) {
	before := those(look(ctx, c, c.Nodes()), isUp)
	all, err = c.(cluster.Shaper).Trips(ctx, links, shapeProbes)
	if err != nil {
		return nil, nil, fmt.Errorf("probe links: %w", err)
	}
	alive := those(look(ctx, c, remaining(c, before)), isUp)
	trips = slices.DeleteFunc(slices.Clone(all), func(t cluster.Trip) bool {
		return !slices.Contains(alive, t.Link.From) || !slices.Contains(alive, t.Link.To)
	})
	return trips, all, nil
}

// count what the shaper has done.
func (e *evidence) count(trips []cluster.Trip) {
	for _, t := range trips {
		e.held, e.lost, e.duplicated = e.held+t.Held, e.lost+t.Lost, e.duplicated+t.Duplicated
	}
}

func answered(t cluster.Trip) bool { return len(times(t)) > 0 }

// times of the probes that were answered, the quickest first.
func times(t cluster.Trip) []time.Duration {
	some := slices.DeleteFunc(slices.Clone(t.Times), func(d time.Duration) bool { return d < 0 })
	slices.Sort(some)
	return some
}

// evidence is what probes have shown of a shape.
type evidence struct {
	before, after          []time.Duration // medians of the links that answered
	judged, probed         int             // links that answer, of those that were probed
	telling                int             // links that have answered often enough for their trips to differ
	answered               int             // probes
	carried                bool            // one of the links with two live ends answered before they were shaped
	held, lost, duplicated uint64
	missing                []string // parts of the shape that were not seen to act
}

func (e evidence) words() string {
	w := fmt.Sprintf("trips over %d of %d links", e.judged, e.probed)
	if e.judged > 0 {
		w += ": median "
		if len(e.before) > 0 {
			w += millis(middle(e.before)) + " before, "
		}
		w += millis(middle(e.after)) + " after"
	}
	w += fmt.Sprintf("; %d held, %d lost, %d duplicated", e.held, e.lost, e.duplicated)
	if len(e.missing) > 0 {
		w += "; not seen: " + strings.Join(e.missing, ", ")
	}
	return w
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

func middle(all []time.Duration) time.Duration { return slices.Sorted(slices.Values(all))[len(all)/2] }

// leastTelling trips over a link of even jitter are hardly ever all of one length.
const leastTelling = 4

// attest looks whether a shape acts, in all its parts, on links that answered as free tells when they had none.
func attest(ctx context.Context, c cluster.Cluster, free []cluster.Trip, s cluster.Shape) (e evidence, err error) {
	links := make([]cluster.Link, len(free))
	for i, t := range free {
		links[i] = t.Link
	}
	trips, all, err := live(ctx, c, links)
	if err != nil {
		return e, err
	}
	e.probed = len(all)
	e.count(all)
	early, uneven := 0, 0
	for _, t := range trips {
		base := times(free[slices.Index(links, t.Link)])
		e.carried = e.carried || len(base) > 0
		own := times(t)
		e.answered += len(own)
		if len(own) == 0 {
			continue
		}
		e.judged++
		e.after = append(e.after, own[len(own)/2])
		if len(base) > 0 {
			e.before = append(e.before, base[len(base)/2])
		}
		// A tenth for clocks that are read in two places.
		if own[0] < s.Delay*9/10 {
			early++
		}
		if len(own) >= leastTelling {
			e.telling++
		}
		if own[len(own)-1]-own[0] >= s.Jitter/4 {
			uneven++
		}
	}
	e.missing = absent(s, e, early, uneven)
	return e, nil
}

// absent names the parts of a shape that evidence does not show. early are the links that are not as late as they should be, uneven those whose
// probes differ.
func absent(s cluster.Shape, e evidence, early, uneven int) (missing []string) {
	for _, part := range []struct {
		name         string
		asked, shown bool
	}{
		{"delay", s.Delay > 0, early == 0 && e.held > 0},
		{"jitter", s.Jitter > 0, uneven > 0 && 2*uneven >= e.telling && e.held > 0},
		{"rate", s.Rate > 0, e.held > 0},
		{"loss", s.Loss > 0, e.lost > 0},
		{"duplicates", s.Duplicated > 0, e.duplicated > 0},
	} {
		if part.asked && !(part.shown && e.judged > 0) {
			missing = append(missing, part.name)
		}
	}
	return missing
}

func mendShape(ctx context.Context, c cluster.Cluster) (history.Fault, error) {
	fault := history.Fault{What: "all links run free", Mended: true}
	if err := c.(cluster.Shaper).Shape(ctx, nil, cluster.Shape{}); err != nil {
		return fault, fmt.Errorf("unshape: %w", err)
	}
	var err error
	fault.Held = await(ctx, c, probeBound, func() (free bool) {
		free, fault.Probe, err = unshaped(ctx, c)
		return free || err != nil
	}) && err == nil
	return fault, err
}

// unshaped tells whether nothing acts on any link: the shaper has done nothing to what was sent since it was told to stop, and no link's
// trips take much longer than the others'.
func unshaped(ctx context.Context, c cluster.Cluster) (bool, string, error) {
	trips, all, err := live(ctx, c, among(c.Nodes(), func(string, string) bool { return true }))
	if err != nil {
		return false, "", err
	}
	var e evidence
	var quickest []time.Duration
	e.probed = len(all)
	e.count(all)
	for _, t := range trips {
		if own := times(t); len(own) > 0 {
			e.judged++
			e.after = append(e.after, own[len(own)/2])
			quickest = append(quickest, own[0])
		}
	}
	if e.judged == 0 {
		return e.held+e.lost+e.duplicated == 0, e.words(), nil
	}
	bound := max(swift, swiftFactor*middle(quickest))
	late := slices.Max(quickest) > bound
	if late {
		e.missing = []string{fmt.Sprintf("a link quicker than %v, it takes %v", bound, slices.Max(quickest))}
	}
	return !late && e.held+e.lost+e.duplicated == 0, e.words(), nil
}
