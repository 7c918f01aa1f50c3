package workloads

import (
	"reflect"
	"testing"

	"assize/history"
)

const clients = 10

// calls of a source in a fixed order, as the simulator makes them.
func calls(w Workload, seed uint64, n int) []history.Txn {
	s := w.New(seed, Config{Clients: clients})
	txns := make([]history.Txn, n)
	for i := range txns {
		txns[i] = s.Next(i%clients, i/clients)
	}
	return append(txns, s.Final()...)
}

func TestSameSeedSameOperations(t *testing.T) {
	for _, w := range Table {
		one, two, other := calls(w, 7, 5000), calls(w, 7, 5000), calls(w, 8, 5000)
		if !reflect.DeepEqual(one, two) {
			t.Errorf("%s: the same seed gave different operations", w.Name)
		}
		if reflect.DeepEqual(one, other) {
			t.Errorf("%s: different seeds gave the same operations", w.Name)
		}
	}
}

func TestEveryKindIsAsked(t *testing.T) {
	for _, w := range Table {
		got := map[string]int{}
		for _, txn := range calls(w, 1, 2000) {
			for _, m := range txn {
				got[m.F]++
			}
		}
		kinds := len(w.Kinds)
		if w.Session > 0 {
			kinds++
			got[history.Connect] = 200 // by whoever carries the operations out
			if got[Leave] < 20 || got[Leave] > 200 {
				t.Errorf("%s: clients leave %d times of 2000", w.Name, got[Leave])
			}
		}
		for _, kind := range w.Kinds {
			want := 200
			switch kind {
			case history.Close: // ends what the others need
				want = 20
			case history.List, history.Create, history.Check, history.Delete, history.Add, history.Remove: // there is enough of them
				want = 50
			}
			if got[kind] < want {
				t.Errorf("%s: %d of 2000 operations are %s, want at least %d", w.Name, got[kind], kind, want)
			}
		}
		if len(got) != kinds {
			t.Errorf("%s: kinds asked %v, want %v", w.Name, got, w.Kinds)
		}
	}
}

func TestWrittenValuesAreUnique(t *testing.T) {
	for _, w := range Table {
		seen := map[string]bool{}
		for _, txn := range calls(w, 3, 20000) {
			m := txn[0]
			if len(m.In) == 0 || m.F == Leave || m.F == history.Remove {
				continue
			}
			id := m.Key + "=" + string(rune(m.In[len(m.In)-1]))
			if seen[id] {
				t.Fatalf("%s: %v writes a value for the second time", w.Name, m)
			}
			seen[id] = true
		}
	}
}

func TestRegisterKeysAreShortAndFew(t *testing.T) {
	count, current := map[string]int{}, map[string]int{}
	all := calls(register, 5, 30000)
	for i, txn := range all[:30000] {
		count[txn[0].Key]++
		current[txn[0].Key] = i
	}
	for key, n := range count {
		if n > mostLife {
			t.Errorf("%s lived for %d operations, want at most %d", key, n, mostLife)
		}
	}
	lives := map[int]bool{}
	for _, n := range count {
		lives[n] = true
	}
	if len(lives) < 30 {
		t.Errorf("%d keys have only %d different lives", len(count), len(lives))
	}
	active := 0
	for _, last := range current {
		if last > 30000-200 {
			active++
		}
	}
	if active < 3 || active > 8 {
		t.Errorf("%d keys were used by the last 200 operations, want a handful", active)
	}
	if got := len(all) - 30000; got != lastKeys {
		t.Errorf("%d last reads, want %d", got, lastKeys)
	}
}

// TestCompareAndSetsSucceed plays the operations one after the other against a true register.
func TestCompareAndSetsSucceed(t *testing.T) {
	state, done, asked := map[string]int{}, 0, 0
	for _, txn := range calls(register, 11, 10000) {
		switch m := txn[0]; m.F {
		case history.Write:
			state[m.Key] = m.In[0]
		case history.CAS:
			asked++
			if state[m.Key] == m.In[0] {
				state[m.Key] = m.In[1]
				done++
			}
		}
	}
	if done < asked/4 || done == asked {
		t.Errorf("%d of %d compare-and-sets succeeded, want at least a quarter and not all", done, asked)
	}
}

func TestSetsStaySmallAndAreAllScannedAtTheEnd(t *testing.T) {
	size, scanned := map[string]int{}, map[string]bool{}
	all := calls(set, 2, 10000)
	for _, txn := range all[:10000] {
		if txn[0].F == history.Add {
			size[txn[0].Key]++
		}
	}
	for _, txn := range all[10000:] {
		scanned[txn[0].Key] = true
	}
	for key, n := range size {
		if n > mostElems {
			t.Errorf("%s has %d elements, want at most %d", key, n, mostElems)
		}
		if !scanned[key] {
			t.Errorf("%s is not scanned at the end", key)
		}
	}
	if len(size) < 10000*3/4/mostElems {
		t.Errorf("only %d sets", len(size))
	}
}

// TestSessionsOnlyReadOrWriteForLongerThanTheyLast, some of the time: else nothing tells whether reads, and writes, keep them alive.
func TestSessionsOnlyReadOrWriteForLongerThanTheyLast(t *testing.T) {
	s := session.New(4, Config{Clients: clients})
	longest, mostWritten, away := 0, 0, map[bool]int{}
	for worker := range clients {
		row, wrote := 0, 0
		for n := range 400 {
			switch m := s.Next(worker, n)[0]; m.F {
			case history.Read:
				row++
				longest = max(longest, row)
				wrote = 0
				continue
			case history.List:
				row++
				wrote = 0
				continue
			case history.CreateEphemeral, history.CreateSequential:
				wrote++
				mostWritten = max(mostWritten, wrote)
				row = 0
				continue
			case Leave:
				away[m.In[0] > int(shortSession.Milliseconds())]++
			}
			row, wrote = 0, 0
		}
	}
	if mostWritten < spell || mostWritten > 10*spell {
		t.Errorf("at most %d writes in a row, want some spells of %d", mostWritten, spell)
	}
	if longest < spell || longest > 10*spell {
		t.Errorf("at most %d reads in a row, want some spells of %d", longest, spell)
	}
	if away[true] == 0 || away[false] <= away[true] {
		t.Errorf("clients stay away for too long and not: %v", away)
	}
}

func BenchmarkRegister(b *testing.B) {
	s := register.New(1, Config{Clients: clients})
	for i := range b.N {
		s.Next(i%clients, i/clients)
	}
}
