package machine

import (
	"bytes"

	"assize/machine/order"
)

// record is a pair as it was written once. Records are shared by the live pairs, the history and the results given out: they never change.
type record struct {
	KeyValue
	hash uint64
}

// item is the place of a live key.
type item struct{ *record }

// byKey orders the live items.
type byKey struct{}

func (byKey) Key(it *item) []byte             { return it.record.Key }
func (byKey) Below(it *item, key []byte) bool { return bytes.Compare(it.record.Key, key) < 0 }
func (byKey) Above(it *item, key []byte) bool { return bytes.Compare(it.record.Key, key) > 0 }

type ordered = order.Set[*item, []byte, byKey]
