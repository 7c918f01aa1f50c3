package daemon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"assize/machine"
)

// TestEveryBitIsHeld: whichever bit of a recording is flipped, the frame that holds it is named.
func TestEveryBitIsHeld(t *testing.T) {
	b, frames := tape(t)
	for i := range b {
		for bit := range 8 {
			bad := slices.Clone(b)
			bad[i] ^= 1 << bit
			_, err := replayed(bad, newToy(4))
			if i < len(recordMagic) {
				if !errors.Is(err, ErrNoRecording) {
					t.Fatalf("bit %d of byte %d: got %v", bit, i, err)
				}
				continue
			}
			at, exact := slices.BinarySearch(frames, i)
			if !exact {
				at--
			}
			if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("offset %d: ", frames[at])) {
				t.Fatalf("bit %d of byte %d: got %v, want offset %d", bit, i, err, frames[at])
			}
		}
	}
}

// TestRecordingCutAnywhere replays as far as it goes, as what a killed process leaves must.
func TestRecordingCutAnywhere(t *testing.T) {
	b, frames := tape(t)
	for n := range b {
		got, err := replayed(b[:n], newToy(4))
		if n < frames[1] {
			if !errors.Is(err, ErrNoRecording) {
				t.Errorf("cut at %d: got %v", n, err)
			}
			continue
		}
		// Behind the beginning come outcome 0, batch 1, outcome 1, batch 2 and so on.
		whole, exact := slices.BinarySearch(frames, n)
		if !exact {
			whole--
		}
		end := Within
		if exact && whole%2 == 0 {
			end = Between
		}
		if err != nil || got.Difference != nil || got.End != end || got.Compared != uint64(whole/2) || got.Batches != uint64((whole-1)/2) {
			t.Errorf("cut at %d, behind %d frames: got %+v, %v", n, whole, got, err)
		}
	}
}

func TestFramesCannotBeMoved(t *testing.T) {
	b, frames := tape(t)
	frame := func(i int) []byte { return b[frames[i]:frames[i+1]] }
	last := len(frames) - 2
	for what, bad := range map[string][]byte{
		"left out":                         slices.Concat(b[:frames[3]], b[frames[4]:]),
		"a batch and its outcome left out": slices.Concat(b[:frames[4]], b[frames[6]:]),
		"twice":                            slices.Concat(b[:frames[4]], frame(3), b[frames[4]:]),
		"swapped":                          slices.Concat(b[:frames[8]], frame(10), frame(9), frame(8), b[frames[11]:]),
		"something behind the end":         slices.Concat(b, frame(last)),
		"of another life":                  slices.Concat(b[:frames[last]], b[len(recordMagic):]),
		"the end too early":                slices.Concat(b[:frames[4]], sealed(4, []byte{recordEnd, 9})),
		"an outcome too many":              slices.Concat(b[:frames[4]], sealed(4, b[frames[3]+recordHead:frames[4]])),
		"two batches at once":              slices.Concat(b[:frames[3]], sealed(3, b[frames[2]+recordHead:frames[3]])),
		"a kind that is not known":         slices.Concat(b[:frames[4]], sealed(4, []byte{99})),
		"an empty frame":                   slices.Concat(b[:frames[4]], sealed(4, nil)),
	} {
		if got, err := replayed(bad, newToy(4)); err == nil || !strings.HasPrefix(err.Error(), "offset ") {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
}

// sealed is a frame with this body.
func sealed(number uint64, body []byte) []byte {
	b := append(make([]byte, recordHead), body...)
	sealRecord(b, number)
	return b
}

func TestNoRecording(t *testing.T) {
	for _, s := range []string{"", "assize", "assize record 1\nxxxxxxxxxxxxxxxxxxxx", "assize record 2\nxxxxxxxxxxxxxxxxxxxx", "\x7fELF" + strings.Repeat("x", 100), recordMagic} {
		if _, err := OpenRecording(strings.NewReader(s)); !errors.Is(err, ErrNoRecording) {
			t.Errorf("%q: got %v", s, err)
		}
	}
	_, err := OpenRecording(io.MultiReader(strings.NewReader(recordMagic), badReader{}))
	if err == nil || errors.Is(err, ErrNoRecording) {
		t.Errorf("a file that cannot be read: got %v", err)
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// TestLengthThatLies takes no memory for what is not there.
func TestLengthThatLies(t *testing.T) {
	huge := make([]byte, recordHead)
	binary.LittleEndian.PutUint32(huge, maxRecord)
	binary.LittleEndian.PutUint32(huge[4:], recordHeadSum(huge, 0))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := OpenRecording(bytes.NewReader(append([]byte(recordMagic), huge...))); !errors.Is(err, ErrNoRecording) {
		t.Errorf("got %v", err)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("it took %d bytes", after.TotalAlloc-before.TotalAlloc)
	}
	binary.LittleEndian.PutUint32(huge, maxRecord+1)
	binary.LittleEndian.PutUint32(huge[4:], recordHeadSum(huge, 0))
	if _, err := OpenRecording(bytes.NewReader(append([]byte(recordMagic), huge...))); err == nil || errors.Is(err, ErrNoRecording) {
		t.Errorf("got %v", err)
	}
}

// changed is a machine whose step number at is not what it was.
type changed struct {
	machine.Machine
	steps, at int
	how       func(*machine.Effects, *machine.Status)
	status    machine.Status
}

func (m *changed) Step(e machine.Event) machine.Effects {
	x := m.Machine.Step(e)
	m.status = m.Machine.Status()
	if m.steps++; m.steps == m.at {
		x.Log, x.Send = slices.Clone(x.Log), slices.Clone(x.Send)
		m.how(&x, &m.status)
	}
	return x
}

func (m *changed) Status() machine.Status {
	if m.steps == m.at {
		return m.status
	}
	return m.Machine.Status()
}

func newChanged(at int, how func(*machine.Effects, *machine.Status)) func(machine.Config) machine.Machine {
	return func(c machine.Config) machine.Machine { return &changed{Machine: makeToy(c, 4), at: at, how: how} }
}

// TestAnotherMachineIsNoticedAtItsBatch, whatever it does otherwise.
func TestAnotherMachineIsNoticedAtItsBatch(t *testing.T) {
	b, frames := tape(t)
	for what, how := range map[string]func(*machine.Effects, *machine.Status){
		"one more record":   func(x *machine.Effects, _ *machine.Status) { x.Log = append(x.Log, nil) },
		"an empty snapshot": func(x *machine.Effects, _ *machine.Status) { x.Snapshot = []byte{} },
		"another body":      func(x *machine.Effects, _ *machine.Status) { x.Send[0].Body = []byte("x") },
		"another receiver":  func(x *machine.Effects, _ *machine.Status) { x.Send[0].To = 3 },
		"one message less":  func(x *machine.Effects, _ *machine.Status) { x.Send = x.Send[1:] },
		"applied":           func(x *machine.Effects, _ *machine.Status) { x.Applied = make([]machine.Applied, 1) },
		"a status":          func(_ *machine.Effects, s *machine.Status) { s.Commit++ },
		"a counter":         func(_ *machine.Effects, s *machine.Status) { s.Counters.LeaseReads++ },
		"a panic":           func(*machine.Effects, *machine.Status) { panic("a broken invariant") },
	} {
		// Step 3 is the message in the second batch, and 4 its last.
		at := 3
		if what == "a status" || what == "a counter" {
			at = 4
		}
		got, err := replayed(b, newChanged(at, how))
		d := got.Difference
		if err != nil || d == nil {
			t.Errorf("%s: got %+v, %v", what, got, err)
			continue
		}
		if d.Batch != 2 || d.At != int64(frames[4]) || len(d.Events) != 3 || d.Recorded == nil || got.Compared != 2 || (d.Panic != "") != (what == "a panic") {
			t.Errorf("%s: got %+v", what, d)
		}
		if d.Panic == "" && same(d.Recorded, &d.Replayed) {
			t.Errorf("%s: both outcomes are %+v", what, d.Recorded)
		}
	}
	if got, err := replayed(b, newToy(5)); err != nil || got.Difference == nil || got.Difference.Batch == 0 {
		t.Errorf("snapshots at another distance: got %+v, %v", got, err)
	}
	other := func(c machine.Config) machine.Machine { c.Log = nil; return makeToy(c, 4) }
	if got, err := replayed(b, other); err != nil || got.Difference == nil || got.Difference.Batch != 0 {
		t.Errorf("made of another log: got %+v, %v", got, err)
	}
	panics := func(machine.Config) machine.Machine { panic("of this log nothing can be made") }
	if got, err := replayed(b, panics); err != nil || got.Difference == nil || got.Difference.Batch != 0 || got.Difference.Panic == "" {
		t.Errorf("cannot be made: got %+v, %v", got, err)
	}
}

// TestPanicIsRecorded: the events that broke an invariant are in the recording, though nothing can have come of them.
func TestPanicIsRecorded(t *testing.T) {
	broken := newChanged(3, func(*machine.Effects, *machine.Status) { panic("a broken invariant") })
	var name string
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing has panicked")
			}
		}()
		var r *recorder
		r, name = recorded(t, broken, toyBatches()[:1])
		(&host{config: Config{Clock: &stepClock{}}, machine: broken(toyOrigin().config), outlet: newOutlet(nullDisk{}, new(counts), nil, nil), recorder: r}).step(
			[]machine.Event{{}, {}, {Gone: 5}})
	}()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	again := newChanged(4, func(*machine.Effects, *machine.Status) { panic("a broken invariant") })
	got, err := replayed(b, again)
	if d := got.Difference; err != nil || d == nil || d.Batch != 2 || d.Panic != "a broken invariant" || d.Recorded != nil || len(d.Events) != 3 || d.Events[2].Gone != 5 {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := replayed(b, newToy(4)); err != nil || got.Difference != nil || got.End != Within || got.Batches != 2 || got.Compared != 2 {
		t.Errorf("a machine that does not panic: got %+v, %v", got, err)
	}
}

// FuzzRecording takes the input as a file, and as bodies of frames that are whole.
func FuzzRecording(f *testing.F) {
	b, frames := tape(f)
	f.Add(b)
	for i := range frames[:6] {
		f.Add(b[frames[i]+recordHead : frames[i+1]])
	}
	f.Add(b[:len(b)-3])
	start := b[:frames[2]]
	f.Fuzz(func(t *testing.T, in []byte) {
		replayed(in, newToy(4))
		if len(in) == 0 {
			return
		}
		replayed(slices.Concat(start, sealed(2, in)), newToy(4))
		if r, err := OpenRecording(bytes.NewReader(slices.Concat([]byte(recordMagic), sealed(0, in)))); err == nil {
			var e machine.Encoder
			o := origin{r.Life, r.Build, r.Target, r.Config}
			o.encode(&e)
			if again, err := decodeOrigin(e.B); err != nil || again.number != o.number || len(again.config.Log) != len(o.config.Log) {
				t.Errorf("%x: got %+v, then %+v, %v", in, o, again, err)
			}
		}
		if o, err := decodeOutcome(in); err == nil {
			var e machine.Encoder
			o.encode(&e)
			if again, err := decodeOutcome(e.B); err != nil || !same(&again, &o) {
				t.Errorf("%x: got %+v, then %+v, %v", in, o, again, err)
			}
		}
		if v, err := decodeBatch(in); err == nil && len(v.events) > 0 {
			var e machine.Encoder
			encodeBatch(&e, v.events)
			if again, err := decodeBatch(e.B); err != nil || len(again.events) != len(v.events) || !again.wall.Equal(v.wall) || again.mono != v.mono {
				t.Errorf("%x: got %+v, then %+v, %v", in, v, again, err)
			}
		}
	})
}
