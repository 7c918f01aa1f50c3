package machine

import "bytes"

// MaxSteps is how many comparisons, and how many operations of each branch, a transaction may have: etcd's default.
const MaxSteps = 128

// Reasons of a refused transaction. The texts are etcd's.
const (
	ReasonEmptyKey     = "etcdserver: key is not provided"
	ReasonTooManySteps = "etcdserver: too many operations in txn request"
	ReasonDuplicateKey = "etcdserver: duplicate key given in txn request"
	ReasonKeyNotFound  = "etcdserver: key not found"
	ReasonNoTxn        = "not a transaction"
)

// ReadOnly tells that executing c changes no replicated state: it need not be logged.
func (c Command) ReadOnly() bool {
	switch c.Kind {
	case CommandTxn:
		return !writes(c.Then) && !writes(c.Else)
	case CommandChanges:
		return true
	}
	return false
}

func writes(list []Operation) bool {
	for i := range list {
		if list[i].Op != OpRange {
			return true
		}
	}
	return false
}

// Check returns the reason why a store would refuse the transaction whatever it holds, or nothing. The store checks by itself; this spares
// the log what is bound to be refused.
func (c Command) Check() (reason string) {
	if c.Kind != CommandTxn {
		return ""
	}
	if len(c.Compare) > MaxSteps || len(c.Then) > MaxSteps || len(c.Else) > MaxSteps {
		return ReasonTooManySteps
	}
	for i := range c.Compare {
		if len(c.Compare[i].Key) == 0 {
			return ReasonEmptyKey
		}
	}
	if reason := checkSteps(c.Then); reason != "" {
		return reason
	}
	return checkSteps(c.Else)
}

// checkSteps of one branch: as in etcd no key may be put twice, or put and deleted, in whatever order; it may be deleted twice.
func checkSteps(list []Operation) string {
	for i := range list {
		if len(list[i].Key) == 0 {
			return ReasonEmptyKey
		}
	}
	for i := range list {
		if list[i].Op != OpPut {
			continue
		}
		key := list[i].Key
		for j := range list {
			o := &list[j]
			if j != i && (o.Op == OpPut && bytes.Equal(o.Key, key) || o.Op == OpDelete && covers(o.Key, o.End, key)) {
				return ReasonDuplicateKey
			}
		}
	}
	return ""
}

// covers tells whether the range from..end holds the key. See Operation for the meaning of end.
func covers(from, end, key []byte) bool {
	switch {
	case len(end) == 0:
		return bytes.Equal(from, key)
	case open(end):
		return bytes.Compare(key, from) >= 0
	}
	return bytes.Compare(key, from) >= 0 && bytes.Compare(key, end) < 0
}

// open tells that a range has no upper end.
func open(end []byte) bool { return len(end) == 1 && end[0] == 0 }
