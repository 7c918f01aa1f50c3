package history

import (
	"io"
	"sync"
	"time"
)

// chunk is how many events are kept in one piece of memory: a slice that grows would copy the whole history under the mutex.
const chunk = 4096

// Recorder is the one witness of a run. It gives every event its place and its time under one mutex and has written its line, whole, by
// one call of Write before Record returns: what a killed controller had been told is on record. Safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	w      io.Writer
	now    func() time.Duration
	line   []byte
	chunks [][]Op
	n      int
	err    error
}

// NewRecorder records to w, which should not buffer (an *os.File does not), or, where w is nil, in memory only; now is the controller's monotonic clock.
func NewRecorder(w io.Writer, now func() time.Duration) *Recorder {
	return &Recorder{w: w, now: now}
}

// Record gives op its Index and Time, writes it and returns it. The caller changes nothing that op refers to afterwards.
//
// After the first error of the writer nothing more is written, since a line after a torn one would make the file unreadable; see Err.
func (r *Recorder) Record(op Op) Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	op.Index, op.Time = r.n, r.now()
	if r.err == nil && r.w != nil {
		r.line = append(op.Append(r.line[:0]), '\n')
		_, r.err = r.w.Write(r.line)
	}
	if r.n%chunk == 0 {
		r.chunks = append(r.chunks, make([]Op, 0, chunk))
	}
	last := &r.chunks[len(r.chunks)-1]
	*last = append(*last, op)
	r.n++
	return op
}

// Ops returns what has been recorded so far, also what could not be written.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Op, 0, r.n)
	for _, c := range r.chunks {
		all = append(all, c...)
	}
	return all
}

// Err is the first error of the writer.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
