package wal

import (
	"bytes"
	"errors"
	"fmt"
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

// content is what a log should hold, as text.
type content struct {
	snapshot string
	records  []string
}

func (c content) String() string { return fmt.Sprintf("%q %q", c.snapshot, c.records) }

func (c content) then(snapshot string, records []string) content {
	if snapshot != "" {
		return content{snapshot, slices.Clone(records)}
	}
	return content{c.snapshot, append(slices.Clone(c.records), records...)}
}

func seen(r Recovered) content {
	c := content{snapshot: string(r.Snapshot)}
	for _, b := range r.Records {
		c.records = append(c.records, string(b))
	}
	return c
}

func appendText(l *Log, snapshot string, records []string) error {
	var s []byte
	if snapshot != "" {
		s = []byte(snapshot)
	}
	var rs [][]byte
	for _, r := range records {
		rs = append(rs, []byte(r))
	}
	return l.Append(s, rs)
}

// abandon leaves the log as a killed process does.
func abandon(l *Log) {
	l.file.Close()
	l.file = nil
}

func segments(t *testing.T, dir string) []string {
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
		var want content
		for range 30 {
			l, found := open(t, dir, Options{Segment: 2000})
			if got := seen(found).String(); got != want.String() {
				t.Fatalf("%s: got %s, want %s", end, got, want)
			}
			for range r.IntN(20) {
				snapshot, records := "", []string{}
				for range r.IntN(4) {
					records = append(records, strings.Repeat("r", r.IntN(300)))
				}
				if r.IntN(12) == 0 {
					snapshot = fmt.Sprint("snapshot", strings.Repeat("s", r.IntN(3000)))
				}
				if err := appendText(l, snapshot, records); err != nil {
					t.Fatal(err)
				}
				want = want.then(snapshot, records)
			}
			if end == "killed" {
				abandon(l)
			} else if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// script is a history of appends that rolls segments and takes snapshots, with the content after each.
func script() (steps []struct {
	snapshot string
	records  []string
}, contents []content) {
	contents = []content{{}}
	for i := range 12 {
		s := struct {
			snapshot string
			records  []string
		}{records: []string{fmt.Sprint("a", i), strings.Repeat(fmt.Sprint(i), 150)}}
		if i%5 == 4 {
			s.snapshot = fmt.Sprint("snapshot ", i)
		}
		steps = append(steps, s)
		contents = append(contents, contents[i].then(s.snapshot, s.records))
	}
	return steps, contents
}

var errCrash = errors.New("crash")

// TestCrashAtEveryStep stops the log before each single thing it does to the disk, and sees to it that all that Append had
// returned for is there, and no more than the one batch that was on its way.
func TestCrashAtEveryStep(t *testing.T) {
	steps, contents := script()
	kinds := map[string]int{}
	for crash := 0; ; crash++ {
		dir := t.TempDir()
		n := 0
		o := Options{Segment: 600, step: func(what string) error {
			if n++; n > crash {
				return fmt.Errorf("%w before %s", errCrash, what)
			}
			kinds[what]++
			return nil
		}}
		done := 0
		l, _, err := Open(dir, o)
		if err == nil {
			for ; done < len(steps) && err == nil; done++ {
				err = appendText(l, steps[done].snapshot, steps[done].records)
			}
			abandon(l)
		}
		if err == nil {
			break // it went through without a crash
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		acknowledged := max(0, done-1)
		l, found := open(t, dir, Options{Segment: 600})
		got := seen(found).String()
		if got != contents[acknowledged].String() && (acknowledged+1 == len(contents) || got != contents[acknowledged+1].String()) {
			t.Fatalf("%v: got %s, want %s or the next", err, got, contents[acknowledged])
		}
		if got, want := len(segments(t, dir)), int(l.number-l.base+1); got != want {
			t.Fatalf("%v: %d files are left, %d are the log", err, got, want)
		}
		if err := appendText(l, "", []string{"after"}); err != nil {
			t.Fatal(err)
		}
		abandon(l)
		_, again := open(t, dir, Options{})
		if want := seen(found).then("", []string{"after"}).String(); seen(again).String() != want {
			t.Fatalf("%v: after the restart: got %s, want %s", err, seen(again), want)
		}
	}
	for _, k := range []string{"create", "preallocate", "write segment", "sync segment", "rename", "sync directory", "remove", "write frame", "sync"} {
		if kinds[k] == 0 {
			t.Errorf("no crash after %q", k)
		}
	}
}

// TestTornTail loses any suffix of the last frame's sectors, and single sectors of it, as a crash during its write may.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, Options{Segment: 1 << 14})
	for i := range 5 {
		if err := appendText(l, "", []string{fmt.Sprint("kept", i)}); err != nil {
			t.Fatal(err)
		}
	}
	from := l.offset
	if err := appendText(l, "", []string{strings.Repeat("x", 3000), strings.Repeat("y", 10)}); err != nil {
		t.Fatal(err)
	}
	to := l.offset
	abandon(l)
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
		if err := appendText(l, "", []string{"new"}); err != nil {
			t.Fatal(err)
		}
		abandon(l)
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
	steps, contents := script()
	for _, s := range steps {
		if err := appendText(l, s.snapshot, s.records); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := contents[len(contents)-1]
	names := segments(t, dir)
	if len(names) < 2 {
		t.Fatalf("%d segments, want several", len(names))
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
			case err == nil && seen(found).String() != want.String():
				t.Fatalf("%s: byte %d flipped: got %s without an error", filepath.Base(name), i, seen(found))
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
			t.Fatalf("without %s: got %s", name, seen(found))
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
			if err := appendText(l, "", []string{strings.Repeat("z", 200)}); err != nil {
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

func TestFailedSyncEndsTheLog(t *testing.T) {
	broken := false
	l, _ := open(t, t.TempDir(), Options{step: func(what string) error {
		if broken && what == "sync" {
			return errors.New("disk on fire")
		}
		return nil
	}})
	broken = true
	if err := appendText(l, "", []string{"a"}); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Fatalf("got %v", err)
	}
	broken = false
	if err := appendText(l, "", []string{"b"}); err == nil {
		t.Error("a log whose sync had failed took another record")
	}
}

func TestLargeFrame(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, Options{Segment: 1000})
	big := strings.Repeat("b", 100_000)
	for _, s := range []string{"", big, ""} {
		if err := appendText(l, s, []string{"small", big}); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	_, found := open(t, dir, Options{Segment: 1000})
	if got, want := len(found.Records), 4; got != want || !bytes.Equal(found.Snapshot, []byte(big)) {
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
				if err := l.Append(nil, records); err != nil {
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
		if err := l.Append(nil, records); err != nil {
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
