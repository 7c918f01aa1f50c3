package wal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// written returns the files of a log of several segments, by number, and what it holds.
func written(t testing.TB, killed bool) (numbers []uint64, files map[uint64][]byte, want content) {
	t.Helper()
	dir := t.TempDir()
	l, _, err := Open(dir, Options{Segment: 600})
	if err != nil {
		t.Fatal(err)
	}
	steps, contents := script()
	for _, s := range steps[:len(steps)-1] {
		if err := appendText(l, s.snapshot, s.records); err != nil {
			t.Fatal(err)
		}
	}
	if killed {
		abandon(l)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if numbers, _, err = list(dir); err != nil {
		t.Fatal(err)
	}
	files = map[uint64][]byte{}
	for _, n := range numbers {
		if files[n], err = os.ReadFile(filepath.Join(dir, segmentName(n))); err != nil {
			t.Fatal(err)
		}
	}
	return numbers, files, contents[len(contents)-2]
}

func readFrom(files map[uint64][]byte, numbers []uint64) (Recovered, *Log, error) {
	l := &Log{dir: "d"}
	found, err := l.read(numbers, func(n uint64) ([]byte, error) { return files[n], nil })
	return found, l, err
}

// TestPrefixOrError damages a log in many random ways: what is read is then an error, or all of it but the last frame.
func TestPrefixOrError(t *testing.T) {
	outcomes := map[string]int{}
	for _, killed := range []bool{false, true} {
		numbers, files, want := written(t, killed)
		if len(numbers) < 2 {
			t.Fatalf("%d segments, want several", len(numbers))
		}
		r := rand.New(rand.NewPCG(7, 7))
		for range 20_000 {
			damaged := map[uint64][]byte{}
			for n, b := range files {
				damaged[n] = b
			}
			what := ""
			for range 1 + r.IntN(3) {
				n := numbers[r.IntN(len(numbers))]
				var did string
				damaged[n], did = damage(r, damaged[n])
				what += fmt.Sprintf(" segment %d: %s;", n, did)
			}
			found, _, err := readFrom(damaged, numbers)
			switch got := seen(found); {
			case err != nil:
				outcomes["error"]++
			case got.String() == want.String():
				outcomes["whole"]++
			case got.snapshot == want.snapshot && slices.Equal(got.records, want.records[:len(want.records)-2]):
				outcomes["last frame cut"]++
			default:
				t.Fatalf("%s got %s, want %s, a prefix, or an error", what, got, want)
			}
		}
	}
	for _, o := range []string{"error", "whole", "last frame cut"} {
		if outcomes[o] == 0 {
			t.Errorf("never: %s; %v", o, outcomes)
		}
	}
}

// damage returns a damaged copy of b that still has everything but a part of its last frame where it has zeros or an end.
func damage(r *rand.Rand, b []byte) ([]byte, string) {
	b = slices.Clone(b)
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	at := r.IntN(end + 1)
	switch r.IntN(4) {
	case 0:
		for range 1 + r.IntN(8) {
			b[min(len(b)-1, at+r.IntN(40))] ^= byte(r.Uint32())
		}
		return b, fmt.Sprintf("bytes at %d", at)
	case 1:
		from := max(headerSize, end-r.IntN(60))
		clear(b[from:])
		return b, fmt.Sprintf("zeros from %d", from)
	case 2:
		from := max(headerSize, end-r.IntN(60))
		return b[:from], fmt.Sprintf("cut at %d", from)
	default:
		copy(b[at:], b[r.IntN(end):end])
		return b, fmt.Sprintf("copied to %d", at)
	}
}

// segmentOf appends batches to a fresh log and returns the content of its last segment.
func segmentOf(t *testing.T, dir string, batches ...string) (number uint64, b []byte) {
	t.Helper()
	l, _ := open(t, dir, Options{Segment: 1 << 14})
	for _, s := range batches {
		snapshot, record, _ := strings.Cut(s, "|")
		if err := appendText(l, snapshot, []string{record}); err != nil {
			t.Fatal(err)
		}
	}
	number = l.number
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, segmentName(number)))
	if err != nil {
		t.Fatal(err)
	}
	return number, b
}

func wantDamage(t *testing.T, what string, files map[uint64][]byte, numbers ...uint64) {
	t.Helper()
	if found, _, err := readFrom(files, numbers); err == nil {
		t.Errorf("%s: read as %d records, %d bytes torn", what, len(found.Records), found.Torn)
	}
}

// TestHoleBeforeALaterFrame: a lost sector is no torn write when the next frame is there, for that was written after a sync.
func TestHoleBeforeALaterFrame(t *testing.T) {
	n, b := segmentOf(t, t.TempDir(), "|a", "|"+strings.Repeat("b", 2000), "|c")
	clear(b[2*sector : 3*sector])
	wantDamage(t, "hole", map[uint64][]byte{n: b}, n)
}

// TestHoleInASnapshot: a base has its name only since its first frame is on the disk.
func TestHoleInASnapshot(t *testing.T) {
	n, b := segmentOf(t, t.TempDir(), "|a", strings.Repeat("snapshot", 500)+"|b")
	wantDamage(t, "no snapshot", map[uint64][]byte{n: b[:headerSize]}, n)
	clear(b[2*sector : 3*sector])
	wantDamage(t, "hole", map[uint64][]byte{n: b}, n)
}

// TestTwoHistoriesOfOneLog: a directory is copied and both copies go on. Numbers, salt and places agree, the contents do not.
func TestTwoHistoriesOfOneLog(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	n, common := segmentOf(t, a, "|common")
	if err := os.WriteFile(filepath.Join(b, segmentName(n)), common, 0o644); err != nil {
		t.Fatal(err)
	}
	segmentOf(t, a, "|left", "|more", "|"+strings.Repeat("l", 1<<14))
	segmentOf(t, b, "|rite", "|more", "|"+strings.Repeat("r", 1<<14))
	next := map[uint64][]byte{}
	for i, dir := range []string{a, b} {
		var err error
		if next[uint64(i)], err = os.ReadFile(filepath.Join(dir, segmentName(n+1))); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadFile(filepath.Join(a, segmentName(n)))
	if err != nil {
		t.Fatal(err)
	}
	right, err := os.ReadFile(filepath.Join(b, segmentName(n)))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(left, []byte("more")) - frameHeader - 1
	if at < headerSize || at != bytes.Index(right, []byte("more"))-frameHeader-1 {
		t.Fatalf("the frames do not match: %d", at)
	}
	wantDamage(t, "a frame of the other", map[uint64][]byte{n: append(slices.Clone(left[:at]), right[at:]...)}, n)
	wantDamage(t, "a segment of the other", map[uint64][]byte{n: left, n + 1: next[1]}, n, n+1)
	wantDamage(t, "a lost end", map[uint64][]byte{n: left[:at], n + 1: next[0][:headerSize]}, n, n+1)
	if found, _, err := readFrom(map[uint64][]byte{n: left, n + 1: next[0]}, []uint64{n, n + 1}); err != nil || len(found.Records) != 4 {
		t.Errorf("the true one: %d records, %v", len(found.Records), err)
	}
}

func FuzzRead(f *testing.F) {
	numbers, files, _ := written(f, false)
	f.Add(files[numbers[0]], files[numbers[1]], uint8(1))
	f.Add(files[numbers[0]][:200], []byte("x"), uint8(2))
	f.Fuzz(func(t *testing.T, a, b []byte, n uint8) {
		first := numbers[0]
		in := map[uint64][]byte{first: a, first + uint64(n): b}
		list := []uint64{first, first + uint64(n)}
		found, l, err := readFrom(in, slices.Compact(list))
		if err != nil {
			return
		}
		size := len(found.Snapshot)
		for _, r := range found.Records {
			size += len(r)
		}
		if size > len(a)+len(b) || l.offset < headerSize {
			t.Fatalf("%d bytes out of %d; offset %d", size, len(a)+len(b), l.offset)
		}
	})
}
