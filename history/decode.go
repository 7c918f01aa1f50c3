package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// The line of an event, as encoding/json sees it; Append is its inverse.
type (
	wireOp struct {
		Index    *int          `json:"i"`
		Time     time.Duration `json:"t"`
		Process  wireProcess   `json:"p"`
		Kind     wireKind      `json:"k"`
		Txn      []wireMop     `json:"x"`
		Node     string        `json:"n"`
		Session  wireHex       `json:"s"`
		Version  uint64        `json:"v"`
		Position uint64        `json:"r"`
		Note     string        `json:"note"`
		Phase    string        `json:"phase"`
		Fault    *wireFault    `json:"fault"`
		State    *wireState    `json:"state"`
	}
	wireMop struct {
		F   string `json:"f"`
		Key string `json:"k"`
		In  []int  `json:"in"`
		Out []int  `json:"out"`
	}
	wireFault struct {
		ID     int      `json:"id"`
		Name   string   `json:"name"`
		What   string   `json:"what"`
		Nodes  []string `json:"nodes"`
		Mended bool     `json:"mended"`
		Held   bool     `json:"held"`
		Probe  string   `json:"probe"`
	}
	wireState struct {
		Node    string  `json:"node"`
		Applied uint64  `json:"applied"`
		Hash    wireHex `json:"hash"`
		Note    string  `json:"note"`
	}
	wireProcess struct {
		number int
		given  bool
	}
	wireKind struct {
		kind  Kind
		given bool
	}
	wireHex uint64
)

func (p *wireProcess) UnmarshalJSON(b []byte) error {
	p.given = true
	switch string(b) {
	case `"nemesis"`:
		p.number = Nemesis
		return nil
	case `"harness"`:
		p.number = Harness
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 0)
	if err != nil || n < 0 {
		return fmt.Errorf("%s is no process: want a number from 0, \"nemesis\" or \"harness\"", b)
	}
	p.number = int(n)
	return nil
}

func (k *wireKind) UnmarshalJSON(b []byte) error {
	for i, name := range kindNames {
		if len(b) == len(name)+2 && string(b[1:len(b)-1]) == name {
			*k = wireKind{Kind(i), true}
			return nil
		}
	}
	return fmt.Errorf("%s is no kind: want one of %q", b, kindNames)
}

func (h *wireHex) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseUint(string(bytes.Trim(b, `"`)), 16, 64)
	if err != nil {
		return fmt.Errorf("%s is no hash and no session: want 16 hexadecimal digits in quotes", b)
	}
	*h = wireHex(n)
	return nil
}

// decode one line. A field that this version does not know is an error: it may be what decides a verdict.
func decode(line []byte) (Op, error) {
	var w wireOp
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		if errors.Is(err, io.EOF) {
			return Op{}, errors.New("the line is empty")
		}
		return Op{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Op{}, errors.New("there is more on the line than one event")
	}
	if w.Index == nil || !w.Process.given || !w.Kind.given {
		return Op{}, errors.New(`an event needs "i", "p" and "k"`)
	}
	op := Op{Index: *w.Index, Time: w.Time, Process: w.Process.number, Kind: w.Kind.kind, Node: w.Node, Session: uint64(w.Session),
		Version: w.Version, Position: w.Position, Note: w.Note, Phase: w.Phase}
	for _, m := range w.Txn {
		op.Txn = append(op.Txn, Mop{F: m.F, Key: m.Key, In: orNil(m.In), Out: orNil(m.Out)})
	}
	if f := w.Fault; f != nil {
		op.Fault = &Fault{ID: f.ID, Name: f.Name, What: f.What, Nodes: f.Nodes, Mended: f.Mended, Held: f.Held, Probe: f.Probe}
		if len(f.Nodes) == 0 {
			op.Fault.Nodes = nil
		}
	}
	if s := w.State; s != nil {
		op.State = &State{Node: s.Node, Applied: s.Applied, Hash: uint64(s.Hash), Note: s.Note}
	}
	return op, nil
}

// UnmarshalJSON is the inverse of Append.
func (op *Op) UnmarshalJSON(b []byte) error {
	decoded, err := decode(b)
	if err == nil {
		*op = decoded
	}
	return err
}

// orNil makes no difference between no list and an empty one, as the encoder makes none.
func orNil(list []int) []int {
	if len(list) == 0 {
		return nil
	}
	return list
}
