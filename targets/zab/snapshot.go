package zab

import (
	"encoding/binary"
	"errors"

	"assize/machine"
)

// A snapshot is the service's state, and behind it, so that nothing that long needs be copied, the zxid and the position of its last transaction and the
// format.
const (
	imageFormat = 2
	imageTail   = 17
)

var (
	errImage  = errors.New("a snapshot that no server has taken")
	errRecord = errors.New("a log record that no server has written")
)

// encodeImage is a snapshot of what is committed.
func (p *peer) encodeImage() []byte {
	b := binary.BigEndian.AppendUint64(p.take(), uint64(p.committed))
	return append(binary.BigEndian.AppendUint64(b, p.committedPos), imageFormat)
}

func decodeImage(b []byte) (zxid int64, pos uint64, body []byte, err error) {
	n := len(b) - imageTail
	if n < 0 || b[len(b)-1] != imageFormat {
		return 0, 0, nil, errImage
	}
	body, zxid, pos = b[:n:n], int64(binary.BigEndian.Uint64(b[n:])), binary.BigEndian.Uint64(b[n+8:])
	if zxid < 0 || (zxid == 0) != (pos == 0) || pos > 1<<62 || epochOf(zxid) > maxEpoch {
		return 0, 0, nil, errImage
	}
	return zxid, pos, body, nil
}

// drawSnapshot draws when the next snapshot is taken: after between half and all of snapCount transactions, so that servers do not all take
// theirs together (SyncRequestProcessor.shouldSnapshot).
func (p *peer) drawSnapshot() {
	p.due = p.saved + p.snapCount/2 + p.rand.Uint64N(p.snapCount/2+1)
}

// save a snapshot of what is committed, and all that is needed beside it: together they replace the disk. What the step logs after that goes behind them.
func (p *peer) save(image []byte) {
	p.saved = p.committedPos
	p.out.Snapshot = image
	p.out.Tail = append(p.out.Tail[:0], numberRecord(recordLife, p.life), numberRecord(recordAccepted, p.accepted))
	for pos := p.committedPos + 1; pos <= p.log.lastPos(); pos++ {
		p.out.Tail = append(p.out.Tail, p.log.at(pos).record)
	}
	p.out.Tail = append(p.out.Tail, numberRecord(recordCurrent, p.current))
}

// install the leader's snapshot in place of the log. It is durable with this step, whatever becomes of the synchronization (ZOOKEEPER-3642).
func (p *peer) install(image []byte) {
	zxid, pos, body, err := decodeImage(image)
	if err != nil || zxid <= p.committed || p.whole != nil && !p.whole(zxid, pos, body) {
		p.accuseLeader("a snapshot up to %#x after %#x: %v", zxid, p.committed, err)
		return
	}
	p.counts.SnapshotsLoaded++
	p.log.reset(zxid, pos)
	p.committed, p.committedPos = zxid, pos
	p.say(news{kind: installed, zxid: zxid, body: body})
	if p.saved = pos; p.flaw != keepHalfSnapshot {
		p.save(image)
		p.out.Installed, p.held = true, nil
	}
	p.drawSnapshot()
}

// trim the log in memory to its window, now and then. What was logged in this very step stays: whoever judges the log has not seen it yet.
func (p *peer) trim() {
	if p.committedPos-min(p.committedPos, p.log.basePos) > 2*p.window {
		p.log.forget(min(p.low(), p.before))
	}
}

// restore what the host found on the disk.
func (p *peer) restore(image []byte, records [][]byte) error {
	if image != nil {
		zxid, pos, body, err := decodeImage(image)
		if err != nil {
			return err
		}
		p.log.base, p.log.basePos = zxid, pos
		p.committed, p.committedPos, p.saved = zxid, pos, pos
		p.say(news{kind: installed, zxid: zxid, body: body})
	}
	for _, b := range records {
		if err := p.replay(b); err != nil {
			return err
		}
	}
	p.log.changed = 0
	if p.flaw == forgetAcceptedEpoch {
		p.accepted = 0
	}
	return nil
}

// replay one record of the disk.
func (p *peer) replay(b []byte) error {
	if len(b) == 0 {
		return errRecord
	}
	if b[0] == recordTxn {
		t, ok := txnOf(b)
		if !ok || t.zxid <= p.log.last() {
			return errRecord
		}
		if p.flaw != noLogReplay {
			p.log.append(t)
		}
		return nil
	}
	d := machine.NewDecoder(b[1:])
	v := d.Uint()
	if d.Done() != nil {
		return errRecord
	}
	switch b[0] {
	case recordTruncate:
		return p.replayTruncate(int64(v))
	case recordAccepted:
		p.accepted = v
	case recordCurrent:
		p.current = v
	case recordLife:
		p.life = v
	default:
		return errRecord
	}
	if v > 1<<38 || b[0] != recordLife && v > maxEpoch {
		return errRecord
	}
	return nil
}

func (p *peer) replayTruncate(zxid int64) error {
	if p.flaw == noLogReplay {
		return nil
	}
	if zxid < p.log.base {
		return errRecord
	}
	pos := p.log.find(zxid)
	if p.log.zxid(pos) != zxid {
		return errRecord
	}
	p.log.truncate(pos)
	return nil
}
