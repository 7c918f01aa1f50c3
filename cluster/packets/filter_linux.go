package packets

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Filter is what this process has done to the packets of its network namespace. It is safe for concurrent use.
type Filter struct {
	table  string
	kernel *kernel
	major  uint16 // of queueing disciplines
	number uint16 // of the relay's queue; at the next nobody ever listens
	mark   uint32 // of packets that the relay sends

	mu         sync.Mutex
	closed     bool
	generation int
	applied    *ruleset
	opened     []lane
	left       []lane // that could not be removed when they should have been
	relay      *relay
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Open prepares a filter whose rules live in the table named, which must be the caller's alone. Nothing is changed before the first Apply.
func Open(table string) (*Filter, error) {
	if !tableName.MatchString(table) {
		return nil, fmt.Errorf("table %q: letters, digits and _ make a name", table)
	}
	k := probe()
	if k.drop != nil {
		return nil, fmt.Errorf("nftables: %w", k.drop)
	}
	major := majorOf(table)
	return &Filter{table: table, kernel: k, major: major, number: 0x8000 | major<<1, mark: 0xa5512e<<8 | uint32(major&0xff)}, nil
}

// Apply replaces what was applied before, all rules in one transaction. After an error what was applied before is still there, as far as the error
// does not say that restoring it failed, too; only after ErrUncleared it is the new Set that is in force.
//
// What is dropped as it leaves vanishes without the sender's notice, if Abilities does not say otherwise. A packet as the rules see it may be a
// train of segments of one connection, of up to 64 kB, as it is for the kernel; delays and duplicates concern single segments. A datagram that has
// to be cut into fragments to go out is cut off, lost and slowed like any other, but passes the relay, neither late nor twice.
func (f *Filter) Apply(s Set) error {
	s, err := s.clean()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.New("the filter is closed")
	}
	if err := f.kernel.can(s); err != nil {
		return err
	}
	lanes, err := f.lanes(s)
	if err != nil {
		return err
	}
	flows, relayed := f.flows(s)
	fresh := relayed && f.relay == nil
	if fresh {
		if f.relay, err = newRelay(f.number, f.mark); err != nil {
			return fmt.Errorf("relay: %w", err)
		}
		f.number = f.relay.number
	}
	var before map[target]*flow
	if f.relay != nil {
		before = f.relay.learn(flows)
	}
	rules := f.rules(s)
	if err = f.open(lanes); err == nil {
		lanes, err = f.measured(lanes) // while there is a way back; what the old rules still make wait is counted, too
	}
	if err == nil {
		if err = f.enforce(rules); err != nil {
			err = fmt.Errorf("nftables: %w", err)
		}
	}
	if err != nil {
		return errors.Join(err, f.takeBack(lanes, before, fresh))
	}
	opened := f.opened
	f.applied, f.opened = rules, lanes
	if f.relay != nil {
		f.relay.swap(flows)
		f.relay.release()
	}
	if len(rules.counters) == 0 {
		err = f.vanish()
	}
	return uncleared(errors.Join(err, f.clear(opened)))
}

func uncleared(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUncleared, err)
}

// clear removes those of the lanes that have gone out of use, and those that were left before.
func (f *Filter) clear(lanes []lane) (err error) {
	f.left, err = f.shut(append(f.left, lanes...), f.opened)
	return err
}

// enforce puts the rules in force. If they cannot follow on those applied, it may be that somebody has removed the table: it is tried anew then.
func (f *Filter) enforce(rules *ruleset) error {
	err := rules.commit(f.applied)
	if f.applied != nil && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBUSY)) {
		err = rules.commit(nil)
	}
	return err
}

// vanish removes a table whose rules have gone, the relay before it: hooks that go take with them what waits for it.
func (f *Filter) vanish() error {
	if f.relay != nil {
		f.relay.close()
		f.relay = nil
	}
	f.applied = nil
	if err := remove(f.table); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// takeBack restores what an Apply that has failed had changed.
func (f *Filter) takeBack(lanes []lane, flows map[target]*flow, fresh bool) error {
	if fresh {
		f.relay.close()
		f.relay = nil
	} else if f.relay != nil {
		f.relay.swap(flows)
	}
	return errors.Join(f.open(f.opened), f.clear(lanes))
}

func (f *Filter) flows(s Set) (flows map[target]*flow, relayed bool) {
	flows = make(map[target]*flow)
	for _, shaped := range s.Shaped {
		if !f.kernel.way(shaped.Shape).relay {
			continue
		}
		for _, t := range shaped.To.targets() {
			flows[t] = &flow{key: t, shape: shaped.Shape}
		}
	}
	return flows, len(flows) > 0
}

// Counts tells what has been done since the last Apply, one Count for each peer that is cut or shaped, in the order of addresses.
func (f *Filter) Counts() ([]Count, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.applied == nil {
		return nil, nil
	}
	counts := make(map[netip.Addr]*Count)
	for _, c := range f.applied.counters {
		counts[c.peer] = &Count{To: c.peer}
	}
	if err := f.applied.tally(counts); err != nil {
		return nil, fmt.Errorf("counters: %w", err)
	}
	if f.relay != nil {
		if err := f.relay.tally(counts); err != nil {
			return nil, err
		}
	}
	if err := f.tallyLanes(counts); err != nil {
		return nil, err
	}
	var all []Count
	for _, c := range counts {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Count) int { return a.To.Compare(b.To) })
	return all, nil
}

// Close heals: it removes all rules and queues of this filter, and lets what is held go. It may be called again. After an error what was applied is
// still there, but after ErrUncleared it is not in force.
func (f *Filter) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if f.applied != nil {
		if err := f.enforce(f.rules(Set{})); err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
	}
	opened := f.opened
	f.opened = nil
	if err := errors.Join(f.vanish(), f.clear(opened)); err != nil {
		return uncleared(err)
	}
	f.closed = true
	return nil
}

// Sweep removes what a killed process has left behind in the table named, which may be nothing.
func Sweep(table string) error {
	if !tableName.MatchString(table) {
		return fmt.Errorf("table %q: letters, digits and _ make a name", table)
	}
	if err := remove(table); err != nil {
		return fmt.Errorf("sweep: nftables: %w", err)
	}
	if err := sweepRoots(majorOf(table)); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}
