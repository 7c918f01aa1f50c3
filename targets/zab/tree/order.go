package tree

import "cmp"

// leafSize is the most keys of a leaf: large enough that the list of leaves of a million keys is short, small enough that inserting into a leaf
// moves little.
const leafSize = 128

// order is an ordered set: a list of leaves, each a short sorted list and none empty. The zero order is empty.
type order[K cmp.Ordered] struct {
	leaves [][]K
	size   int
}

// find returns the leaf whose interval the key belongs to, and the position in it of the first key not less than it, which may be behind its end.
func (o *order[K]) find(key K) (leaf, at int) {
	low, high := 0, len(o.leaves) // the first leaf that begins above key
	for low < high {
		if mid := int(uint(low+high) >> 1); o.leaves[mid][0] <= key {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return 0, 0
	}
	leaf = low - 1
	keys := o.leaves[leaf]
	low, high = 0, len(keys)
	for low < high {
		if mid := int(uint(low+high) >> 1); keys[mid] < key {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return leaf, low
}

// insert a key that is not there.
func (o *order[K]) insert(key K) {
	o.size++
	if len(o.leaves) == 0 {
		o.leaves = append(o.leaves, []K{key})
		return
	}
	n, at := o.find(key)
	if len(o.leaves[n]) == leafSize {
		n, at = o.split(n, at)
	}
	leaf := append(o.leaves[n], key)
	copy(leaf[at+1:], leaf[at:])
	leaf[at] = key
	o.leaves[n] = leaf
}

// split a full leaf for an insertion at position at of it, and return where the insertion belongs then. A leaf to whose end something is added
// stays whole: sequential names come in ascending order, and halves would stay half empty.
func (o *order[K]) split(n, at int) (leaf, position int) {
	full := o.leaves[n]
	half := leafSize / 2
	if at == leafSize {
		half = leafSize
	}
	right := append(make([]K, 0, leafSize), full[half:]...)
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

// remove a key that is there.
func (o *order[K]) remove(key K) {
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

// list of all keys, ascending; nil where there are none.
func (o *order[K]) list() []K {
	if o.size == 0 {
		return nil
	}
	all := make([]K, 0, o.size)
	for _, leaf := range o.leaves {
		all = append(all, leaf...)
	}
	return all
}
