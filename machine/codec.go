package machine

import (
	"encoding/binary"
	"errors"
)

var (
	errShort = errors.New("it ends too early")
	errLong  = errors.New("bytes are left behind its end")
	errValue = errors.New("a field has a value that it cannot have")
)

// Encoder appends fields to B. The zero Encoder is ready; give B a capacity where the size is known.
type Encoder struct{ B []byte }

// Uint appends v, small numbers in few bytes.
func (e *Encoder) Uint(v uint64) { e.B = binary.AppendUvarint(e.B, v) }

// Int appends v, numbers near 0 in few bytes.
func (e *Encoder) Int(v int64) { e.B = binary.AppendVarint(e.B, v) }

// Bytes appends the length of v and v.
func (e *Encoder) Bytes(v []byte) {
	e.Uint(uint64(len(v)))
	e.B = append(e.B, v...)
}

// Bool appends one byte.
func (e *Encoder) Bool(v bool) {
	if v {
		e.B = append(e.B, 1)
	} else {
		e.B = append(e.B, 0)
	}
}

// Byte appends v.
func (e *Encoder) Byte(v byte) { e.B = append(e.B, v) }

// Decoder reads what an Encoder has written. After the first error all its methods return zeros.
type Decoder struct {
	rest []byte
	err  error
}

// NewDecoder reads from b, which must not change while what Bytes has returned is in use.
func NewDecoder(b []byte) *Decoder { return &Decoder{rest: b} }

// Uint is the inverse of Encoder.Uint.
func (d *Decoder) Uint() uint64 {
	if len(d.rest) > 0 && d.rest[0] < 0x80 && d.err == nil {
		v := d.rest[0]
		d.rest = d.rest[1:]
		return uint64(v)
	}
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.rest)
	switch {
	case n == 0:
		d.fail(errShort)
		return 0
	case n < 0:
		d.fail(errValue)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// Int is the inverse of Encoder.Int.
func (d *Decoder) Int() int64 {
	v := d.Uint()
	return int64(v>>1) ^ -int64(v&1)
}

// Bytes is the inverse of Encoder.Bytes. It aliases the input; it is nil where the length is 0.
func (d *Decoder) Bytes() []byte {
	n := d.Uint()
	if n == 0 {
		return nil
	}
	if n > uint64(len(d.rest)) {
		d.fail(errShort)
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

// Rest is all that is left.
func (d *Decoder) Rest() []byte {
	b := d.rest
	d.rest = nil
	return b
}

// Bool is the inverse of Encoder.Bool.
func (d *Decoder) Bool() bool {
	v := d.Byte()
	if v > 1 {
		d.fail(errValue)
	}
	return v == 1
}

// Byte is the inverse of Encoder.Byte.
func (d *Decoder) Byte() byte {
	if d.err != nil {
		return 0
	}
	if len(d.rest) == 0 {
		d.fail(errShort)
		return 0
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	return v
}

// Count reads a number of things that follow, each at least size bytes long: whoever allocates by it allocates no more than a fixed
// multiple of the input, whatever the input claims.
func (d *Decoder) Count(size int) int {
	n := d.Uint()
	if n > uint64(len(d.rest)/size) {
		d.fail(errShort)
		return 0
	}
	return int(n)
}

// Err is the first error.
func (d *Decoder) Err() error { return d.err }

// Done is Err, or an error if bytes are left.
func (d *Decoder) Done() error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail(errLong)
	}
	return d.err
}

func (d *Decoder) fail(err error) {
	if d.err == nil {
		d.err, d.rest = err, nil
	}
}
