package zab

import (
	"slices"
	"strings"
	"testing"

	"assize/machine"
)

// What comes back from the disk is what was there; nothing of it is delivered before a leader has confirmed it.
func TestRestart(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{Snapshot: 7, Keep: 5}).startAll()
	w.elect(t)
	for i := range 30 {
		w.writes(t, 3)
		w.settles(t)
		n := w.at(i%3 + 1)
		before := n.status()
		last, accepted := n.log.last(), n.accepted
		n.crash()
		n.start()
		n.crash() // a life counts, however short
		n.start()
		after := n.status()
		if after.Last != before.Last || after.Snapshot != before.Snapshot || after.Term != before.Term || n.log.last() != last || n.accepted != accepted {
			t.Fatalf("got %+v after the restart, %+v before", after, before)
		}
		if after.Applied != after.Snapshot || n.applied != int(after.Snapshot) || n.life != n.lives {
			t.Fatalf("%d are delivered, the snapshot is of %d; life %d of %d", n.applied, after.Snapshot, n.life, n.lives)
		}
		w.settles(t)
	}
	if n := w.at(1); n.counts.SnapshotsTaken == 0 || n.saved == 0 || len(n.log.txns) > 11 {
		t.Errorf("%d snapshots, the last at %d, %d transactions in memory", n.counts.SnapshotsTaken, n.saved, len(n.log.txns))
	}
}

// Snapshots are taken after between half and all of snapCount transactions, and not all at once.
func TestSnapshotsAreDrawn(t *testing.T) {
	seen := map[uint64]bool{}
	for seed := range uint64(100) {
		p, err := newPeer(machine.Config{ID: 1, Voters: []int{1}, Seed: seed, Options: machine.Options{Snapshot: 20}}, nil)
		if err != nil || p.due < 10 || p.due > 20 {
			t.Fatalf("the first after %d of 20", p.due)
		}
		seen[p.due] = true
	}
	if len(seen) != 11 {
		t.Errorf("%d different distances, want 11", len(seen))
	}
}

func TestCorruptDisk(t *testing.T) {
	record := func(epoch, counter uint64) []byte { return newTxn(zxidOf(epoch, counter), []byte("x")).record }
	image := imageOf(9, 9, "")
	for name, c := range map[string]machine.Config{
		"a zxid back":                 {Log: [][]byte{record(2, 1), record(1, 2)}},
		"a zxid twice":                {Log: [][]byte{record(2, 1), record(2, 1)}},
		"no epoch":                    {Log: [][]byte{record(0, 1)}},
		"a truncation beyond the end": {Log: [][]byte{record(2, 1), numberRecord(recordTruncate, uint64(zxidOf(2, 2)))}},
		"a truncation to nothing":     {Log: [][]byte{record(2, 2), numberRecord(recordTruncate, uint64(zxidOf(2, 1)))}},
		"rubbish":                     {Log: [][]byte{{99, 1, 2}}},
		"nothing":                     {Log: [][]byte{{}}},
		"a long number":               {Log: [][]byte{append(numberRecord(recordCurrent, 3), 0)}},
		"a snapshot":                  {Snapshot: []byte("snapshot")},
		"an epoch":                    {Log: [][]byte{numberRecord(recordAccepted, maxEpoch+1)}},
		"below the snapshot":          {Snapshot: image, Log: [][]byte{numberRecord(recordTruncate, 8)}},
	} {
		c.ID, c.Voters = 1, []int{1, 2, 3}
		if _, err := newPeer(c, nil); err == nil || !strings.Contains(err.Error(), "node 1 cannot go on from its disk") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	log := [][]byte{record(1, 1), record(1, 2), record(1, 3), numberRecord(recordTruncate, uint64(zxidOf(1, 2))), record(2, 1), numberRecord(recordCurrent, 2)}
	p, err := newPeer(machine.Config{ID: 1, Voters: []int{1, 2, 3}, Snapshot: image, Log: log}, nil)
	if err != nil || p.log.last() != zxidOf(2, 1) || p.log.lastPos() != 12 || p.current != 2 || p.committed != 9 {
		t.Errorf("a sound disk: %+v, %v", p, err)
	}
}

// ZOOKEEPER-4643: currentEpoch is behind the transactions in the log, so that what a crash leaves of it is sound.
func TestEpochIsLoggedBehindItsHistory(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{}).startAll()
	w.elect(t)
	w.at(1).crash()
	w.writes(t, 4)
	w.leader().crash()
	w.startAll()
	w.elect(t)
	log := w.at(1).records
	epoch := slices.IndexFunc(log, func(b []byte) bool { return string(b) == string(numberRecord(recordCurrent, 2)) })
	accepted := slices.IndexFunc(log, func(b []byte) bool { return string(b) == string(numberRecord(recordAccepted, 2)) })
	txns := 0
	for _, b := range log[:max(epoch, 0)] {
		if b[0] == recordTxn {
			txns++
		}
	}
	if accepted < 0 || epoch < accepted || txns != 4 {
		t.Errorf("acceptedEpoch is record %d, currentEpoch %d behind %d of 4 transactions", accepted, epoch, txns)
	}
}

// The host learns positions, not zxids.
func TestInspector(t *testing.T) {
	w := newWorld(1, 3, 0, machine.Options{Keep: 2, Snapshot: 1000})
	w.limit = 3
	w.startAll()
	w.elect(t)
	w.writes(t, 5)
	w.settles(t)
	n := w.leader()
	if from := n.logChanged(); from != 1 {
		t.Errorf("changed from %d, want 1", from)
	}
	epoch, body, ok := n.logEntry(5)
	if s := n.status(); !ok || epoch != 2 || string(body) != w.order[4].body || s.Last != 5 || s.Applied != 5 || s.Revision != w.order[4].zxid {
		t.Errorf("entry 5: epoch %d %q %v, status %+v", epoch, body, ok, s)
	}
	if _, _, ok := n.logEntry(6); ok || n.logChanged() != 0 {
		t.Error("there is more than was written")
	}
}
