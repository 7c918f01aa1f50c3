package checkers

import "fmt"

// twoOwners tells of two writes with one version.
func (j *oscJudgement) twoOwners(a, b *sight) Evidence {
	return j.tell(b.reg.key, []role{{a.op.at, "version " + numeral(a.version)}, {b.op.at, "version " + numeral(b.version)}},
		[]link{{a.op.at, b.op.at, "one version"}},
		fmt.Sprintf("%s %s at version %s, and so %s %s", j.who(a.op.at), a.did(), numeral(a.version), j.who(b.op.at), b.did()),
		"a version belongs to one write: one of the two has been lost, or the order of writes is none")
}

// foreseen tells of a read that was over before its value was asked to be written.
func (j *oscJudgement) foreseen(s *sight) Evidence {
	w := s.reg.ops[s.reg.writer[s.op.old]]
	return j.tell(s.reg.key, []role{{s.op.at, "returned early"}, {w.at, "wrote later"}}, []link{{s.op.at, w.at, "real time"}},
		fmt.Sprintf("%s %s, %s before anybody asked for it to be written", j.who(s.op.at), s.did(), seconds(j.between(s.op.ret, w.call))))
}

// behind tells of an answer of a server that was not as far as the session, or its sync, demanded.
func (j *oscJudgement) behind(at int, key string, m mark, position uint64) Evidence {
	words, roles, links := j.until(at, m)
	return j.tell(key, append([]role{{at, "answered at position " + numeral(position)}}, roles...), links,
		fmt.Sprintf("%s was answered at position %s, although %s", j.who(at), numeral(position), words))
}

// behindItself tells of a write that a server acknowledged that had not come as far.
func (j *oscJudgement) behindItself(s *sight, position uint64) Evidence {
	return j.tell(s.reg.key, []role{{s.op.at, "acknowledged early"}}, nil,
		fmt.Sprintf("%s %s at position %s, but that has version %s", j.who(s.op.at), s.did(), numeral(position), numeral(s.version)))
}

// misplaced tells of a read that is not of the state at the position of its server.
func (j *oscJudgement) misplaced(s *sight, position uint64, over *claim) Evidence {
	at, wrote := s.op.at, -1
	if w := s.reg.writer[s.op.old]; w >= 0 {
		wrote = s.reg.ops[w].at
	}
	if position < s.version {
		return j.tell(s.reg.key, []role{{at, "returned new"}, {wrote, "version " + numeral(s.version)}}, []link{{wrote, at, "reads from"}},
			fmt.Sprintf("%s %s at position %s, but that has version %s", j.who(at), s.did(), numeral(position), numeral(s.version)))
	}
	return j.tell(s.reg.key, []role{{at, "returned old"}, {over.at, "overwrote"}, {wrote, "wrote"}},
		[]link{{wrote, at, "reads from"}, {wrote, over.at, "version"}, {over.at, at, "position"}},
		fmt.Sprintf("%s %s at position %s, but version %s had overwritten it", j.who(at), s.did(), numeral(position), numeral(over.version)))
}
