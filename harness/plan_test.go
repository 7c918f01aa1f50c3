package harness

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

var allowed = Allowed{
	Targets: []string{"raft", "zab"}, Observed: []string{"zab"}, Clusters: []string{"sim", "local"}, Nemeses: []string{"kill", "pause", "partition"},
	Modes: []string{"readindex", "local"}, Flaws: []string{"forget-vote"},
}

func scheduled(seed uint64, nemeses ...string) Plan {
	p := Plan{Seed: seed, Nemesis: nemeses, Time: 60 * time.Second}
	p.Fill()
	Schedule(&p)
	return p
}

func TestScheduleIsDrawnFromTheSeed(t *testing.T) {
	one, again, other := scheduled(1, "kill", "pause"), scheduled(1, "kill", "pause"), scheduled(2, "kill", "pause")
	if !reflect.DeepEqual(one, again) {
		t.Error("the same seed gave two schedules")
	}
	if reflect.DeepEqual(one.Faults, other.Faults) || one.Weather == other.Weather {
		t.Error("two seeds gave the same schedule")
	}
	before := scheduled(1, "kill", "pause")
	Schedule(&before)
	if !reflect.DeepEqual(one, before) {
		t.Error("a schedule was drawn anew")
	}
}

// TestTakingOneNemesisOutLeavesTheOthers: what shrinking a plan rests on.
func TestTakingOneNemesisOutLeavesTheOthers(t *testing.T) {
	only := func(p Plan) (list []Fault) {
		for _, f := range p.Faults {
			if f.Name == "pause" {
				f.ID = 0
				list = append(list, f)
			}
		}
		return list
	}
	if a, b := only(scheduled(5, "kill", "pause")), only(scheduled(5, "pause")); !reflect.DeepEqual(a, b) {
		t.Errorf("pauses with kills %v, without %v", a, b)
	}
}

func TestEveryScheduleIsAllowedAndPutsEveryNemesisToWork(t *testing.T) {
	many := 0
	for seed := range uint64(300) {
		p := scheduled(seed, "kill", "pause", "partition")
		p.Time = 5 * time.Second
		p.Faults = nil
		Schedule(&p)
		if err := p.Validate(allowed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		seen := map[string]int{}
		for i, f := range p.Faults {
			seen[f.Name]++
			if f.ID != i+1 || f.At >= p.Time || i > 0 && f.At < p.Faults[i-1].At {
				t.Fatalf("seed %d: %+v out of order", seed, p.Faults)
			}
		}
		if len(seen) != 3 {
			t.Errorf("seed %d: only %v", seed, seen)
		}
		many = max(many, seen["kill"])
	}
	if many < 2 {
		t.Error("no run of 5 s has two kills")
	}
}

func TestStreamsAreApart(t *testing.T) {
	seen := map[uint64]string{}
	for _, s := range []struct {
		name string
		draw uint64
	}{
		{"1 a", Stream(1, "a").Uint64()}, {"2 a", Stream(2, "a").Uint64()}, {"1 b", Stream(1, "b").Uint64()}, {"1 a 0", Stream(1, "a", 0).Uint64()},
		{"1 a 1", Stream(1, "a", 1).Uint64()}, {"1 a 1 0", Stream(1, "a", 1, 0).Uint64()}, {"1 a 0 1", Stream(1, "a", 0, 1).Uint64()},
	} {
		if was, is := seen[s.draw]; is {
			t.Errorf("streams %q and %q begin alike", was, s.name)
		}
		seen[s.draw] = s.name
	}
}

func TestValidateNamesWhatIsAllowed(t *testing.T) {
	for _, c := range []struct {
		change func(*Plan)
		want   string
	}{
		{func(p *Plan) { p.Target = "rafd" }, `target: unknown value "rafd"; allowed are raft, zab`},
		{func(p *Plan) { p.Cluster = "moon" }, `cluster: unknown value "moon"; allowed are sim, local`},
		{func(p *Plan) { p.Workload = "x" }, `workload: unknown value "x"; allowed are register, set`},
		{func(p *Plan) { p.Nemesis = []string{"kill", "kil"} }, `nemesis: unknown value "kil"; allowed are kill, pause, partition`},
		{func(p *Plan) { p.Nemesis = []string{"kill", "kill"} }, `nemesis: "kill" is named twice`},
		{func(p *Plan) { p.Strategy = "best" }, `strategy: unknown value "best"; allowed are pinned, round-robin, random`},
		{func(p *Plan) { p.Read = "fast" }, `read: unknown value "fast"; allowed are readindex, local`},
		{func(p *Plan) { p.Flaw = "x" }, `flaw: unknown value "x"; allowed are forget-vote`},
		{func(p *Plan) { p.Nodes = 100 }, "nodes: 100 is not from 1 to 99"},
		{func(p *Plan) { p.Observers = 1 }, "observers: raft has no observers; those that have are zab"},
		{func(p *Plan) { p.Target, p.Observers = "zab", 95 }, "observers: 95 is not from 0 to 94"},
		{func(p *Plan) { p.Clients = -1 }, "clients: -1 is not from 1 to 10000"},
		{func(p *Plan) { p.Rate = -2 }, "rate: -2 is not above 0"},
		{func(p *Plan) { p.Time = -time.Second }, "time: -1s is not above 0"},
		{func(p *Plan) { p.Timeout = 2 * time.Hour }, "timeout: 2h0m0s is not above 0"},
		{func(p *Plan) { p.Heartbeat = time.Second }, "heartbeat: 1s is not above 0 and below the election time-out 300ms"},
		{func(p *Plan) { p.Grace = time.Millisecond }, "grace: 1ms is not from 1s to 1h"},
		{func(p *Plan) { p.Weather.Loss = 2 }, "weather.loss: 2 is not from 0 to 1"},
		{func(p *Plan) { p.Format = 2 }, "format: 2 is not known"},
		{func(p *Plan) { p.Faults = []Fault{{ID: 1, Name: "skew"}} }, `faults: fault 1 is a "skew", but the plan's nemesis has only kill`},
		{func(p *Plan) { p.Faults = []Fault{{ID: 1, Name: "kill"}, {ID: 1, Name: "kill"}} }, "faults: fault 2 has the id 1"},
		{func(p *Plan) { p.Weather, p.Faults = Weather{Drift: 0.01}, nil }, "weather: every and hold are 0s together"},
		{func(p *Plan) { p.Faults = []Fault{{ID: 1, Name: "kill", For: math.MaxInt64}} }, "faults: fault 1 begins at 0s and lasts 2562047h"},
		{func(p *Plan) { p.Faults = []Fault{{ID: 1, Name: "kill", At: -1}} }, "faults: fault 1 begins at -1ns"},
	} {
		p := scheduled(1, "kill")
		c.change(&p)
		if err := p.Validate(allowed); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestParsePlan(t *testing.T) {
	want := scheduled(3, "kill")
	b, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParsePlan("plan.json", b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if strings.Contains(string(b), "observers") {
		t.Error("a plan without observers names them")
	}
	for _, c := range []struct{ text, want string }{
		{"{\n\"nodes\": 5,\n}", "plan.json:3: invalid character"},
		{"{\n\"nodes\": \"five\"}", "plan.json:2: nodes is a string, want int"},
		{"{\n\n\"nodez\": 5}", `plan.json:3: unknown field "nodez"`},
		{"{\"nodes\": 5}\n{}", "plan.json:2: there is more behind the plan"},
		{"{\"nodes\":\n5", "plan.json:2: the file ends within the plan"},
		{"", "plan.json:1: the file ends within the plan"},
	} {
		if _, err := ParsePlan("plan.json", []byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

func TestLocate(t *testing.T) {
	b := []byte("{\n  \"target\": \"raft\",\n  \"weather\": {\n    \"loss\": 2\n  }\n}")
	err := Locate("plan.json", b, &FieldError{"weather.loss", "2 is not from 0 to 1"})
	if got, want := err.Error(), "plan.json:4: weather.loss: 2 is not from 0 to 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParsePlan(f *testing.F) {
	b, err := json.Marshal(scheduled(3, "kill"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{\"nodes\": \"x\"}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePlan("plan.json", b)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "plan.json:") {
				t.Errorf("error without a place: %v", err)
			}
			return
		}
		p.Fill()
		if p.Validate(allowed) == nil {
			Schedule(&p)
			if err := p.Validate(allowed); err != nil {
				t.Errorf("a valid plan was scheduled into an invalid one: %v", err)
			}
		}
	})
}
