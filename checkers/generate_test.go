package checkers

import (
	"math/rand/v2"

	"assize/history"
)

// world is a store of versioned registers that tests drive clients against: what the checkers must find valid, and how it may go wrong.
type world struct {
	processes, operations, keys int
	info, fail                  int // one in so many writes; 0: none
	see                         seeing
	sync                        int  // one in so many calls syncs, by itself or before what it does; 0: none
	deaf                        bool // to syncs: they are answered and nothing is done
}

type seeing int

const (
	fresh    seeing = iota // linearizable
	forward                // a session reads some past state, never one before what it has seen: sequentially consistent
	anywhere               // a session reads any past state
)

type revision struct {
	key, value int // 0: absent
}

// client of a world.
type client struct {
	id, op  int // process; place in calls, -1: idle
	took    bool
	seen    int
	skipped bool
}

// run gives the calls of a random run.
func (w world) run(r *rand.Rand) []tcall {
	var calls []tcall
	log := []revision{{}} // by version
	next := make([]int, w.keys)
	clients := make([]client, w.processes)
	for i := range clients {
		clients[i] = client{id: i + 1, op: -1}
	}
	clock, began, open := 0, 0, 0
	for began < w.operations || open > 0 {
		clock++
		c := &clients[r.IntN(len(clients))]
		switch {
		case c.op < 0 && began < w.operations:
			calls = append(calls, w.ask(r, next, clock, c.id))
			c.op, c.took, c.skipped = len(calls)-1, false, false
			began++
			open++
		case c.op >= 0 && !c.took:
			log = w.take(r, &calls[c.op], c, log)
		case c.op >= 0:
			call := &calls[c.op]
			call.ret = clock
			if call.kind == history.Info {
				if r.IntN(2) == 0 {
					call.ret = never
				}
				c.id += w.processes
				c.seen = 0
			}
			c.op = -1
			open--
		}
	}
	return calls
}

func (w world) ask(r *rand.Rand, next []int, clock, process int) tcall {
	k := r.IntN(w.keys)
	c := tcall{process: process, key: string(rune('a' + k)), call: clock, kind: history.OK, node: string(rune('m' + process%5))}
	if w.sync > 0 && r.IntN(w.sync) == 0 {
		if r.IntN(3) == 0 {
			c.f = history.Sync
			return c
		}
		c.synced = true
	}
	switch d := r.IntN(10); {
	case d < 5:
		c.f = history.Read
	case d < 8 || next[k] == 0:
		next[k]++
		c.f, c.in = history.Write, []int{next[k]}
	default:
		next[k]++
		c.f, c.in = history.CAS, []int{max(1, next[k]-1-r.IntN(2)), next[k]}
		if c.in[0] == c.in[1] {
			c.in[0]--
		}
	}
	return c
}

func current(log []revision, key int) (version int) {
	for v := len(log) - 1; v > 0; v-- {
		if log[v].key == key {
			return v
		}
	}
	return 0
}

// take makes the operation take effect, or not, at this moment.
func (w world) take(r *rand.Rand, call *tcall, c *client, log []revision) []revision {
	c.took = true
	key := int(call.key[0]-'a') + 1
	if (call.synced || call.f == history.Sync) && !w.deaf {
		c.seen = len(log) - 1
	}
	if call.f == history.Sync {
		call.position = uint64(c.seen)
		return log
	}
	if call.f == history.Read {
		at := len(log) - 1
		switch w.see {
		case forward:
			at = c.seen + r.IntN(at-c.seen+1)
		case anywhere:
			at = r.IntN(at + 1)
		}
		c.seen = max(c.seen, at)
		version := current(log[:at+1], key)
		call.version, call.position = uint64(version), uint64(at)
		if version > 0 {
			call.out = []int{log[version].value}
		}
		return log
	}
	if w.fail > 0 && r.IntN(w.fail) == 0 {
		call.kind = history.Fail
		return log
	}
	if call.f == history.CAS && log[current(log, key)].value != call.in[0] {
		call.kind = history.Fail
		return log
	}
	if w.info > 0 && r.IntN(w.info) == 0 {
		call.kind = history.Info
		if r.IntN(2) == 0 {
			return log
		}
	}
	log = append(log, revision{key, call.in[len(call.in)-1]})
	c.seen = len(log) - 1
	if call.kind == history.OK {
		call.version, call.position = uint64(c.seen), uint64(c.seen)
	}
	return log
}

// bare takes the versions off.
func bare(calls []tcall) []tcall {
	less := make([]tcall, len(calls))
	for i, c := range calls {
		c.version, c.position = 0, 0
		less[i] = c
	}
	return less
}
