package sim

// kind of an event.
type kind uint8

const (
	wake    kind = iota // routine arg, if it still waits for token
	tick                // node arg, if token is its newest tick timer
	message             // mail arg arrives
	synced              // node arg in its life token has written its records
	request             // of connection arg, numbered token, arrives at its node
	reply               // the next one of connection arg arrives at its client
	timeout             // of connection arg, for its operation token
	reset               // connection arg has been broken, and its client gets to know
	gone                // connection arg has been closed, and its node gets to know
	settled             // a checkpoint of node arg in its life token is written out
	burst               // node arg in its life token has sent too much
)

// event is a value in the queue: nothing is allocated for it. Events at one time happen in the order in which they were planned.
type event struct {
	at    int64  // virtual nanoseconds
	order uint64 // when it was planned, and in the low byte its kind
	arg   uint32
	token uint32
}

func (e *event) kind() kind { return kind(e.order) }

func (e *event) before(f *event) bool {
	return e.at < f.at || e.at == f.at && e.order < f.order
}

// queue is a heap of four children a node: half as deep as a binary one, and the four lie side by side in memory.
type queue struct {
	heap    []event
	planned uint64
}

func (q *queue) plan(at int64, k kind, arg, token uint32) {
	q.planned++
	e := event{at: at, order: q.planned<<8 | uint64(k), arg: arg, token: token}
	q.heap = append(q.heap, e)
	h := q.heap
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
}

// next takes out the first event; ok is false where there is none.
func (q *queue) next() (first event, ok bool) {
	n := len(q.heap) - 1
	if n < 0 {
		return event{}, false
	}
	first = q.heap[0]
	last := q.heap[n]
	h := q.heap[:n]
	q.heap = h
	if n == 0 {
		return first, true
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, n); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return first, true
}
