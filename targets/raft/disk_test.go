package raft

import (
	"slices"
	"strings"
	"testing"

	"assize/machine"
)

// snapshotOf a state in which x has been written n times, up to entry index of term.
func snapshotOf(index, term uint64, n int) []byte {
	r := &Raft{store: machine.NewStore(0), sessions: machine.NewSessions(sessionLimit), ruling: newConfig([]int{1, 2, 3, 4, 5}, nil)}
	for v := range n {
		r.store.Apply(write("x", v))
	}
	return r.encodeImage(index, term)
}

// Figure 13, rules 6 and 7: "If existing log entry has same index and term as snapshot's last included entry, retain log entries following it
// and reply. Discard the entire log."
func TestSnapshotKeepsOnlyWhatMatches(t *testing.T) {
	for _, c := range []struct {
		flaw string
		term uint64 // of the snapshot's last entry; the log's is 5
		want uint64
	}{{"", 5, 4}, {"", 6, 2}, {"snapshot-keeps-suffix", 6, 4}} {
		s := newOne(t, machine.Options{Flaw: c.flaw})
		s.gets(2, appendOf(5, 0, 0, 0, 5, 5, 5, 5))
		sent := s.gets(3, encodeSnapshot(7, 1, snapshotOf(2, c.term, 3)))
		if len(sent) != 1 || !sent[0].granted || sent[0].index != 2 {
			t.Fatalf("got %+v, want an acknowledgement up to 2", sent)
		}
		if got := s.Raft.log.last(); got != c.want || s.commit != 2 || s.applied != 2 {
			t.Errorf("flaw %q, term %d: log up to %d, commit %d, applied %d; want %d, 2, 2", c.flaw, c.term, got, s.commit, s.applied, c.want)
		}
		again, err := Load(machine.Config{ID: 1, Snapshot: s.fx.Snapshot, Log: s.fx.Tail, Options: s.o})
		if c.flaw != "" {
			if err == nil {
				t.Error("terms that go back in the log were not noticed on restart")
			}
			continue
		}
		if err != nil || again.log.last() != c.want || again.term != 7 || again.store.Hash() != s.store.Hash() {
			t.Errorf("after a restart: %+v, %v", again.Status(), err)
		}
	}
}

// A late snapshot takes nothing back.
func TestLateSnapshot(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.gets(2, appendOf(5, 0, 0, 3, 5, 5, 5))
	hash := s.store.Hash()
	sent := s.gets(2, encodeSnapshot(5, 1, snapshotOf(2, 5, 1)))
	if s.commit != 3 || s.store.Hash() != hash || s.fx.Snapshot != nil || !sent[0].granted || sent[0].index != 3 {
		t.Errorf("commit %d, sent %+v; want 3, and an acknowledgement up to it", s.commit, sent)
	}
}

// A snapshot that cannot be read changes nothing, and a damaged state is not taken for one.
func TestDamagedSnapshot(t *testing.T) {
	whole := snapshotOf(9, 5, 3)
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 0x40
		s := newOne(t, machine.Options{})
		s.gets(2, encodeSnapshot(7, 1, b))
		if revision := s.store.Revision(); s.commit == 0 && revision != 1 || s.commit != 0 && revision != 4 {
			t.Fatalf("byte %d damaged: commit %d, revision %d", i, s.commit, revision)
		}
	}
}

// What comes back from the disk is the state that was there, or a clear error.
func TestRestart(t *testing.T) {
	n := newNetwork(t, 3, machine.Options{Snapshot: 7})
	n.elect()
	for v := range 40 {
		n.do(v%3+1, write("x", v))
		id := v%3 + 1
		before := n.at(id).Status()
		var log []entry
		for i := before.Snapshot + 1; i <= before.Last; i++ {
			log = append(log, *n.at(id).Raft.log.at(i))
		}
		n.restart(id)
		after := n.at(id).Status()
		if after.Term != before.Term || after.Last != before.Last || after.Snapshot != before.Snapshot || !slices.Equal(after.Voters, before.Voters) {
			t.Fatalf("got %+v after the restart, %+v before", after, before)
		}
		for i, e := range log {
			if got := *n.at(id).Raft.log.at(before.Snapshot + 1 + uint64(i)); got.term != e.term || string(got.data) != string(e.data) {
				t.Fatalf("entry %d: got %v, want %v", before.Snapshot+1+uint64(i), got, e)
			}
		}
		n.elect()
	}
}

// A checkpoint says nothing that the log does not: where none ever becomes durable a server comes back from the whole log as it would from the checkpoint.
func TestCheckpointsMayNeverBecomeDurable(t *testing.T) {
	n := newNetwork(t, 3, machine.Options{Snapshot: 7})
	n.forgetful = true
	n.elect()
	var compared uint64
	for v := range 60 {
		n.do(n.leader(), write("x", v))
		n.tick(3)
		for _, s := range n.servers {
			fx := s.kept
			if fx.Snapshot == nil {
				continue
			}
			whole, err := Load(machine.Config{ID: s.id, Voters: n.voters, Snapshot: s.snapshot, Log: s.log, Options: n.o})
			if err != nil {
				t.Fatal(err)
			}
			short, err := Load(machine.Config{ID: s.id, Voters: n.voters, Snapshot: fx.Snapshot, Log: slices.Concat(fx.Tail, s.since), Options: n.o})
			if err != nil {
				t.Fatal(err)
			}
			if whole.term != short.term || whole.vote != short.vote || whole.log.last() != short.log.last() || whole.snapshotIndex != 0 || short.snapshotIndex == 0 {
				t.Fatalf("server %d: %+v by the log, %+v by the checkpoint", s.id, whole.Status(), short.Status())
			}
			whole.commit = short.log.last()
			whole.apply()
			short.commit = short.log.last()
			short.apply()
			if whole.store.Hash() != short.store.Hash() || string(whole.sessions.Encode()) != string(short.sessions.Encode()) {
				t.Fatalf("server %d: another state by the log than by the checkpoint", s.id)
			}
			compared++
		}
		if v%10 == 9 {
			n.restart(v/10%3 + 1)
			n.elect()
		}
	}
	if compared < 30 {
		t.Errorf("%d comparisons, want many", compared)
	}
}

func TestCorruptDisk(t *testing.T) {
	record := func(first uint64, terms ...uint64) []byte {
		var list []entry
		for _, term := range terms {
			list = append(list, entry{term, []byte{kindNoop}})
		}
		e := machine.Encoder{}
		encodeEntries(&e, first, list)
		return e.B
	}
	state := (&Raft{term: 5, vote: 2}).stateRecord()
	for name, c := range map[string]machine.Config{
		"a gap":           {Log: [][]byte{record(1, 1, 1), record(4, 1)}},
		"a term back":     {Log: [][]byte{record(1, 2, 1)}},
		"a state back":    {Log: [][]byte{state, (&Raft{term: 4}).stateRecord()}},
		"rubbish":         {Log: [][]byte{{99, 1, 2}}},
		"nothing":         {Log: [][]byte{{}}},
		"a snapshot":      {Snapshot: []byte("snapshot")},
		"below the start": {Snapshot: snapshotOf(9, 5, 1), Log: [][]byte{record(8, 5)}},
	} {
		c.ID = 1
		if _, err := Load(c); err == nil || !strings.Contains(err.Error(), "node 1 cannot go on from its disk") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c := machine.Config{ID: 1, Log: [][]byte{state, record(1, 1, 1, 3), record(2, 4)}}
	r, err := Load(c)
	if err != nil || r.log.last() != 2 || r.log.term(2) != 4 || r.term != 5 || r.vote != 2 {
		t.Errorf("a sound disk: %+v, %v", r, err)
	}
}

// A log of one term and a state of the one before it: a crash has kept the records' beginning only.
func TestStateIsLoggedBeforeEntries(t *testing.T) {
	s := newOne(t, machine.Options{})
	s.gets(2, appendOf(5, 0, 0, 0, 5))
	if len(s.fx.Log) != 2 || s.fx.Log[0][0] != recordState || s.fx.Log[1][0] != recordEntries {
		t.Errorf("got %d records, want the state and then the entries", len(s.fx.Log))
	}
}
