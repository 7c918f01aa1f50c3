package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"assize/machine"
)

// RecordDir is where a node's recordings are, below its directory: <life>.rec, one for each life of the process, counted from 1.
const (
	RecordDir    = "record"
	RecordSuffix = ".rec"
)

// recorder writes down what the owner steps and what comes of it. What of a batch came in is with the operating system before the batch is stepped,
// what came of it before the effects go on their way: neither the process's kill nor its panic takes away what made anybody else do something. A
// crash of the machine may: nothing is synced.
//
// A recorder that cannot write says so in the journal and ends; the node goes on. A recording that ends too early is told from a whole one,
// and a node that stopped for want of a recording would have been stopped by its observer. A nil recorder records nothing. It is the owner's.
type recorder struct {
	file    *os.File // nil: it has ended
	journal *journal
	number  uint64 // of the next frame
	batches uint64
	course  course
	frame   machine.Encoder
}

// newRecorder begins the recording of another life. Until it is whole the life's description has another name: a file that has the name of a
// recording is one. The directory is locked.
func newRecorder(dir string, l origin, j *journal) (*recorder, error) {
	dir = filepath.Join(dir, RecordDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	var err error
	if l.number, err = nextLife(dir); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	name := filepath.Join(dir, strconv.Itoa(l.number)+RecordSuffix)
	r := &recorder{journal: j}
	if r.file, err = os.Create(name + ".new"); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	_, err = r.file.WriteString(recordMagic)
	r.blank()
	l.encode(&r.frame)
	err = errors.Join(err, r.write())
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		r.file.Close()
		return nil, fmt.Errorf("record: %w", err)
	}
	j.line("recording", "id", l.config.ID, "file", name)
	r.course.begin()
	return r, nil
}

// nextLife is one more than the greatest that has been recorded.
func nextLife(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	last := 0
	for _, e := range entries {
		if stem, ok := strings.CutSuffix(e.Name(), RecordSuffix); ok {
			if n, err := strconv.Atoi(stem); err == nil {
				last = max(last, n)
			}
		}
	}
	return last + 1, nil
}

// begin takes down a batch that is about to be stepped.
func (r *recorder) begin(events []machine.Event) {
	if r == nil || r.file == nil {
		return
	}
	r.batches++
	r.blank()
	encodeBatch(&r.frame, events)
	r.put()
	r.course.begin()
}

// add takes down what came of one of its events, before the next is stepped.
func (r *recorder) add(x machine.Effects) {
	if r != nil && r.file != nil {
		r.course.add(x)
	}
}

// end takes down what came of the batch as a whole, or of making the machine.
func (r *recorder) end(s machine.Status) {
	if r == nil || r.file == nil {
		return
	}
	o := r.course.end(s)
	r.blank()
	o.encode(&r.frame)
	r.put()
}

// close ends a recording in order.
func (r *recorder) close() {
	if r == nil || r.file == nil {
		return
	}
	r.blank()
	r.frame.Byte(recordEnd)
	r.frame.Uint(r.batches)
	r.put()
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

func (r *recorder) blank() {
	r.frame.B = append(spare(r.frame.B), make([]byte, recordHead)...)
}

func (r *recorder) put() {
	if err := r.write(); err != nil {
		r.journal.line("recording-ended", "batch", r.batches, "error", err)
		r.file.Close()
		r.file = nil
	}
}

func (r *recorder) write() error {
	if n := len(r.frame.B) - recordHead; n > maxRecord {
		return fmt.Errorf("%d bytes are too many for one frame", n)
	}
	sealRecord(r.frame.B, r.number)
	r.number++
	_, err := r.file.Write(r.frame.B)
	return err
}
