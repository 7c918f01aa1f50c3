package jute

import (
	"bytes"
	"testing"
)

func TestIntroduction(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1", "2001:db8::1"} {
		b := Introduce(address, []byte("payload"))
		got, payload, err := Introduced(b)
		if err != nil || got != address || string(payload) != "payload" {
			t.Errorf("%q became %q, %q, %v", address, got, payload, err)
		}
		if want := append(append([]byte{byte(len(address))}, address...), "payload"...); !bytes.Equal(b, want) {
			t.Errorf("%q: encoded %q, want %q", address, b, want)
		}
	}
	for _, b := range [][]byte{nil, {1}, {3, 'a', 'b'}, append([]byte{46}, make([]byte, 60)...)} {
		if address, payload, err := Introduced(b); err == nil {
			t.Errorf("%v became %q, %v", b, address, payload)
		}
	}
}
