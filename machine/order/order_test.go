package order

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOrderIsASortedList: with sets of many leaves, grown at the end, at the front and anywhere, and emptied again.
func TestOrderIsASortedList(t *testing.T) {
	for seed := range uint64(6) {
		d, o, want := rand.New(rand.NewPCG(seed, 1)), Keys[string]{}, []string(nil)
		for i := range 6000 {
			key := fmt.Sprintf("%04d", []int{i % 3000, 9999 - i, d.IntN(3000)}[seed%3])
			at, found := slices.BinarySearch(want, key)
			switch {
			case !found:
				o.Insert(key)
				want = slices.Insert(want, at, key)
			case i >= 3000 || d.IntN(3) == 0:
				o.Remove(key)
				want = slices.Delete(want, at, at+1)
			}
			if o.size != len(want) {
				t.Fatalf("seed %d, step %d: size %d, want %d", seed, i, o.size, len(want))
			}
			if i%500 == 0 {
				same(t, &o, want)
			}
		}
		for len(want) > 0 {
			at := d.IntN(len(want))
			o.Remove(want[at])
			want = slices.Delete(want, at, at+1)
			if len(want)%100 == 0 && !slices.Equal(o.List(), want) {
				t.Fatalf("seed %d: the lists differ at %d", seed, len(want))
			}
		}
		if o.leaves != nil || o.List() != nil {
			t.Fatalf("seed %d: an empty set has leaves", seed)
		}
	}
}

// same tells of all that can be asked of a set whether it is that list, and of its leaves whether none is empty or too long.
func same(t *testing.T, o *Keys[string], want []string) {
	t.Helper()
	if !slices.Equal(o.List(), want) || !slices.Equal(slices.Collect(o.All()), want) {
		t.Fatal("the lists differ")
	}
	for i, leaf := range o.leaves {
		if len(leaf) == 0 || len(leaf) > leafSize {
			t.Fatalf("leaf %d has %d items", i, len(leaf))
		}
	}
	for _, from := range []string{"", "0500", "05005", "1234", "9999", "~"} {
		at, _ := slices.BinarySearch(want, from)
		walk := o.From(from)
		for _, key := range append(slices.Clone(want[at:]), "") {
			if got := walk.Next(); got != key {
				t.Fatalf("from %q on: %q where %q should come", from, got, key)
			}
		}
		if got := o.Count(from, "", true); got != len(want)-at {
			t.Fatalf("%d from %q on, want %d", got, from, len(want)-at)
		}
		for _, end := range []string{from, "2000", "~"} {
			if to, _ := slices.BinarySearch(want, end); end >= from && o.Count(from, end, false) != to-at {
				t.Fatalf("%d from %q to %q, want %d", o.Count(from, end, false), from, end, to-at)
			}
		}
	}
}
