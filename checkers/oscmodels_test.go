package checkers

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"assize/history"
)

// TestAllSmallOSC puts every history of up to 3 calls on two registers to the judgement, and of 4 those of two acknowledged writes and then reads
// and syncs: every interleaving, every assignment to sessions, every kind of call, with a sync before it or not, every value that could be seen, every
// order of versions. Of those of 4 calls it takes one in four, drawn, and all where ASSIZE_RANDOM is set.
func TestAllSmallOSC(t *testing.T) {
	histories, valid := 0, 0
	try := func(calls []tcall) {
		histories++
		if values, _ := agreeOnOSC(t, calls); values {
			valid++
		}
	}
	for n := 1; n <= 3; n++ {
		interleavings(n, func(at [][2]int) { oscKinds(at, nil, n, try) })
	}
	if !testing.Short() {
		r := rand.New(rand.NewPCG(43, 44))
		some := func(calls []tcall) {
			if r.IntN(4) == 0 || os.Getenv("ASSIZE_RANDOM") != "" {
				try(calls)
			}
		}
		interleavings(4, func(at [][2]int) {
			for _, key := range []string{"a", "b"} {
				oscKinds(at, []tcall{
					{process: 1, f: history.Write, key: "a", in: []int{1}, call: at[0][0], ret: at[0][1], kind: history.OK},
					{process: 2, f: history.Write, key: key, in: []int{2}, call: at[1][0], ret: at[1][1], kind: history.OK},
				}, 4, some)
			}
		})
	}
	t.Logf("%d histories, %d valid", histories, valid)
	if valid == 0 || valid == histories {
		t.Error("all or none are valid")
	}
}

// oscKinds extends calls to n in every way. Call i writes i+1, if it writes. Of 4 calls the last two do not.
func oscKinds(at [][2]int, calls []tcall, n int, each func([]tcall)) {
	i := len(calls)
	if i == n {
		oscVersions(calls, each)
		return
	}
	most := 0
	for _, c := range calls {
		most = max(most, c.process)
	}
	for process := 1; process <= most+1; process++ {
		if slices.ContainsFunc(calls, func(c tcall) bool { return c.process == process && (c.ret > at[i][0] || c.kind == history.Info) }) {
			continue
		}
		c := tcall{process: process, call: at[i][0], ret: at[i][1], kind: history.OK}
		with := func(c tcall) { oscKinds(at, append(slices.Clone(calls), c), n, each) }
		c.f, c.key = history.Sync, "a"
		with(c)
		for _, key := range []string{"a", "b"} {
			if i == 0 && key == "b" {
				continue
			}
			c.key = key
			for _, c.synced = range []bool{false, true} {
				c.f, c.in, c.kind = history.Read, nil, history.OK
				for v := 0; v <= n; v++ {
					if c.out = nil; v > 0 {
						c.out = []int{v}
					}
					// What another call does not write to this key is no more than an orphan: one value is enough for these.
					if v == 0 || v == i+1 || v > i || calls[v-1].key == key && len(calls[v-1].in) > 0 {
						with(c)
					}
				}
				if n == 4 {
					continue
				}
				c.f, c.in, c.out = history.Write, []int{i + 1}, nil
				with(c)
				if !c.synced {
					c.kind = history.Info
					with(c)
				}
			}
		}
	}
}

// oscVersions gives the writes versions in every order.
func oscVersions(calls []tcall, each func([]tcall)) {
	var writes []int
	for i, c := range calls {
		if len(c.in) > 0 {
			writes = append(writes, i)
		}
	}
	versions := make([]uint64, len(calls)+1) // by value
	var order func(version uint64)
	order = func(version uint64) {
		if int(version) > len(writes) {
			versioned := slices.Clone(calls)
			for i := range versioned {
				switch c := &versioned[i]; {
				case c.kind != history.OK:
				case c.f == history.Write:
					c.version = versions[c.in[0]]
				case len(c.out) > 0:
					c.version = versions[c.out[0]]
				}
			}
			each(versioned)
			return
		}
		for _, i := range writes {
			if v := i + 1; versions[v] == 0 {
				versions[v] = version
				order(version + 1)
				versions[v] = 0
			}
		}
	}
	order(1)
}

// TestOSCModels: what each kind of store is found to be. One that lets each client go forward through the past in its own time is as ZooKeeper
// is; one that forgets where a client was, or does nothing at a sync, is not.
func TestOSCModels(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	const runs = 200
	for _, c := range []struct {
		name                         string
		see                          seeing
		sync                         int
		deaf                         bool
		osc, linearizable, sessionsX [2]int // at least, at most so many convicted
	}{
		{"fresh", fresh, 4, false, [2]int{0, 0}, [2]int{0, 0}, [2]int{0, 0}},
		{"forward", forward, 0, false, [2]int{0, 0}, [2]int{195, runs}, [2]int{0, 0}},
		{"forward and synced", forward, 4, false, [2]int{0, 0}, [2]int{195, runs}, [2]int{0, 0}},
		{"forward and deaf to syncs", forward, 4, true, [2]int{195, runs}, [2]int{195, runs}, [2]int{0, 0}},
		{"anywhere", anywhere, 0, false, [2]int{195, runs}, [2]int{195, runs}, [2]int{195, runs}},
	} {
		var o, l, s int
		for range runs {
			h := build(world{processes: 5, operations: 150, keys: 2, info: 20, fail: 20, see: c.see, sync: c.sync, deaf: c.deaf}.run(r))
			for _, k := range []struct {
				checker Checker
				count   *int
			}{{osc, &o}, {linearizable, &l}, {sessions, &s}} {
				if got := check(t, k.checker, h); got.Verdict == Invalid {
					*k.count++
				} else if got.Verdict != Valid {
					t.Fatalf("%s: %s: %s (%s)", c.name, k.checker.Name, got.Verdict, got.Note)
				}
			}
		}
		t.Logf("%s: of %d runs %d are not osc, %d not linearizable, %d break a guarantee", c.name, runs, o, l, s)
		for _, k := range []struct {
			name string
			got  int
			want [2]int
		}{{"osc", o, c.osc}, {"linearizable", l, c.linearizable}, {"sessions", s, c.sessionsX}} {
			if k.got < k.want[0] || k.got > k.want[1] {
				t.Errorf("%s: %d convicted by %s, want %v", c.name, k.got, k.name, k.want)
			}
		}
	}
}

// oscMutations spoil a history that is valid so that it certainly no longer is.
var oscMutations = []mutation{
	{"read behind a sync", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		return staleRead(r, calls, func(c, w tcall) bool { return c.synced && acknowledged(w) && w.ret < c.call })
	}},
	{"read behind a read", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		return staleRead(r, calls, func(c, w tcall) bool {
			return slices.ContainsFunc(calls, func(o tcall) bool {
				return o.process == c.process && o.ret < c.call && o.f == history.Read && o.key == w.key && len(o.out) == 1 && o.out[0] == w.in[len(w.in)-1]
			})
		})
	}},
	{"read behind a write", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		return staleRead(r, calls, func(c, w tcall) bool { return acknowledged(w) && w.process == c.process && w.ret < c.call })
	}},
	{"read after a sync by itself", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		return staleRead(r, calls, func(c, w tcall) bool {
			return acknowledged(w) && slices.ContainsFunc(calls, func(o tcall) bool {
				return o.process == c.process && o.f == history.Sync && o.kind == history.OK && w.ret < o.call && o.ret < c.call
			})
		})
	}},
	{"writes the wrong way round", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		for _, i := range r.Perm(len(calls)) {
			for k, w := range calls {
				if acknowledged(calls[i]) && acknowledged(w) && w.ret < calls[i].call {
					for n := range calls { // the answers that tell of them, too
						switch calls[n].version {
						case w.version:
							calls[n].version = 1_000_000
						case calls[i].version:
							calls[n].version = w.version
						}
						calls[n].position = 0
					}
					calls[i].version, calls[k].version = w.version, 1_000_000
					return calls, true
				}
			}
		}
		return nil, false
	}},
	{"server gone back", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		for _, i := range r.Perm(len(calls)) {
			for _, o := range calls {
				if c := calls[i]; c.kind == history.OK && c.process == o.process && o.kind == history.OK && o.ret < c.call && o.position > 1 {
					calls[i].position = o.position - 1
					return calls, true
				}
			}
		}
		return nil, false
	}},
	{"read before the write", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		for _, i := range r.Perm(len(calls)) {
			for _, w := range calls {
				if c := calls[i]; c.f == history.Read && c.kind == history.OK && c.key == w.key && acknowledged(w) && c.ret < w.call {
					calls[i].out, calls[i].version = w.in[len(w.in)-1:], w.version
					return calls, true
				}
			}
		}
		return nil, false
	}},
	{"one version for two writes", func(r *rand.Rand, calls []tcall) ([]tcall, bool) {
		for _, i := range r.Perm(len(calls)) {
			for _, w := range calls {
				if acknowledged(calls[i]) && acknowledged(w) && w.process != calls[i].process && w.version < calls[i].version {
					calls[i].version, calls[i].position = w.version, w.position
					return calls, true
				}
			}
		}
		return nil, false
	}},
}

// staleRead gives a read the value that was there before a write that it must have seen.
func staleRead(r *rand.Rand, calls []tcall, must func(c, w tcall) bool) ([]tcall, bool) {
	for _, i := range r.Perm(len(calls)) {
		c := calls[i]
		if c.f != history.Read || c.kind != history.OK {
			continue
		}
		for _, w := range calls {
			if len(w.in) == 0 || w.kind == history.Fail || w.key != c.key || !must(c, w) {
				continue
			}
			calls[i].out, calls[i].version, calls[i].position = nil, 0, 0 // from the very beginning
			return calls, true
		}
	}
	return nil, false
}

// TestOSCMutations: what has been made wrong is convicted, by the whole judgement and in a history beyond what can be tried by force.
func TestOSCMutations(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 46))
	for _, m := range oscMutations {
		tried := 0
		for range 200 {
			calls := world{processes: 5, operations: 100, keys: 2, info: 20, fail: 20, see: forward, sync: 5}.run(r)
			if got := check(t, osc, build(calls)); got.Verdict != Valid {
				t.Fatalf("before the mutation: %s: %s", got.Verdict, got.Note)
			}
			mutated, done := m.mutate(r, calls)
			if !done {
				continue
			}
			tried++
			if got := check(t, osc, build(mutated)); got.Verdict != Invalid || len(got.Evidence) == 0 || len(got.Evidence[0].Items) > 4 {
				t.Fatalf("%s: got %s: %s: %+v", m.name, got.Verdict, got.Note, got.Evidence)
			}
		}
		if tried < 50 {
			t.Errorf("%s: only %d of 200 histories gave occasion", m.name, tried)
		}
	}
}

// TestOSCTells: what a reader gets to see, and that the same stale read is none without the sync.
func TestOSCTells(t *testing.T) {
	write := func(p, v, call, ret int, version uint64, node string) tcall {
		return tcall{process: p, f: "write", key: "k7", in: []int{v}, call: call, ret: ret, kind: history.OK, version: version, position: version, node: node}
	}
	read := func(p, v, call, ret int, version, position uint64, node string) tcall {
		return tcall{process: p, f: "read", key: "k7", out: []int{v}, call: call, ret: ret, kind: history.OK, version: version, position: position, node: node}
	}
	sync := func(p, call, ret int, position uint64, node string) tcall {
		return tcall{process: p, f: "sync", key: "k7", call: call, ret: ret, kind: history.OK, position: position, node: node}
	}
	behind := func(c tcall) tcall {
		c.synced = true
		return c
	}
	first, second := write(1, 5, 0, 10, 7, "n1"), write(1, 6, 20, 30, 9, "n1")
	for _, c := range []struct {
		name  string
		calls []tcall
		why   string // empty: valid
		roles string
	}{
		{"stale, and may be", []tcall{first, second, read(3, 5, 50, 60, 7, 8, "n2")}, "", ""},
		{"stale behind its sync", []tcall{first, second, behind(read(3, 5, 50, 60, 7, 8, "n2"))},
			"p3 on n2 read k7 -> 5, which version 9 had overwritten, although its sync was asked for 0.020 s after n1 had answered at version 9",
			"wrote, overwrote, synced, returned old"},
		{"stale after a sync by itself", []tcall{first, second, sync(3, 40, 45, 0, "n2"), read(3, 5, 50, 60, 7, 8, "n2")},
			"p3 on n2 read k7 -> 5, which version 9 had overwritten, although its sync was asked for 0.010 s after n1 had answered at version 9",
			"wrote, overwrote, synced, returned old"},
		{"stale behind a sync that came before the acknowledgement", []tcall{first, second, sync(3, 25, 35, 0, "n2"), read(3, 5, 50, 60, 7, 8, "n2")}, "", ""},
		{"stale behind a sync that failed", []tcall{first, second, {process: 3, f: "sync", key: "k7", call: 40, ret: 45, kind: history.Fail},
			read(3, 5, 50, 60, 7, 8, "n2")}, "", ""},
		{"back behind what it had read", []tcall{first, second, read(3, 6, 40, 45, 9, 9, "n1"), read(3, 5, 50, 60, 7, 8, "n2")},
			"p3 on n2 read k7 -> 5, which version 9 had overwritten, although the same session had already seen version 9 at n1",
			"wrote, overwrote, saw version 9, returned old"},
		{"behind a sync of one that had seen it", []tcall{first, write(1, 6, 20, 90, 9, "n1"), read(2, 6, 30, 35, 9, 9, "n1"), sync(2, 36, 38, 0, "n1"),
			behind(read(3, 5, 50, 60, 7, 8, "n2"))}, "p3 on n2 read k7 -> 5, which version 9 had overwritten, although its sync was asked for 0.012 s after p2, " +
			"which had seen version 9 at n1, was done with a sync", "overwrote, saw version 9, synced, synced, returned old"},
		{"a write before what was acknowledged", []tcall{first, second, write(2, 8, 50, 60, 8, "n3")},
			"p2 on n3 wrote 8 to k7 at version 8, although it was asked 0.020 s after n1 had answered at version 9", "saw version 9, took effect before"},
		{"by position alone, behind a sync", []tcall{first, second, write(1, 7, 32, 39, 10, "n1"), {process: 3, f: "read", key: "k8", call: 50, ret: 60,
			kind: history.OK, position: 8, node: "n2", synced: true}, write(1, 2, 70, 80, 11, "n1")},
			"p3 on n2 was answered at position 8, although its sync was asked for 0.011 s after n1 had answered at version 10",
			"saw version 10, answered at position 8"},
		{"by position alone, in a session", []tcall{first, second, read(3, 5, 50, 60, 7, 8, "n2"), read(3, 5, 61, 62, 7, 7, "n3")},
			"p3 on n3 was answered at position 7, although the same session had already seen position 8 at n2", "saw position 8, answered at position 7"},
		{"one version for two", []tcall{first, write(2, 6, 5, 30, 7, "n2")}, "p1 on n1 wrote 5 to k7 at version 7, and so p2 on n2 wrote 6 to k7", "version 7, version 7"},
	} {
		got := check(t, osc, build(c.calls))
		if c.why == "" {
			if got.Verdict != Valid {
				t.Errorf("%s: got %s (%s), want valid", c.name, got.Verdict, got.Note)
			}
			continue
		}
		if got.Verdict != Invalid || len(got.Evidence) == 0 {
			t.Errorf("%s: got %s (%s), want invalid", c.name, got.Verdict, got.Note)
			continue
		}
		var roles []string
		for _, i := range got.Evidence[0].Items {
			roles = append(roles, i.Role)
		}
		if e := got.Evidence[0]; e.Why[0] != c.why || strings.Join(roles, ", ") != c.roles {
			t.Errorf("%s:\ngot  %s\n     %s\nwant %s\n     %s", c.name, e.Why[0], strings.Join(roles, ", "), c.why, c.roles)
		}
	}
}

func TestOSCNeedsVersions(t *testing.T) {
	calls := bare(world{processes: 2, operations: 20, keys: 1}.run(rand.New(rand.NewPCG(1, 1))))
	for _, c := range []Checker{osc, sessions} {
		if got := check(t, c, build(calls)); got.Verdict != Unknown || !strings.Contains(got.Note, "carries no version") {
			t.Errorf("%s: got %s (%s), want unknown", c.Name, got.Verdict, got.Note)
		}
	}
}
