package daemon

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"

	"assize/machine"
)

// A recording is recordMagic and then frames: the life that is recorded, what came of making the machine, and for each batch its events and
// what came of them; after an orderly end one more. A frame is the length of its body, a checksum of its number and that length, a checksum that goes on from there over
// the body, and the body. So a length can be trusted before the body is there: a frame of which something is missing at the file's end was cut
// off, all else that does not fit is damage.
const (
	recordMagic = "assize record 4\n"
	recordHead  = 12
	maxRecord   = 1 << 30
)

// The first byte of a frame's body.
const (
	recordOrigin byte = iota + 1
	recordBatch
	recordOutcome
	recordEnd
)

// ErrNoRecording is wrapped where a file does not begin as a recording does.
var ErrNoRecording = errors.New("no recording of a node")

var errRecord = errors.New("a field has a value that no recorder writes")

// origin is what a recording begins with: all that the machine was made of.
type origin struct {
	number int
	build  Build
	target string
	config machine.Config
}

// batch is what the owner steps at once.
type batch struct {
	wall   time.Time
	mono   time.Duration
	events []machine.Event
}

// Outcome of a batch.
type Outcome struct {
	Hash   [16]byte // of all effects of the process so far
	Tally  Tally    // of the batch's effects
	Status machine.Status
}

// Tally counts effects.
type Tally struct{ Logged, Snapshots, Sent, Replied, Applied uint64 }

func (t *Tally) add(x *machine.Effects) {
	t.Logged += uint64(len(x.Log))
	if x.Snapshot != nil {
		t.Snapshots++
	}
	t.Sent += uint64(len(x.Send))
	t.Replied += uint64(len(x.Reply))
	t.Applied += uint64(len(x.Applied))
}

// Total of all kinds.
func (t Tally) Total() uint64 { return t.Logged + t.Snapshots + t.Sent + t.Replied + t.Applied }

// course is what machines do, as a hash: of the course before a batch and of the batch's effects, each field behind its length.
type course struct {
	hash   [16]byte
	fields machine.Encoder
	tally  Tally
}

func (c *course) begin() {
	c.fields.B = append(spare(c.fields.B), c.hash[:]...)
	c.tally = Tally{}
}

// add must come before the machine's next step, which may use the slices again.
func (c *course) add(x machine.Effects) {
	c.tally.add(&x)
	encodeEffects(&c.fields, &x)
}

func (c *course) end(s machine.Status) Outcome {
	sum := sha256.Sum256(c.fields.B)
	copy(c.hash[:], sum[:])
	return Outcome{c.hash, c.tally, s}
}

// spare is a buffer to be used again, but for one that a rare snapshot has made huge.
func spare(b []byte) []byte {
	const most = 4 << 20
	if cap(b) > most {
		return nil
	}
	return b[:0]
}

func encodeEffects(e *machine.Encoder, x *machine.Effects) {
	e.Uint(uint64(len(x.Log)))
	for _, r := range x.Log {
		e.Bytes(r)
	}
	encodeMaybe(e, x.Snapshot)
	e.Uint(uint64(len(x.Tail)))
	for _, r := range x.Tail {
		e.Bytes(r)
	}
	e.Bool(x.Installed)
	e.Uint(uint64(len(x.Send)))
	for i := range x.Send {
		encodeMessage(e, &x.Send[i])
	}
	e.Uint(uint64(len(x.Reply)))
	for i := range x.Reply {
		r := &x.Reply[i]
		e.Uint(r.Conn)
		e.Uint(r.Seq)
		encodeMaybe(e, r.Body)
		e.Bool(r.Close)
	}
	e.Uint(uint64(len(x.Applied)))
	for i := range x.Applied {
		a := &x.Applied[i]
		e.Uint(a.Index)
		e.Int(a.Revision)
		e.Uint(a.Hash)
	}
	e.Uint(uint64(len(x.Accused)))
	for _, a := range x.Accused {
		e.Int(int64(a.Node))
		e.Bytes([]byte(a.Why))
	}
}

// encodeMaybe tells nil from empty.
func encodeMaybe(e *machine.Encoder, b []byte) {
	e.Bool(b != nil)
	e.Bytes(b)
}

func decodeMaybe(d *machine.Decoder) []byte {
	some, b := d.Bool(), d.Bytes()
	if some && b == nil {
		b = []byte{}
	}
	return b
}

func encodeMessage(e *machine.Encoder, m *machine.Message) {
	e.Int(int64(m.From))
	e.Int(int64(m.To))
	e.Bytes(m.Body)
	e.Bool(m.Early)
}

func encodeInts(e *machine.Encoder, list []int) {
	e.Uint(uint64(len(list)))
	for _, v := range list {
		e.Int(int64(v))
	}
}

func decodeInts(d *machine.Decoder) (list []int) {
	for range d.Count(1) {
		list = append(list, int(d.Int()))
	}
	return list
}

func (l *origin) encode(e *machine.Encoder) {
	e.Byte(recordOrigin)
	e.Int(int64(l.number))
	for _, s := range []string{l.build.Version, l.build.Go, l.build.System, l.build.Digest, l.target} {
		e.Bytes([]byte(s))
	}
	c, o := &l.config, &l.config.Options
	e.Int(int64(c.ID))
	encodeInts(e, c.Voters)
	encodeInts(e, c.Observers)
	e.Uint(c.Seed)
	e.Bytes([]byte(o.Read))
	e.Bytes([]byte(o.Flaw))
	e.Int(int64(o.Tick))
	e.Int(int64(o.Heartbeat))
	e.Int(int64(o.Election))
	e.Uint(math.Float64bits(o.Drift))
	e.Int(int64(o.Snapshot))
	e.Int(int64(o.Keep))
	e.Int(int64(o.SessionTick))
	e.Bytes([]byte(o.Super))
	encodeMaybe(e, c.Snapshot)
	e.Uint(uint64(len(c.Log)))
	for _, r := range c.Log {
		e.Bytes(r)
	}
}

func decodeOrigin(body []byte) (l origin, err error) {
	d := machine.NewDecoder(body)
	if d.Byte() != recordOrigin {
		return l, errRecord
	}
	l.number = int(d.Int())
	for _, s := range []*string{&l.build.Version, &l.build.Go, &l.build.System, &l.build.Digest, &l.target} {
		*s = string(d.Bytes())
	}
	c, o := &l.config, &l.config.Options
	c.ID = int(d.Int())
	c.Voters, c.Observers = decodeInts(d), decodeInts(d)
	c.Seed = d.Uint()
	o.Read, o.Flaw = string(d.Bytes()), string(d.Bytes())
	o.Tick, o.Heartbeat, o.Election = time.Duration(d.Int()), time.Duration(d.Int()), time.Duration(d.Int())
	o.Drift = math.Float64frombits(d.Uint())
	o.Snapshot, o.Keep = int(d.Int()), int(d.Int())
	o.SessionTick, o.Super = time.Duration(d.Int()), string(d.Bytes())
	c.Snapshot = decodeMaybe(d)
	for range d.Count(1) {
		c.Log = append(c.Log, d.Bytes())
	}
	return l, d.Done()
}

// Bits of an event's first byte; none: a tick.
const (
	bitMessage = 1 << iota
	bitRequest
	bitGone
)

// encodeBatch takes the clocks from the first event: those of a batch are read once.
func encodeBatch(e *machine.Encoder, events []machine.Event) {
	e.Byte(recordBatch)
	e.Int(events[0].Wall.Unix())
	e.Uint(uint64(events[0].Wall.Nanosecond()))
	e.Int(int64(events[0].Mono))
	e.Uint(uint64(len(events)))
	for i := range events {
		v := &events[i]
		var bits byte
		if v.Message != nil {
			bits |= bitMessage
		}
		if v.Request != nil {
			bits |= bitRequest
		}
		if v.Gone != 0 {
			bits |= bitGone
		}
		e.Byte(bits)
		if v.Message != nil {
			encodeMessage(e, v.Message)
		}
		if v.Request != nil {
			e.Uint(v.Request.Conn)
			e.Uint(v.Request.Seq)
			e.Bytes(v.Request.Body)
		}
		if v.Gone != 0 {
			e.Uint(v.Gone)
		}
	}
}

func decodeBatch(body []byte) (b batch, err error) {
	d := machine.NewDecoder(body)
	if d.Byte() != recordBatch {
		return b, errRecord
	}
	seconds, nanoseconds := d.Int(), d.Uint()
	if nanoseconds >= uint64(time.Second) {
		return b, errRecord
	}
	b.wall, b.mono = time.Unix(seconds, int64(nanoseconds)), time.Duration(d.Int())
	for range d.Count(1) {
		v := machine.Event{Wall: b.wall, Mono: b.mono}
		bits := d.Byte()
		if bits >= bitGone<<1 {
			return b, errRecord
		}
		if bits&bitMessage != 0 {
			v.Message = &machine.Message{From: int(d.Int()), To: int(d.Int()), Body: d.Bytes(), Early: d.Bool()}
		}
		if bits&bitRequest != 0 {
			v.Request = &machine.Request{Conn: d.Uint(), Seq: d.Uint(), Body: d.Bytes()}
		}
		if bits&bitGone != 0 {
			v.Gone = d.Uint()
		}
		b.events = append(b.events, v)
	}
	return b, d.Done()
}

func (o *Outcome) encode(e *machine.Encoder) {
	e.Byte(recordOutcome)
	e.B = append(e.B, o.Hash[:]...)
	t := &o.Tally
	for _, n := range [...]uint64{t.Logged, t.Snapshots, t.Sent, t.Replied, t.Applied} {
		e.Uint(n)
	}
	s := &o.Status
	e.Int(int64(s.ID))
	e.Bytes([]byte(s.Role))
	e.Uint(s.Term)
	e.Int(int64(s.Leader))
	encodeInts(e, s.Voters)
	e.Uint(s.Commit)
	e.Uint(s.Applied)
	e.Uint(s.Last)
	e.Uint(s.Snapshot)
	e.Int(s.Revision)
	e.Uint(s.Hash)
	e.Uint(s.Position)
	c := &s.Counters
	for _, n := range [...]uint64{c.Elections, c.SnapshotsTaken, c.SnapshotsLoaded, c.Truncations, c.LeaseReads, c.IndexReads} {
		e.Uint(n)
	}
}

func decodeOutcome(body []byte) (o Outcome, err error) {
	d := machine.NewDecoder(body)
	if d.Byte() != recordOutcome {
		return o, errRecord
	}
	for i := range o.Hash {
		o.Hash[i] = d.Byte()
	}
	t := &o.Tally
	for _, n := range [...]*uint64{&t.Logged, &t.Snapshots, &t.Sent, &t.Replied, &t.Applied} {
		*n = d.Uint()
	}
	s := &o.Status
	s.ID, s.Role, s.Term, s.Leader = int(d.Int()), string(d.Bytes()), d.Uint(), int(d.Int())
	s.Voters = decodeInts(d)
	s.Commit, s.Applied, s.Last, s.Snapshot = d.Uint(), d.Uint(), d.Uint(), d.Uint()
	s.Revision, s.Hash, s.Position = d.Int(), d.Uint(), d.Uint()
	c := &s.Counters
	for _, n := range [...]*uint64{&c.Elections, &c.SnapshotsTaken, &c.SnapshotsLoaded, &c.Truncations, &c.LeaseReads, &c.IndexReads} {
		*n = d.Uint()
	}
	return o, d.Done()
}

// sealRecord fills in the head of the frame that b is, its first recordHead bytes left free. number is the frame's, from 0.
func sealRecord(b []byte, number uint64) {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-recordHead))
	sum := recordHeadSum(b, number)
	binary.LittleEndian.PutUint32(b[4:], sum)
	binary.LittleEndian.PutUint32(b[8:], crc32.Update(sum, castagnoli, b[recordHead:]))
}

func recordHeadSum(head []byte, number uint64) uint32 {
	var b [12]byte
	binary.LittleEndian.PutUint64(b[:], number)
	copy(b[8:], head[:4])
	return crc32.Checksum(b[:], castagnoli)
}

// frames of a recording, in order.
type frames struct {
	r      *bufio.Reader
	at     int64 // offset of the next frame
	number uint64
}

// next returns a frame's body and its offset in the file. io.EOF: the file ends where a frame does; io.ErrUnexpectedEOF: within one.
func (f *frames) next() (body []byte, at int64, err error) {
	at = f.at
	var head [recordHead]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, at, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	sum := recordHeadSum(head[:], f.number)
	if binary.LittleEndian.Uint32(head[4:]) != sum || n == 0 || n > maxRecord {
		return nil, at, fmt.Errorf("offset %d: the head of frame %d is damaged", at, f.number)
	}
	if body, err = readBody(f.r, int(n)); err != nil {
		return nil, at, err
	}
	if binary.LittleEndian.Uint32(head[8:]) != crc32.Update(sum, castagnoli, body) {
		return nil, at, fmt.Errorf("offset %d: frame %d of %d bytes is damaged", at, f.number, recordHead+len(body))
	}
	f.at += recordHead + int64(n)
	f.number++
	return body, at, nil
}
