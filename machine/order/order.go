// Package order keeps sets of keys, or of what has a key, in order: a list of leaves, each a short sorted list and none empty. A tree of more levels
// would only pay beyond some millions of keys.
package order

import (
	"cmp"
	"iter"
)

// leafSize is the most items of a leaf: large enough that the list of leaves of a million keys is short, small enough that inserting into a leaf
// moves little.
const leafSize = 128

// By tells the key of an item, and whether it is less or greater than another key. Its zero value is at work.
type By[T, K any] interface {
	Key(item T) K
	Below(item T, key K) bool
	Above(item T, key K) bool
}

// Natural is By for keys by themselves.
type Natural[K cmp.Ordered] struct{}

// Key of a key.
func (Natural[K]) Key(item K) K { return item }

// Below another key.
func (Natural[K]) Below(item, key K) bool { return item < key }

// Above another key.
func (Natural[K]) Above(item, key K) bool { return item > key }

// Keys is a set of keys.
type Keys[K cmp.Ordered] = Set[K, K, Natural[K]]

// Set of items, no two with one key. The zero Set is empty.
type Set[T, K any, B By[T, K]] struct {
	by     B
	leaves [][]T
	size   int
}

// Len is how many there are.
func (o *Set[T, K, B]) Len() int { return o.size }

// find returns the leaf whose interval the key belongs to, and the position in it of the first item not less than the key, which may be behind its end.
func (o *Set[T, K, B]) find(key K) (leaf, at int) {
	low, high := 0, len(o.leaves) // the first leaf that begins above key
	for low < high {
		if mid := int(uint(low+high) >> 1); !o.by.Above(o.leaves[mid][0], key) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return 0, 0
	}
	leaf = low - 1
	items := o.leaves[leaf]
	low, high = 0, len(items)
	for low < high {
		if mid := int(uint(low+high) >> 1); o.by.Below(items[mid], key) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return leaf, low
}

// Insert an item whose key is not there.
func (o *Set[T, K, B]) Insert(item T) {
	o.size++
	if len(o.leaves) == 0 {
		o.leaves = append(o.leaves, []T{item})
		return
	}
	n, at := o.find(o.by.Key(item))
	if len(o.leaves[n]) == leafSize {
		n, at = o.split(n, at)
	}
	leaf := append(o.leaves[n], item)
	copy(leaf[at+1:], leaf[at:])
	leaf[at] = item
	o.leaves[n] = leaf
}

// split a full leaf for an insertion at position at of it, and return where the insertion belongs then. A leaf to whose end something is added
// stays whole: keys often come in ascending order, and halves would stay half empty.
func (o *Set[T, K, B]) split(n, at int) (leaf, position int) {
	full := o.leaves[n]
	half := leafSize / 2
	if at == leafSize {
		half = leafSize
	}
	right := append(make([]T, 0, leafSize), full[half:]...)
	clear(full[half:])
	o.leaves[n] = full[:half]
	o.leaves = append(o.leaves, nil)
	copy(o.leaves[n+2:], o.leaves[n+1:])
	o.leaves[n+1] = right
	if at > half || half == leafSize {
		return n + 1, at - half
	}
	return n, at
}

// Remove the item of a key that is there.
func (o *Set[T, K, B]) Remove(key K) {
	o.size--
	n, at := o.find(key)
	leaf := o.leaves[n]
	if len(leaf) > 1 {
		copy(leaf[at:], leaf[at+1:])
		clear(leaf[len(leaf)-1:])
		o.leaves[n] = leaf[:len(leaf)-1]
		return
	}
	copy(o.leaves[n:], o.leaves[n+1:])
	o.leaves[len(o.leaves)-1] = nil
	if o.leaves = o.leaves[:len(o.leaves)-1]; len(o.leaves) == 0 {
		o.leaves = nil
	}
}

// All items, ascending. The set must not change meanwhile.
func (o *Set[T, K, B]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, leaf := range o.leaves {
			for _, item := range leaf {
				if !yield(item) {
					return
				}
			}
		}
	}
}

// List of all items, ascending; nil where there are none.
func (o *Set[T, K, B]) List() []T {
	if o.size == 0 {
		return nil
	}
	all := make([]T, 0, o.size)
	for _, leaf := range o.leaves {
		all = append(all, leaf...)
	}
	return all
}

// Cursor walks over the items from a key on.
type Cursor[T any] struct {
	leaves   [][]T
	leaf, at int
}

// From the first item not less than the key. The set must not change meanwhile.
func (o *Set[T, K, B]) From(key K) Cursor[T] {
	n, at := o.find(key)
	return Cursor[T]{o.leaves, n, at}
}

// Next item; the zero one, which is none, behind the last.
func (c *Cursor[T]) Next() (item T) {
	for c.leaf < len(c.leaves) {
		if leaf := c.leaves[c.leaf]; c.at < len(leaf) {
			c.at++
			return leaf[c.at-1]
		}
		c.leaf, c.at = c.leaf+1, 0
	}
	return item
}

// Count of the items from one key on up to before another that is not less, or, where it is open, to the end.
func (o *Set[T, K, B]) Count(from, end K, open bool) int {
	n, at := o.find(from)
	last, stop := len(o.leaves), 0
	if !open {
		last, stop = o.find(end)
	}
	count := stop - at
	for i := n; i < last; i++ {
		count += len(o.leaves[i])
	}
	return count
}
