package checkers

// Table is all judgements, in the order in which they are listed and told.
var Table = []Checker{invariants, faults, linearizable, versions, sequential, osc, sessions, lost, expiry, ephemeral, sequence, image, watch, multi, agreement, alive, availability}

// Find returns the judgement of that name.
func Find(name string) (Checker, bool) {
	for _, c := range Table {
		if c.Name == name {
			return c, true
		}
	}
	return Checker{}, false
}
