package history

import (
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Append adds the event to b as one line of JSON, without the line's end. Empty fields are left out; results/README.md names them all.
//
// It is written by hand because a recorder that costs more than the operation it records changes what it measures: encoding/json takes
// several times as long.
func (op Op) Append(b []byte) []byte {
	b = append(b, `{"i":`...)
	b = strconv.AppendInt(b, int64(op.Index), 10)
	b = append(b, `,"t":`...)
	b = strconv.AppendInt(b, int64(op.Time), 10)
	b = append(b, `,"p":`...)
	switch op.Process {
	case Nemesis:
		b = append(b, `"nemesis"`...)
	case Harness:
		b = append(b, `"harness"`...)
	default:
		b = strconv.AppendInt(b, int64(op.Process), 10)
	}
	b = append(b, `,"k":"`...)
	b = append(b, op.Kind.String()...)
	b = append(b, '"')
	b = appendTxn(b, op.Txn)
	b = appendField(b, "n", op.Node)
	if op.Session != 0 {
		b = appendHex(appendName(b, "s"), op.Session)
	}
	b = appendNumber(b, "v", op.Version)
	b = appendNumber(b, "r", op.Position)
	b = appendField(b, "note", op.Note)
	b = appendField(b, "phase", op.Phase)
	if op.Fault != nil {
		b = op.Fault.append(append(b, `,"fault":`...))
	}
	if op.State != nil {
		b = op.State.append(append(b, `,"state":`...))
	}
	return append(b, '}')
}

// MarshalJSON is Append.
func (op Op) MarshalJSON() ([]byte, error) { return op.Append(nil), nil }

func appendTxn(b []byte, t Txn) []byte {
	if len(t) == 0 {
		return b
	}
	b = append(b, `,"x":[`...)
	for i, m := range t {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"f":`...)
		b = appendString(b, m.F)
		b = append(b, `,"k":`...)
		b = appendString(b, m.Key)
		b = appendInts(b, "in", m.In)
		b = appendInts(b, "out", m.Out)
		b = append(b, '}')
	}
	return append(b, ']')
}

func (f *Fault) append(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = strconv.AppendInt(b, int64(f.ID), 10)
	b = appendField(b, "name", f.Name)
	b = appendField(b, "what", f.What)
	if len(f.Nodes) > 0 {
		b = append(b, `,"nodes":[`...)
		for i, n := range f.Nodes {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, n)
		}
		b = append(b, ']')
	}
	b = append(b, `,"mended":`...)
	b = strconv.AppendBool(b, f.Mended)
	b = append(b, `,"held":`...)
	b = strconv.AppendBool(b, f.Held)
	b = appendField(b, "probe", f.Probe)
	return append(b, '}')
}

func (s *State) append(b []byte) []byte {
	b = append(b, `{"node":`...)
	b = appendString(b, s.Node)
	b = append(b, `,"applied":`...)
	b = strconv.AppendUint(b, s.Applied, 10)
	b = appendHex(appendName(b, "hash"), s.Hash)
	b = appendField(b, "note", s.Note)
	return append(b, '}')
}

// appendHex: a number above 2^53 would be rounded by most readers of JSON.
func appendHex(b []byte, n uint64) []byte {
	b = append(b, '"')
	for range bits.LeadingZeros64(n|1) / 4 {
		b = append(b, '0')
	}
	return append(strconv.AppendUint(b, n, 16), '"')
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(appendName(b, name), value)
}

func appendNumber(b []byte, name string, value uint64) []byte {
	if value == 0 {
		return b
	}
	return strconv.AppendUint(appendName(b, name), value, 10)
}

func appendInts(b []byte, name string, values []int) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(appendName(b, name), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	return append(b, ']')
}

func appendName(b []byte, name string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":`...)
}

const hexDigits = "0123456789abcdef"

// appendString quotes s. What is not UTF-8 becomes U+FFFD: a note may hold anything that a server has sent.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0 // s[:done] has been written
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		var r rune
		if c >= utf8.RuneSelf {
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[done:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c < ' ':
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, `\ufffd`...)
		}
		i += size
		done = i
	}
	b = append(b, s[done:]...)
	return append(b, '"')
}
