package checkers

import (
	"context"
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// Defaults of Limits.
const (
	defaultTime   = 30 * time.Second
	defaultMemory = 512 << 20
)

// budget of one judgement. Porcupine knows a limit of time only, and that for one call; this one is for the whole judgement, and for memory too.
//
// Porcupine keeps every pair of (set of linearized operations, state) that it has been to. It gets to one by a step that succeeds, whose state it
// then has the model hash, and it is not a new one if the model finds its state equal to one that is kept: so the model can count what is kept.
// Once the model says no to every step the search backs out at once.
type budget struct {
	ctx    context.Context
	cancel context.CancelFunc
	memory uint64
	each   time.Duration // for one search: one hopeless key must not take the time of all others
}

func newBudget(l Limits) *budget {
	if l.Time <= 0 {
		l.Time = defaultTime
	}
	if l.Memory == 0 {
		l.Memory = defaultMemory
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.Time)
	return &budget{ctx, cancel, l.Memory, l.Time / 4}
}

func (b *budget) spent() bool { return b.ctx.Err() != nil }

// entryBytes is what porcupine needs for one place that it has been to: a bit for each operation, and per place a cell in a map, a bucket, a
// state, and a frame of the search; twice, for what the garbage collector has not come to yet. Measured: TestMemoryIsKept.
func entryBytes(operations int) uint64 {
	return 2 * (uint64(operations+63)/64*8 + 240)
}

const (
	limitTime   = "time"
	limitMemory = "memory"
)

// search has porcupine look for an order. The limit is empty unless one was hit, and then the verdict is Unknown.
func (b *budget) search(r *register) (v Verdict, limit string) {
	entries := b.memory / entryBytes(len(r.ops))
	if uint64(len(r.ops)) > entries {
		// Even the search that never turns back needs as many places as there are operations: it grows with their square.
		return Unknown, limitMemory
	}
	ctx, cancel := context.WithTimeout(b.ctx, b.each)
	defer cancel()
	tried := 0
	kept := uint64(0)
	model := registerModel(r)
	hash, equal := model.Hash, model.Equal
	model.Hash = func(state any) uint64 {
		kept++
		return hash(state)
	}
	model.Equal = func(a, b any) bool {
		same := equal(a, b)
		if same {
			kept--
		}
		return same
	}
	model.Step = func(state, input, _ any) (bool, any) {
		if tried++; tried%1024 == 1 && limit == "" && ctx.Err() != nil {
			limit = limitTime
		}
		if limit != "" {
			return false, state
		}
		ok, next := input.(*regOp).step(state.(int))
		if ok && kept >= entries {
			limit = limitMemory
			return false, state
		}
		return ok, next
	}
	switch linearizable := porcupine.CheckOperations(model, operations(r)); {
	case linearizable:
		return Valid, ""
	case limit != "":
		return Unknown, limit
	}
	return Invalid, ""
}

func registerModel(r *register) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return absent },
		Step: func(state, input, _ any) (bool, any) { return input.(*regOp).step(state.(int)) },
		Equal: func(a, b any) bool {
			return a.(int) == b.(int)
		},
		Hash: func(state any) uint64 {
			x := uint64(state.(int)) * 0x9e3779b97f4a7c15
			return x ^ x>>29
		},
		DescribeState: func(state any) string { return r.name(state.(int)) },
		DescribeOperation: func(input, _ any) string {
			switch o := input.(*regOp); o.do {
			case reads:
				return "read -> " + r.name(o.old)
			case swaps:
				return fmt.Sprintf("cas %s to %s", r.name(o.old), r.name(o.new))
			default:
				return "write " + r.name(o.new)
			}
		},
	}
}

// operations of a key as porcupine wants them. The place of an event is its time: two events never have the same.
func operations(r *register) []porcupine.Operation {
	ops := make([]porcupine.Operation, len(r.ops))
	for i := range r.ops {
		o := &r.ops[i]
		ops[i] = porcupine.Operation{ClientId: i, Input: o, Call: int64(o.call), Return: int64(o.ret)}
	}
	return ops
}
