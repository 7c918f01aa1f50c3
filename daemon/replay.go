package daemon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"assize/machine"
)

// Recording of one life of a node, to be replayed once.
type Recording struct {
	Life   int // of the process, from 1
	Build  Build
	Target string
	Config machine.Config
	frames frames
}

// Replay is what a machine did over a recording's events, as far as it did what was recorded.
type Replay struct {
	Batches  uint64 // batch 0 is the making of the machine and not counted
	Events   Events
	Effects  uint64
	Compared uint64 // outcomes that are as recorded, that of making the machine included
	From, To Reading
	Status   machine.Status // of the replayed machine, at the end
	End      End
	// Difference is the first; nothing is replayed beyond it.
	Difference *Difference
}

// Reading of a node's two clocks.
type Reading struct {
	Wall time.Time
	Mono time.Duration
}

// Events counts them by kind.
type Events struct{ Ticks, Messages, Requests, Gone uint64 }

// Total of all kinds.
func (e Events) Total() uint64 { return e.Ticks + e.Messages + e.Requests + e.Gone }

// End says how a recording ends.
type End int

const (
	InOrder End = iota // as the node ended
	Between            // behind a batch, as after a kill
	Within             // in a batch or before what came of it, as after a kill
)

// Difference is a batch that did not come out as recorded, or one at which the machine panicked.
type Difference struct {
	Batch    uint64
	At       int64 // offset of the batch's events in the file
	Reading  Reading
	Events   []machine.Event
	Recorded *Outcome // nil: the recording ends before it, so that the node may have panicked too
	Replayed Outcome
	Panic    string
}

// OpenRecording reads the beginning. The error wraps ErrNoRecording where r is something else.
func OpenRecording(r io.Reader) (*Recording, error) {
	f := frames{r: bufio.NewReaderSize(r, 64<<10), at: int64(len(recordMagic))}
	var magic [len(recordMagic)]byte
	if _, err := io.ReadFull(f.r, magic[:]); err != nil && !ended(err) {
		return nil, err
	}
	if string(magic[:]) != recordMagic {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrNoRecording, recordMagic)
	}
	body, at, err := f.next()
	if ended(err) {
		return nil, fmt.Errorf("%w: it ends before it says of what", ErrNoRecording)
	}
	if err != nil {
		return nil, err
	}
	l, err := decodeOrigin(body)
	if err != nil {
		return nil, fmt.Errorf("offset %d: frame 0: %w", at, err)
	}
	return &Recording{Life: l.number, Build: l.build, Target: l.target, Config: l.config, frames: f}, nil
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// Replay makes the machine anew and steps it over what was recorded. The error is one of reading: the file is damaged at the offset that it names, and
// what is returned holds up to there.
func (r *Recording) Replay(fresh func(machine.Config) machine.Machine) (Replay, error) {
	p := player{recording: r}
	p.attempt(func() {
		p.machine = fresh(r.Config)
		p.course.begin()
		p.found = p.course.end(p.machine.Status())
		p.Status = p.found.Status
	})
	p.open = true // the outcome of the making has not come
	for p.Difference == nil {
		body, at, err := r.frames.next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			p.cut(err)
			break
		}
		if err == nil {
			err = p.take(body, at)
		}
		if err != nil {
			return p.Replay, err
		}
		if p.done {
			break
		}
	}
	return p.Replay, nil
}

// player replays one recording.
type player struct {
	Replay
	recording *Recording
	machine   machine.Machine
	course    course
	batch     batch
	at        int64   // of the batch
	open      bool    // the batch was stepped, what came of it was not yet read
	found     Outcome // what came of it here
	panic     string
	done      bool
}

// take one frame.
func (p *player) take(body []byte, at int64) error {
	number := p.recording.frames.number - 1
	wrong := func(err error) error { return fmt.Errorf("offset %d: frame %d: %w", at, number, err) }
	switch kind := body[0]; {
	case kind == recordBatch && !p.open:
		b, err := decodeBatch(body)
		if err != nil {
			return wrong(err)
		}
		p.batch, p.at = b, at
		p.step()
	case kind == recordOutcome && p.open:
		o, err := decodeOutcome(body)
		if err != nil {
			return wrong(err)
		}
		p.compare(o)
	case kind == recordEnd && !p.open:
		d := machine.NewDecoder(body[1:])
		if n := d.Uint(); d.Done() != nil || n != p.Batches {
			return wrong(errRecord)
		}
		p.done = true
		if _, _, err := p.recording.frames.next(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("offset %d: there is more behind the recording's end", p.recording.frames.at)
		}
	default:
		return wrong(fmt.Errorf("a frame of kind %d where none can be", kind))
	}
	return nil
}

func (p *player) step() {
	b := &p.batch
	p.open = true
	p.Batches++
	p.To = Reading{b.wall, b.mono}
	if p.Batches == 1 {
		p.From = p.To
	}
	p.course.begin()
	p.found = Outcome{}
	p.attempt(func() {
		for i := range b.events {
			p.count(&b.events[i])
			p.course.add(p.machine.Step(b.events[i]))
		}
		p.found = p.course.end(p.machine.Status())
		p.Status = p.found.Status
	})
}

func (p *player) count(e *machine.Event) {
	switch {
	case e.Message != nil:
		p.Events.Messages++
	case e.Request != nil:
		p.Events.Requests++
	case e.Gone != 0:
		p.Events.Gone++
	default:
		p.Events.Ticks++
	}
}

// attempt does something with the machine, which may panic here as it did, or did not, on its node.
func (p *player) attempt(f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.panic = fmt.Sprint(v)
		}
	}()
	f()
}

func (p *player) compare(recorded Outcome) {
	p.open = false
	if p.panic != "" || !same(&recorded, &p.found) {
		p.differ(&recorded)
		return
	}
	p.Compared++
	p.Effects += recorded.Tally.Total()
}

func same(a, b *Outcome) bool {
	var x, y machine.Encoder
	a.encode(&x)
	b.encode(&y)
	return bytes.Equal(x.B, y.B)
}

func (p *player) differ(recorded *Outcome) {
	p.Difference = &Difference{
		Batch: p.Batches, At: p.at, Reading: Reading{p.batch.wall, p.batch.mono}, Events: p.batch.events,
		Recorded: recorded, Replayed: p.found, Panic: p.panic,
	}
}

// cut ends the replay of a recording that does not end in order.
func (p *player) cut(err error) {
	p.End = Between
	if p.open || errors.Is(err, io.ErrUnexpectedEOF) {
		p.End = Within
	}
	if p.open && p.panic != "" {
		p.differ(nil)
	}
}
