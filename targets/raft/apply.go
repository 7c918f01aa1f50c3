package raft

import "assize/machine"

// apply what is committed, in the order of the log (5.3).
func (r *Raft) apply() {
	for r.applied < r.commit {
		r.applied++
		e := r.log.at(r.applied)
		switch e.data[0] {
		case kindCommand:
			r.execute(r.applied, e)
		case kindConfig:
			r.rule(r.applied)
		}
		r.out.Applied = append(r.out.Applied, machine.Applied{Index: r.applied, Revision: r.store.Revision(), Hash: r.store.Hash()})
	}
	if len(r.waiting) > 0 {
		r.serveWaiting()
	}
	if r.role == leader && len(r.early) > 0 && r.committedOwn() {
		r.offerEarly()
	}
}

// execute a client's request, unless it has been executed (section 8: "the state machine tracks the latest serial number processed for each
// client, along with the associated response").
func (r *Raft) execute(index uint64, e *entry) {
	o, err := decodeOrder(e.data)
	if err != nil {
		panic("raft: a log entry holds " + err.Error())
	}
	x := r.find(o.conn, o.seq)
	body, v := r.seen(&o)
	switch {
	case v == machine.Fresh:
		result := machine.Result{Outcome: machine.Refused}
		c, err := machine.DecodeCommand(o.body)
		if err == nil {
			result = r.store.Apply(c)
		} else {
			result.Reason = err.Error()
		}
		result.Term, result.Index = e.term, index
		body = result.Encode()
		r.sessions.Record(o.conn, o.seq, o.low, index, body)
	case v == machine.Expired || body == nil:
		body = nil
	}
	switch {
	case x == nil:
	case body == nil:
		r.answer(x, machine.Result{Outcome: machine.Unknown, Reason: "the connection was forgotten", Term: r.term})
	default:
		r.answerEncoded(x, body)
	}
}

// seen asks the table of executed requests.
func (r *Raft) seen(o *order) (reply []byte, v machine.Freshness) {
	if r.flaw == resubmit {
		return nil, machine.Fresh
	}
	return r.sessions.Check(o.conn, o.seq, o.born)
}

// answerExecuted answers requests whose execution this server has not seen, because a snapshot jumped over it.
func (r *Raft) answerExecuted() {
	for _, x := range r.pending {
		if x.done || x.kind != writes {
			continue
		}
		o, err := decodeOrder(x.data)
		if err != nil {
			panic("raft: a request of this server holds " + err.Error())
		}
		if body, v := r.sessions.Check(o.conn, o.seq, o.born); v == machine.Duplicate && body != nil {
			r.answerEncoded(x, body)
		}
	}
}
