package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func open(t *testing.T, dir string, o Options) (*Log, Recovered) {
	t.Helper()
	l, found, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, found
}

// A step of a script appends records, or is a snapshot. A state is a list of records as text, so that what a log holds is one list: a checkpoint
// makes no difference to it. An installed snapshot replaces it.
type step struct {
	append     []string
	checkpoint bool
	install    []string
}

func encodeState(list []string) []byte { return []byte(strings.Join(list, "\n")) }

// then is what a log holds after a step.
func (s step) then(list []string) []string {
	if s.install != nil {
		return slices.Clone(s.install)
	}
	return slices.Concat(list, s.append)
}

// take a step; list is what the log holds before it. A snapshot has the last record as its tail.
func (s step) take(l *Log, list []string) error {
	var records [][]byte
	for _, r := range s.append {
		records = append(records, []byte(r))
	}
	switch {
	case s.install != nil:
		n := len(s.install) - 1
		return l.Install(encodeState(s.install[:n]), [][]byte{[]byte(s.install[n])})
	case s.checkpoint && len(list) > 0:
		n := len(list) - 1
		return l.Checkpoint(encodeState(list[:n]), [][]byte{[]byte(list[n])}, func(error) {})
	}
	return l.Append(records)
}

// seen is what a log was found to hold.
func seen(r Recovered) (list []string) {
	if len(r.Snapshot) > 0 {
		list = strings.Split(string(r.Snapshot), "\n")
	}
	for _, b := range r.Records {
		list = append(list, string(b))
	}
	return list
}

func appendText(l *Log, records ...string) error { return step{append: records}.take(l, nil) }

// die leaves the log as a killed process does.
func die(l *Log) {
	l.fail(errCrash)
	l.abandon()
	l.file.Close()
	l.file = nil
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestWhatWasAppendedIsThere(t *testing.T) {
	for _, end := range []string{"closed", "killed"} {
		dir := t.TempDir()
		r := rand.New(rand.NewPCG(1, 2))
		var want []string
		snapshots := 0
		for range 30 {
			l, found := open(t, dir, Options{Segment: 2000, chunk: 300})
			if got := seen(found); !slices.Equal(got, want) {
				t.Fatalf("%s: got %q, want %q", end, got, want)
			}
			if found.Snapshot != nil {
				snapshots++
			}
			for i := range r.IntN(20) {
				s := step{append: []string{"r", strings.Repeat("r", r.IntN(300))}}
				switch r.IntN(12) {
				case 0:
					s = step{checkpoint: true}
				case 1:
					s = step{install: []string{fmt.Sprint("installed ", i), strings.Repeat("s", r.IntN(3000)), "tail"}}
				}
				if err := s.take(l, want); err != nil {
					t.Fatal(err)
				}
				want = s.then(want)
			}
			if end == "killed" {
				die(l)
			} else if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if snapshots == 0 {
			t.Errorf("%s: there was never a snapshot", end)
		}
	}
}

// script is a history of appends that rolls segments and takes snapshots of both kinds, one checkpoint after the other and one just before an
// installation, with what the log holds after each.
func script() (steps []step, lists [][]string) {
	lists = [][]string{nil}
	for i, what := range "aacaacaciaaccaaaa" {
		s := step{append: []string{fmt.Sprint("a", i), strings.Repeat(fmt.Sprint(i), 120)}}
		switch what {
		case 'c':
			s = step{checkpoint: true}
		case 'i':
			s = step{install: []string{"installed", strings.Repeat("i", 700), "its tail"}}
		}
		steps = append(steps, s)
		lists = append(lists, s.then(lists[i]))
	}
	return steps, lists
}

// take all steps of a script, and wait for each checkpoint where settled.
func takeAll(t testing.TB, l *Log, steps []step, lists [][]string, settled bool) {
	t.Helper()
	for i, s := range steps {
		if err := s.take(l, lists[i]); err != nil {
			t.Fatal(err)
		}
		if settled {
			l.beside.Wait()
		}
	}
}

var errCrash = errors.New("crash")

// TestTornTail loses any suffix of the last frame's sectors, and single sectors of it, as a crash during its write may.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, Options{Segment: 1 << 14})
	for i := range 5 {
		if err := appendText(l, fmt.Sprint("kept", i)); err != nil {
			t.Fatal(err)
		}
	}
	from := l.offset
	if err := appendText(l, strings.Repeat("x", 3000), strings.Repeat("y", 10)); err != nil {
		t.Fatal(err)
	}
	to := l.offset
	die(l)
	name := filepath.Join(dir, segmentName(1))
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		l, found := open(t, dir, Options{Segment: 1 << 14})
		if len(found.Records) != 5 {
			t.Fatalf("%s: %d records, want 5", what, len(found.Records))
		}
		if err := appendText(l, "new"); err != nil {
			t.Fatal(err)
		}
		die(l)
		_, found = open(t, dir, Options{})
		if got := string(found.Records[len(found.Records)-1]); got != "new" || len(found.Records) != 6 || found.Torn != 0 {
			t.Fatalf("%s: after the cut: %d records, the last %q, %d bytes torn", what, len(found.Records), got, found.Torn)
		}
	}
	for at := from; at < to; at = at/sector*sector + sector {
		suffixLost := slices.Clone(whole)
		clear(suffixLost[at:])
		check(fmt.Sprintf("lost from %d", at), suffixLost)
		one := slices.Clone(whole)
		clear(one[at:min(to, at/sector*sector+sector)])
		check(fmt.Sprintf("lost one sector at %d", at), one)
	}
	for at := from; at < to; at += 7 {
		check(fmt.Sprintf("short at %d", at), whole[:at])
	}
}

// TestDamageIsNotSilent flips every byte that was written in turn: each must be an error that names the file, or be in what was not used.
func TestDamageIsNotSilent(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, Options{Segment: 600})
	steps, lists := script()
	takeAll(t, l, steps, lists, true)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := lists[len(lists)-1]
	names := names(t, dir)
	if len(names) < 3 || !strings.HasSuffix(names[0], baseSuffix) {
		t.Fatalf("%v, want a base and several segments", names)
	}
	for _, name := range names {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			bad := slices.Clone(whole)
			bad[i] ^= 0x10
			if err := os.WriteFile(name, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			l, found, err := Open(dir, Options{})
			switch {
			case err == nil && !slices.Equal(seen(found), want):
				t.Fatalf("%s: byte %d flipped: got %q without an error", filepath.Base(name), i, seen(found))
			case err == nil:
				t.Fatalf("%s: byte %d flipped: nobody noticed", filepath.Base(name), i)
			case !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "offset"):
				t.Fatalf("byte %d: the error does not name file and offset: %v", i, err)
			}
			if l != nil {
				t.Fatal("a log and an error")
			}
		}
		if err := os.WriteFile(name, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names[:len(names)-1] {
		whole, _ := os.ReadFile(name)
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if _, found, err := Open(dir, Options{}); err == nil {
			t.Fatalf("without %s: got %q", name, seen(found))
		}
		if err := os.WriteFile(name, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestForeignSegment: a segment of another log does not pass, though its name and its place would fit.
func TestForeignSegment(t *testing.T) {
	var dirs [2]string
	for i := range dirs {
		dirs[i] = t.TempDir()
		l, _ := open(t, dirs[i], Options{Segment: 600})
		for range 6 {
			if err := appendText(l, strings.Repeat("z", 200)); err != nil {
				t.Fatal(err)
			}
		}
		l.Close()
	}
	b, err := os.ReadFile(filepath.Join(dirs[0], segmentName(2)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dirs[1], segmentName(2)), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dirs[1], Options{}); err == nil || !strings.Contains(err.Error(), "not of this log") {
		t.Errorf("got %v", err)
	}
}

// TestForeignBase: neither does a base of another log, nor one of this that belongs elsewhere.
func TestForeignBase(t *testing.T) {
	write := func(dir string) []byte {
		l, _ := open(t, dir, Options{})
		if err := errors.Join(appendText(l, "a"), l.Install([]byte("b"), nil), appendText(l, "c"), l.Install([]byte("d"), nil), l.Close()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, baseName(3)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	dir := t.TempDir()
	own, foreign := write(dir), write(t.TempDir())
	segment, err := os.ReadFile(filepath.Join(dir, segmentName(3)))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*header)) []byte {
		h, err := decodeHeader(own)
		if err != nil {
			t.Fatal(err)
		}
		change(&h)
		b := append(h.encode(), own[headerSize:len(own)-4]...)
		return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	}
	for what, b := range map[string][]byte{
		"of another log": foreign, "a segment": segment,
		"another number": changed(func(h *header) { h.number-- }), "another place": changed(func(h *header) { h.chain.seq-- }),
		"another past": changed(func(h *header) { h.chain.last++ }), "another length": changed(func(h *header) { h.state++ }),
	} {
		if err := os.WriteFile(filepath.Join(dir, baseName(3)), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if l, found, err := Open(dir, Options{}); err == nil {
			l.Close()
			t.Errorf("%s: got %q", what, seen(found))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, baseName(3)), changed(func(*header) {}), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, found := open(t, dir, Options{}); string(found.Snapshot) != "d" {
		t.Errorf("the true one: got %q", seen(found))
	}
}

// TestOldFormat: a directory of an older program is told from a damaged one.
func TestOldFormat(t *testing.T) {
	dir := t.TempDir()
	b := header{number: 7, salt: 1, chain: chain{seq: 9}}.encode()
	b[len(magic)] = 1
	binary.LittleEndian.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], castagnoli))
	if err := os.WriteFile(filepath.Join(dir, segmentName(7)), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "a log of format 1; this program reads and writes format 2 only") {
		t.Errorf("got %v", err)
	}
}

func TestFailedSyncEndsTheLog(t *testing.T) {
	broken := false
	l, _ := open(t, t.TempDir(), Options{step: func(what string) error {
		if broken && what == "sync" {
			return errors.New("disk on fire")
		}
		return nil
	}})
	broken = true
	if err := appendText(l, "a"); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Fatalf("got %v", err)
	}
	broken = false
	if err := appendText(l, "b"); err == nil {
		t.Error("a log whose sync had failed took another record")
	}
}

func TestLargeFrame(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, Options{Segment: 1000})
	big := strings.Repeat("b", 100_000)
	for _, s := range []step{{append: []string{"small", big}}, {install: []string{big, big, "tail"}}, {append: []string{"small", big}}} {
		if err := s.take(l, nil); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	_, found := open(t, dir, Options{Segment: 1000})
	if got, want := len(found.Records), 3; got != want || string(found.Snapshot) != big+"\n"+big {
		t.Errorf("%d records, want %d, snapshot of %d bytes", got, want, len(found.Snapshot))
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 50} {
		b.Run(fmt.Sprintf("%d records of 100 bytes", n), func(b *testing.B) {
			l, _, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			records := make([][]byte, n)
			for i := range records {
				records[i] = bytes.Repeat([]byte{'v'}, 100)
			}
			for b.Loop() {
				if err := l.Append(records); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l, _, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	records := slices.Repeat([][]byte{bytes.Repeat([]byte{'v'}, 100)}, 1000)
	for range 100 {
		if err := l.Append(records); err != nil {
			b.Fatal(err)
		}
	}
	l.Close()
	for b.Loop() {
		l, found, err := Open(dir, Options{})
		if err != nil || len(found.Records) != 100_000 {
			b.Fatal(err, len(found.Records))
		}
		l.Close()
	}
}
