package zab

import (
	"math"
	"math/rand/v2"
	"slices"

	"assize/machine"
)

// platter is a disk without delay, but for checkpoints: with rand, one becomes durable some writes later, or never.
type platter struct {
	snapshot []byte
	records  [][]byte
	rand     *rand.Rand // nil: at once

	newer []byte   // a checkpoint that is not durable yet, and
	tail  [][]byte // what is behind it
	wait  int      // writes
	lost  int      // checkpoints that a crash has taken, and
	late  int      // those that were durable later
}

func (d *platter) put(fx machine.Effects) {
	if fx.Installed {
		d.snapshot, d.records, d.newer = fx.Snapshot, slices.Clone(fx.Tail), nil
		return
	}
	d.records = append(d.records, fx.Log...)
	if fx.Snapshot != nil {
		d.newer, d.tail, d.wait = fx.Snapshot, slices.Clone(fx.Tail), 0
		if d.rand != nil {
			if d.wait = d.rand.IntN(60); d.wait%4 == 3 {
				d.wait = math.MaxInt
			}
		}
	} else if d.newer != nil {
		d.tail = append(d.tail, fx.Log...)
		if d.wait--; d.wait == 0 {
			d.late++
		}
	}
	if d.newer != nil && d.wait <= 0 {
		d.snapshot, d.records, d.newer = d.newer, d.tail, nil
	}
}

// crash takes what is not durable.
func (d *platter) crash() {
	if d.newer != nil {
		d.lost++
	}
	d.newer = nil
}
