package report

import (
	"slices"
	"strings"

	"assize/checkers"
)

// Claim is a sentence of the field that a run can speak to.
type Claim struct {
	ID        string
	Judgement string // the checker that it is about
	Doc       string
}

// Claims are those that one judgement of a run decides; the others are held by tests.
var Claims = []Claim{
	{"B14", "lost", "membership changes lose no acknowledged write"},
	{"R1", "linearizable", "Raft: the read of a deposed leader can be stale (leader, local: violated)"},
	{"R2", "linearizable", "Raft: readindex is linearizable, whatever the clocks do (holds)"},
	{"R3", "linearizable", "Raft: a lease is as good as the clocks (holds; violated by the nemesis clock)"},
	{"R4", "sequential", "Raft: local reads are in order for a client that keeps to one server or carries a position (holds; else violated)"},
	{"Z1", "linearizable", "ZAB: a read without sync may be stale (local: violated)"},
	{"Z2", "sequential", "ZAB: reads that are stale are in order all the same (holds)"},
	{"Z3", "linearizable", "ZAB: a read behind a sync is fresh while no leader is deposed (sync: holds)"},
	{"Z4", "linearizable", "ZAB: a sync that a deposed leader answers by itself is stale (sync: violated; quorum-sync: holds)"},
	{"Z5", "image", "ZAB: no client is shown less than it has seen"},
	{"Z6", "lost", "ZAB: an acknowledged write is never lost"},
	{"Z8", "sequence", "ZAB: sequential names are unique and increase"},
	{"Z9", "ephemeral", "ZAB: an ephemeral node is there as long as its session"},
	{"Z10", "watch", "ZAB: a watch tells of each change once, before it can be seen"},
	{"Z11", "expiry", "ZAB: a session ends when nobody has heard of it for its time-out, never before, and its client is told"},
}

// FindClaim returns the claim of that id.
func FindClaim(id string) (Claim, bool) {
	i := slices.IndexFunc(Claims, func(c Claim) bool { return c.ID == id })
	if i < 0 {
		return Claim{}, false
	}
	return Claims[i], true
}

// ClaimIDs are the ids of all claims in words.
func ClaimIDs() string {
	var ids []string
	for _, c := range Claims {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, ", ")
}

// asExpected tells whether the judgement that the claim is about came out as expected; what other judgements found is nothing to it. A run that was not put to
// what it was to stand, or of which the end is missing, shows of no claim that it holds; nor does one that
// the test itself broke.
func (v *Verdict) asExpected(e Expectation) bool {
	claim, _ := FindClaim(e.Claim)
	of := func(checker string) checkers.Verdict {
		for _, j := range v.Judgements {
			if j.Checker == checker {
				return j.Verdict
			}
		}
		return checkers.Unknown
	}
	if e.Violated {
		return of(claim.Judgement) == checkers.Invalid
	}
	return of(claim.Judgement) == checkers.Valid && of("faults") == checkers.Valid && of("alive") != checkers.Unknown && v.Complete && v.Broken == ""
}
