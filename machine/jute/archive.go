package jute

import (
	"encoding/binary"
	"errors"
)

var (
	errShort    = errors.New("it ends too early")
	errNegative = errors.New("a length is less than -1")
	errKind     = errors.New("an operation is not one of those that it can hold")
)

// archive goes through the fields of a record in the order of the wire, in one direction or the other: it appends them to b, or takes them from b.
// So there is one description of each record's layout, and not two that could differ. After the first error it leaves fields as they are.
type archive struct {
	b       []byte
	reading bool
	err     error // of reading; writing has none
}

func (a *archive) fail(err error) {
	if a.err == nil {
		a.err, a.b = err, nil
	}
}

// take is the next n bytes of what is read, or nil.
func (a *archive) take(n int) []byte {
	if n > len(a.b) {
		a.fail(errShort)
	}
	if a.err != nil {
		return nil
	}
	v := a.b[:n]
	a.b = a.b[n:]
	return v
}

func (a *archive) int32(v *int32) {
	if !a.reading {
		a.b = binary.BigEndian.AppendUint32(a.b, uint32(*v))
	} else if p := a.take(4); p != nil {
		*v = int32(binary.BigEndian.Uint32(p))
	}
}

func (a *archive) int64(v *int64) {
	if !a.reading {
		a.b = binary.BigEndian.AppendUint64(a.b, uint64(*v))
	} else if p := a.take(8); p != nil {
		*v = int64(binary.BigEndian.Uint64(p))
	}
}

// bool takes any byte but 0 for true, as Java's DataInput does.
func (a *archive) bool(v *bool) {
	switch {
	case a.reading:
		if p := a.take(1); p != nil {
			*v = p[0] != 0
		}
	case *v:
		a.b = append(a.b, 1)
	default:
		a.b = append(a.b, 0)
	}
}

// size reads how many things follow, each of them at least least bytes long: so nobody allocates more than a fixed multiple of the input, whatever the
// input claims. It is -1 where there is nothing, and after an error.
func (a *archive) size(least int) int {
	n := int32(-1)
	a.int32(&n)
	switch {
	case n < -1:
		a.fail(errNegative)
		return -1
	case int(n) > len(a.b)/least:
		a.fail(errShort)
		return -1
	}
	return int(n)
}

// text reads what is not there as "". It does not look whether it is UTF-8.
func (a *archive) text(v *string) {
	if !a.reading {
		a.b = binary.BigEndian.AppendUint32(a.b, uint32(len(*v)))
		a.b = append(a.b, *v...)
	} else if n := a.size(1); n >= 0 {
		*v = string(a.take(n))
	}
}

// path is a text that must be there: a server stumbles over one that is not.
func (a *archive) path(v *string) {
	if a.absent() {
		return
	}
	a.text(v)
}

// paths are a list that must be there.
func (a *archive) paths(v *[]string) {
	if a.absent() {
		return
	}
	a.texts(v)
}

// absent: what is to be read is -1.
func (a *archive) absent() bool {
	if a.reading && len(a.b) >= 4 && binary.BigEndian.Uint32(a.b) == 1<<32-1 {
		a.fail(errNegative)
	}
	return a.err != nil
}

// buffer tells nil, which is -1 on the wire, from no bytes: a node can have either.
func (a *archive) buffer(v *[]byte) {
	switch {
	case a.reading:
		if n := a.size(1); n >= 0 {
			*v = make([]byte, n)
			copy(*v, a.take(n))
		}
	case *v == nil:
		a.b = binary.BigEndian.AppendUint32(a.b, ^uint32(0))
	default:
		a.b = binary.BigEndian.AppendUint32(a.b, uint32(len(*v)))
		a.b = append(a.b, *v...)
	}
}

// rest is all that is left.
func (a *archive) rest(v *[]byte) {
	if !a.reading {
		a.b = append(a.b, *v...)
	} else if len(a.b) > 0 {
		*v = append([]byte(nil), a.take(len(a.b))...)
	}
}

// list reads one that is not there (-1), or whose count is below zero otherwise, as an empty one, which is nil, and writes nil as an empty one: go-zookeeper makes a slice of the count that it
// is told, and -1 is 4294967295 to it.
func list[T any](a *archive, v *[]T, least int, item func(*archive, *T)) {
	if a.reading {
		if len(a.b) >= 4 && int32(binary.BigEndian.Uint32(a.b)) < 0 { // whatever it is
			a.take(4)
			return
		}
		n := a.size(least)
		if n <= 0 {
			return
		}
		*v = make([]T, n)
	} else {
		a.b = binary.BigEndian.AppendUint32(a.b, uint32(len(*v)))
	}
	for i := range *v {
		if a.err != nil {
			return
		}
		item(a, &(*v)[i])
	}
}

func (a *archive) texts(v *[]string) { list(a, v, 4, (*archive).text) }
func (a *archive) acls(v *[]ACL)     { list(a, v, 12, (*archive).acl) }
func (a *archive) ids(v *[]ID)       { list(a, v, 8, (*archive).id) }

func (a *archive) acl(v *ACL) {
	a.int32(&v.Perms)
	a.id(&v.ID)
}

func (a *archive) id(v *ID) {
	a.text(&v.Scheme)
	a.text(&v.ID)
}

func (a *archive) stat(v *Stat) {
	a.int64(&v.Czxid)
	a.int64(&v.Mzxid)
	a.int64(&v.Ctime)
	a.int64(&v.Mtime)
	a.int32(&v.Version)
	a.int32(&v.Cversion)
	a.int32(&v.Aversion)
	a.int64(&v.EphemeralOwner)
	a.int32(&v.DataLength)
	a.int32(&v.NumChildren)
	a.int64(&v.Pzxid)
}

// readOnly is the last byte of either side's first record, which not all have.
func (a *archive) readOnly(has, v *bool) {
	if a.reading {
		*has = len(a.b) > 0
	}
	if *has {
		a.bool(v)
	}
}

// multiHeader comes before each part of a multi, and after the last one with done.
type multiHeader struct {
	op   Op
	done bool
	code Code
}

// multiEnd is also what a Java client and server end theirs with.
var multiEnd = multiHeader{op: Failure, done: true, code: -1}

func (a *archive) multiHeader(v *multiHeader) {
	a.int32((*int32)(&v.op))
	a.bool(&v.done)
	a.int32((*int32)(&v.code))
}
