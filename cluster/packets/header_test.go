package packets

import (
	"bytes"
	"net/netip"
	"testing"
)

var (
	header4 = []byte{0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	header6 = append([]byte{0x60, 0, 0, 0, 0, 20, 6, 64},
		append(netip.MustParseAddr("fd77::1").AsSlice(), netip.MustParseAddr("fd77::2").AsSlice()...)...)
	segment = []byte{0x1b, 0x58, 0x1b, 0x59, 0, 0, 0, 1}
)

// patched is a packet with some bytes changed: places and values in turns.
func patched(packet []byte, changes ...byte) []byte {
	packet = bytes.Clone(packet)
	for i := 0; i < len(changes); i += 2 {
		packet[changes[i]] = changes[i+1]
	}
	return packet
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestDestination(t *testing.T) {
	four, six := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd77::2")
	for name, c := range map[string]struct {
		packet []byte
		want   target
		ok     bool
	}{
		"nothing":           {nil, target{}, false},
		"IPv4":              {join(header4, segment), target{four, 7001}, true},
		"IPv4, UDP":         {join(patched(header4, 9, 17), segment), target{four, 0}, true},
		"IPv4, options":     {join(patched(header4, 0, 0x46), []byte{1, 1, 1, 1}, segment), target{four, 7001}, true},
		"IPv4, fragment 2":  {join(patched(header4, 7, 1), segment), target{four, 0}, true},
		"IPv4, no segment":  {header4, target{four, 0}, true},
		"IPv4, too short":   {header4[:19], target{}, false},
		"IPv4, no options":  {patched(header4, 0, 0x46), target{}, false},
		"IPv4, header of 4": {join(patched(header4, 0, 0x41), segment), target{}, false},
		"IPv5":              {join(patched(header4, 0, 0x55), segment), target{}, false},
		"IPv6":              {join(header6, segment), target{six, 7001}, true},
		"IPv6, UDP":         {join(patched(header6, 6, 17), segment), target{six, 0}, true},
		"IPv6, too short":   {header6[:39], target{}, false},
		"IPv6, options":     {join(patched(header6, 6, 0), []byte{60, 0, 0, 0, 0, 0, 0, 0, 6, 1}, make([]byte, 14), segment), target{six, 7001}, true},
		"IPv6, fragment 1":  {join(patched(header6, 6, 44), []byte{6, 0, 0, 1, 0, 0, 0, 0}, segment), target{six, 7001}, true},
		"IPv6, fragment 2":  {join(patched(header6, 6, 44), []byte{6, 0, 0, 9, 0, 0, 0, 0}, segment), target{six, 0}, true},
		"IPv6, cut options": {join(patched(header6, 6, 60), []byte{6, 9, 0, 0, 0, 0, 0, 0}, segment), target{six, 0}, true},
	} {
		if got, ok := destination(c.packet); got != c.want || ok != c.ok {
			t.Errorf("%s: got %v, %v, want %v, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func FuzzDestination(f *testing.F) {
	f.Add(join(header4, segment))
	f.Add(join(header6, segment))
	f.Add(join(patched(header4, 0, 0x4f), segment))
	f.Add(join(patched(header6, 6, 0), []byte{43, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0}, segment))
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := bytes.Clone(packet)
		to, ok := destination(packet)
		if !bytes.Equal(packet, before) {
			t.Error("the packet is changed")
		}
		if ok != to.address.IsValid() || !ok && to.port != 0 {
			t.Errorf("got %v, %v", to, ok)
		}
		if ok && !bytes.Contains(packet, to.address.AsSlice()) {
			t.Errorf("%v is not in the packet", to.address)
		}
		// What follows a packet's end is not looked at, but for a port that was not there yet.
		if longer, still := destination(append(before, 0, 0, 0, 0)); ok && (!still || longer.address != to.address || to.port != 0 && longer.port != to.port) {
			t.Errorf("got %v, and %v for a longer packet", to, longer)
		}
	})
}
