package machine

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"assize/history"
)

// Tongue is the client's end of one connection: what is asked for a transaction, and what the replies mean. A host carries the bytes. It is pure, and
// nobody calls two of its methods at once.
//
// Hello is called first and once. Where it returns a request, Hear is done when that has been answered, and no Ask comes before; with a refusal Closed says
// why from then on. The transactions come one after the other: Ask, Hear until it is done, Answer. Hear may be called at any other time, too, for
// the machine may push.
type Tongue interface {
	// Hello is the request that opens the connection; nil: none.
	Hello() []byte
	// Ask returns the requests, sent in this order, that begin a transaction. The error is that it cannot be asked: nothing is sent.
	Ask(t history.Txn) (requests [][]byte, err error)
	// Hear takes the replies that the connection carries, in their order. more is sent at once. done: what is under way, Hello or Ask, has its answer.
	Hear(r Reply) (more [][]byte, done bool)
	// Answer to the last Ask, once Hear was done. Version and position are those of AnswerOf, note tells where the answer comes from. An error
	// means that nobody knows what became of the transaction, unless it wraps ErrNoEffect; one that wraps ErrNonsense is a fault of the store.
	Answer() (out history.Txn, version, position uint64, note string, err error)
	// Closed tells why the machine has closed the connection, or is about to, as far as it has said so; nil: it has said nothing. Where it wraps
	// ErrNoEffect, what was under way has had no effect.
	Closed() error
}

// Carrier is a Tongue whose session can outlive its connection.
type Carrier interface {
	Tongue
	// Carry is called before all else, or never. state is what Carry of the Tongue on the session's last connection has returned, nil: there is no session yet.
	// timeout is asked for then. What it returns is for the next; it changes with what is asked and heard. Hello is nothing after it: the
	// transaction history.Connect opens the connection.
	Carry(state any, timeout time.Duration) any
	// Told is the session, 0 where there is none, and what it has been told unasked since Told was called last, also on connections before.
	Told() (session uint64, events history.Txn)
}

// Acknowledger is a Tongue that can tell which entry of the replicated log a reply rests on. A host that sees all nodes' logs holds machines to it.
type Acknowledger interface {
	// Acknowledged is asked when a reply leaves its node, before Hear, which may never come. The error is that the reply is none of this tongue's.
	Acknowledged(r Reply) (Entry, error)
}

// Entry of the replicated log: the one at Index, or, where that is 0, the one whose application made Revision. Both 0: none.
type Entry struct {
	Term, Index uint64
	Revision    int64 // as in Applied; only of a store in which no two entries have the same
}

// Commands is the Tongue of machines that take a Command and answer it with a Result: one request a transaction, and nothing is pushed.
type Commands struct {
	Local  bool // reads ask nobody but the node
	asked  history.Txn
	seq    uint64 // of the reply that was read last
	result Result
	err    error
}

var (
	_ Tongue       = (*Commands)(nil)
	_ Acknowledger = (*Commands)(nil)
)

// Hello is not said.
func (c *Commands) Hello() []byte { return nil }

// Ask for one Command.
func (c *Commands) Ask(t history.Txn) ([][]byte, error) {
	command, err := CommandOf(t, c.Local)
	if err != nil {
		return nil, err
	}
	c.asked = t
	return [][]byte{command.Encode()}, nil
}

var errPushed = errors.New("a push, and this language has none")

// read a reply, which is read twice where somebody asks what it acknowledges: it is decoded once.
func (c *Commands) read(r Reply) error {
	switch {
	case r.Seq == 0:
		return errPushed
	case c.seq != r.Seq:
		c.seq = r.Seq
		c.result, c.err = DecodeResult(r.Body)
	}
	return c.err
}

// Hear the one reply to a request.
func (c *Commands) Hear(r Reply) ([][]byte, bool) {
	return nil, c.read(r) != errPushed
}

// Result is the last reply.
func (c *Commands) Result() (Result, error) { return c.result, c.err }

// Answer of the last reply.
func (c *Commands) Answer() (out history.Txn, version, position uint64, note string, err error) {
	if c.err != nil {
		return nil, 0, 0, "", fmt.Errorf("%w: %w", ErrNonsense, c.err)
	}
	out, version, position, err = AnswerOf(c.asked, c.result)
	if err != nil {
		return nil, 0, 0, "", err
	}
	return out, version, position, provenance(c.result.Term, c.result.Index), nil
}

// Closed: this language has no words for it.
func (c *Commands) Closed() error { return nil }

// Acknowledged is the entry that made what was done, or the last that a read has seen.
func (c *Commands) Acknowledged(r Reply) (Entry, error) {
	if err := c.read(r); err != nil || c.result.Outcome != Done {
		return Entry{}, err
	}
	return Entry{Term: c.result.Term, Index: c.result.Index}, nil
}

// provenance is "term T index I", built by hand: there is one for each operation.
func provenance(term, index uint64) string {
	b := append(make([]byte, 0, 40), "term "...)
	b = strconv.AppendUint(b, term, 10)
	b = append(b, " index "...)
	return string(strconv.AppendUint(b, index, 10))
}
