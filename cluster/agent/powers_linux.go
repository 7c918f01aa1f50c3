package agent

import (
	"bytes"
	"fmt"
	"os"
	"time"

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
		loaded(pid)
		c, err := skew.Attach(pid)
		if err != nil {
			return nil, err
		}
		return c, nil
	},
	rebased: skew.Rebased,
}

const loadBound = 2 * time.Second

// loaded returns when the process has the vDSO by which it reads its clocks. One that has just been started may lack it: whoever starts it is told
// of the exec when its files have been closed, which the kernel does first.
func loaded(pid int) {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(loadBound); time.Now().Before(end); <-poll.C {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		if err != nil || len(maps) == 0 || bytes.Contains(maps, []byte("[vdso]")) { // the end of it has none
			return
		}
	}
}
