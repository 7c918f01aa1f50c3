package agent

import (
	"assize/cluster/packets"
	"assize/cluster/skew"
)

// kernel is how faults are done for real.
var kernel = powers{
	sweep: packets.Sweep,
	open: func(table string) (filter, error) {
		f, err := packets.Open(table)
		if err != nil {
			return nil, err // not a filter that holds a nil
		}
		return f, nil
	},
	abilities: packets.Probe,
	able:      skew.Able,
	attach: func(pid int) (clock, error) {
		c, err := skew.Attach(pid)
		if err != nil {
			return nil, err
		}
		return c, nil
	},
	rebased: skew.Rebased,
}
