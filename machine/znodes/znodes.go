// Package znodes is how a ZooKeeper keeps the registers and sets of a history, and what its answers say of an operation. All clients that test one
// share it, so that they mean the same by ok, fail and info.
//
// A register k is the node /r-<k> with a decimal value as its data; an element v of a set k is the node /s-<k>/<v>, v by 20 digits. Transactions have one
// step, and perhaps a sync before it, or several that are one multi. Nobody deletes a node but a client with a session (sessions.go). The requests of one operation go one after the other by one connection, none twice, and one that may take
// effect is sent only when the one before has been refused: so the last answer tells of the whole operation.
package znodes

import (
	"fmt"
	"slices"
	"strconv"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
)

// Register is the path of a register's node.
func Register(key string) string { return "/r-" + key }

// Set is the path of a set's node.
func Set(key string) string { return "/s-" + key }

// Element is the path of an element's node, below the set's.
func Element(key string, v int) string {
	return string(machine.AppendElement([]byte(Set(key)+"/"), v))
}

// Data of the register's node that has the value v.
func Data(v int) []byte { return strconv.AppendInt(nil, int64(v), 10) }

// Value is the inverse of Data. The error wraps machine.ErrNonsense.
func Value(key string, data []byte) (int, error) {
	v, err := strconv.Atoi(string(data))
	if err != nil {
		return 0, fmt.Errorf("%w: register %q holds %.40q", machine.ErrNonsense, key, data)
	}
	return v, nil
}

// Elements are a set's, ascending, by the names of its node's children. The error wraps machine.ErrNonsense.
func Elements(key string, children []string) (elements []int, err error) {
	for _, name := range children {
		v, ok := machine.ElementOf(name)
		if !ok {
			return nil, fmt.Errorf("%w: set %q holds %.40q", machine.ErrNonsense, key, name)
		}
		elements = append(elements, v)
	}
	slices.Sort(elements)
	return elements, nil
}

// Step is the one step of a transaction, and whether a sync goes before it, of the node that is then read. The error is that it makes no sense, or
// cannot be asked of a ZooKeeper: nothing is to be sent.
func Step(t history.Txn) (m history.Mop, synced bool, err error) {
	steps, synced := t.AfterSync()
	if len(steps) > 1 && !synced {
		return history.Mop{F: Multi}, false, multi(steps)
	}
	if len(steps) == 1 && steps[0].F != Multi && NeedsSession(steps[0].F) && (!synced || steps.ReadOnly()) {
		return steps[0], synced, validForSession(steps[0])
	}
	if _, err := machine.CommandOf(steps, false); err != nil { // no other store could do it either
		return m, false, err
	}
	m = steps[0]
	switch {
	case len(steps) != 1:
		return m, false, fmt.Errorf("a transaction of %d steps, want one", len(steps))
	case synced && m.F != history.Read && m.F != history.Scan:
		return m, false, fmt.Errorf("a sync before a %s, which reads nothing", m.F)
	case synced && (t[0].Key != m.Key || len(t[0].In) > 0):
		return m, false, fmt.Errorf("a sync of %q %v before a %s of %q", t[0].Key, t[0].In, m.F, m.Key)
	}
	return m, synced, nil
}

// Refuses says whether the answer code proves that a request of an operation f, which creates the operation's node or sets its data, has had no effect and never
// will. Only then may the operation be said not to have been done. What is not listed proves nothing: to be wrong about it would cost more than to
// leave an operation open does.
//
// All that is listed is decided before a request becomes a transaction. ZooKeeper's leader does so in PrepRequestProcessor, ours in tree.Ahead:
// they log an error instead, and the answer is that error, committed. No server asks for a request a second time.
func Refuses(f string, code jute.Code) bool {
	switch code {
	case jute.NoNode: // to be set; or the parent of what is to be created
		return true
	case jute.BadVersion: // only a compare-and-set asks for one: somebody has written since it was found
		return f == history.CAS || f == Multi
	case jute.NoAuth: // by the ACL of the node or its parent. A follower of ZooKeeper that looks itself passes nothing on
		return true
	case jute.BadArguments, jute.InvalidACL: // seen in the request alone, before anything else
		return true
	case jute.NoChildrenForEphemerals: // of the parent
		return true
	case jute.QuotaExceeded: // the last look before the transaction is made
		return true
	case jute.Unimplemented: // no processor of that server knows the operation, or its leader has it switched off
		return true
	case jute.NodeExists:
		// Of a register: another client has created it, and this create has done nothing. Of an element, which nobody else ever asks for: either a
		// server has executed this very create twice and the operation has been done, or the element is left from before the
		// test and it has not. Neither ok nor fail would be sure.
		return f == history.Write || f == history.CreateEphemeral || f == Multi
	}
	// Not listed, among others:
	//
	// MarshallingError: FinalRequestProcessor says so of whatever fails in it, also once it has applied the transaction.
	//
	// SessionExpired, SessionMoved: they are about the session, which is lost with them, so that to believe them gains nothing. go-zookeeper says the first
	// where there was no answer at all; ZooKeeper does not say the second but hangs up (ZOOKEEPER-710).
	//
	// OperationTimeout, RequestTimeout, ConnectionLoss, SystemError and the inconsistencies: the request may be under way, or done.
	//
	// NotEmpty, NotReadOnly, EphemeralOnLocalSession, AuthFailed, SASLRequired, Throttled: no server as tests set it up answers a create or a setData so,
	// and one that does may have done anything.
	return false
}
