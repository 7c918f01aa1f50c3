package wal

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// written returns the files of a log of a base and several segments, by name, and what it holds.
func written(t testing.TB, killed bool) (fs files, contents map[string][]byte, want []string) {
	t.Helper()
	dir := t.TempDir()
	l, _, err := Open(dir, Options{Segment: 600})
	if err != nil {
		t.Fatal(err)
	}
	steps, lists := script()
	takeAll(t, l, steps, lists, true)
	end := []string{"the", strings.Repeat("end", 50)}
	if err := appendText(l, end...); err != nil {
		t.Fatal(err)
	}
	if killed {
		die(l)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if fs, err = list(dir); err != nil {
		t.Fatal(err)
	}
	contents = map[string][]byte{}
	for _, name := range fs.names() {
		if contents[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return fs, contents, append(lists[len(lists)-1], end...)
}

func (fs files) names() (names []string) {
	for _, n := range fs.bases {
		names = append(names, baseName(n))
	}
	for _, n := range fs.segments {
		names = append(names, segmentName(n))
	}
	return names
}

func readFrom(contents map[string][]byte, fs files) (Recovered, *Log, error) {
	l := &Log{dir: "d"}
	found, err := l.read(fs, func(name string) ([]byte, error) { return contents[name], nil })
	return found, l, err
}

// TestPrefixOrError damages a log in many random ways: what is read is then an error, or all of it but the last frame.
func TestPrefixOrError(t *testing.T) {
	outcomes := map[string]int{}
	for _, killed := range []bool{false, true} {
		fs, whole, want := written(t, killed)
		names := fs.names()
		if len(fs.segments) < 2 || len(fs.bases) != 1 {
			t.Fatalf("%v, want a base and several segments", names)
		}
		r := rand.New(rand.NewPCG(7, 7))
		for range 20_000 {
			damaged := maps.Clone(whole)
			what := ""
			for range 1 + r.IntN(3) {
				n := names[r.IntN(len(names))]
				var did string
				damaged[n], did = damage(r, damaged[n])
				what += fmt.Sprintf(" %s: %s;", n, did)
			}
			found, _, err := readFrom(damaged, fs)
			switch got := seen(found); {
			case err != nil:
				outcomes["error"]++
			case slices.Equal(got, want):
				outcomes["whole"]++
			case slices.Equal(got, want[:len(want)-2]):
				outcomes["last frame cut"]++
			default:
				t.Fatalf("%s got %q, want %q, a prefix, or an error", what, got, want)
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
		if err := appendText(l, s); err != nil {
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

func readSegments(contents map[uint64][]byte, numbers ...uint64) (Recovered, error) {
	named := map[string][]byte{}
	for n, b := range contents {
		named[segmentName(n)] = b
	}
	found, _, err := readFrom(named, files{segments: numbers})
	return found, err
}

func wantDamage(t *testing.T, what string, contents map[uint64][]byte, numbers ...uint64) {
	t.Helper()
	if found, err := readSegments(contents, numbers...); err == nil {
		t.Errorf("%s: read as %d records, %d bytes torn", what, len(found.Records), found.Torn)
	}
}

// TestHoleBeforeALaterFrame: a lost sector is no torn write when the next frame is there, for that was written after a sync.
func TestHoleBeforeALaterFrame(t *testing.T) {
	n, b := segmentOf(t, t.TempDir(), "a", strings.Repeat("b", 2000), "c")
	clear(b[2*sector : 3*sector])
	wantDamage(t, "hole", map[uint64][]byte{n: b}, n)
}

// TestHoleInABase: a base has its name only since all of it is on the disk.
func TestHoleInABase(t *testing.T) {
	fs, whole, _ := written(t, false)
	name := baseName(fs.bases[0])
	b := whole[name]
	for what, bad := range map[string][]byte{
		"no state": b[:headerSize], "nothing": nil, "a byte short": b[:len(b)-1], "a byte more": append(slices.Clone(b), 0),
		"a hole": slices.Concat(b[:headerSize], make([]byte, len(b)-headerSize-4), b[len(b)-4:]),
	} {
		whole[name] = bad
		if found, _, err := readFrom(whole, fs); err == nil {
			t.Errorf("%s: read as %q", what, seen(found))
		}
	}
}

// TestTwoHistoriesOfOneLog: a directory is copied and both copies go on. Numbers, salt and places agree, the contents do not.
func TestTwoHistoriesOfOneLog(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	n, common := segmentOf(t, a, "common")
	if err := os.WriteFile(filepath.Join(b, segmentName(n)), common, 0o644); err != nil {
		t.Fatal(err)
	}
	segmentOf(t, a, "left", "more", strings.Repeat("l", 1<<14))
	segmentOf(t, b, "rite", "more", strings.Repeat("r", 1<<14))
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
	if found, err := readSegments(map[uint64][]byte{n: left, n + 1: next[0]}, n, n+1); err != nil || len(found.Records) != 4 {
		t.Errorf("the true one: %d records, %v", len(found.Records), err)
	}
}

// FuzzRead: a base and two segments; the number of the second is drawn. Without a base the first segment is the log's own.
func FuzzRead(f *testing.F) {
	fs, whole, _ := written(f, false)
	base, behind := whole[baseName(fs.bases[0])], fs.bases[0]
	first := behind
	f.Add(base, whole[segmentName(first)], whole[segmentName(first+1)], uint8(1))
	f.Add(base, whole[segmentName(first)][:200], []byte("x"), uint8(2))
	f.Add([]byte{}, header{number: 1, salt: 1, chain: chain{seq: 1}}.encode(), []byte("x"), uint8(0))
	f.Fuzz(func(t *testing.T, base, a, b []byte, n uint8) {
		first := behind
		if len(base) == 0 {
			first = 1
		}
		in := map[string][]byte{baseName(first): base, segmentName(first): a, segmentName(first + uint64(n)): b}
		list := files{bases: []uint64{first}, segments: slices.Compact([]uint64{first, first + uint64(n)})}
		if len(base) == 0 {
			list.bases = nil
		}
		found, l, err := readFrom(in, list)
		if err != nil {
			return
		}
		size := len(found.Snapshot)
		for _, r := range found.Records {
			size += len(r)
		}
		if size > len(base)+len(a)+len(b) || l.offset < headerSize {
			t.Fatalf("%d bytes out of %d; offset %d", size, len(base)+len(a)+len(b), l.offset)
		}
	})
}
