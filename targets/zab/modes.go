package zab

import (
	"fmt"
	"slices"

	"assize/machine"
)

// mode of the operation sync.
type mode uint8

const (
	modeLocal mode = iota
	modeSync
	modeQuorum
)

// Modes of reads, the default first. All servers answer all reads from their own trees. What the mode says is whether clients ask for a sync before a
// read, and how it is answered: local: they do not; sync: the leader answers as ZooKeeper's does, with what it has proposed, whether or not it still
// leads; quorum-sync: the leader first hears from a quorum that it does.
var Modes = []string{"local", "sync", "quorum-sync"}

// Synced are the modes in which clients ask for a sync before a read.
var Synced = Modes[1:]

func modeOf(name string) mode { return mode(max(slices.Index(Modes, name), 0)) }

// Check tells whether a server can be made with these options.
func Check(o machine.Options) error {
	if o.Read != "" && !slices.Contains(Modes, o.Read) {
		return fmt.Errorf("zab: there is no read mode %q, but %q", o.Read, Modes)
	}
	if !machine.HasFlaw(Flaws, o.Flaw) {
		return fmt.Errorf("zab: there is no flaw %q", o.Flaw)
	}
	return nil
}
