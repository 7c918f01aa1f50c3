package machine

import (
	"bytes"
	"slices"
)

// event is one key's change by one transaction. A delete's now has only Key and Mod.
type event struct {
	now, before *record // before nil: the key was missing
	deleted     bool
}

// past is the history that a store keeps: the events of the revisions oldest .. revision, in the order of revisions.
type past struct {
	keep   int
	oldest int64
	events []event
	begin  int // events[:begin] have been given up
}

func (p *past) kept() []event { return p.events[p.begin:] }

// forget all but the last keep revisions.
func (p *past) forget(revision int64) {
	oldest := revision - int64(p.keep) + 1
	if oldest <= p.oldest {
		return
	}
	p.oldest = oldest
	for p.begin < len(p.events) && p.events[p.begin].now.Mod < oldest {
		p.events[p.begin] = event{}
		p.begin++
	}
	// Moving no more often than every other event keeps the cost of an event constant.
	if p.begin > len(p.events)/2 && p.begin > 64 {
		n := copy(p.events, p.events[p.begin:])
		clear(p.events[n:])
		p.events, p.begin = p.events[:n], 0
	}
}

// since returns the kept events of revisions from on.
func (p *past) since(from int64) []event {
	kept := p.kept()
	i, _ := slices.BinarySearchFunc(kept, from, func(e event, from int64) int {
		if e.now.Mod < from {
			return -1
		}
		return 1
	})
	return kept[i:]
}

// changes in from..end since the revision. Limit, if not 0, ends the answer behind the revision at which it is reached: a revision
// is given whole, or who asks for the next one would miss the rest.
func (p *past) changes(from, end []byte, revision, limit int64) []Change {
	var found []Change
	events := p.since(revision)
	for i := range events {
		e := &events[i]
		if limit > 0 && int64(len(found)) >= limit && found[len(found)-1].Pair.Mod != e.now.Mod {
			break
		}
		if !covers(from, end, e.now.Key) {
			continue
		}
		c := Change{Pair: e.now.KeyValue, Deleted: e.deleted}
		if e.before != nil {
			c.Previous = &e.before.KeyValue
		}
		found = append(found, c)
	}
	return found
}

// at returns the records in from..end as they were at a kept revision, in order: those of today, except where the first event after the
// revision says what was there before.
func (p *past) at(live *ordered, from, end []byte, revision int64) []*record {
	events := p.since(revision + 1)
	changed := make([]*event, 0, len(events))
	for i := range events {
		if covers(from, end, events[i].now.Key) {
			changed = append(changed, &events[i])
		}
	}
	slices.SortStableFunc(changed, func(a, b *event) int { return bytes.Compare(a.now.Key, b.now.Key) })
	changed = slices.CompactFunc(changed, func(a, b *event) bool { return bytes.Equal(a.now.Key, b.now.Key) })

	var found []*record
	walk := live.From(from)
	it := walk.Next()
	for _, e := range changed {
		for it != nil && bytes.Compare(it.Key, e.now.Key) < 0 {
			found, it = append(found, it.record), walk.Next()
		}
		if it != nil && bytes.Equal(it.Key, e.now.Key) {
			it = walk.Next()
		}
		if e.before != nil {
			found = append(found, e.before)
		}
	}
	for it != nil && covers(from, end, it.Key) {
		found, it = append(found, it.record), walk.Next()
	}
	return found
}
