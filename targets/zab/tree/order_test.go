package tree

import (
	"fmt"
	"slices"
	"testing"
)

// TestOrderIsASortedList: with sets of many leaves, grown at the end, at the front and anywhere, and emptied again.
func TestOrderIsASortedList(t *testing.T) {
	for seed := range uint64(6) {
		d, o, want := newDraw(seed), order[string]{}, []string(nil)
		for i := range 6000 {
			key := fmt.Sprintf("%04d", []int{i % 3000, 9999 - i, d.IntN(3000)}[seed%3])
			at, found := slices.BinarySearch(want, key)
			switch {
			case !found:
				o.insert(key)
				want = slices.Insert(want, at, key)
			case i >= 3000 || d.IntN(3) == 0:
				o.remove(key)
				want = slices.Delete(want, at, at+1)
			}
			if o.size != len(want) {
				t.Fatalf("seed %d, step %d: size %d, want %d", seed, i, o.size, len(want))
			}
			if i%500 == 0 && !slices.Equal(o.list(), want) {
				t.Fatalf("seed %d, step %d: the lists differ", seed, i)
			}
		}
		for len(want) > 0 {
			at := d.IntN(len(want))
			o.remove(want[at])
			want = slices.Delete(want, at, at+1)
			if len(want)%100 == 0 && !slices.Equal(o.list(), want) {
				t.Fatalf("seed %d: the lists differ at %d", seed, len(want))
			}
		}
		if o.leaves != nil || o.list() != nil {
			t.Fatalf("seed %d: an empty set has leaves", seed)
		}
	}
}
