package packets

import "errors"

var errUnwritten = errors.New("not written yet")

// Filter is what this process has done to the packets of its network namespace. It is safe for concurrent use.
type Filter struct{}

// Probe tries what this kernel lets this process do. It leaves nothing behind.
func Probe() Abilities { return Abilities{Means: "none"} }

// Open prepares a filter whose rules live in the table named, which must be the caller's alone. Nothing is changed before the first Apply.
func Open(table string) (*Filter, error) { return nil, errUnwritten }

// Apply replaces what was applied before, all rules in one transaction. After an error what was applied before is still there.
func (f *Filter) Apply(s Set) error { return errUnwritten }

// Counts tells what has been done since the last Apply, one Count for each peer that is cut or shaped, in the order of addresses.
func (f *Filter) Counts() ([]Count, error) { return nil, errUnwritten }

// Close heals: it removes all rules and queues of this filter, and lets what is held go. It may be called again.
func (f *Filter) Close() error { return nil }

// Sweep removes what a killed process has left behind in the table named, which may be nothing.
func Sweep(table string) error { return errUnwritten }
