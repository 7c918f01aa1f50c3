package machine

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func check(t *testing.T, s *Sessions, conn, seq, born uint64, want Freshness, body string) {
	t.Helper()
	got, v := s.Check(conn, seq, born)
	if v != want || string(got) != body {
		t.Errorf("Check(%d, %d, %d) = %q, %d; want %q, %d", conn, seq, born, got, v, body, want)
	}
}

func TestDuplicateGetsTheFirstReply(t *testing.T) {
	s := NewSessions(10)
	check(t, s, 1, 1, 0, Fresh, "")
	s.Record(1, 1, 1, 5, []byte("first"))
	check(t, s, 1, 1, 0, Duplicate, "first")
	s.Record(1, 1, 1, 6, []byte("second"))
	check(t, s, 1, 1, 0, Duplicate, "first")
	check(t, s, 2, 1, 0, Fresh, "")
}

// TestOutOfOrder: a connection has many requests under way, and the network may turn them round.
func TestOutOfOrder(t *testing.T) {
	s := NewSessions(10)
	for i, seq := range []uint64{5, 2, 9, 3} {
		check(t, s, 1, seq, 0, Fresh, "")
		s.Record(1, seq, 1, uint64(i), []byte{'0' + byte(seq)})
	}
	for _, seq := range []uint64{1, 4, 6, 7, 8, 10} {
		check(t, s, 1, seq, 0, Fresh, "")
	}
	for _, seq := range []uint64{2, 3, 5, 9} {
		check(t, s, 1, seq, 0, Duplicate, string([]byte{'0' + byte(seq)}))
	}
}

func TestLowWaterMark(t *testing.T) {
	s := NewSessions(10)
	for seq := uint64(1); seq <= 4; seq++ {
		s.Record(1, seq, 1, seq, []byte("x"))
	}
	s.Record(1, 6, 4, 5, []byte("y"))
	if got := len(s.conns[1].replies); got != 2 {
		t.Errorf("%d replies are kept, want those to 4 and 6", got)
	}
	check(t, s, 1, 3, 0, Duplicate, "")
	check(t, s, 1, 4, 0, Duplicate, "x")
	check(t, s, 1, 5, 0, Fresh, "")
	s.Record(1, 5, 2, 6, []byte("z")) // a mark never falls
	check(t, s, 1, 3, 0, Duplicate, "")
	s.Record(1, 7, 8, 7, []byte("given up by its client"))
	check(t, s, 1, 7, 0, Duplicate, "")
}

func TestForgottenConnections(t *testing.T) {
	s := NewSessions(2)
	s.Record(1, 1, 1, 10, []byte("a"))
	s.Record(2, 1, 1, 11, []byte("b"))
	s.Record(1, 2, 1, 12, []byte("c"))
	check(t, s, 3, 1, 0, Fresh, "") // nothing has been forgotten yet
	s.Record(3, 1, 1, 13, []byte("d"))
	// Connection 2 was used least recently, at index 11.
	check(t, s, 2, 1, 10, Expired, "")
	check(t, s, 2, 2, 10, Expired, "")
	check(t, s, 1, 2, 9, Duplicate, "c")
	check(t, s, 4, 1, 10, Expired, "")
	check(t, s, 4, 1, 11, Fresh, "")
}

// TestHorizonNeverFalls: the connection that is forgotten second may have been used before the one that was forgotten first only if
// indexes fell, which a log's do not; but the mark must last through many of them.
func TestHorizonNeverFalls(t *testing.T) {
	s := NewSessions(1)
	for i := range uint64(5) {
		s.Record(i+1, 1, 1, 10*(i+1), nil)
	}
	check(t, s, 99, 1, 39, Expired, "")
	check(t, s, 99, 1, 40, Fresh, "")
}

// TestSessionsThroughTheirEncoding runs a random table beside one that is encoded and decoded now and then: they must stay equal, byte for
// byte.
func TestSessionsThroughTheirEncoding(t *testing.T) {
	d := rand.New(rand.NewPCG(3, 4))
	one, two := NewSessions(8), NewSessions(8)
	fresh := map[Freshness]int{}
	for index := range uint64(5000) {
		conn, seq := uint64(1+d.IntN(12)), uint64(1+index/40+uint64(d.IntN(10)))
		low := seq - min(seq, uint64(d.IntN(10)))
		born := index - min(index, uint64(d.IntN(30)))
		r1, v1 := one.Check(conn, seq, born)
		r2, v2 := two.Check(conn, seq, born)
		if v1 != v2 || !bytes.Equal(r1, r2) {
			t.Fatalf("index %d: %q %d and %q %d", index, r1, v1, r2, v2)
		}
		fresh[v1]++
		if v1 == Fresh {
			body := []byte{byte(index), byte(index >> 8)}
			one.Record(conn, seq, low, index, body)
			two.Record(conn, seq, low, index, body)
		}
		if d.IntN(10) == 0 {
			b := two.Encode()
			if !bytes.Equal(one.Encode(), b) {
				t.Fatalf("index %d: the tables' encodings differ", index)
			}
			var err error
			if two, err = DecodeSessions(b, 8); err != nil {
				t.Fatal(err)
			}
		}
	}
	for v := Fresh; v <= Expired; v++ {
		if fresh[v] < 50 {
			t.Errorf("freshness %d came %d times: the test tries too little", v, fresh[v])
		}
	}
}

func TestSessionsRefuseRubbish(t *testing.T) {
	s := NewSessions(3)
	s.Record(1, 1, 1, 1, []byte("a"))
	s.Record(2, 1, 1, 2, []byte("b"))
	b := s.Encode()
	if _, err := DecodeSessions(b, 1); err == nil {
		t.Error("a table larger than the limit was taken")
	}
	for n := range len(b) {
		if _, err := DecodeSessions(b[:n], 3); err == nil {
			t.Errorf("the first %d of %d bytes were taken", n, len(b))
		}
	}
	twice := Encoder{}
	twice.Uint(0)
	twice.Uint(2)
	for range 2 {
		for _, v := range []uint64{7, 0, 1, 0} {
			twice.Uint(v)
		}
	}
	if _, err := DecodeSessions(twice.B, 3); err == nil {
		t.Error("one connection twice was taken")
	}
}

func BenchmarkSessions(b *testing.B) {
	s := NewSessions(1000)
	body := make([]byte, 20)
	b.ReportAllocs()
	for i := range uint64(b.N) {
		conn, seq := i%50+1, i/50+1
		if _, v := s.Check(conn, seq, 0); v != Fresh {
			b.Fatal(v)
		}
		s.Record(conn, seq, seq, i, body)
	}
}
