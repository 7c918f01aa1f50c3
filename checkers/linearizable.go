package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"assize/history"
)

// mostTold is how many counter-examples a judgement works out and shows; it counts all that it meets.
const mostTold = 3

var linearizable = Checker{
	Name:     "linearizable",
	Question: "does every answer agree with one order of all operations that keeps their order in real time?",
	Doc: "registers, each key by itself, the shortest history first (Herlihy and Wing 1990: linearizability is local). A key is proven by replaying " +
		"the server's own order of versions where that gives a proof; otherwise porcupine (Wing and Gong's search with Lowe's cache) decides, under " +
		"limits of time and memory for the whole judgement; a key beyond them is unknown and the others are still judged. Writes without an answer " +
		"whose value nobody saw are left out; a value that was seen though its write had failed is a violation of its own",
	Check: checkLinearizable,
}

// conviction is one key that is not linearizable.
type conviction struct {
	whole    *register
	least    *register // as few of its operations as still cannot be put in order
	evidence Evidence
}

func checkLinearizable(h []history.Op, l Limits) (Result, error) {
	t, err := load(h)
	if err != nil {
		return Result{}, err
	}
	keys, single := t.split("register")
	if !single {
		return Result{Verdict: Unknown, Note: "there are transactions of several steps, which this judgement does not know", Unit: "keys"}, nil
	}
	registers := make([]*register, len(keys))
	for i, k := range keys {
		registers[i] = t.newRegister(k)
	}
	slices.SortStableFunc(registers, func(a, b *register) int { return cmp.Compare(len(a.ops), len(b.ops)) })
	if l.Time <= 0 {
		l.Time = defaultTime
	}
	j := lineJudgement{trial: t}
	// A quarter of the time is for the evidence: a verdict that nobody can follow is worth little.
	j.within(Limits{l.Time - l.Time/4, l.Memory}, func() {
		for _, r := range registers {
			j.judge(r)
		}
	})
	var res Result
	j.within(Limits{l.Time / 4, l.Memory}, func() { res = j.result(len(registers)) })
	return res, nil
}

// lineJudgement goes from key to key.
type lineJudgement struct {
	trial
	budget                             *budget
	operations, proven, searched, over int
	limit                              string // the first that was hit
	convicted                          []*register
	suspicion                          []*register // of each convicted key, a part that is known not to be linearizable
}

func (j *lineJudgement) within(l Limits, do func()) {
	j.budget = newBudget(l)
	defer j.budget.cancel()
	do()
}

func (j *lineJudgement) judge(r *register) {
	j.operations += len(r.ops)
	if len(r.orphans) > 0 {
		j.convict(r, nil)
		return
	}
	if r.provenByVersions() {
		j.proven++
		return
	}
	// What is left of a history that is linearizable is linearizable, so a few operations that are not convict the whole, and are found much
	// sooner than the search through all orders of the whole ends.
	for _, part := range r.suspects() {
		if v, _ := j.budget.search(part); v == Invalid {
			j.searched++
			j.convict(r, part)
			return
		}
	}
	switch v, limit := j.budget.search(r); v {
	case Unknown:
		j.over++
		if j.limit == "" {
			j.limit = limit
		}
	case Invalid:
		j.searched++
		j.convict(r, r)
	default:
		j.searched++
	}
}

func (j *lineJudgement) convict(r, part *register) {
	j.convicted = append(j.convicted, r)
	j.suspicion = append(j.suspicion, part)
}

func (j *lineJudgement) result(keys int) Result {
	res := Result{
		Verdict: Valid, Judged: j.proven + j.searched, Unit: "keys", Limit: j.limit, Files: map[string][]byte{},
		Figures: map[string]float64{
			"operations": float64(j.operations), "proven_by_versions": float64(j.proven), "searched": float64(j.searched),
			"keys_unknown": float64(j.over), "keys_invalid": float64(len(j.convicted)),
		},
	}
	res.Note = fmt.Sprintf("%s with %s, %d proven by the server's order, %d searched", plural(keys, "key"), plural(j.operations, "operation"), j.proven,
		j.searched)
	if keys == 0 {
		return Result{Verdict: Unknown, Note: "there are no registers in this history", Unit: "keys"}
	}
	if j.over > 0 {
		res.Verdict = Unknown
		res.Note = fmt.Sprintf("%d of %s could not be decided within the limit of %s", j.over, plural(keys, "key"), j.limit)
	}
	if len(j.convicted) == 0 {
		return res
	}
	told := j.tell()
	res.Verdict = Invalid
	res.Judged += j.orphaned()
	res.Note = fmt.Sprintf("%d of %s; %s: %s", len(j.convicted), plural(keys, "key"), told[0].evidence.Key, told[0].evidence.Why[0])
	for _, c := range told {
		res.Evidence = append(res.Evidence, c.evidence)
		if picture := j.picture(c); picture != nil {
			res.Files["linearizable-"+fileName(c.whole.key)+".html"] = picture
		}
	}
	return res
}

// orphaned counts the keys that needed no search.
func (j *lineJudgement) orphaned() (n int) {
	for _, r := range j.convicted {
		if len(r.orphans) > 0 {
			n++
		}
	}
	return n
}

// tell works out the evidence of a few keys, the simplest first.
func (j *lineJudgement) tell() []conviction {
	var all []conviction
	for i, r := range j.convicted {
		if i == mostTold {
			break
		}
		c := conviction{whole: r}
		if len(r.orphans) > 0 {
			c.evidence = j.orphan(r)
		} else {
			var least bool
			c.least, least = j.budget.shrink(j.suspicion[i])
			c.evidence = j.explain(c.least, least)
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b conviction) int { return cmp.Compare(len(a.evidence.Items), len(b.evidence.Items)) })
	return all
}

// fileName is the key with everything but letters and digits replaced, and cut: a key may be anything, also "../x".
func fileName(key string) string {
	name := []byte(key)
	for i, c := range name {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			name[i] = '_'
		}
	}
	return string(name[:min(len(name), 40)])
}
