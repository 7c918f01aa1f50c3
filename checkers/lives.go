package checkers

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"assize/history"
)

// life of a session, as far as its client's record goes.
type life struct {
	id      uint64
	timeout time.Duration // as it was negotiated last; 0: nobody knows
	calls   []int         // all that was asked in its name, in order: places in trial.calls
	floors  []uint64      // for each of them, the greatest position that the session had been answered before it was asked
	closing int           // event at which it was first asked to be closed; never: it was not
	closed  int           // the call that closed it, as it was answered; -1: none
	deaths  []death
	sights  []seen // of its nodes
}

// death is what shows that a session had ended.
type death struct {
	call int     // that shows it, once it has been answered: place in trial.calls
	node *mayfly // that was gone; nil: the session was refused
	at   uint64  // the session had ended in the state of this version; math.MaxUint64: in some state
	why  string
}

// mayfly is an ephemeral node.
type mayfly struct {
	key      string
	value    int    // of a sequential one its number, which nobody else ever has
	numbered bool   // it is sequential
	create   int    // place in trial.calls
	shown    int    // the call whose answer first shows that it was created
	version  uint64 // at which it was created; 0: nobody knows, or it was not
	owner    *life
}

// census is all sessions and ephemeral nodes of a history.
//
// The state that a server answers a session from is that of the answer's position, since it executes a read between two writes, or none. Where that is not known it is
// never older than what the session was answered before (its floor), on whatever server: that is promised, and judged by image. So a session that sees a node proves that it
// was there in that state, and one that does not see it that it was gone in it, if it had been created before. Nobody but the end of its session
// removes an ephemeral node, and that end is one version for all its nodes.
type census struct {
	trial
	lives  []*life // in the order in which they appear
	byID   map[uint64]*life
	flies  []*mayfly // in the order in which they were asked for
	byName map[keyValue]*mayfly
	sights []seen // of nodes
	lists  []list
	// Sequential nodes of which nobody knows whether they were made, and with which number, by key: places in trial.calls.
	unnumbered map[string][]int
}

// list of the sequential nodes below a key that a session was answered.
type list struct {
	call    int
	floor   uint64 // its state is none before this version
	numbers []int  // ascending
}

// seen is a read of a name that ephemeral nodes can have.
type seen struct {
	call  int
	floor uint64  // its state is none before this version
	fly   *mayfly // nil: there was none, or not one that was asked for
	value int
	found bool
}

func takeCensus(h []history.Op) (*census, error) {
	t, err := load(h)
	if err != nil {
		return nil, err
	}
	c := &census{trial: t, byID: map[uint64]*life{}, byName: map[keyValue]*mayfly{}, unnumbered: map[string][]int{}}
	for i := range t.calls {
		c.enter(i)
	}
	for _, l := range c.lives {
		l.floors = make([]uint64, len(l.calls))
		var floor uint64
		for n, i := range l.calls {
			l.floors[n] = floor
			if call := t.calls[i]; call.Kind == history.OK {
				floor = max(floor, t.h[call.Complete].Position, t.h[call.Complete].Version)
			}
		}
	}
	c.look()
	c.succeed()
	c.miss()
	return c, nil
}

// life of the session with this id.
func (c *census) life(id uint64) *life {
	l, known := c.byID[id]
	if !known {
		l = &life{id: id, closing: never, closed: -1}
		c.byID[id] = l
		c.lives = append(c.lives, l)
	}
	return l
}

// enter a call into the life of its session.
func (c *census) enter(i int) {
	call := c.calls[i]
	asked := c.h[call.Invoke]
	m, done, single := c.step(i)
	ok := call.Kind == history.OK
	if m.F == history.Connect && ok && first(m.Out) > 0 && done.Session != 0 {
		given := c.life(done.Session)
		given.timeout = time.Duration(m.Out[0]) * time.Millisecond
		if asked.Session == 0 {
			given.calls = append(given.calls, i)
		}
	}
	if asked.Session == 0 {
		return
	}
	l := c.life(asked.Session)
	l.calls = append(l.calls, i)
	if !single {
		return
	}
	switch m.F {
	case history.Connect:
		if ok && first(m.Out) == 0 {
			l.deaths = append(l.deaths, death{call: i, at: math.MaxUint64, why: "the session was refused as one that has ended"})
		}
	case history.Close:
		l.closing = min(l.closing, call.Invoke)
		if ok && l.closed < 0 {
			l.closed = i
		}
	case history.CreateEphemeral:
		f := &mayfly{key: m.Key, value: m.In[0], create: i, owner: l}
		if ok {
			f.version, f.shown = done.Version, i
		}
		c.flies = append(c.flies, f)
		c.byName[keyValue{m.Key, m.In[0]}] = f
	case history.CreateSequential:
		switch {
		case ok && len(m.Out) == 1:
			f := &mayfly{key: m.Key, value: m.Out[0], numbered: true, create: i, shown: i, version: done.Version, owner: l}
			c.flies = append(c.flies, f)
			c.byName[keyValue{m.Key, f.value}] = f
		case call.Kind != history.Fail:
			c.unnumbered[m.Key] = append(c.unnumbered[m.Key], i)
		}
	}
}

// look at what was read, and learn from it the versions of nodes whose creation was not answered.
func (c *census) look() {
	for _, l := range c.lives {
		for n, i := range l.calls {
			m, done, _ := c.step(i)
			floor := l.floors[n]
			if done.Position > 0 {
				floor = done.Position
			}
			if m.F == history.List && c.calls[i].Kind == history.OK {
				c.lists = append(c.lists, list{i, floor, m.Out})
				for _, number := range m.Out {
					c.sights = append(c.sights, seen{call: i, floor: floor, found: true, value: number, fly: c.byName[keyValue{m.Key, number}]})
				}
			}
			if m.F != history.Read || c.calls[i].Kind != history.OK {
				continue
			}
			s := seen{call: i, floor: floor, found: len(m.Out) > 0}
			if s.found {
				s.value = m.Out[0]
				s.fly = c.byName[keyValue{m.Key, s.value}]
			}
			c.sights = append(c.sights, s)
			if f := s.fly; f != nil && c.calls[f.create].Kind == history.Info && (f.version == 0 || done.Index < c.h[c.calls[f.shown].Complete].Index) {
				f.version, f.shown = done.Version, i
			}
		}
	}
	slices.SortStableFunc(c.sights, func(a, b seen) int { return cmp.Compare(a.call, b.call) })
	slices.SortFunc(c.lists, func(a, b list) int { return cmp.Compare(a.call, b.call) })
	for _, s := range c.sights {
		if s.fly != nil {
			s.fly.owner.sights = append(s.fly.owner.sights, s)
		}
	}
}

// succeed finds what shows that nodes were gone: another node of the same name, and reads that did not find them.
func (c *census) succeed() {
	byKey := map[string][]*mayfly{}
	var keys []string
	for _, f := range c.flies {
		if f.version == 0 || f.numbered {
			continue
		}
		if byKey[f.key] == nil {
			keys = append(keys, f.key)
		}
		byKey[f.key] = append(byKey[f.key], f)
	}
	for _, key := range keys {
		list := byKey[key]
		slices.SortStableFunc(list, func(a, b *mayfly) int { return cmp.Compare(a.version, b.version) })
		for n := 1; n < len(list); n++ {
			why := "another session had created the same node"
			if list[n].owner == list[n-1].owner {
				why = "it had created the same node anew"
			}
			c.gone(list[n-1], list[n].shown, list[n].version-1, why)
		}
	}
	for _, s := range c.sights {
		if s.found {
			continue
		}
		list := byKey[c.key(s.call)]
		n, exact := slices.BinarySearchFunc(list, s.floor, func(f *mayfly, floor uint64) int { return cmp.Compare(f.version, floor) })
		if !exact {
			n--
		}
		if n < 0 {
			continue
		}
		c.gone(list[n], s.call, c.state(s.call), unseen)
	}
}

const unseen = "it was not there any more"

// state that a call was answered from, by its version; math.MaxUint64: some state.
func (c *census) state(call int) uint64 {
	if at := c.h[c.calls[call].Complete].Position; at > 0 {
		return at
	}
	return math.MaxUint64
}

// miss finds the sequential nodes that lists should have had: the list that was asked for first, which shows when a session had ended, and the one from the
// oldest state, which shows by which version.
func (c *census) miss() {
	c.missIn(c.lists)
	byState := slices.Clone(c.lists)
	slices.SortStableFunc(byState, func(a, b list) int { return cmp.Compare(c.state(a.call), c.state(b.call)) })
	c.missIn(byState)
}

// missIn lists, one after the other. Of a node that was missed once no later list is looked at, so that this takes no longer than the lists are long.
func (c *census) missIn(lists []list) {
	pending := map[string][]*mayfly{}
	for _, f := range c.flies {
		if f.numbered && f.version > 0 {
			pending[f.key] = append(pending[f.key], f)
		}
	}
	for _, l := range lists {
		key := c.key(l.call)
		pending[key] = slices.DeleteFunc(pending[key], func(f *mayfly) bool {
			if _, there := slices.BinarySearch(l.numbers, f.value); there || f.version > l.floor {
				return false
			}
			c.gone(f, l.call, c.state(l.call), unseen)
			return true
		})
	}
}

// step of a call as it was answered, or asked; single: it has no other.
func (c *census) step(call int) (m history.Mop, op history.Op, single bool) {
	if steps := c.steps(c.calls[call]); len(steps) != 1 {
		return history.Mop{}, c.h[c.calls[call].Invoke], false
	}
	m, op = c.answer(c.calls[call])
	return m, op, true
}

func first(list []int) int {
	if len(list) == 0 {
		return 0
	}
	return list[0]
}

func (c *census) key(call int) string { m, _, _ := c.step(call); return m.Key }

// gone: a call shows that the node was not there in the state of a version.
func (c *census) gone(f *mayfly, call int, at uint64, why string) {
	f.owner.deaths = append(f.owner.deaths, death{call: call, node: f, at: at, why: why})
}

// wrote: the call is a write of its session that was answered, which was alive at its version.
func (c *census) wrote(call int) (version uint64, ok bool) {
	if c.calls[call].Kind != history.OK {
		return 0, false
	}
	m, done, _ := c.step(call)
	switch m.F {
	case history.CreateEphemeral, history.CreateSequential, history.Write, history.Delete:
		return done.Version, done.Version > 0
	}
	return 0, false
}

// rest is the time at the end in which nobody used any session, so that those that there were have ended.
type rest struct {
	from, to int           // its first event, and the one after it; -1: the history has none
	spent    time.Duration // in it
}

func (c *census) rest() rest {
	r := rest{from: -1, to: entered(c.h, history.PhaseFinal)}
	for i, op := range c.h[:max(r.to, 0)] {
		if op.Phase == history.PhaseRest {
			r.from = i
		}
	}
	if r.from < 0 {
		return rest{from: -1, to: -1}
	}
	r.spent = c.between(r.from, r.to)
	return r
}

// outlasts tells whether a session that nobody used any more must have ended by the end of a rest: everything had been mended, and one leader led.
func (c *census) outlasts(r rest, l *life) bool {
	return r.from >= 0 && c.h[r.to].Note == "" && l.timeout > 0 && r.spent >= 3*l.timeout
}

// lastUse of a session before a rest; found is false where it was first used after it.
func (c *census) lastUse(l *life, r rest) (last history.Call, found bool) {
	for _, i := range l.calls {
		if k := c.calls[i]; k.Invoke < r.from {
			last, found = k, true
		}
	}
	return last, found
}

// whyOver is why a session must have ended with a rest.
func (c *census) whyOver(l *life, r rest) string {
	return fmt.Sprintf("its time-out is %s, everything was mended, and one leader led while all sessions were left alone for %s", seconds(l.timeout), seconds(r.spent))
}
