package machine

import "bytes"

// record is a pair as it was written once. Records are shared by the live pairs, the history and the results given out: they never change.
type record struct {
	KeyValue
	hash uint64
}

// item is the place of a live key.
type item struct{ *record }

// leafSize is the most items of a leaf: large enough that the list of leaves of a million keys is short, small enough that inserting
// into a leaf moves little.
const leafSize = 128

// order keeps the live items by key: a list of leaves, each a short sorted list and none empty. A tree of more levels would only pay beyond
// some millions of keys.
type order struct{ leaves [][]*item }

// find returns the leaf whose interval the key belongs to and the position in it of the first item not less than the key, which may be
// behind its end.
func (o *order) find(key []byte) (leaf, at int) {
	low, high := 0, len(o.leaves) // the first leaf that begins above key
	for low < high {
		mid := int(uint(low+high) >> 1)
		if bytes.Compare(o.leaves[mid][0].Key, key) <= 0 {
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
		mid := int(uint(low+high) >> 1)
		if bytes.Compare(items[mid].Key, key) < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return leaf, low
}

// insert a key that is not there.
func (o *order) insert(it *item) {
	if len(o.leaves) == 0 {
		o.leaves = append(o.leaves, append(make([]*item, 0, leafSize), it))
		return
	}
	n, at := o.find(it.Key)
	if len(o.leaves[n]) == leafSize {
		n, at = o.split(n, at)
	}
	leaf := append(o.leaves[n], nil)
	copy(leaf[at+1:], leaf[at:])
	leaf[at] = it
	o.leaves[n] = leaf
}

// split a full leaf for an insertion at position at of it, and return where the insertion belongs then. A leaf to whose end something is
// added stays whole: keys often come in ascending order, and halves would stay half empty.
func (o *order) split(n, at int) (leaf, position int) {
	full := o.leaves[n]
	half := leafSize / 2
	if at == leafSize {
		half = leafSize
	}
	right := append(make([]*item, 0, leafSize), full[half:]...)
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
func (o *order) remove(key []byte) {
	n, at := o.find(key)
	leaf := o.leaves[n]
	copy(leaf[at:], leaf[at+1:])
	leaf[len(leaf)-1] = nil
	if leaf = leaf[:len(leaf)-1]; len(leaf) > 0 {
		o.leaves[n] = leaf
		return
	}
	copy(o.leaves[n:], o.leaves[n+1:])
	o.leaves[len(o.leaves)-1] = nil
	o.leaves = o.leaves[:len(o.leaves)-1]
}

// cursor walks over the items from a key on.
type cursor struct {
	leaves   [][]*item
	leaf, at int
}

func (o *order) from(key []byte) cursor {
	n, at := o.find(key)
	return cursor{o.leaves, n, at}
}

// next item, or nil. The order must not change meanwhile.
func (c *cursor) next() *item {
	for c.leaf < len(c.leaves) {
		if leaf := c.leaves[c.leaf]; c.at < len(leaf) {
			c.at++
			return leaf[c.at-1]
		}
		c.leaf, c.at = c.leaf+1, 0
	}
	return nil
}

// count of the items in from..end; end not empty.
func (o *order) count(from, end []byte) int {
	n, at := o.find(from)
	last, stop := len(o.leaves), 0
	if !open(end) {
		if bytes.Compare(end, from) <= 0 {
			return 0
		}
		last, stop = o.find(end)
	}
	count := stop - at
	for i := n; i < last; i++ {
		count += len(o.leaves[i])
	}
	return count
}
