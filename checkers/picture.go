package checkers

import (
	"bytes"
	"fmt"

	"github.com/anishathalye/porcupine"
)

// mostDrawn operations: porcupine keeps partial orders for its picture, which grow with the square of their number.
const mostDrawn = 1000

// pictureSteps bounds the search for the partial orders that the picture shows.
const pictureSteps = 2_000_000

// picture is porcupine's drawing of a convicted key, the evidence marked on it. Of a key that is too long only the evidence is drawn.
func (j *lineJudgement) picture(c conviction) []byte {
	if c.least == nil {
		return nil // a value from nowhere: there is nothing to see in an order
	}
	r := c.whole
	if len(r.ops) > mostDrawn {
		r = c.least
	}
	model := registerModel(r)
	ops := operations(r)
	var clients []int // process numbers, in the order in which they appear: porcupine wants them small
	place := map[int]int{}
	for i := range ops {
		op := j.h[r.ops[i].call]
		lane, seen := place[op.Process]
		if !seen {
			lane = len(clients)
			place[op.Process] = lane
			clients = append(clients, op.Process)
		}
		ops[i].ClientId = lane
		ops[i].Metadata = fmt.Sprintf("p%d on %s, event %d, at %s", op.Process, op.Node, op.Index, seconds(op.Time))
		if r.ops[i].ret == never {
			// A call without an end would be drawn to the end of time.
			ops[i].Return = int64(len(j.h))
		}
	}
	counted := model
	steps := 0
	counted.Step = func(state, input, output any) (bool, any) {
		if steps++; steps > pictureSteps || steps%1024 == 0 && j.budget.spent() {
			steps = pictureSteps
			return false, state
		}
		return model.Step(state, input, output)
	}
	_, info := porcupine.CheckOperationsVerbose(counted, ops, 0)
	var notes []porcupine.Annotation
	for _, item := range c.evidence.Items {
		end := int64(item.Complete)
		if end < 0 {
			end = int64(len(j.h))
		}
		notes = append(notes, porcupine.Annotation{Tag: "evidence", Start: int64(item.Invoke), End: end, Description: item.Role,
			Details: fmt.Sprint(c.evidence.Why)})
	}
	info.AddAnnotations(notes)
	var out bytes.Buffer
	if err := porcupine.Visualize(model, info, &out); err != nil {
		return nil
	}
	return out.Bytes()
}
