package sim

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"time"

	"assize/machine"
)

// court holds the invariants of a replicated log to all nodes after every step. It speaks of terms; an epoch or a ballot is one.
//
//   - election safety: a term has at most one leader
//   - log matching: two logs with an entry of the same index and term are the same up to it
//   - leader append-only: a leader takes nothing from its own log
//   - leader completeness: what was applied anywhere in an earlier term is in a leader's log
//   - state machine safety: at each index all nodes apply one entry after the same entries, and their states' hashes agree
//   - progress: term, commit index and applied index of a process do not decrease, and nothing uncommitted is applied
//   - durability: what is acknowledged has been applied, and is on the synced disks of a majority
//
// Each entry is told by a digest of itself and all before it, so one comparison stands for a whole prefix.
type court struct {
	entries    [][]mark       // by index: what any log has held there, one for each term
	applied    []verdict      // by index: what was applied there first; 0 is the empty prefix
	leaders    map[uint64]int // by term: the node's id; never ranged over
	violations []string
	accused    []string // the invariants that were violated, told once each
}

// mark is an entry seen in some log.
type mark struct {
	term, digest uint64
	by           int  // whose log it was
	shared       bool // another node's log has held it, too
}

// verdict is what was applied at an index by whoever was first.
type verdict struct {
	digest uint64
	known  bool // digest is; not where a machine keeps no log
	hash   uint64
	hashed bool // hash is
	// revision of the store after it; 0: nobody has told.
	revision int64
	term     uint64 // of the node that applied it first: the entry was committed in this term or before
	voters   []int  // of that node: a majority of them had it
	by       int
	shared   bool // another node has applied it, too
}

// forget what a process that has crashed had logged or applied beyond an index, and nobody else: it was neither synced nor shown to anyone. The
// only voter elects itself and commits before its disk knows, and a leader does whose proposals are Early and whose followers' disks are faster; what
// rests on that, replies above all, has not left the node.
func (c *court) forget(n *node, index uint64) {
	for i := index + 1; i < uint64(len(c.entries)); i++ {
		c.entries[i] = slices.DeleteFunc(c.entries[i], func(m mark) bool { return m.by == n.id && !m.shared })
	}
	last := len(c.applied) - 1
	for last > 0 && c.applied[last].by == n.id && !c.applied[last].shared && uint64(last) > index {
		last--
	}
	c.applied = c.applied[:last+1]
}

// view is what the court knows of one node.
type view struct {
	role     string
	term     uint64
	commit   uint64
	applied  uint64
	reported uint64 // greatest index in Effects.Applied
	base     uint64 // index of the snapshot that the chain begins at
	chain    []uint64
	last     uint64 // index of the last entry: base+len(chain)-1
	durable  uint64 // index up to which the log is synced
}

const mostViolations = 16

// violate records a broken invariant; each of them once, for what follows from it would drown it.
func (c *court) violate(s *Sim, n *node, invariant, what string) {
	if slices.Contains(c.accused, invariant) || len(c.violations) >= mostViolations {
		return
	}
	c.accused = append(c.accused, invariant)
	c.violations = append(c.violations, fmt.Sprintf("at %.6f s on %s: %s: %s", time.Duration(s.now).Seconds(), n.name, invariant, what))
}

// begin takes the view of a machine that has just been made of what is durable.
func (c *court) begin(s *Sim, n *node) {
	st, durable := &n.status, n.view.durable
	n.view = view{base: st.Snapshot, chain: append(n.view.chain[:0], 0), last: st.Snapshot, applied: st.Applied, commit: st.Commit, reported: st.Applied}
	if n.inspector != nil {
		n.inspector.Changed()
		c.rebase(s, n, st.Snapshot)
		c.follow(s, n, st.Snapshot+1)
		n.view.durable = n.view.last
		c.forget(n, max(durable, n.view.last))
	}
	c.standing(s, n)
}

// stepped judges what one step has changed.
func (c *court) stepped(s *Sim, n *node, fx machine.Effects) {
	v, st := &n.view, &n.status
	if n.inspector != nil {
		if from := n.inspector.Changed(); from > 0 {
			c.changed(s, n, from)
		}
		if len(fx.Log) > 0 || fx.Installed {
			n.disk.pending[len(n.disk.pending)-1].last = v.last
		}
	}
	if st.Commit < v.commit || st.Applied < v.applied || st.Term < v.term {
		c.violate(s, n, "progress", fmt.Sprintf("term %d commit %d applied %d after term %d commit %d applied %d",
			st.Term, st.Commit, st.Applied, v.term, v.commit, v.applied))
	}
	if st.Applied > st.Commit {
		c.violate(s, n, "progress", fmt.Sprintf("applied index %d, commit index %d", st.Applied, st.Commit))
	}
	if st.Applied > v.applied {
		c.appliedEntries(s, n)
	}
	for _, a := range fx.Applied {
		c.appliedState(s, n, a)
	}
	for _, a := range fx.Accused {
		c.violate(s, n, "lie", fmt.Sprintf("of n%d: %s", a.Node, a.Why))
	}
	if st.Applied != v.applied {
		c.hashed(s, n, st.Applied, st.Hash)
	}
	v.commit, v.applied = st.Commit, st.Applied
	c.standing(s, n)
}

// standing judges role and term.
func (c *court) standing(s *Sim, n *node) {
	v, st := &n.view, &n.status
	if st.Role == machine.Leader && (v.role != machine.Leader || v.term != st.Term) {
		c.elected(s, n)
	}
	v.role, v.term = st.Role, st.Term
}

// elected: election safety and leader completeness.
func (c *court) elected(s *Sim, n *node) {
	term := n.status.Term
	if c.leaders == nil {
		c.leaders = map[uint64]int{}
	}
	if other, led := c.leaders[term]; led && other != n.id {
		c.violate(s, n, "election safety", fmt.Sprintf("leads term %d, as n%d does", term, other))
	}
	c.leaders[term] = n.id
	if n.inspector == nil {
		return
	}
	for i := uint64(len(c.applied)); i > 1; i-- {
		if a := &c.applied[i-1]; a.known && a.term < term {
			if !c.has(n, i-1) {
				c.violate(s, n, "leader completeness", fmt.Sprintf("leads term %d without entry %d, which n%d applied in term %d", term, i-1, a.by, a.term))
			}
			return
		}
	}
}

// has tells whether the log of n holds the entry that was applied at index, or its snapshot covers it.
func (c *court) has(n *node, index uint64) bool {
	v := &n.view
	if index < v.base {
		return true
	}
	return index <= v.last && v.chain[index-v.base] == c.applied[index].digest
}

// complete tells whether n's log holds all that was applied anywhere.
func (c *court) complete(n *node) bool {
	return len(c.applied) == 0 || n.inspector == nil && n.up || len(n.view.chain) == 0 || c.has(n, uint64(len(c.applied)-1))
}

// changed: the log of n was changed from an index on. What stands there now is compared with what any log has held.
func (c *court) changed(s *Sim, n *node, from uint64) {
	v, st := &n.view, &n.status
	led, before := v.role == machine.Leader && st.Role == machine.Leader && v.term == st.Term, v.last
	var tip uint64
	if led {
		tip = v.chain[before-v.base]
	}
	begin := max(from, v.base+1)
	if _, _, held := n.inspector.Entry(from); held && from == v.last+1 && st.Snapshot >= from {
		// It logged, applied and compacted in one step, as the only voter does.
	} else if st.Snapshot >= from && (st.Snapshot > v.last || st.Snapshot < v.base || !c.has(n, st.Snapshot)) {
		c.rebase(s, n, st.Snapshot)
		begin = st.Snapshot + 1
	} else {
		// What a snapshot has replaced is the same as it was, or the chain would have been begun anew.
		begin = max(begin, st.Snapshot+1)
	}
	c.follow(s, n, begin)
	if led && (v.last < before || before >= v.base && v.chain[before-v.base] != tip) {
		c.violate(s, n, "leader append-only", fmt.Sprintf("leads term %d and has changed its log from entry %d on; it ended at %d", st.Term, from, before))
	}
}

// rebase begins the chain at a snapshot.
func (c *court) rebase(s *Sim, n *node, index uint64) {
	v := &n.view
	v.base, v.last, v.chain = index, index, append(v.chain[:0], 0)
	if index == 0 {
		return
	}
	if index >= uint64(len(c.applied)) || !c.applied[index].known {
		c.violate(s, n, "state machine safety", fmt.Sprintf("has a snapshot up to entry %d, which nobody has applied", index))
		return
	}
	v.chain[0] = c.applied[index].digest
}

// follow reads the log from an index on.
func (c *court) follow(s *Sim, n *node, from uint64) {
	v := &n.view
	if from > v.last+1 {
		from = v.last + 1
	}
	digest, same := v.chain[from-1-v.base], from-1
	for i := from; ; i++ {
		term, body, ok := n.inspector.Entry(i)
		if !ok {
			c.truncated(n, i-1, same)
			return
		}
		digest = chained(digest, term, body)
		if at := i - v.base; at < uint64(len(v.chain)) {
			if v.chain[at] == digest && same == i-1 {
				same = i
			}
			v.chain[at] = digest
		} else {
			v.chain = append(v.chain, digest)
		}
		c.match(s, n, i, term, digest)
	}
}

// truncated: the log ends at last, and up to same it is what it was. What differs from what is durable is durable no more, nor will it be by
// a sync of what was written before.
func (c *court) truncated(n *node, last, same uint64) {
	v := &n.view
	v.chain = v.chain[:last-v.base+1]
	if same < v.last {
		v.durable = min(v.durable, same)
		for i := range n.disk.pending {
			n.disk.pending[i].last = min(n.disk.pending[i].last, same)
		}
	}
	v.last = last
}

// match: log matching.
func (c *court) match(s *Sim, n *node, index, term, digest uint64) {
	for uint64(len(c.entries)) <= index {
		c.entries = append(c.entries, nil)
	}
	for i := range c.entries[index] {
		m := &c.entries[index][i]
		if m.term != term {
			continue
		}
		if m.shared = m.shared || m.by != n.id; m.digest != digest {
			c.violate(s, n, "log matching", fmt.Sprintf("its log up to entry %d of term %d is another than the one seen elsewhere", index, term))
		}
		return
	}
	c.entries[index] = append(c.entries[index], mark{term: term, digest: digest, by: n.id})
}

// at is the verdict of an index.
func (c *court) at(index uint64) *verdict {
	if len(c.applied) == 0 {
		c.applied = append(c.applied, verdict{known: true, by: 0})
	}
	for uint64(len(c.applied)) <= index {
		c.applied = append(c.applied, verdict{})
	}
	return &c.applied[index]
}

// appliedEntries: state machine safety by the log.
func (c *court) appliedEntries(s *Sim, n *node) {
	v, st := &n.view, &n.status
	if n.inspector == nil {
		return
	}
	if st.Applied > v.last {
		c.violate(s, n, "state machine safety", fmt.Sprintf("applied up to entry %d, but its log ends at %d", st.Applied, v.last))
		return
	}
	for i := max(v.applied+1, v.base+1); i <= st.Applied; i++ {
		a, digest := c.at(i), v.chain[i-v.base]
		if !a.known {
			a.digest, a.known, a.term, a.voters, a.by = digest, true, st.Term, st.Voters, n.id
		} else if a.digest != digest {
			c.violate(s, n, "state machine safety", fmt.Sprintf("applied another entry %d, or after others, than n%d did", i, a.by))
		}
		a.shared = a.shared || a.by != n.id
	}
}

// appliedState: state machine safety by what applying an entry made of the state.
func (c *court) appliedState(s *Sim, n *node, a machine.Applied) {
	v := &n.view
	if a.Index <= v.reported || a.Index > n.status.Applied {
		c.violate(s, n, "progress", fmt.Sprintf("applied entry %d after entry %d, applied index %d", a.Index, v.reported, n.status.Applied))
		return
	}
	v.reported = a.Index
	c.at(a.Index).revision = a.Revision
	c.hashed(s, n, a.Index, a.Hash)
}

func (c *court) hashed(s *Sim, n *node, index, hash uint64) {
	a := c.at(index)
	if !a.hashed {
		a.hash, a.hashed = hash, true
		if a.by == 0 {
			a.by = n.id
		}
	} else if a.shared = a.shared || a.by != n.id; a.hash != hash {
		c.violate(s, n, "state machine safety", fmt.Sprintf("its state after entry %d has the hash %016x, that of n%d had %016x", index, hash, a.by, a.hash))
	}
}

// acknowledged: durability. Asked when the reply leaves the node.
func (c *court) acknowledged(s *Sim, n *node, e machine.Entry) {
	if e.Index == 0 && e.Revision == 0 || n.inspector == nil {
		return
	}
	index, term := e.Index, e.Term
	if index == 0 {
		index = c.made(e.Revision)
	}
	if index >= uint64(len(c.applied)) || !c.applied[index].known {
		c.violate(s, n, "durability", fmt.Sprintf("acknowledged entry %d of term %d (revision %d), which nobody has applied", e.Index, term, e.Revision))
		return
	}
	a := &c.applied[index]
	have := 0
	for _, id := range a.voters {
		if id < 1 || id > len(s.nodes) {
			continue
		}
		if other := s.nodes[id-1]; index <= other.view.durable && c.has(other, index) {
			have++
		}
	}
	if 2*have <= len(a.voters) {
		c.violate(s, n, "durability", fmt.Sprintf("acknowledged entry %d of term %d, which only %d of %d voters have on disk", index, term, have, len(a.voters)))
	}
}

// made is the entry whose application made a revision, or one beyond all that has been applied.
func (c *court) made(revision int64) uint64 {
	i := sort.Search(len(c.applied), func(i int) bool {
		// Entries that nobody has told of yet are the last ones.
		return c.applied[i].revision >= revision || i > 0 && c.applied[i].revision == 0
	})
	if i < len(c.applied) && c.applied[i].revision == revision {
		return uint64(i)
	}
	return uint64(len(c.applied))
}

// chained is the digest of an entry after all those that the digest before stands for: a multiply-and-fold of eight bytes at a time.
func chained(before, term uint64, body []byte) uint64 {
	const a, b = 0xa0761d6478bd642f, 0xe7037ed1a0b428db
	h := fold(before^a, term^b)
	for ; len(body) >= 8; body = body[8:] {
		h = fold(h^binary.LittleEndian.Uint64(body), b)
	}
	var rest [8]byte
	copy(rest[:], body)
	return fold(h^binary.LittleEndian.Uint64(rest[:])^a, uint64(len(body))^b)
}

func fold(x, y uint64) uint64 {
	high, low := bits.Mul64(x, y)
	return high ^ low
}
