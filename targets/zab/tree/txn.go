package tree

import (
	"errors"
	"fmt"

	"assize/machine"
	"assize/machine/jute"
)

// Txn is a prepared transaction: what every server applies at its zxid. Applying needs no decision any more.
type Txn struct {
	Session int64
	Cxid    int32 // the request's xid
	Zxid    int64
	Time    int64 // the leader's wall clock, milliseconds since 1970

	// Op is Create, Create2, CreateContainer, CreateTTL, Delete, DeleteContainer, SetData, SetACL, Reconfig, Multi, CreateSession,
	// CloseSession, or Failure, which only uses up its zxid; in a Multi also Check.
	Op  jute.Op
	Err jute.Code // of a Failure

	Path           string // as it was resolved, with the suffix of a sequential node
	Data           []byte // nil and empty are not the same
	ACL            []jute.ACL
	Version        int32 // after it
	Ephemeral      bool
	TTL            int64    // CreateTTL, milliseconds
	ParentCversion int32    // after it: how many children have been created
	Timeout        int32    // CreateSession, milliseconds
	Paths          []string // CloseSession: the session's nodes, ascending
	Sub            []Txn    // Multi: its operations, whose first four fields are zero; all of them Failure where one has failed
}

var (
	errOp    = errors.New("there is no such operation")
	errField = errors.New("a field has a value that it cannot have")
)

// writer and reader add to machine's encoding what nodes are made of.
type writer struct{ machine.Encoder }

type reader struct {
	*machine.Decoder
	err error // of a value; what the bytes themselves have wrong, Decoder knows
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) done() error {
	if err := r.Done(); err != nil {
		return err
	}
	return r.err
}

func (w *writer) text(s string) {
	w.Uint(uint64(len(s)))
	w.B = append(w.B, s...)
}

func (r *reader) text() string { return string(r.Bytes()) }

// blob keeps apart no bytes and none at all.
func (w *writer) blob(b []byte) {
	if w.Bool(b != nil); b != nil {
		w.Bytes(b)
	}
}

func (r *reader) blob() []byte {
	if !r.Bool() {
		return nil
	}
	if b := r.Bytes(); b != nil {
		return b
	}
	return []byte{}
}

// list of permissions, most often the open one.
func (w *writer) list(list []jute.ACL) {
	if len(list) == 1 && list[0] == open[0] {
		w.Byte(0)
		return
	}
	w.Byte(1)
	w.Uint(uint64(len(list)))
	for i := range list {
		w.Int(int64(list[i].Perms))
		w.text(list[i].ID.Scheme)
		w.text(list[i].ID.ID)
	}
}

func (r *reader) list() []jute.ACL {
	switch r.Byte() {
	case 0:
		return open
	case 1:
	default:
		r.fail(errField)
	}
	n := r.Count(3)
	if n == 0 {
		return nil
	}
	list := make([]jute.ACL, n)
	for i := range list {
		list[i] = jute.ACL{Perms: r.int32(), ID: jute.ID{Scheme: r.text(), ID: r.text()}}
	}
	return shared(list)
}

func (r *reader) int32() int32 {
	v := r.Int()
	if int64(int32(v)) != v {
		r.fail(errField)
	}
	return int32(v)
}

// Encode the transaction; fields that its operation does not use are left out.
func (x *Txn) Encode() []byte {
	w := writer{machine.Encoder{B: make([]byte, 0, 48+x.size())}}
	w.Int(x.Session)
	w.Int(int64(x.Cxid))
	w.Int(x.Zxid)
	w.Int(x.Time)
	w.txn(x)
	return w.B
}

// size is an upper bound for most transactions, so that Encode allocates once.
func (x *Txn) size() int {
	n := 24 + len(x.Path) + len(x.Data)
	for i := range x.ACL {
		n += 8 + len(x.ACL[i].ID.Scheme) + len(x.ACL[i].ID.ID)
	}
	for i := range x.Paths {
		n += 4 + len(x.Paths[i])
	}
	for i := range x.Sub {
		n += x.Sub[i].size()
	}
	return n
}

func (w *writer) txn(x *Txn) {
	w.Int(int64(x.Op))
	switch x.Op {
	case jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL:
		w.text(x.Path)
		w.blob(x.Data)
		w.list(x.ACL)
		w.Int(int64(x.ParentCversion))
		switch x.Op {
		case jute.Create, jute.Create2:
			w.Bool(x.Ephemeral)
		case jute.CreateTTL:
			w.Int(x.TTL)
		}
	case jute.Delete, jute.DeleteContainer:
		w.text(x.Path)
	case jute.SetData, jute.Reconfig:
		w.text(x.Path)
		w.blob(x.Data)
		w.Int(int64(x.Version))
	case jute.SetACL:
		w.text(x.Path)
		w.list(x.ACL)
		w.Int(int64(x.Version))
	case jute.Check:
		w.text(x.Path)
		w.Int(int64(x.Version))
	case jute.CreateSession:
		w.Int(int64(x.Timeout))
	case jute.CloseSession:
		w.Uint(uint64(len(x.Paths)))
		for i := range x.Paths {
			w.text(x.Paths[i])
		}
	case jute.Failure:
		w.Int(int64(x.Err))
	case jute.Multi:
		w.Uint(uint64(len(x.Sub)))
		for i := range x.Sub {
			w.txn(&x.Sub[i])
		}
	default:
		panic(fmt.Sprintf("tree: a transaction of operation %d", x.Op))
	}
}

// DecodeTxn is the inverse of Encode. The transaction's Data aliases b.
func DecodeTxn(b []byte) (Txn, error) {
	r := reader{Decoder: machine.NewDecoder(b)}
	x := Txn{Session: r.Int(), Cxid: r.int32(), Zxid: r.Int(), Time: r.Int()}
	r.txn(&x)
	switch {
	case x.Op == jute.Check:
		r.fail(errOp)
	case x.Op == jute.Multi:
		if n := r.Count(2); n > 0 {
			x.Sub = make([]Txn, n)
		}
		for i := range x.Sub {
			r.txn(&x.Sub[i])
			switch x.Sub[i].Op {
			case jute.Multi, jute.CreateSession, jute.CloseSession, jute.SetACL, jute.Reconfig, jute.DeleteContainer:
				r.fail(errOp)
			}
		}
	}
	if err := r.done(); err != nil {
		return Txn{}, fmt.Errorf("decode a transaction: %w", err)
	}
	return x, nil
}

// txn reads all but what a Multi is made of.
func (r *reader) txn(x *Txn) {
	x.Op = jute.Op(r.int32())
	switch x.Op {
	case jute.Create, jute.Create2, jute.CreateContainer, jute.CreateTTL:
		x.Path, x.Data, x.ACL, x.ParentCversion = r.text(), r.blob(), r.list(), r.int32()
		switch x.Op {
		case jute.Create, jute.Create2:
			x.Ephemeral = r.Bool()
		case jute.CreateTTL:
			if x.TTL = r.Int(); x.TTL <= 0 || x.TTL > MaxTTL {
				r.fail(errField)
			}
		}
	case jute.Delete, jute.DeleteContainer:
		x.Path = r.text()
	case jute.SetData, jute.Reconfig:
		x.Path, x.Data, x.Version = r.text(), r.blob(), r.int32()
	case jute.SetACL:
		x.Path, x.ACL, x.Version = r.text(), r.list(), r.int32()
	case jute.Check:
		x.Path, x.Version = r.text(), r.int32()
	case jute.CreateSession:
		x.Timeout = r.int32()
	case jute.CloseSession:
		if n := r.Count(1); n > 0 {
			x.Paths = make([]string, n)
		}
		for i := range x.Paths {
			x.Paths[i] = r.text()
		}
	case jute.Failure:
		x.Err = jute.Code(r.int32())
	case jute.Multi:
	default:
		r.fail(errOp)
	}
}
