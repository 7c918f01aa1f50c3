package zab

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"assize/machine"
)

// world joins peers for tests: messages are lost, repeated and delayed as it is told, disks sync late, processes die and come back. It holds
// everything to the invariants after every step, and stops at the first that is broken.
type world struct {
	o         machine.Options
	voters    []int
	observers []int
	rand      *rand.Rand
	nodes     []*node // by id, from 1
	mail      []letter
	now       int
	loss      float64
	repeat    float64
	delay     int // greatest, in ticks
	lag       int // greatest number of ticks until a write is synced; 0: at once
	cut       func(machine.Message) bool
	limit     uint64 // of counters, where not 0

	order   []ordered      // what was delivered first anywhere
	leaders map[uint64]int // by epoch
	newest  uint64         // epoch of an established leader
	heard   map[uint64]uint64
	asked   map[uint64]int // by token: what was delivered when it was asked
	told    int
	sure    int
	tokens  uint64
	broken  string
}

type ordered struct {
	zxid   int64
	body   string
	digest uint64 // of all up to it
}

type letter struct {
	at int
	machine.Message
}

// node is a process and its disk.
type node struct {
	*peer
	w     *world
	id    int
	up    bool
	lives uint64
	platter
	pending []write
	applied int // of w.order
	seq     uint64
	snapped int64
	zxids   []int64 // on the synced disk, beside the snapshot
	led     uint64  // epoch that it leads; 0: none
}

// outstanding tells whether anything is proposed and not committed.
func (p *peer) outstanding() bool { return p.log.last() > p.committed }

type write struct {
	fx machine.Effects
	at int
}

func newWorld(seed uint64, voters, observers int, o machine.Options) *world {
	w := &world{
		o: o, rand: rand.New(rand.NewPCG(seed, 7)), leaders: map[uint64]int{}, heard: map[uint64]uint64{}, asked: map[uint64]int{},
		cut: func(machine.Message) bool { return false },
	}
	for id := 1; id <= voters+observers; id++ {
		if id <= voters {
			w.voters = append(w.voters, id)
		} else {
			w.observers = append(w.observers, id)
		}
		w.nodes = append(w.nodes, &node{w: w, id: id})
	}
	return w
}

func (w *world) startAll() *world {
	for _, n := range w.nodes {
		if !n.up {
			n.start()
		}
	}
	return w
}

func (w *world) at(id int) *node { return w.nodes[id-1] }

func (w *world) violate(format string, a ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf("tick %d: ", w.now) + fmt.Sprintf(format, a...)
	}
}

func (n *node) start() {
	w := n.w
	n.lives++
	n.up, n.applied, n.led = true, 0, 0
	c := machine.Config{ID: n.id, Voters: w.voters, Observers: w.observers, Seed: 100*n.lives + uint64(n.id), Snapshot: n.snapshot, Log: n.records, Options: w.o}
	p, err := newPeer(c, n.image)
	if err != nil {
		w.violate("start: %v", err)
		n.up = false
		return
	}
	n.peer = p
	if w.limit != 0 {
		p.limit = w.limit
	}
	n.step(func() {})
}

// crash loses what was not synced, or all of it but the beginning.
func (n *node) crash() {
	if !n.up {
		return
	}
	n.up = false
	if len(n.pending) > 0 && !n.pending[0].fx.Installed && n.w.rand.IntN(2) == 0 {
		if k := n.w.rand.IntN(len(n.pending[0].fx.Log) + 1); k > 0 {
			n.sync(machine.Effects{Log: n.pending[0].fx.Log[:k]})
		}
	}
	n.pending = nil
	n.platter.crash()
}

// image is the service's snapshot: how much was applied, and its digest.
func (n *node) image() []byte {
	e := machine.Encoder{}
	e.Uint(uint64(n.applied))
	if n.applied > 0 {
		e.Uint(n.w.order[n.applied-1].digest)
	}
	return e.B
}

func (n *node) install(zxid int64, b []byte) {
	d := machine.NewDecoder(b)
	n.applied = int(d.Uint())
	if n.applied == 0 || n.applied > len(n.w.order) {
		n.w.violate("n%d installs a snapshot of %d transactions, there are %d", n.id, n.applied, len(n.w.order))
		n.applied = 0
		return
	}
	if last := n.w.order[n.applied-1]; last.zxid != zxid || d.Uint() != last.digest || d.Done() != nil {
		n.w.violate("n%d installs a snapshot up to %#x that is not what was delivered", n.id, zxid)
	}
}

// step does something with a running peer as its service would.
func (n *node) step(do func()) {
	if !n.up || n.w.broken != "" {
		return
	}
	defer func() {
		if e := recover(); e != nil {
			if !strings.HasPrefix(fmt.Sprint(e), "zab: ") {
				panic(e)
			}
			n.w.violate("n%d panics: %v", n.id, e)
			n.crash()
		}
	}()
	var fx machine.Effects
	n.begin(&fx)
	do()
	for {
		news, ok := n.next()
		if !ok {
			break
		}
		n.take(news)
	}
	n.finish()
	for _, a := range fx.Accused {
		n.w.violate("n%d accuses n%d: %s", n.id, a.Node, a.Why)
	}
	n.check()
	if len(fx.Log) == 0 && fx.Snapshot == nil && len(n.pending) == 0 {
		n.send(fx.Send)
		return
	}
	n.pending = append(n.pending, write{fx, n.w.now + n.w.rand.IntN(n.w.lag+1)})
	n.flush()
}

// flush syncs what is due, in order.
func (n *node) flush() {
	for len(n.pending) > 0 && n.pending[0].at <= n.w.now {
		n.sync(n.pending[0].fx)
		n.send(n.pending[0].fx.Send)
		n.pending = n.pending[1:]
	}
}

func (n *node) sync(fx machine.Effects) {
	n.put(fx)
	log := fx.Log
	if fx.Installed {
		n.snapped, _, _, _ = decodeImage(fx.Snapshot)
		n.zxids, log = nil, fx.Tail
	}
	for _, b := range log {
		if t, ok := txnOf(b); ok {
			n.zxids = append(n.zxids, t.zxid)
		} else if b[0] == recordTruncate {
			to := int64(machine.NewDecoder(b[1:]).Uint())
			n.zxids = slices.DeleteFunc(n.zxids, func(z int64) bool { return z > to })
		}
	}
}

func (n *node) has(zxid int64) bool { return zxid <= n.snapped || slices.Contains(n.zxids, zxid) }

func (n *node) send(list []machine.Message) {
	w := n.w
	for _, m := range list {
		for i := 0; i == 0 || i == 1 && w.rand.Float64() < w.repeat; i++ {
			if w.rand.Float64() >= w.loss {
				w.mail = append(w.mail, letter{w.now + 1 + w.rand.IntN(w.delay+1), m})
			}
		}
	}
}

// take one piece of news.
func (n *node) take(a news) {
	w := n.w
	switch a.kind {
	case delivered:
		n.deliver(a.zxid, string(a.body))
	case installed:
		n.install(a.zxid, a.body)
	case confirmed:
		if n.applied < w.asked[a.token] {
			w.violate("n%d has applied %d of %d transactions that were delivered before it asked whether it leads", n.id, n.applied, w.asked[a.token])
		}
		w.sure++
	case forwarded:
		d := machine.NewDecoder(a.body)
		if seq := d.Uint(); seq <= w.heard[uint64(a.from)] {
			w.violate("n%d forwarded %d after %d", a.from, seq, w.heard[uint64(a.from)])
		} else {
			w.heard[uint64(a.from)] = seq
		}
		e := machine.Encoder{}
		e.Uint(uint64(n.applied))
		n.tell(a.from, e.B)
		n.propose([]byte(fmt.Sprintf("%d for %d", w.heard[uint64(a.from)], a.from)))
	case told:
		if at := int(machine.NewDecoder(a.body).Uint()); n.applied < at {
			w.violate("n%d was told of %d transactions and has applied %d", n.id, at, n.applied)
		}
		w.told++
	}
}

func (n *node) deliver(zxid int64, body string) {
	w := n.w
	if n.applied < len(w.order) {
		if o := w.order[n.applied]; o.zxid != zxid || o.body != body {
			w.violate("n%d delivers %#x %q as number %d, which was %#x %q", n.id, zxid, body, n.applied, o.zxid, o.body)
		}
		n.applied++
		return
	}
	var last ordered
	if n.applied > 0 {
		last = w.order[n.applied-1]
	}
	if same := epochOf(zxid) == epochOf(last.zxid); zxid <= last.zxid || same && zxid != last.zxid+1 || !same && counterOf(zxid) != 1 {
		w.violate("n%d delivers %#x after %#x", n.id, zxid, last.zxid)
	}
	have := 0
	for _, id := range w.voters {
		if w.at(id).has(zxid) {
			have++
		}
	}
	if 2*have <= len(w.voters) && len(w.voters) > 1 {
		w.violate("n%d delivers %#x, which %d of %d voters have on disk", n.id, zxid, have, len(w.voters))
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%x %x %s", last.digest, zxid, body)
	w.order = append(w.order, ordered{zxid, body, h.Sum64()})
	n.applied++
}

// check what holds of a server at all times.
func (n *node) check() {
	w := n.w
	if n.state == looking && (n.serves() || n.leads()) {
		w.violate("n%d serves while it is LOOKING", n.id)
	}
	if n.leads() && n.led != n.epoch {
		if other, ok := w.leaders[n.epoch]; ok && other != n.id {
			w.violate("n%d leads epoch %d, as n%d did", n.id, n.epoch, other)
		}
		w.leaders[n.epoch] = n.id
		if n.epoch > w.newest {
			w.newest = n.epoch
			if n.applied < len(w.order) {
				w.violate("n%d leads epoch %d with %d of %d committed transactions", n.id, n.epoch, n.applied, len(w.order))
			}
		}
	}
	n.led = 0
	epoch := n.under
	if n.leads() {
		n.led = n.epoch
	}
	if n.state == leading {
		epoch = n.epoch
	}
	if n.serves() && w.leaders[epoch] != n.peer.leader {
		w.violate("n%d serves under n%d in epoch %d, and that one does not lead it", n.id, n.peer.leader, epoch)
	}
}

// tick lets time pass.
func (w *world) tick(times int) {
	for range times {
		w.now++
		for _, n := range w.nodes {
			n.flush()
		}
		var due, later []letter
		for _, l := range w.mail {
			if l.at <= w.now {
				due = append(due, l)
			} else {
				later = append(later, l)
			}
		}
		w.mail = later
		if w.delay > 0 {
			w.rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
		}
		for _, l := range due {
			if !w.cut(l.Message) {
				n := w.at(l.To)
				n.step(func() { n.receive(&l.Message) })
			}
		}
		for _, i := range w.rand.Perm(len(w.nodes)) {
			n := w.nodes[i]
			n.step(func() { n.tick() })
		}
	}
}

// leader that serves, of the newest epoch; nil: none.
func (w *world) leader() (best *node) {
	for _, n := range w.nodes {
		if n.up && n.leads() && (best == nil || n.epoch > best.epoch) {
			best = n
		}
	}
	return best
}

// write something through the leader, if there is one.
func (w *world) write() {
	if l := w.leader(); l != nil {
		w.tokens++
		body := fmt.Sprintf("w%d", w.tokens)
		l.step(func() { l.propose([]byte(body)) })
	}
}

func (w *world) writes(t *testing.T, n int) {
	t.Helper()
	for want := len(w.order) + n; len(w.order) < want; w.tick(2) {
		if w.write(); w.now > 100000 || w.broken != "" {
			t.Fatalf("not written: %s", w.broken)
		}
	}
}

// settled waits until all that run serve and have applied the same; false: they do not.
func (w *world) settled(ticks int) bool {
	for range ticks {
		w.tick(1)
		if l := w.leader(); l != nil && w.broken == "" && !l.outstanding() {
			same := true
			for _, n := range w.nodes {
				same = same && (!n.up || n.serves() && n.peer.leader == l.id && n.applied == len(w.order))
			}
			if same {
				return true
			}
		}
	}
	return false
}

func (w *world) states() string {
	var b bytes.Buffer
	for _, n := range w.nodes {
		if n.up {
			fmt.Fprintf(&b, "n%d state %d stage %d phase %d round %d vote %+v leader %d accepted %d current %d last %#x applied %d; ", n.id, n.state, n.stage, n.phase,
				n.round, n.vote, n.leader, n.accepted, n.current, n.log.last(), n.applied)
		}
	}
	return b.String()
}

// elect waits for a leader that all follow.
func (w *world) elect(t *testing.T) *node {
	t.Helper()
	if !w.settled(3000) {
		t.Fatalf("no leader that all follow: %s %s", w.broken, w.states())
	}
	return w.leader()
}
