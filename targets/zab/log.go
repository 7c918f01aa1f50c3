package zab

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
)

// zxidOf an epoch and a counter (DSN 2011, section 3: transaction identifiers; claim B1).
func zxidOf(epoch, counter uint64) int64 { return int64(epoch<<32 | counter) }

func epochOf(zxid int64) uint64 { return uint64(zxid) >> 32 }

func counterOf(zxid int64) uint64 { return uint64(zxid) & maxCounter }

// txn is a transaction in the log. Its record is what is logged and what is sent: kind, zxid, body.
type txn struct {
	zxid   int64
	record []byte
	quiet  bool // it came with a synchronization
}

const recordHead = 9

func newTxn(zxid int64, body []byte) txn {
	b := make([]byte, recordHead, recordHead+len(body))
	b[0] = recordTxn
	binary.BigEndian.PutUint64(b[1:], uint64(zxid))
	return txn{zxid: zxid, record: append(b, body...)}
}

// txnOf a record; it aliases b.
func txnOf(b []byte) (txn, bool) {
	if len(b) < recordHead || b[0] != recordTxn {
		return txn{}, false
	}
	zxid := int64(binary.BigEndian.Uint64(b[1:]))
	return txn{zxid: zxid, record: b}, zxid > 0 && epochOf(zxid) > 0 && epochOf(zxid) <= maxEpoch
}

func (t *txn) body() []byte { return t.record[recordHead:] }

// log holds transactions after a base, oldest first. Zxids have gaps between epochs, so a transaction also has a position: how many there have
// been since the beginning, with itself and with those that only a snapshot holds.
type log struct {
	base    int64  // zxid of the last transaction before those that are held; 0: none
	basePos uint64 // its position
	txns    []txn
	changed uint64 // least position that has changed since the host asked; 0: none
}

func (l *log) last() int64 {
	if n := len(l.txns); n > 0 {
		return l.txns[n-1].zxid
	}
	return l.base
}

func (l *log) lastPos() uint64 { return l.basePos + uint64(len(l.txns)) }

func (l *log) at(pos uint64) *txn { return &l.txns[pos-l.basePos-1] }

// zxid at a position that is held, or the base's.
func (l *log) zxid(pos uint64) int64 {
	if pos == l.basePos {
		return l.base
	}
	return l.at(pos).zxid
}

// find the last transaction whose zxid is not above the given one, which is not below the base.
func (l *log) find(zxid int64) (pos uint64) {
	n := sort.Search(len(l.txns), func(i int) bool { return l.txns[i].zxid > zxid })
	return l.basePos + uint64(n)
}

// has tells whether a zxid is that of a transaction that is held, or the base's.
func (l *log) has(zxid int64) bool { return zxid >= l.base && l.zxid(l.find(zxid)) == zxid }

func (l *log) append(t txn) {
	if t.zxid <= l.last() {
		panic(fmt.Sprintf("zab: zxid %#x after %#x in the log", t.zxid, l.last()))
	}
	l.txns = append(l.txns, t)
	l.touch(l.lastPos())
}

// truncate drops all that stands behind a position.
func (l *log) truncate(pos uint64) {
	if pos >= l.lastPos() {
		return
	}
	tail := l.txns[pos-l.basePos:]
	clear(tail)
	l.txns = l.txns[:pos-l.basePos]
	l.touch(pos + 1)
}

func (l *log) touch(pos uint64) {
	if l.changed == 0 || pos < l.changed {
		l.changed = pos
	}
}

// forget the transactions up to a position.
func (l *log) forget(pos uint64) {
	if pos <= l.basePos {
		return
	}
	zxid := l.zxid(pos)
	l.txns = slices.Clone(l.txns[pos-l.basePos:])
	l.base, l.basePos = zxid, pos
}

// reset the log to what a snapshot stands for.
func (l *log) reset(zxid int64, pos uint64) {
	l.touch(max(min(pos, l.basePos+1), 1))
	l.base, l.basePos, l.txns = zxid, pos, nil
}
