package workloads

import (
	"strconv"
	"sync"

	"assize/history"
)

// crowd is a source of operations of clients that all want the same few registers, of which each has a name of its own letter and a number from 1.
type crowd struct {
	mu     sync.Mutex
	draws  *draws
	letter string
	names  int
	value  int // the last one given out; unique over all
}

// newCrowd has a register for so many clients each, and two at least.
func newCrowd(seed uint64, c Config, letter string, each int) crowd {
	return crowd{draws: newDraws(seed), letter: letter, names: max(2, c.Clients/each)}
}

// name of a register, from 0.
func (c *crowd) name(register int) string { return numbered(c.letter, register) }

func numbered(letter string, n int) string { return letter + strconv.Itoa(1+n) }

// next value, as the argument of a step.
func (c *crowd) next() []int {
	c.value++
	return []int{c.value}
}

// all registers, read.
func (c *crowd) all() (txns []history.Txn) {
	for i := range c.names {
		txns = append(txns, history.Txn{{F: history.Read, Key: c.name(i)}})
	}
	return txns
}
