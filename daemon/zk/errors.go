package zk

import (
	"errors"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/machine/jute"
	"assize/machine/znodes"
)

// ofTheClient are errors of go-zookeeper's own: no reply came. (A server says ErrSessionExpired, too, and it proves nothing: see znodes.Refuses.)
var ofTheClient = []error{
	zookeeper.ErrConnectionClosed, zookeeper.ErrClosing, zookeeper.ErrNoServer, zookeeper.ErrSessionExpired, zookeeper.ErrShortBuffer, zookeeper.ErrPtrExpected,
	zookeeper.ErrUnhandledFieldType,
}

// definite tells whether an error proves that a request of an operation f was not, and never will be, executed. reply is that to the request, zero where
// there was none.
func definite(f string, err error, reply jute.ReplyHeader) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, zookeeper.ErrInvalidPath): // nothing was sent
		return true
	}
	for _, own := range ofTheClient {
		if errors.Is(err, own) {
			return false
		}
	}
	return znodes.Refuses(f, reply.Err)
}
