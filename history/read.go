package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the greatest length of an event's line, in bytes.
const MaxLine = 16 << 20

// ReadFrom reads a recorded history; name is for errors, which say name:line.
//
// A last line that has no end and is no event is what a killed controller, or (NUL bytes) a lost machine, leaves behind: it is left out, since
// nobody had been told that it was recorded. Anything else that is wrong is an error, also an index that is not its line's: a history
// with a hole must not be judged.
func ReadFrom(name string, r io.Reader) ([]Op, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	var ops []Op
	var line []byte
	for n := 1; ; n++ {
		var ended bool
		var err error
		line, ended, err = readLine(in, line[:0])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if !ended && len(line) == 0 {
			return ops, nil
		}
		op, err := decode(line)
		switch {
		case err != nil && !ended:
			return ops, nil
		case err != nil:
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		case op.Index != len(ops):
			return nil, fmt.Errorf("%s:%d: event %d stands where event %d belongs", name, n, op.Index, len(ops))
		}
		ops = append(ops, op)
		if !ended {
			return ops, nil
		}
	}
}

var errLong = fmt.Errorf("the line is longer than %d bytes", MaxLine)

// readLine appends the next line to b, without its end; ended tells whether it had one. Of NUL bytes it keeps one a piece: a file system may
// leave more of them behind than any line may be long.
func readLine(in *bufio.Reader, b []byte) (line []byte, ended bool, err error) {
	for {
		piece, err := in.ReadSlice('\n')
		if len(piece) > 1 && len(bytes.Trim(piece, "\x00")) == 0 {
			piece = piece[:1]
		}
		if len(b)+len(piece) > MaxLine+1 {
			return b, false, errLong
		}
		b = append(b, piece...)
		switch {
		case err == nil:
			return b[:len(b)-1], true, nil
		case errors.Is(err, io.EOF):
			return b, false, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return b, false, err
		}
	}
}
