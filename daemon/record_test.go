package daemon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"assize/machine"
)

// stepClock moves on at each reading.
type stepClock struct{ reads int }

func (c *stepClock) Read() (time.Time, time.Duration) {
	c.reads++
	return time.Unix(1_800_000_000, int64(c.reads)), time.Duration(c.reads) * time.Millisecond
}

type nullDisk struct{}

func (nullDisk) Append([][]byte) error                          { return nil }
func (nullDisk) Checkpoint([]byte, [][]byte, func(error)) error { return nil }
func (nullDisk) Install([]byte, [][]byte) error                 { return nil }

// toyOrigin is what the tests' recordings begin with; its log is not empty.
func toyOrigin() origin {
	return origin{
		build: Build{"commit", "go", "system", "digest"}, target: "toy",
		config: machine.Config{ID: 1, Voters: []int{1, 2, 3}, Seed: 7, Log: [][]byte{[]byte("old")}, Options: machine.Options{Tick: defaultTick}},
	}
}

// toyBatches have events of all kinds, and make a toy that takes a snapshot every 4 records have effects of all kinds.
func toyBatches() [][]machine.Event {
	request := func(seq uint64, v string) machine.Event {
		return machine.Event{Request: &machine.Request{Conn: 5, Seq: seq, Body: put(v).Encode()}}
	}
	message := func(from int, body string) machine.Event {
		return machine.Event{Message: &machine.Message{From: from, To: 1, Body: []byte(body)}}
	}
	batches := [][]machine.Event{
		{{}},
		{request(1, "a"), message(2, "b"), {}},
		{message(2, toyAck+string(put("a").Encode()))},
		{message(3, "c"), message(3, ""), {Gone: 5}},
	}
	for range 10 {
		batches = append(batches, []machine.Event{{}})
	}
	return batches
}

// recorded lets a host step the batches and returns its recorder, not closed, and the recording's name.
func recorded(t testing.TB, m func(machine.Config) machine.Machine, batches [][]machine.Event) (r *recorder, name string) {
	t.Helper()
	dir, o, j := t.TempDir(), toyOrigin(), &journal{w: io.Discard}
	r, err := newRecorder(dir, o, j)
	if err != nil {
		t.Fatal(err)
	}
	made := m(o.config)
	r.end(made.Status())
	c := toyConfig(dir, 1, 3).withDefaults()
	c.Clock = &stepClock{}
	h := newHost(c, made, nullDisk{}, j)
	h.recorder = r
	for _, b := range batches {
		h.step(b)
	}
	return r, filepath.Join(dir, RecordDir, "1"+RecordSuffix)
}

// tape is a whole recording of toyBatches and the offsets of its frames, the last that of its end.
func tape(t testing.TB) (b []byte, frames []int) {
	t.Helper()
	r, name := recorded(t, newToy(4), toyBatches())
	r.close()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := len(recordMagic); at < len(b); at += recordHead + int(binary.LittleEndian.Uint32(b[at:])) {
		frames = append(frames, at)
	}
	return b, append(frames, len(b))
}

func replayed(b []byte, fresh func(machine.Config) machine.Machine) (Replay, error) {
	r, err := OpenRecording(bytes.NewReader(b))
	if err != nil {
		return Replay{}, err
	}
	return r.Replay(fresh)
}

func TestRecordingReplays(t *testing.T) {
	b, frames := tape(t)
	r, err := OpenRecording(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	o := toyOrigin()
	if r.Life != 1 || r.Build != o.build || r.Target != "toy" || !reflect.DeepEqual(r.Config, o.config) {
		t.Errorf("got %+v", r)
	}
	got, err := r.Replay(newToy(4))
	if err != nil || got.Difference != nil || got.End != InOrder {
		t.Fatalf("got %+v, %v", got, err)
	}
	batches := toyBatches()
	want := Events{Ticks: 12, Messages: 4, Requests: 1, Gone: 1}
	if n := uint64(len(batches)); got.Events != want || got.Batches != n || got.Compared != n+1 || len(frames) != 2*len(batches)+4 {
		t.Errorf("got %+v of %d frames", got, len(frames)-1)
	}
	if got.Effects < 10 || got.Status.Counters.SnapshotsTaken == 0 {
		t.Errorf("too little has come of it: %+v", got)
	}
	if d := got.To.Mono - got.From.Mono; d != time.Duration(len(batches)-1)*time.Millisecond || got.From.Wall.Unix() != 1_800_000_000 {
		t.Errorf("from %v to %v", got.From, got.To)
	}
}

// TestRunRecords each life of a real node in a file of its own.
func TestRunRecords(t *testing.T) {
	p := newPack(t, 1, 3)
	p.halt(1)
	p.record = true
	for life := 1; life <= 3; life++ {
		p.start(1)
		for i := range 5 {
			if got := p.do(1, put(fmt.Sprint(life, i))); got.Outcome != machine.Done {
				t.Fatal(got)
			}
		}
		p.halt(1)
		b, err := os.ReadFile(filepath.Join(p.dirs[1], RecordDir, fmt.Sprint(life)+RecordSuffix))
		if err != nil {
			t.Fatal(err)
		}
		r, err := OpenRecording(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if r.Life != life || r.Build != ThisBuild() || r.Target != "toy" || r.Config.Options.Tick == 0 || life > 1 && len(r.Config.Snapshot) == 0 {
			t.Errorf("life %d: %+v", life, r)
		}
		got, err := r.Replay(newToy(3))
		if want := p.hosts[1].Status(); err != nil || got.Difference != nil || got.End != InOrder || got.Events.Requests != 5 || !reflect.DeepEqual(got.Status, want) {
			t.Errorf("life %d: got %+v, %v, want status %+v", life, got, err, want)
		}
	}
}

func TestNoLifeTakesTheNameOfAnother(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1.rec", "7.rec", "9.rec.new", "x.rec"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, RecordDir), 0o755), os.WriteFile(filepath.Join(dir, RecordDir, name), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"8.rec", "9.rec"} {
		r, err := newRecorder(dir, toyOrigin(), &journal{w: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		r.close()
		if _, err := os.Stat(filepath.Join(dir, RecordDir, want)); err != nil {
			t.Error(err)
		}
	}
}

// TestRecorderThatCannotWrite says so and leaves what it has; the node goes on.
func TestRecorderThatCannotWrite(t *testing.T) {
	r, name := recorded(t, newToy(4), toyBatches()[:3])
	var said bytes.Buffer
	r.journal = &journal{w: &said}
	r.file.Close()
	for range 3 {
		r.begin([]machine.Event{{}})
		r.add(machine.Effects{})
		r.end(machine.Status{})
	}
	r.close()
	if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "recording-ended batch=4 error=") {
		t.Errorf("it said %q", got)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := replayed(b, newToy(4)); err != nil || got.Difference != nil || got.Batches != 3 || got.End != Between {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestNodeThatCannotBeginToRecordDoesNotStart(t *testing.T) {
	c := toyConfig(t.TempDir(), 1, 1)
	c.Node.Record = true
	if err := os.WriteFile(filepath.Join(c.Node.Dir, RecordDir), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "record: ") {
		t.Errorf("got %v", err)
	}
}

// vary calls f for every field of what v points to, in turn with another value than it has.
func vary(v reflect.Value, name string, f func(name string)) {
	switch v.Kind() {
	case reflect.Pointer:
		vary(v.Elem(), name, f)
		return
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			break
		}
		for i := range v.NumField() {
			vary(v.Field(i), name+"."+v.Type().Field(i).Name, f)
		}
		return
	case reflect.Array:
		for i := range v.Len() {
			vary(v.Index(i), fmt.Sprintf("%s[%d]", name, i), f)
		}
		return
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				vary(v.Index(i), fmt.Sprintf("%s[%d]", name, i), f)
			}
		}
	}
	old := reflect.ValueOf(v.Interface())
	switch v.Kind() {
	case reflect.Slice:
		v.Set(reflect.Append(slicesClone(v), reflect.Zero(v.Type().Elem())))
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Struct:
		v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(1)))
	default:
		panic("a field of a kind that is new: " + name)
	}
	f(name)
	v.Set(old)
}

func slicesClone(v reflect.Value) reflect.Value {
	return reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v)
}

// TestEveryFieldIsRecorded holds for fields that nobody has thought of yet: what goes into a machine comes back as it was, and nothing that comes out of
// it can change without being seen.
func TestEveryFieldIsRecorded(t *testing.T) {
	b := []byte("b")
	o := toyOrigin()
	o.config.Observers, o.config.Snapshot = []int{4}, b
	vary(reflect.ValueOf(&o.config), "Config", func(name string) {
		var e machine.Encoder
		o.encode(&e)
		if got, err := decodeOrigin(e.B); err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	})
	at := time.Unix(3, 4)
	for _, v := range []*machine.Event{
		{Wall: at}, {Wall: at, Message: &machine.Message{Body: b}}, {Wall: at, Request: &machine.Request{Body: b}}, {Wall: at, Gone: 1},
	} {
		vary(reflect.ValueOf(v).Elem().FieldByName("Wall"), "Event.Wall", func(string) { sameEvent(t, v) })
		for _, part := range []any{&v.Mono, &v.Gone, v.Message, v.Request} {
			if p := reflect.ValueOf(part); !p.IsNil() {
				vary(p, fmt.Sprintf("%T", part), func(string) { sameEvent(t, v) })
			}
		}
	}
	if n := reflect.TypeFor[machine.Event]().NumField(); n != 5 {
		t.Errorf("an event has %d fields: 5 are recorded", n)
	}
	out := Outcome{Status: machine.Status{Voters: []int{1}}}
	vary(reflect.ValueOf(&out), "Outcome", func(name string) {
		var e machine.Encoder
		out.encode(&e)
		if got, err := decodeOutcome(e.B); err != nil || !reflect.DeepEqual(got, out) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	})
}

func sameEvent(t *testing.T, v *machine.Event) {
	t.Helper()
	var e machine.Encoder
	encodeBatch(&e, []machine.Event{*v, *v})
	if got, err := decodeBatch(e.B); err != nil || !reflect.DeepEqual(got.events, []machine.Event{*v, *v}) {
		t.Errorf("got %+v, %v, want %+v twice", got, err, *v)
	}
}

// TestEveryEffectIsHashed: no field, and no move of a byte from one to the next, leaves the hash as it was.
func TestEveryEffectIsHashed(t *testing.T) {
	x := machine.Effects{
		Log: [][]byte{[]byte("ab"), []byte("c")}, Snapshot: []byte("s"), Tail: [][]byte{[]byte("t")}, Send: []machine.Message{{From: 1, To: 2, Body: []byte("m")}},
		Reply: []machine.Reply{{Conn: 1, Seq: 2, Body: []byte("r")}}, Applied: []machine.Applied{{Index: 1, Revision: 2, Hash: 3}},
		Accused: []machine.Accusation{{Node: 1, Why: "w"}},
	}
	hash := func(x machine.Effects) [16]byte {
		var c course
		c.begin()
		c.add(x)
		return c.end(machine.Status{}).Hash
	}
	seen := map[[16]byte]string{hash(x): "as it was"}
	count := 0
	tell := func(name string) {
		count++
		h := hash(x)
		if other, known := seen[h]; known {
			t.Errorf("%s: the hash is that of %s", name, other)
		}
		seen[h] = name
	}
	vary(reflect.ValueOf(&x), "Effects", tell)
	if count < 16 {
		t.Errorf("only %d fields were changed", count)
	}
	var c course
	c.begin()
	first := c.end(machine.Status{}).Hash
	c.begin()
	if second := c.end(machine.Status{}).Hash; first == second {
		t.Error("a hash is of its own batch only, not of all before it")
	}
	x.Log = [][]byte{[]byte("a"), []byte("bc")}
	tell("a byte moved to the next record")
	x.Log, x.Tail = append(x.Log, x.Tail...), nil
	tell("a record in place of the tail")
	x.Log, x.Snapshot = [][]byte{}, []byte{}
	tell("an empty snapshot")
	x.Snapshot = nil
	tell("no snapshot")
	x.Reply, x.Send = nil, append(x.Send, machine.Message{From: 1, To: 2, Body: []byte("r")})
	tell("a message in place of a reply")
}

// BenchmarkStep is a host's step of one request and one message, with and without a recorder.
func BenchmarkStep(b *testing.B) {
	for _, record := range []bool{false, true} {
		b.Run(fmt.Sprintf("recorded=%v", record), func(b *testing.B) {
			c := toyConfig(b.TempDir(), 1, 3).withDefaults()
			h := newHost(c, &echo{}, nullDisk{}, &journal{w: io.Discard})
			if record {
				r, err := newRecorder(c.Node.Dir, toyOrigin(), h.journal)
				if err != nil {
					b.Fatal(err)
				}
				h.recorder = r
				defer r.close()
			}
			batch := []machine.Event{
				{Request: &machine.Request{Conn: 1, Seq: 1, Body: make([]byte, 100)}}, {Message: &machine.Message{From: 2, To: 1, Body: make([]byte, 100)}},
			}
			for b.Loop() {
				h.outlet.recycle(h.step(batch))
			}
		})
	}
}

// echo logs, sends and answers what it gets.
type echo struct{ out machine.Effects }

func (m *echo) Step(e machine.Event) machine.Effects {
	m.out = machine.Effects{Log: m.out.Log[:0], Send: m.out.Send[:0], Reply: m.out.Reply[:0]}
	switch {
	case e.Request != nil:
		m.out.Log = append(m.out.Log, e.Request.Body)
		m.out.Send = append(m.out.Send, machine.Message{From: 1, To: 2, Body: e.Request.Body}, machine.Message{From: 1, To: 3, Body: e.Request.Body})
	case e.Message != nil:
		m.out.Reply = append(m.out.Reply, machine.Reply{Conn: 1, Seq: 1, Body: e.Message.Body})
	}
	return m.out
}

func (m *echo) Status() machine.Status {
	return machine.Status{ID: 1, Role: machine.Leader, Voters: []int{1, 2, 3}}
}
