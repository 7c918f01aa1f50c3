package daemon

import "syscall"

// control bounds how long sent bytes may stay unacknowledged: otherwise TCP's own back-off keeps a connection dead for minutes after a long cut.
func control(_, _ string, c syscall.RawConn) error {
	const userTimeout, milliseconds = 0x12, 2000
	var set error
	err := c.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, milliseconds)
	})
	if err != nil {
		return err
	}
	return set
}
