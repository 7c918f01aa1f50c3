package jute

import "errors"

// maxAddress is the length of the longest text of an IP address.
const maxAddress = 45

var errIntroduction = errors.New("introduction: it ends too early, or the address is too long")

// Introduce puts a client's address before the payload of its first frame, for what hands frames to a server has no other place for it: one byte
// that is the address's length, the IP address as text without a port ("": unknown), and the payload. Only the first frame of a connection is
// introduced. It panics if the address is longer than that of any host.
func Introduce(address string, payload []byte) []byte {
	if len(address) > maxAddress {
		panic("jute: " + address + " is no IP address")
	}
	b := append(make([]byte, 0, 1+len(address)+len(payload)), byte(len(address)))
	return append(append(b, address...), payload...)
}

// Introduced is the inverse of Introduce. The payload is a part of b.
func Introduced(b []byte) (address string, payload []byte, err error) {
	if len(b) == 0 || b[0] > maxAddress || len(b) < 1+int(b[0]) {
		return "", nil, errIntroduction
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}
