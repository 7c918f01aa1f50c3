package machine

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"assize/history"
)

var (
	// ErrNoEffect is wrapped by errors of transactions that have certainly had no effect and never will.
	ErrNoEffect = errors.New("no effect")
	// ErrCompare tells that a compare-and-set found another value.
	ErrCompare = fmt.Errorf("the compared value is another: %w", ErrNoEffect)
	// ErrNonsense is wrapped by errors of answers that no store gives that is right: to another question, or with what nobody can have written.
	ErrNonsense = errors.New("the answer makes no sense")
)

// elementDigits is the width of a set's element in its name.
const elementDigits = 20

// AppendElement appends the name that stores have for a set's element, which is not negative: 20 digits, so that the order of names is that of elements.
func AppendElement(b []byte, v int) []byte {
	digits := decimal(v)
	for range elementDigits - len(digits) {
		b = append(b, '0')
	}
	return append(b, digits...)
}

// ElementOf is its inverse; ok is false where the name is none of an element.
func ElementOf(name string) (v int, ok bool) {
	if len(name) != elementDigits || strings.Trim(name, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.Atoi(name)
	return v, err == nil
}

// CommandOf says how a transaction of a history is asked of a store. local asks for a read of one node's own state; whatever writes never is.
//
// A register k is the key r/<k> with a decimal value; an element v of a set k is the key s/<k>/<v>. A transaction that compares has in Then one
// operation for each of its steps, and does nothing if any of its compare-and-sets finds another value.
//
// A sync is refused: none of these commands has a server catch up, and to leave it out would be to promise what nobody does.
func CommandOf(t history.Txn, local bool) (Command, error) {
	if len(t) == 0 {
		return Command{}, errors.New("the transaction has no steps")
	}
	c := Command{Kind: CommandTxn, Then: make([]Operation, 0, len(t))}
	for i := range t {
		if err := c.add(&t[i]); err != nil {
			return Command{}, err
		}
	}
	c.Local = local && c.ReadOnly()
	return c, nil
}

// arguments that each kind of step has.
func arguments(f string) int {
	switch f {
	case history.Read, history.Scan:
		return 0
	case history.Write, history.Add:
		return 1
	case history.CAS:
		return 2
	}
	return -1
}

func (c *Command) add(m *history.Mop) error {
	want := arguments(m.F)
	switch {
	case want < 0:
		return fmt.Errorf("a store cannot %q", m.F)
	case len(m.In) != want:
		return fmt.Errorf("%s of %q has %d arguments, want %d", m.F, m.Key, len(m.In), want)
	case m.Key == "" || strings.Contains(m.Key, "/"): // or the elements of one set were among another's
		return fmt.Errorf("%s: %q is no key: want one without /", m.F, m.Key)
	}
	switch m.F {
	case history.Read:
		c.Then = append(c.Then, Operation{Op: OpRange, Key: registerKey(m.Key)})
	case history.Write:
		c.Then = append(c.Then, Operation{Op: OpPut, Key: registerKey(m.Key), Value: decimal(m.In[0])})
	case history.CAS:
		key := registerKey(m.Key)
		c.Compare = append(c.Compare, Compare{Key: key, Target: TargetValue, Relation: Equal, Value: decimal(m.In[0])})
		c.Then = append(c.Then, Operation{Op: OpPut, Key: key, Value: decimal(m.In[1])})
		c.Else = append(c.Else, Operation{Op: OpRange, Key: key})
	case history.Add:
		if m.In[0] < 0 {
			return fmt.Errorf("add %d to %q: elements are not negative", m.In[0], m.Key)
		}
		c.Then = append(c.Then, Operation{Op: OpPut, Key: elementKey(m.Key, m.In[0])})
	case history.Scan:
		prefix := setPrefix(m.Key)
		end := slices.Clone(prefix)
		end[len(end)-1]++
		c.Then = append(c.Then, Operation{Op: OpRange, Key: prefix, End: end, KeysOnly: true})
	}
	return nil
}

func decimal(v int) []byte { return strconv.AppendInt(make([]byte, 0, 8), int64(v), 10) }

func registerKey(k string) []byte {
	return append(append(make([]byte, 0, 2+len(k)), "r/"...), k...)
}

func setPrefix(k string) []byte {
	b := append(make([]byte, 0, 3+len(k)+elementDigits), "s/"...)
	return append(append(b, k...), '/')
}

func elementKey(k string, v int) []byte { return AppendElement(setPrefix(k), v) }

// AnswerOf reads the result of CommandOf(t). Version is, of a transaction that writes, the revision it made; of a read of one register the
// revision that last wrote it, 0 where there is none; otherwise 0. Position is the revision of the store when it answered.
//
// An error means that nobody knows what became of t, unless it wraps ErrNoEffect. One that wraps ErrNonsense is a fault of the store.
func AnswerOf(t history.Txn, r Result) (out history.Txn, version, position uint64, err error) {
	switch r.Outcome {
	case Done:
	case Refused, Compacted, Future:
		return nil, 0, 0, fmt.Errorf("%s: %w", r.Outcome.say(r.Reason), ErrNoEffect)
	default:
		return nil, 0, 0, errors.New(r.Outcome.say(r.Reason))
	}
	if !r.Succeeded {
		return nil, 0, 0, ErrCompare
	}
	if len(r.Responses) != len(t) {
		return nil, 0, 0, fmt.Errorf("%d answers to %d steps: %w", len(r.Responses), len(t), ErrNonsense)
	}
	out = slices.Clone(t)
	wrote := false
	for i := range out {
		m, p := &out[i], &r.Responses[i]
		want := OpPut
		if m.F == history.Read || m.F == history.Scan {
			want = OpRange
		}
		if p.Op != want {
			return nil, 0, 0, fmt.Errorf("%s of %q was answered as something else: %w", m.F, m.Key, ErrNonsense)
		}
		wrote = wrote || want == OpPut
		switch m.F {
		case history.Read:
			m.Out, err = readValue(m.Key, p.Pairs)
			if len(t) == 1 && len(p.Pairs) == 1 {
				version = uint64(p.Pairs[0].Mod)
			}
		case history.Scan:
			m.Out, err = readElements(m.Key, p.Pairs)
		}
		if err != nil {
			return nil, 0, 0, err
		}
	}
	if wrote {
		version = uint64(r.Revision)
	}
	return out, version, uint64(r.Revision), nil
}

func (o Outcome) say(reason string) string {
	if reason != "" {
		return reason
	}
	switch o {
	case Refused:
		return "refused"
	case Compacted:
		return "the revision has been compacted"
	case Future:
		return "the revision has not come yet"
	}
	return "nobody knows what became of it"
}

func readValue(key string, pairs []KeyValue) ([]int, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	v, err := strconv.Atoi(string(pairs[0].Value))
	if len(pairs) > 1 || err != nil || string(pairs[0].Key) != "r/"+key {
		return nil, fmt.Errorf("register %q is answered with %d pairs, the first %q = %.40q: %w", key, len(pairs), pairs[0].Key, pairs[0].Value, ErrNonsense)
	}
	return []int{v}, nil
}

func readElements(key string, pairs []KeyValue) ([]int, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	prefix := "s/" + key + "/"
	out := make([]int, len(pairs))
	for i := range pairs {
		name, below := strings.CutPrefix(string(pairs[i].Key), prefix)
		v, ok := ElementOf(name)
		if !below || !ok {
			return nil, fmt.Errorf("set %q holds the key %q: %w", key, pairs[i].Key, ErrNonsense)
		}
		out[i] = v
	}
	return out, nil
}
