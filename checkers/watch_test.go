package checkers

import (
	"strings"
	"testing"

	"assize/history"
)

// told puts a notice on record.
func (a *asks) told(process int, session uint64, f, key string) {
	*a = append(*a, history.Op{Index: len(*a), Process: process, Kind: history.Notify, Session: session, Txn: history.Txn{{F: f, Key: key}}})
}

// wrote at a version.
func (a *asks) wrote(process int, session uint64, key string, v int, version uint64) {
	a.ask(process, session, history.Mop{F: history.Write, Key: key, In: []int{v}}, history.Op{Version: version, Position: version})
}

// watched, and found the register as of a version, 0: not there, in the state of a position.
func (a *asks) watched(process int, session uint64, key string, version, position uint64) {
	a.ask(process, session, history.Mop{F: history.Watch, Key: key, Out: []int{int(min(version, 1))}}, history.Op{Version: version, Position: position})
}

// read a value of a version, 0: nothing, in the state of a position.
func (a *asks) read(process int, session uint64, key string, v int, version, position uint64) {
	m := history.Mop{F: history.Read, Key: key}
	if version > 0 {
		m.Out = []int{v}
	}
	a.ask(process, session, m, history.Op{Version: version, Position: position})
}

func (a *asks) deleted(process int, session uint64, key string, version uint64) {
	a.ask(process, session, history.Mop{F: history.Delete, Key: key}, history.Op{Version: version, Position: version})
}

func (a *asks) connected(process int, session uint64) {
	a.ask(process, session, history.Mop{F: history.Connect, Out: []int{1000}}, history.Op{})
}

// lost: nobody knows whether it was done.
func (a *asks) lost(process int, session uint64, m history.Mop) {
	a.ask(process, session, m, history.Op{Kind: history.Info})
}

// TestTellsWhatWatchesBreak, and what they may do.
func TestTellsWhatWatchesBreak(t *testing.T) {
	write := func(v int) history.Mop { return history.Mop{F: history.Write, Key: "a", In: []int{v}} }
	for _, c := range []struct {
		name  string
		want  string // words; empty: nothing is broken
		build func(a *asks)
	}{
		{"told", "", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.wrote(2, 2, "a", 2, 5)
			a.told(1, 1, history.Changed, "a")
			a.read(1, 1, "a", 2, 5, 5)
		}},
		{"deleted and made anew between two connections", "", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.deleted(2, 2, "a", 4)
			a.wrote(2, 2, "a", 2, 5)
			a.connected(1, 1)
			a.told(1, 1, history.Changed, "a")
			a.read(1, 1, "a", 2, 5, 5)
		}},
		{"there only between two connections, and then again", "", func(a *asks) {
			a.watched(1, 1, "a", 0, 2)
			a.wrote(2, 2, "a", 1, 3)
			a.deleted(2, 2, "a", 4)
			a.connected(1, 1)
			a.read(1, 1, "a", 0, 0, 4)
			a.wrote(2, 2, "a", 2, 5)
			a.told(1, 1, history.Created, "a")
			a.read(1, 1, "a", 2, 5, 5)
		}},
		{"of what nobody knows of", "", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.lost(2, 2, write(2))
			a.told(1, 1, history.Changed, "a")
			a.wrote(12, 2, "a", 3, 8)
			a.read(1, 1, "a", 3, 8, 8)
		}},
		{"of its own write of which it does not know", "", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.lost(1, 1, write(2))
			last := len(*a) - 1
			a.told(1, 1, history.Changed, "a") // before it
			(*a)[last], (*a)[last+1] = (*a)[last+1], (*a)[last]
			(*a)[last].Index, (*a)[last+1].Index = last, last+1
			a.connected(11, 1)
			a.read(11, 1, "a", 2, 4, 4)
		}},
		{"whose session has ended", "", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.wrote(2, 2, "a", 2, 5)
			a.ask(1, 1, history.Mop{F: history.Connect, Out: []int{0}}, history.Op{})
			a.read(1, 3, "a", 2, 5, 5)
		}},
		{"of a register that has gone with its owner", "", func(a *asks) {
			a.ask(2, 2, history.Mop{F: history.CreateEphemeral, Key: "a", In: []int{1}}, history.Op{Version: 3, Position: 3})
			a.watched(1, 1, "a", 3, 3)
			a.told(1, 1, history.Deleted, "a")
			a.read(1, 1, "a", 0, 0, 5)
		}},
		{"of a register that has gone with its owner, and is there again", "", func(a *asks) {
			a.ask(2, 2, history.Mop{F: history.CreateEphemeral, Key: "a", In: []int{1}}, history.Op{Version: 3, Position: 3})
			a.watched(1, 1, "a", 3, 3)
			a.ask(3, 3, history.Mop{F: history.CreateEphemeral, Key: "a", In: []int{2}}, history.Op{Version: 6, Position: 6})
			a.told(1, 1, history.Deleted, "a")
			a.read(1, 1, "a", 2, 6, 6)
		}},
		{"of a write behind the state of the next answer, by another connection", "nothing of the kind had happened", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.wrote(2, 2, "a", 2, 8)
			a.connected(1, 1)
			a.told(1, 1, history.Changed, "a")
			a.read(1, 1, "a", 1, 3, 5)
		}},
		{"of a write behind the state of the next answer", "nobody had changed it", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.wrote(2, 2, "a", 2, 8)
			a.told(1, 1, history.Changed, "a")
			a.read(1, 1, "a", 1, 3, 5)
		}},
		{"of what nobody knows of, and the next answer does not have", "nobody had changed it", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.lost(2, 2, write(2))
			a.told(1, 1, history.Changed, "a")
			a.read(1, 1, "a", 1, 3, 5)
		}},
		{"twice, of what nobody knows of", "had no watch on it", func(a *asks) {
			a.wrote(2, 2, "a", 1, 3)
			a.watched(1, 1, "a", 3, 3)
			a.lost(2, 2, write(2))
			a.told(1, 1, history.Changed, "a")
			a.told(1, 1, history.Changed, "a")
			a.read(1, 1, "a", 2, 5, 5)
		}},
	} {
		var a asks
		c.build(&a)
		got, err := checkWatch(a, Limits{})
		if err != nil || (got.Verdict == Invalid) != (c.want != "") || !strings.Contains(got.Note, c.want) {
			t.Errorf("%s: %s %s, %v; want %q", c.name, got.Verdict, got.Note, err, c.want)
		}
	}
}
