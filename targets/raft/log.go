package raft

import (
	"fmt"
	"slices"
)

// entry of the log. data is its kind in one byte and what belongs to it; it never changes.
type entry struct {
	term uint64
	data []byte
}

// Kinds of entries.
const (
	kindNoop    byte = iota // dissertation 6.4: a new leader's first entry
	kindCommand             // conn, seq, low, born, encoded machine.Command
	kindConfig              // encoded config
	kindAdmin               // as kindCommand; only forwarded, never in a log
)

// log holds the entries above base, which are all that a snapshot does not cover and a tail for followers that lag a little.
type log struct {
	base     uint64
	baseTerm uint64
	entries  []entry
	changed  uint64 // least index that has changed since the host asked; 0: none
}

func (l *log) last() uint64 { return l.base + uint64(len(l.entries)) }

func (l *log) lastTerm() uint64 {
	if n := len(l.entries); n > 0 {
		return l.entries[n-1].term
	}
	return l.baseTerm
}

func (l *log) at(index uint64) *entry { return &l.entries[index-l.base-1] }

// term of the entry at index, which is neither compacted nor beyond the end.
func (l *log) term(index uint64) uint64 {
	if index == l.base {
		return l.baseTerm
	}
	return l.entries[index-l.base-1].term
}

func (l *log) append(e entry) {
	if e.term < l.lastTerm() {
		panic(fmt.Sprintf("raft: terms go back in the log: %d after %d at %d", e.term, l.lastTerm(), l.last()+1))
	}
	l.entries = append(l.entries, e)
	l.touch(l.last())
}

// truncate drops the entry at index and all that follow it.
func (l *log) truncate(index uint64) {
	tail := l.entries[index-l.base-1:]
	clear(tail)
	l.entries = l.entries[:index-l.base-1]
	l.touch(index)
}

func (l *log) touch(index uint64) {
	if l.changed == 0 || index < l.changed {
		l.changed = index
	}
}

// compact forgets the entries up to index, which the log holds.
func (l *log) compact(index uint64) {
	if index <= l.base {
		return
	}
	term := l.term(index)
	l.entries = slices.Clone(l.entries[index-l.base:])
	l.base, l.baseTerm = index, term
}

// reset makes the log begin after a snapshot; what it held above is kept or not.
func (l *log) reset(index, term uint64, keep bool) {
	var tail []entry
	if keep && index < l.last() {
		tail = slices.Clone(l.entries[index-l.base:])
	}
	l.touch(max(min(index, l.base+1), 1))
	l.base, l.baseTerm, l.entries = index, term, tail
}

// lastOf is the index of the last entry of the given term or an earlier one, not above limit.
func (l *log) lastOf(term, limit uint64) uint64 {
	i := min(limit, l.last())
	for i > l.base && l.term(i) > term {
		i--
	}
	return i
}

// firstOf is the index of the first entry of the same term as the one at index.
func (l *log) firstOf(index uint64) uint64 {
	term := l.term(index)
	for index > l.base+1 && l.term(index-1) == term {
		index--
	}
	return index
}
