package fleet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Journal is a node's server.log, kept through its restarts: each line stamped with the seconds since the run began, as whoever reads it reads
// them.
type Journal struct {
	now     func() time.Duration
	accused func(what string)

	mu    sync.Mutex
	file  *os.File
	told  bool     // accused has been told something
	cause []string // from a panic on: a long trace of goroutines follows what matters
	last  []string // the end of it, for the report of an unexpected death
}

const (
	lastLines  = 20
	causeLines = 12

	accusation = "accused " // begins the line by which a server of ours tells of another that says what no correct one says
)

// NewJournal goes on with the file at path, or begins it. now is the run's clock. accused is told the first of the server's accusations.
func NewJournal(path string, now func() time.Duration, accused func(what string)) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &Journal{now: now, accused: accused, file: f}, nil
}

// Begin forgets the end of the life before.
func (j *Journal) Begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cause, j.last = nil, nil
}

// Line writes one line, stamped. A full disk must not stop a node's output from being read, so errors end here.
func (j *Journal) Line(s string) {
	if what, is := strings.CutPrefix(s, accusation); is && j.first() {
		j.accused(what)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(j.file, "%12.6f %s\n", j.now().Seconds(), s)
	if len(j.cause) > 0 || strings.HasPrefix(s, "panic:") || strings.HasPrefix(s, "fatal error:") {
		if len(j.cause) < causeLines {
			j.cause = append(j.cause, s)
			return
		}
	}
	j.last = append(j.last, s)
	if len(j.last) > lastLines {
		j.last = slices.Delete(j.last, 0, len(j.last)-lastLines)
	}
}

// first tells whether nothing has been told yet.
func (j *Journal) first() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := j.told
	j.told = true
	return !before
}

// Copy stamps each line at the time it is read. A line longer than the buffer is broken.
func (j *Journal) Copy(r io.Reader) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		b, err := lines.ReadSlice('\n')
		if len(b) > 0 {
			j.Line(strings.TrimRight(string(b), "\r\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// Ending is what of this life's output says why it ended.
func (j *Journal) Ending() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.cause) > 0 {
		return slices.Clone(j.cause)
	}
	return slices.Clone(j.last)
}

// Close the file. Lines that come later are lost.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}
