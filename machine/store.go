package machine

import (
	"bytes"
)

// DefaultKeep is how many revisions of history a store keeps unless it is told otherwise.
const DefaultKeep = 1000

// Store is a key-value store with etcd's counters and transactions. Its first revision is 1; each transaction that changes anything makes one
// more. Two stores with one keep that were given the same transactions are equal, byte for byte in their snapshots.
//
// Nothing that it has returned ever changes; nothing that it was given is kept.
type Store struct {
	revision int64
	live     map[string]*item
	order    ordered
	past     past
	hash     uint64 // sum of the live pairs' digests
	written  int    // size of the last snapshot in bytes; 0: there was none
}

// NewStore makes an empty store that keeps the history of its last keep revisions; 0 stands for DefaultKeep.
func NewStore(keep int) *Store {
	if keep <= 0 {
		keep = DefaultKeep
	}
	return &Store{revision: 1, live: map[string]*item{}, past: past{keep: keep, oldest: 1}}
}

// Revision of the last transaction that changed anything; 1 where none has.
func (s *Store) Revision() int64 { return s.revision }

// Hash of the present state: equal stores have equal hashes, others with all probability not. The history is not part of it.
func (s *Store) Hash() uint64 { return Mix(s.hash, uint64(s.revision)) }

// Oldest revision that can still be asked for.
func (s *Store) Oldest() int64 { return s.past.oldest }

// Apply executes a transaction. All of it takes effect in one revision, or, where the outcome is not Done, nothing of it.
func (s *Store) Apply(c Command) Result {
	if c.Kind != CommandTxn {
		return s.refuse(ReasonNoTxn)
	}
	return s.execute(&c)
}

// Read executes a transaction that only reads, or a CommandChanges.
func (s *Store) Read(c Command) Result {
	switch {
	case c.Kind == CommandChanges && c.Revision < s.past.oldest:
		return Result{Outcome: Compacted, Revision: s.revision, Oldest: s.past.oldest}
	case c.Kind == CommandChanges:
		return Result{Outcome: Done, Succeeded: true, Revision: s.revision, Changes: s.past.changes(c.Key, c.End, c.Revision, c.Limit)}
	case c.Kind != CommandTxn || !c.ReadOnly():
		return s.refuse(ReasonNoTxn)
	}
	return s.execute(&c)
}

func (s *Store) refuse(reason string) Result {
	return Result{Outcome: Refused, Reason: reason, Revision: s.revision}
}

func (s *Store) execute(c *Command) Result {
	if reason := c.Check(); reason != "" {
		return s.refuse(reason)
	}
	succeeded := true
	for i := range c.Compare {
		if !s.holds(&c.Compare[i]) {
			succeeded = false
			break
		}
	}
	steps := c.Then
	if !succeeded {
		steps = c.Else
	}
	// Everything that can be refused is refused before the first step: there is no way back from a half.
	for i := range steps {
		o := &steps[i]
		switch {
		case o.Op == OpPut && (o.Keep || o.Exists) && s.live[string(o.Key)] == nil:
			return s.refuse(ReasonKeyNotFound)
		case o.Op == OpRange && o.Revision > s.revision:
			return Result{Outcome: Future, Revision: s.revision}
		case o.Op == OpRange && o.Revision > 0 && o.Revision < s.past.oldest:
			return Result{Outcome: Compacted, Revision: s.revision, Oldest: s.past.oldest}
		}
	}
	r := Result{Outcome: Done, Succeeded: succeeded}
	if len(steps) > 0 {
		r.Responses = make([]Response, len(steps))
	}
	next := s.revision + 1
	changed := false
	for i := range steps {
		o, p := &steps[i], &r.Responses[i]
		p.Op = o.Op
		switch o.Op {
		case OpRange:
			s.readRange(o, p)
		case OpPut:
			s.put(o, p, next)
			changed = true
		case OpDelete:
			s.remove(o, p, next)
			changed = changed || p.Count > 0
		}
	}
	if changed {
		s.revision = next
		s.past.forget(next)
	}
	r.Revision = s.revision
	return r
}

// holds tells whether the comparison is true of all keys in its range. A missing key compares as zeros, but its value equals nothing, not
// even the empty value, and is neither less nor greater.
func (s *Store) holds(c *Compare) bool {
	if len(c.End) == 0 {
		if it := s.live[string(c.Key)]; it != nil {
			return c.of(&it.KeyValue)
		}
		return c.Target != TargetValue && c.of(&KeyValue{})
	}
	walk := s.order.From(c.Key)
	seen := false
	for it := walk.Next(); it != nil && covers(c.Key, c.End, it.Key); it = walk.Next() {
		if !c.of(&it.KeyValue) {
			return false
		}
		seen = true
	}
	return seen || c.Target != TargetValue && c.of(&KeyValue{})
}

func (c *Compare) of(p *KeyValue) bool {
	var order int
	switch c.Target {
	case TargetVersion:
		order = compareNumbers(p.Version, c.Number)
	case TargetCreate:
		order = compareNumbers(p.Create, c.Number)
	case TargetMod:
		order = compareNumbers(p.Mod, c.Number)
	case TargetValue:
		order = bytes.Compare(p.Value, c.Value)
	}
	switch c.Relation {
	case Equal:
		return order == 0
	case Greater:
		return order > 0
	case Less:
		return order < 0
	}
	return order != 0
}

func compareNumbers(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (s *Store) readRange(o *Operation, p *Response) {
	if o.Revision > 0 && o.Revision < s.revision || o.Revision == s.revision && s.ahead() {
		p.take(o, s.past.at(&s.order, o.Key, o.End, o.Revision))
		return
	}
	if len(o.End) == 0 {
		if it := s.live[string(o.Key)]; it != nil {
			p.Count = 1
			if !o.Count {
				p.Pairs = []KeyValue{pick(o, it.record)}
			}
		}
		return
	}
	count, all := 0, open(o.End)
	if all || bytes.Compare(o.Key, o.End) < 0 {
		count = s.order.Count(o.Key, o.End, all)
	}
	p.Count = int64(count)
	if o.Count || count == 0 {
		return
	}
	if o.Limit > 0 && o.Limit < p.Count {
		count, p.More = int(o.Limit), true
	}
	p.Pairs = make([]KeyValue, count)
	walk := s.order.From(o.Key)
	for i := range p.Pairs {
		p.Pairs[i] = pick(o, walk.Next().record)
	}
}

// ahead tells that the transaction under way has changed something already.
func (s *Store) ahead() bool {
	kept := s.past.kept()
	return len(kept) > 0 && kept[len(kept)-1].now.Mod > s.revision
}

// take fills a response with what a range of the past has found.
func (p *Response) take(o *Operation, found []*record) {
	p.Count = int64(len(found))
	if o.Count {
		return
	}
	if o.Limit > 0 && o.Limit < p.Count {
		found, p.More = found[:o.Limit], true
	}
	for _, r := range found {
		p.Pairs = append(p.Pairs, pick(o, r))
	}
}

func pick(o *Operation, r *record) KeyValue {
	p := r.KeyValue
	if o.KeysOnly {
		p.Value = nil
	}
	return p
}

func (s *Store) put(o *Operation, p *Response, revision int64) {
	now := &record{KeyValue: KeyValue{Create: revision, Mod: revision, Version: 1}}
	it := s.live[string(o.Key)]
	if it == nil {
		// The command's bytes belong to a log record or a message that a kept key would keep alive as a whole.
		now.Key = bytes.Clone(o.Key)
	} else {
		now.Key, now.Create, now.Version = it.Key, it.Create, it.Version+1
	}
	switch {
	case o.Keep:
		now.Value = it.Value
	case len(o.Value) > 0:
		now.Value = bytes.Clone(o.Value)
	}
	now.hash = digest(&now.KeyValue)
	s.hash += now.hash
	if it == nil {
		s.past.events = append(s.past.events, event{now: now})
		it = &item{now}
		s.live[string(now.Key)] = it
		s.order.Insert(it)
		return
	}
	s.past.events = append(s.past.events, event{now: now, before: it.record})
	s.hash -= it.hash
	if o.Previous {
		p.Previous = []KeyValue{it.KeyValue}
	}
	it.record = now
}

func (s *Store) remove(o *Operation, p *Response, revision int64) {
	var gone []*record
	if len(o.End) == 0 {
		if it := s.live[string(o.Key)]; it != nil {
			gone = []*record{it.record}
		}
	} else {
		walk := s.order.From(o.Key)
		for it := walk.Next(); it != nil && covers(o.Key, o.End, it.Key); it = walk.Next() {
			gone = append(gone, it.record)
		}
	}
	for _, r := range gone {
		delete(s.live, string(r.Key))
		s.order.Remove(r.Key)
		s.hash -= r.hash
		s.past.events = append(s.past.events, event{now: &record{KeyValue: KeyValue{Key: r.Key, Mod: revision}}, before: r, deleted: true})
		if o.Previous {
			p.Previous = append(p.Previous, r.KeyValue)
		}
	}
	p.Count = int64(len(gone))
}
