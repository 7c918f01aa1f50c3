package checkers

import (
	"cmp"
	"slices"

	"assize/history"
)

// member of a set. It is added once, and so taken out once at most.
type member struct {
	add, remove int    // places in trial.calls: who added it, and who took it out, or, of whom nobody knows, may have; -1: nobody
	from, to    uint64 // versions at which it was added, and taken out; 0: nobody knows, or it was not
}

// listing of a set that was answered.
type listing struct {
	call    int
	at      uint64 // its state
	members []int
}

// members holds what sets were listed to against what was added to them and taken out.
func (j *multiJudgement) members() {
	elements, listings := map[keyValue]*member{}, map[string][]listing{}
	added := map[string][]keyValue{}
	var keys []string
	for i, c := range j.calls {
		for _, m := range j.steps(c) {
			switch {
			case m.F == history.Add:
				kv := keyValue{m.Key, m.In[0]}
				elements[kv] = &member{add: i, remove: -1, from: j.done(i).Version}
				if added[m.Key] = append(added[m.Key], kv); len(added[m.Key]) == 1 {
					keys = append(keys, m.Key)
				}
			case m.F == history.WatchSet || m.F == history.Scan:
				if results, done := j.results(i), j.done(i); len(results) == 1 && done.Position > 0 {
					listings[m.Key] = append(listings[m.Key], listing{i, done.Position, results[0].Out})
				}
			}
		}
	}
	for i, c := range j.calls {
		for _, m := range j.steps(c) {
			e := elements[keyValue{m.Key, first(m.In)}]
			if m.F == history.Remove && e != nil && c.Kind != history.Fail && (e.remove < 0 || e.to == 0 && j.done(i).Version > 0) {
				e.remove, e.to = i, j.done(i).Version
			}
		}
	}
	for _, key := range keys {
		slices.SortStableFunc(added[key], func(a, b keyValue) int { return cmp.Compare(elements[a].from, elements[b].from) })
		slices.SortStableFunc(listings[key], func(a, b listing) int { return cmp.Compare(a.at, b.at) })
		j.listed(added[key], elements, listings[key])
	}
}

// listed: by ascending states, what was listed, and what was not though it was there.
func (j *multiJudgement) listed(added []keyValue, elements map[keyValue]*member, listings []listing) {
	var there []keyValue
	next := 0
	for _, l := range listings {
		for ; next < len(added) && elements[added[next]].from <= l.at; next++ {
			if elements[added[next]].from > 0 {
				there = append(there, added[next])
			}
		}
		key := added[0].key
		for _, v := range l.members {
			j.seenMember(l, key, v, elements[keyValue{key, v}])
		}
		there = slices.DeleteFunc(there, func(kv keyValue) bool {
			e := elements[kv]
			switch _, is := slices.BinarySearch(l.members, kv.value); {
			case e.to > 0 && e.to <= l.at:
				return true
			case is:
				return false
			case e.to == 0 && e.remove >= 0 && j.calls[e.remove].Invoke < j.calls[l.call].Complete: // it may have been taken out
				return true
			}
			j.accuse(key, e.add, l.call, "added it", "missed it", "has not found %d, which was added at version %s", kv.value, numeral(e.from))
			return false
		})
	}
}

// seenMember: what was listed was asked for, and not refused, and it was there in that state.
func (j *multiJudgement) seenMember(l listing, key string, v int, e *member) {
	switch {
	case e == nil:
		j.accuse(key, -1, l.call, "", "saw it", "saw %d, which nobody has asked for", v)
	case j.calls[e.add].Kind == history.Fail:
		j.accuse(key, e.add, l.call, "was refused", "saw it", "saw %d, which had been refused", v)
	case j.calls[e.add].Invoke > j.calls[l.call].Complete || e.from > l.at:
		j.accuse(key, e.add, l.call, "added it", "saw it", "saw %d, which had not been added yet", v)
	case e.to > 0 && e.to <= l.at:
		j.accuse(key, e.remove, l.call, "took it out", "saw it", "saw %d, which was taken out at version %s", v, numeral(e.to))
	}
}
