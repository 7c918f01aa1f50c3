package raft

import (
	"errors"
	"fmt"

	"assize/machine"
)

// image is a decoded snapshot (section 7).
type image struct {
	index, term uint64
	config      config
	store       *machine.Store
	sessions    *machine.Sessions
}

const imageFormat = 2

// encodeImage of what is applied. The store, the most of it, is written last and where it is to stay.
func (r *Raft) encodeImage(index, term uint64) []byte {
	var e machine.Encoder
	e.Byte(imageFormat)
	e.Uint(index)
	e.Uint(term)
	r.ruling.encode(&e)
	e.Bytes(r.sessions.Encode())
	return r.store.AppendSnapshot(e.B)
}

var errImage = errors.New("a snapshot that no server has taken")

// header of a snapshot, and what is left to decode.
func (i *image) header(b []byte) (*machine.Decoder, error) {
	d := machine.NewDecoder(b)
	if d.Byte() != imageFormat {
		return nil, errImage
	}
	i.index, i.term = d.Uint(), d.Uint()
	if d.Err() != nil || i.index == 0 || i.term == 0 || i.term > maxTerm || i.index > maxTerm {
		return nil, errImage
	}
	return d, nil
}

func decodeImage(b []byte, keep int) (i image, err error) {
	d, err := i.header(b)
	if err != nil {
		return i, err
	}
	if i.config, err = decodeConfig(d); err != nil {
		return i, err
	}
	sessions := d.Bytes()
	if err = d.Err(); err != nil {
		return i, err
	}
	store := d.Rest()
	if i.store, err = machine.RestoreStore(store, keep); err != nil {
		return i, err
	}
	i.sessions, err = machine.DecodeSessions(sessions, sessionLimit)
	return i, err
}

// compact the log (section 7): the state takes the place of the entries that made it. A tail of them stays in memory, so that a follower
// that lags a little needs no snapshot.
func (r *Raft) compact() {
	index := r.applied
	r.snapshotTerm = r.log.term(index)
	r.snapshotIndex = index
	r.snapshot = r.encodeImage(index, r.snapshotTerm)
	r.counts.SnapshotsTaken++
	if tail := uint64(r.o.Snapshot / tailShare); index > tail {
		// What was logged in this very step stays: whoever judges the log has not seen it yet.
		r.log.compact(min(index-tail, r.lastBefore))
		r.forgetConfigs()
	}
	r.out.Snapshot = r.snapshot
}

// forgetConfigs that the log does not need to fall back to any more.
func (r *Raft) forgetConfigs() {
	n := 0
	for n+1 < len(r.configs) && r.configs[n+1].index <= r.log.base {
		n++
	}
	r.configs = append(r.configs[:0], r.configs[n:]...)
}

// logTail puts all that the step's snapshot does not cover behind it, when nothing more is logged in the step: together they replace the disk.
func (r *Raft) logTail() {
	r.out.Tail = append(r.out.Tail, r.stateRecord())
	if rest := r.log.entries[r.snapshotIndex-r.log.base:]; len(rest) > 0 {
		r.out.Tail = append(r.out.Tail, entriesRecord(r.snapshotIndex+1, rest))
	}
	if r.out.Installed {
		r.out.Log = r.out.Log[:0]
	}
}

// install sends the snapshot to a follower that needs what the log has forgotten, and again when no answer comes although the follower is there.
func (r *Raft) install(p *peer, due bool) {
	since := p.flights[0].tick
	if !p.asked || r.ticks-since > r.electionTicks && p.heard > since {
		p.asked, p.sent = true, r.ticks
		p.next = r.snapshotIndex + 1
		p.flights[0] = flight{r.snapshotIndex, r.ticks}
		r.post(p.id, encodeSnapshot(r.term, r.round, r.snapshot))
		return
	}
	if due {
		prev := p.match
		if prev < r.log.base {
			prev = 0
		}
		r.sendAppend(p, prev, prev)
	}
}

// onSnapshot: figure 13. All is checked before anything is changed.
func (r *Raft) onSnapshot(from int, m *message) {
	var i image
	if _, err := i.header(m.data); err != nil || i.term > m.term {
		return
	}
	if i.index <= r.commit {
		// Late or repeated. What is committed here is in the leader's log.
		r.post(from, encodeAppendReply(r.term, true, r.commit, m.round, 0, 0))
		return
	}
	i, err := decodeImage(m.data, r.o.Keep)
	if err != nil {
		return
	}
	r.counts.SnapshotsLoaded++
	// Rules 6 and 7: "If existing log entry has same index and term as snapshot's last included entry, retain log entries following it",
	// else "discard the entire log". To discard what matches would take back what was acknowledged.
	keep := i.index <= r.log.last() && r.log.term(i.index) == i.term || r.flaw == snapshotKeepsSuffix
	r.log.reset(i.index, i.term, keep)
	r.store, r.sessions, r.ruling = i.store, i.sessions, i.config
	kept := r.configs
	r.configs = []placed{{i.index, i.config}}
	for _, c := range kept {
		if c.index > i.index && c.index <= r.log.last() {
			r.configs = append(r.configs, c)
		}
	}
	r.snapshot, r.snapshotIndex, r.snapshotTerm = m.data, i.index, i.term
	r.commit, r.applied = i.index, i.index
	r.out.Applied = append(r.out.Applied, machine.Applied{Index: i.index, Revision: r.store.Revision(), Hash: r.store.Hash()})
	r.out.Snapshot, r.out.Installed = r.snapshot, true
	r.reconfigure()
	r.answerExecuted()
	r.fulfil()
	r.serveWaiting()
	r.post(from, encodeAppendReply(r.term, true, i.index, m.round, 0, 0))
}

// restore what the host found on the disk.
func (r *Raft) restore(snapshot []byte, records [][]byte) error {
	if snapshot != nil {
		i, err := decodeImage(snapshot, r.o.Keep)
		if err != nil {
			return fmt.Errorf("its snapshot: %w", err)
		}
		r.store, r.sessions = i.store, i.sessions
		r.configs = []placed{{i.index, i.config}}
		r.snapshot, r.snapshotIndex, r.snapshotTerm = snapshot, i.index, i.term
		r.log.base, r.log.baseTerm = i.index, i.term
		r.commit, r.applied = i.index, i.index
	}
	for n, b := range records {
		if err := r.replay(b); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
	}
	if last := r.log.lastTerm(); last > r.term {
		r.term, r.vote = last, 0
	}
	if r.flaw == forgetVote {
		r.vote = 0
	}
	return nil
}

var errRecord = errors.New("a log record that no server has written")

// replay one record of the disk.
func (r *Raft) replay(b []byte) error {
	if len(b) > 0 && b[0] == recordState {
		d := machine.NewDecoder(b[1:])
		term, vote := d.Uint(), d.Uint()
		if d.Done() != nil || term < r.term || term > maxTerm || vote > maxID {
			return errRecord
		}
		r.term, r.vote = term, int(vote)
		return nil
	}
	first, entries, err := decodeEntries(b)
	if err != nil {
		return err
	}
	if first <= r.log.base || first > r.log.last()+1 {
		return errRecord
	}
	if first <= r.log.last() {
		r.log.truncate(first)
		r.forsake(first)
	}
	for i := range entries {
		e := &entries[i]
		if e.term < r.log.lastTerm() || e.term > maxTerm {
			return errRecord
		}
		r.log.append(*e)
		if e.data[0] == kindConfig {
			r.adopt(r.log.last(), e.data)
		}
	}
	return nil
}
