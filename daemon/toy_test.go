package daemon

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"

	"assize/machine"
)

// toy is the smallest machine that needs all that a host does: a request is logged, sent to everybody, logged there, acknowledged, and answered when a
// majority has it; it is sent again until everybody has it. Its hash is that of the set of what it has logged.
type toy struct {
	id        int
	voters    []int
	clock     machine.Event
	seen      map[string]bool
	hash      uint64
	revision  int64
	open      map[string]*toyRequest
	ticks     int
	every     int // records between two snapshots; 0: none
	snapshots uint64
	gone      []uint64
	order     []uint64 // seqs of requests as they came
}

type toyRequest struct {
	request  machine.Request
	have     []int
	answered bool
}

func newToy(every int) func(machine.Config) machine.Machine {
	return func(c machine.Config) machine.Machine { return makeToy(c, every) }
}

func makeToy(c machine.Config, every int) *toy {
	m := &toy{id: c.ID, voters: c.Voters, seen: map[string]bool{}, open: map[string]*toyRequest{}, every: every}
	for d := c.Snapshot; len(d) > 0; {
		n := binary.LittleEndian.Uint32(d)
		m.learn(string(d[4 : 4+n]))
		d = d[4+n:]
	}
	for _, r := range c.Log {
		m.learn(string(r))
	}
	return m
}

func (m *toy) learn(s string) bool {
	if m.seen[s] {
		return false
	}
	m.seen[s] = true
	h := fnv.New64a()
	h.Write([]byte(s))
	m.hash ^= h.Sum64()
	m.revision++
	return true
}

// put asks a toy to take up a value; has asks it whether it has done so.
func put(value string) machine.Command {
	return machine.Command{Kind: machine.CommandTxn, Then: []machine.Operation{{Op: machine.OpPut, Key: []byte(value)}}}
}

func has(value string) machine.Command {
	return machine.Command{Kind: machine.CommandChanges, Key: []byte(value)}
}

const toyAck = "ack:"

func (m *toy) Step(e machine.Event) (out machine.Effects) {
	m.clock = e
	switch {
	case e.Request != nil:
		if c, err := machine.DecodeCommand(e.Request.Body); err == nil && c.Kind == machine.CommandChanges {
			result := machine.Result{Outcome: machine.Done, Succeeded: m.seen[string(put(string(c.Key)).Encode())]}
			out.Reply = append(out.Reply, machine.Reply{Conn: e.Request.Conn, Seq: e.Request.Seq, Body: result.Encode()})
			break
		}
		body := string(e.Request.Body)
		m.order = append(m.order, e.Request.Seq)
		m.log(body, &out)
		m.open[body] = &toyRequest{request: *e.Request, have: []int{m.id}}
		m.spread(body, &out)
		m.answer(body, &out)
	case e.Gone != 0:
		m.gone = append(m.gone, e.Gone)
	case e.Message == nil:
		// What was lost is sent again.
		if m.ticks++; m.ticks%10 == 0 {
			for _, body := range slices.Sorted(maps.Keys(m.open)) {
				m.spread(body, &out)
			}
		}
	default:
		body := string(e.Message.Body)
		if len(body) >= len(toyAck) && body[:len(toyAck)] == toyAck {
			body = body[len(toyAck):]
			if r := m.open[body]; r != nil && !slices.Contains(r.have, e.Message.From) {
				r.have = append(r.have, e.Message.From)
			}
			m.answer(body, &out)
			break
		}
		m.log(body, &out)
		out.Send = append(out.Send, machine.Message{From: m.id, To: e.Message.From, Body: []byte(toyAck + body)})
	}
	return out
}

func (m *toy) log(body string, out *machine.Effects) {
	if !m.learn(body) {
		return
	}
	if m.every > 0 && len(m.seen)%m.every == 0 {
		out.Snapshot = []byte{}
		for _, s := range slices.Sorted(maps.Keys(m.seen)) {
			out.Snapshot = binary.LittleEndian.AppendUint32(out.Snapshot, uint32(len(s)))
			out.Snapshot = append(out.Snapshot, s...)
		}
		m.snapshots++
		// One and the other kind in turn.
		if out.Installed = m.snapshots%2 == 0; out.Installed {
			return
		}
	}
	out.Log = append(out.Log, []byte(body))
}

func (m *toy) spread(body string, out *machine.Effects) {
	for _, v := range m.voters {
		if v != m.id {
			out.Send = append(out.Send, machine.Message{From: m.id, To: v, Body: []byte(body)})
		}
	}
}

func (m *toy) answer(body string, out *machine.Effects) {
	r := m.open[body]
	if r == nil {
		return
	}
	if len(r.have) == len(m.voters) {
		delete(m.open, body)
	}
	if r.answered || 2*len(r.have) <= len(m.voters) {
		return
	}
	r.answered = true
	result := machine.Result{Outcome: machine.Done, Revision: m.revision}
	out.Reply = append(out.Reply, machine.Reply{Conn: r.request.Conn, Seq: r.request.Seq, Body: result.Encode()})
}

func (m *toy) Status() machine.Status {
	return machine.Status{
		ID: m.id, Role: machine.Follower, Voters: m.voters, Revision: m.revision, Hash: m.hash, Applied: uint64(m.revision),
		Counters: machine.Counters{SnapshotsTaken: m.snapshots},
	}
}
