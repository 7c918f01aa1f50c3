package daemon

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func framed(bodies ...string) []byte {
	var b []byte
	for _, body := range bodies {
		h := frameHead([]byte(body))
		b = append(append(b, h[:]...), body...)
	}
	return b
}

func TestFrames(t *testing.T) {
	want := []string{"", "a", strings.Repeat("long", 100_000)}
	r := bytes.NewReader(framed(want...))
	for i, w := range want {
		got, err := readFrame(r, maxFrame)
		if err != nil || string(got) != w {
			t.Fatalf("frame %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := readFrame(r, maxFrame); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestDamagedFrame(t *testing.T) {
	whole := framed("some body")
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		if got, err := readFrame(bytes.NewReader(bad), maxFrame); err == nil {
			t.Errorf("byte %d changed: got %q", i, got)
		}
		if _, err := readFrame(bytes.NewReader(whole[:i]), maxFrame); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
}

// TestFrameLengthIsNotBelieved: a stranger that claims a quarter of a gigabyte gets memory for what he sends.
func TestFrameLengthIsNotBelieved(t *testing.T) {
	lie := append([]byte{0, 0, 0, 0x10, 1, 2, 3, 4}, make([]byte, 1000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readFrame(bytes.NewReader(lie), maxFrame); err == nil {
		t.Error("no error")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes of memory for a frame of 1,000", n)
	}
	if _, err := readFrame(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), maxFrame); err == nil {
		t.Error("a frame of 4 GB is allowed")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(framed("a", "bb"))
	f.Add(framed(string(hello{1, 2, 3}.encode()))[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			body, err := readFrame(r, 1<<20)
			if err != nil {
				return
			}
			if len(body) > len(b) {
				t.Fatalf("%d bytes out of %d", len(body), len(b))
			}
			if h, err := decodeHello(body); err == nil && !bytes.Equal(h.encode(), body) {
				t.Fatalf("hello %v", h)
			}
		}
	})
}

func FuzzParsePeers(f *testing.F) {
	f.Add([]byte(`{"2":"127.0.0.1:4242"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePeers(b); err != nil && p != nil {
			t.Fatal("peers and an error")
		}
	})
}
