package zk

import (
	"errors"
	"slices"

	zookeeper "github.com/go-zookeeper/zk"

	"assize/machine/jute"
)

// ofTheClient are errors of go-zookeeper's own: no reply came. (A server says ErrSessionExpired, too, which is no difference: what it was asked for
// may have been executed before.)
var ofTheClient = []error{
	zookeeper.ErrConnectionClosed, zookeeper.ErrClosing, zookeeper.ErrNoServer, zookeeper.ErrSessionExpired, zookeeper.ErrShortBuffer, zookeeper.ErrPtrExpected,
	zookeeper.ErrUnhandledFieldType,
}

// refusals are those of a server's answers that prove that the request has had no effect and never will. A time-out of the server's own, and an
// error that it has no name for, prove nothing.
var refusals = []jute.Code{
	jute.MarshallingError, jute.Unimplemented, jute.BadArguments, jute.NoNode, jute.NoAuth, jute.BadVersion, jute.NoChildrenForEphemerals, jute.NodeExists,
	jute.NotEmpty, jute.InvalidACL, jute.AuthFailed, jute.SessionMoved, jute.NotReadOnly, jute.EphemeralOnLocalSession, jute.QuotaExceeded, jute.Throttled,
}

// definite tells whether an error proves that a request was not, and never will be, executed. reply is that to the request, zero where
// there was none.
func definite(err error, reply jute.ReplyHeader) bool {
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
	return slices.Contains(refusals, reply.Err)
}
