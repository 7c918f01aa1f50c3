package machine

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"testing"
)

func FuzzCommand(f *testing.F) {
	d := draw{rand.New(rand.NewPCG(1, 1))}
	for range 20 {
		f.Add(d.command(5).Encode())
	}
	f.Add(Command{Kind: CommandJoin, Node: 4, Address: []byte("127.0.0.1:1")}.Encode())
	f.Add(Command{Kind: CommandChanges, Local: true, Key: []byte("a"), End: []byte{0}, Revision: 7, Limit: 3}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			return
		}
		again, err := DecodeCommand(c.Encode())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v\nbecame %+v, %v", c, again, err)
		}
		s := NewStore(3)
		s.Apply(txn(put("k01", "value 1"), put("k02", "")))
		if r := s.Apply(c); r.Outcome != Done && s.Revision() != 2 {
			t.Fatalf("%+v was not done and yet changed the store: %+v", c, r)
		}
		s.Read(c)
		restored(t, s, 3)
	})
}

func FuzzResult(f *testing.F) {
	d := draw{rand.New(rand.NewPCG(1, 2))}
	s := NewStore(10)
	for range 20 {
		f.Add(s.Apply(d.command(s.Revision())).Encode())
	}
	f.Add(s.Read(Command{Kind: CommandChanges, Key: []byte{0}, End: []byte{0}, Revision: s.Oldest()}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeResult(b)
		if err != nil {
			return
		}
		again, err := DecodeResult(r.Encode())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v\nbecame %+v, %v", r, again, err)
		}
	})
}

// FuzzRestore gives every input the checksum that it lacks, or nothing would get behind it. What is restored must be a store: its snapshot
// restores to itself, and it can be read at every revision that it says it keeps.
func FuzzRestore(f *testing.F) {
	for seed := range uint64(5) {
		d, s := draw{rand.New(rand.NewPCG(seed, 3))}, NewStore(10)
		for range 5 * seed {
			s.Apply(d.command(s.Revision()))
		}
		b := s.Snapshot()
		f.Add(b[:len(b)-8])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := RestoreStore(b, 10); err == nil && (len(b) < 8 || binary.LittleEndian.Uint64(b[len(b)-8:]) != Sum(0, b[:len(b)-8])) {
			t.Fatal("a wrong checksum was taken")
		}
		b = binary.LittleEndian.AppendUint64(bytes.Clone(b), Sum(0, b))
		s, err := RestoreStore(b, 10)
		if err != nil {
			return
		}
		restored(t, s, 10)
		for revision := max(s.Oldest(), s.Revision()-20); revision <= s.Revision(); revision++ {
			r := s.Read(txn(Operation{Op: OpRange, Key: []byte{0}, End: []byte{0}, Revision: revision}))
			if r.Outcome != Done {
				t.Fatalf("revision %d of %d..%d: %+v", revision, s.Oldest(), s.Revision(), r)
			}
		}
		s.Apply(txn(put("k01", "1"), Operation{Op: OpDelete, Key: []byte("k02"), End: []byte{0}}))
		restored(t, s, 10)
	})
}

func FuzzSessions(f *testing.F) {
	s := NewSessions(4)
	for i := range uint64(6) {
		f.Add(s.Encode())
		s.Record(i%5+1, i+1, i, i, []byte("reply"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSessions(b, 4)
		if err != nil {
			return
		}
		again, err := DecodeSessions(s.Encode(), 4)
		if err != nil || !bytes.Equal(again.Encode(), s.Encode()) {
			t.Fatalf("%x became %x, %v", s.Encode(), again.Encode(), err)
		}
		for conn := range uint64(10) {
			s.Check(conn, 1, 0)
			s.Record(conn, 1, 1, ^uint64(0), nil)
		}
	})
}

func TestRestoreRefusesDamage(t *testing.T) {
	d, s := draw{rand.New(rand.NewPCG(9, 3))}, NewStore(10)
	for range 30 {
		s.Apply(d.command(s.Revision()))
	}
	b := s.Snapshot()
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 1 << (i % 8)
		if _, err := RestoreStore(damaged, 10); err == nil {
			t.Errorf("byte %d of %d was changed, and the snapshot taken", i, len(b))
		}
		if _, err := RestoreStore(b[:i], 10); err == nil {
			t.Errorf("the first %d of %d bytes were taken", i, len(b))
		}
	}
}

// TestDecodersAllocateByWhatTheyHold: a count that the input cannot hold must not be believed.
func TestDecodersAllocateByWhatTheyHold(t *testing.T) {
	e := Encoder{}
	e.Byte(byte(CommandTxn))
	e.Bool(false)
	e.Uint(0)
	e.Uint(1 << 40)
	if _, err := DecodeCommand(e.B); err == nil {
		t.Error("a command of 2^40 steps was taken")
	}
	e = Encoder{}
	e.Uint(1 << 62)
	d := NewDecoder(e.B)
	if got := d.Bytes(); got != nil || d.Err() == nil {
		t.Errorf("got %d bytes, %v", len(got), d.Err())
	}
}
