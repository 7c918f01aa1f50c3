package zab

import (
	"fmt"

	"assize/history"
	"assize/machine"
	"assize/machine/jute"
	"assize/machine/znodes"
)

// multi asks for all steps of the transaction at once. A check is of the version that was found.
func (c *Tongue) multi() jute.Request {
	q := jute.Request{Op: jute.Multi}
	for _, m := range c.txn {
		part := jute.Request{Path: znodes.Register(m.Key), Version: -1}
		switch m.F {
		case history.Create:
			part.Op, part.Data, part.ACL = jute.Create, znodes.Data(m.In[0]), anybody
		case history.Write:
			part.Op, part.Data = jute.SetData, znodes.Data(m.In[0])
		case history.Delete:
			part.Op = jute.Delete
		case history.Check:
			part.Op, part.Version = jute.Check, c.found
		}
		q.Sub = append(q.Sub, part)
	}
	return q
}

// several is the answer to a multi that was answered.
func (c *Tongue) several(out history.Txn, zxid uint64, note string) (history.Txn, uint64, uint64, string, error) {
	codes := make([]jute.Code, len(c.answer.Sub))
	for i := range codes {
		codes[i] = c.answer.Sub[i].Err
	}
	part, code, nonsense := znodes.Failed(codes, len(out))
	switch {
	case nonsense != nil:
		return nil, 0, 0, "", nonsense
	case part >= 0 && znodes.Refuses(znodes.Multi, code):
		return nil, 0, 0, "", fmt.Errorf("%v of step %d: %w", code, part+1, machine.ErrNoEffect)
	case part >= 0:
		return nil, 0, 0, "", fmt.Errorf("%v of step %d", code, part+1)
	}
	if out[0].F == history.Check {
		out[0].Out = []int{c.checked}
	}
	return out, zxid, zxid, note, nil
}
