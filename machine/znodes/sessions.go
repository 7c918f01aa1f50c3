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
	kinds := map[int32]string{jute.EventCreated: history.Created, jute.EventDeleted: history.Deleted, jute.EventDataChanged: history.Changed,
		jute.EventChildrenChanged: history.Members}
	f, known := kinds[e.Type]
	prefix := Register("")
	if f == history.Members {
		prefix = Set("")
	}
	key, watched := strings.CutPrefix(e.Path, prefix)
	if !known || !watched || key == "" || e.State != jute.StateConnected {
		return history.Mop{}, fmt.Errorf("%w: told of event %d in state %d of %.60q", machine.ErrNonsense, e.Type, e.State, e.Path)
	}
	return history.Mop{F: f, Key: key}, nil
}

// NeedsSession tells whether only a client with a session that outlives connections can ask for a step of the kind f.
func NeedsSession(f string) bool {
	_, _, is := ofSessions(f)
	return is || f == Multi
}

// ofSessions tells how many arguments a step has that only a client with a session can ask for, and whether it has a key.
func ofSessions(f string) (arguments int, keyed, is bool) {
	switch f {
	case history.Connect, history.Close:
		return 0, false, true
	case history.Delete, history.Watch, history.List, history.WatchSet:
		return 0, true, true
	case history.CreateEphemeral, history.CreateSequential, history.Remove:
		return 1, true, true
	}
	return 0, false, false
}

// Multi is the step that stands for a transaction of several, which a ZooKeeper executes as a whole, or not at all.
const Multi = "multi"

// multi tells why steps are none: there must be several, of different registers, that create, write, delete or check, of which only the first may check.
func multi(steps history.Txn) error {
	for i, m := range steps {
		arguments := 1
		switch {
		case m.F == history.Create || m.F == history.Write:
		case m.F == history.Delete || m.F == history.Check && i == 0:
			arguments = 0
		default:
			return fmt.Errorf("step %d of a multi is a %s", i+1, m.F)
		}
		if len(m.In) != arguments || m.Key == "" || strings.Contains(m.Key, "/") || slices.ContainsFunc(steps[:i], func(o history.Mop) bool { return o.Key == m.Key }) {
			return fmt.Errorf("step %d of a multi is a %s of %q with %d arguments", i+1, m.F, m.Key, len(m.In))
		}
	}
	return nil
}

// Failed tells which of n parts of a multi has failed first, from 0, and why; nonsense is why the results are none of a multi: those before it must have no
// error, and those behind it one that says nothing. -1: none has.
func Failed(results []jute.Code, n int) (part int, code jute.Code, nonsense error) {
	if len(results) != n {
		return -1, jute.OK, fmt.Errorf("%w: %d results of a multi of %d", machine.ErrNonsense, len(results), n)
	}
	part = slices.IndexFunc(results, func(c jute.Code) bool { return c != jute.OK })
	if part < 0 {
		return -1, jute.OK, nil
	}
	for _, c := range results[part+1:] {
		if c != jute.RuntimeInconsistency {
			return -1, jute.OK, fmt.Errorf("%w: results %v of a multi", machine.ErrNonsense, results)
		}
	}
	return part, results[part], nil
}

func validForSession(m history.Mop) error {
	arguments, keyed, _ := ofSessions(m.F)
	if len(m.In) != arguments || keyed == (m.Key == "") || strings.Contains(m.Key, "/") {
		return fmt.Errorf("%s of %q has %d arguments, want %d, and a key without / or none", m.F, m.Key, len(m.In), arguments)
	}
	return nil
}
