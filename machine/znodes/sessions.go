package znodes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
)

// What needs sessions: a register can be ephemeral, or be watched, at the same path as any other; a sequential node of the key k is /q-<k>/n- and the
// number that the server has put behind it.

// Sequence is the path of the node below which the sequential nodes of a key are.
func Sequence(key string) string { return "/q-" + key }

// Numbered is what a sequential node is asked for by.
func Numbered(key string) string { return Sequence(key) + "/n-" }

// Number of a sequential node, by the path that the server has given it. The error wraps machine.ErrNonsense.
func Number(key, path string) (int, error) {
	digits, below := strings.CutPrefix(path, Numbered(key))
	n, err := strconv.ParseUint(digits, 10, 31)
	if !below || err != nil || len(digits) != 10 {
		return 0, fmt.Errorf("%w: %.60q is no sequential node of %q", machine.ErrNonsense, path, key)
	}
	return int(n), nil
}

// Numbers of the sequential nodes of a key, ascending, by the names of the children of its node. The error wraps machine.ErrNonsense.
func Numbers(key string, children []string) (numbers []int, err error) {
	for _, name := range children {
		n, err := Number(key, Sequence(key)+"/"+name)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Told is a notification as a step of history. The error wraps machine.ErrNonsense: nobody watches such a thing.
func Told(e jute.Event) (history.Mop, error) {
	kinds := map[int32]string{jute.EventCreated: history.Created, jute.EventDeleted: history.Deleted, jute.EventDataChanged: history.Changed}
	f, known := kinds[e.Type]
	key, register := strings.CutPrefix(e.Path, Register(""))
	if !known || !register || key == "" || e.State != jute.StateConnected {
		return history.Mop{}, fmt.Errorf("%w: told of event %d in state %d of %.60q", machine.ErrNonsense, e.Type, e.State, e.Path)
	}
	return history.Mop{F: f, Key: key}, nil
}

// NeedsSession tells whether only a client with a session that outlives connections can ask for a step of the kind f.
func NeedsSession(f string) bool {
	_, _, is := ofSessions(f)
	return is
}

// ofSessions tells how many arguments a step has that only a client with a session can ask for, and whether it has a key.
func ofSessions(f string) (arguments int, keyed, is bool) {
	switch f {
	case history.Connect, history.Close:
		return 0, false, true
	case history.Delete, history.Watch, history.List:
		return 0, true, true
	case history.CreateEphemeral, history.CreateSequential:
		return 1, true, true
	}
	return 0, false, false
}

func validForSession(m history.Mop) error {
	arguments, keyed, _ := ofSessions(m.F)
	if len(m.In) != arguments || keyed == (m.Key == "") || strings.Contains(m.Key, "/") {
		return fmt.Errorf("%s of %q has %d arguments, want %d, and a key without / or none", m.F, m.Key, len(m.In), arguments)
	}
	return nil
}
