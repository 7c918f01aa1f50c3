package packets

import (
	"encoding/binary"
	"net/netip"
)

const protocolTCP = 6

// destination reads where an IP packet goes, and the port there if it is the beginning of a TCP segment, otherwise 0. It is not ok if it is no
// whole header.
func destination(packet []byte) (to target, ok bool) {
	if len(packet) == 0 {
		return target{}, false
	}
	switch packet[0] >> 4 {
	case 4:
		header := int(packet[0]&15) * 4
		if header < 20 || len(packet) < header {
			return target{}, false
		}
		to.address = netip.AddrFrom4([4]byte(packet[16:20]))
		fragment := binary.BigEndian.Uint16(packet[6:]) & 0x1fff
		if packet[9] == protocolTCP && fragment == 0 {
			to.port = destinationPort(packet[header:])
		}
		return to, true
	case 6:
		if len(packet) < 40 {
			return target{}, false
		}
		to.address = netip.AddrFrom16([16]byte(packet[24:40]))
		if next, rest := skipExtensions(packet[6], packet[40:]); next == protocolTCP {
			to.port = destinationPort(rest)
		}
		return to, true
	}
	return target{}, false
}

func destinationPort(segment []byte) uint16 {
	if len(segment) < 4 {
		return 0
	}
	return binary.BigEndian.Uint16(segment[2:])
}

// skipExtensions goes past IPv6 extension headers to the header of the transport, unless the packet is a later fragment or ends too early.
func skipExtensions(next byte, rest []byte) (byte, []byte) {
	const hopByHop, routing, fragment, options, none = 0, 43, 44, 60, 59
	for {
		length := 8
		switch next {
		case hopByHop, routing, options:
			if len(rest) >= 2 {
				length = 8 + int(rest[1])*8
			}
		case fragment:
			if len(rest) >= 4 && binary.BigEndian.Uint16(rest[2:])&^7 != 0 {
				return none, nil
			}
		default:
			return next, rest
		}
		if len(rest) < length {
			return none, nil
		}
		next, rest = rest[0], rest[length:]
	}
}
