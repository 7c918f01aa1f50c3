package wal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
