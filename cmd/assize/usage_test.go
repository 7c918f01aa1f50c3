package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/checkers"
	"assize/harness"
	"assize/history"
	"assize/report"
	"assize/targets"
	"assize/workloads"
)

// call runs one command line.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = assize(t.Context(), append([]string{"assize"}, args...), &out, &err)
	return status, out.String(), err.String()
}

// misuses that need no files, and the sentence that each gets.
var misuses = []struct{ args, want string }{
	{"run --seed 1 --cluster sim --seed 2", `--seed is given twice`},
	{"run --nemesis kill --nemesis=pause", `--nemesis is given twice`},
	{"run --quiet --quiet", `--quiet is given twice`},
	{"check --json --json x", `--json is given twice`},
	{"run --nodes= --seeds 1:2", `--nodes: the value is empty`},
	{"run --target= --seeds 1:2", `--target: the value is empty`},
	{"run --nemesis=", `--nemesis: the value is empty`},
	{"run --plan=", `--plan: the value is empty`},
	{"run --time", `flag needs an argument: -time; see assize run --help`},
	{"run --nemesis kill,,pause", `--nemesis: unknown value ""; allowed are kill, `},
	{"run --cluster sim --out /dev/null/x", `--out: mkdir /dev/null: not a directory`},
	{"run --seeds 1:2 --out /dev/null/x", `--out: mkdir /dev/null: not a directory`},
	{"help frob", `No help topic for 'frob'`},
	{"up --observers 1", `--observers: raft has no observers; those that have are zab`},
	{"run --target raft --observers 1", `--observers: raft has no observers; those that have are zab`},
	{"run --target zab --observers -1", `--observers: -1 is not from 0 to 94, which makes 99 nodes`},
	{"up --target zab --observers two", `--observers: "two" is not a whole number from 1 on`},
	{"run --cluster local --cut disconnect", `--cut: only links between containers can be cut in more than one way; --cluster must be docker`},
	{"run --cluster docker --cut x", `--cut: unknown value "x"; allowed are packets, disconnect`},
	{"run --grace 1ms", `--grace: 1ms is not from 1s to 1h`},
	{"run --workload watch", `--workload: unknown value "watch"; allowed are register, set; the target zab allows it`},
	{"run --read sync", `--read: unknown value "sync"; allowed are readindex, lease, leader, local; the target zab allows it`},
	{"clean up", `clean takes no arguments, got "up"`},
	{"clean --frob", `flag provided but not defined: -frob; see assize clean --help`},
	{"skew more", `skew takes no arguments, got "more"`},
	{"skew --undo", `--pid: "" is not the number of a process`},
	{"skew --pid x --undo", `--pid: "x" is not the number of a process`},
	{"skew --pid 1", `skew needs --undo, or what to do to the clocks, one or more of --wall, --mono, `},
	{"skew --pid 1 --undo --wall 1h", `skew: --undo cannot be combined with --wall`},
	{"skew --pid 1 --wall soon", `--wall: "soon" is not a duration, such as +1h, -250ms or 5s`},
	{"skew --pid 1 --rate 0", `--rate: "0" is not a number from 0.001 to 1000`},
	{"skew --pid 1 --rate 2 --mono-rate 1", `--rate cannot be combined with --wall-rate or --mono-rate`},
	{"skew --pid 1 --wall 1h --strobe 1us", `--strobe: 1µs is not a period of at least 1ms`},
	{"skew --pid 1 --strobe 1s", `--strobe needs --wall`},
	{"run --seeds 1:2 --cluster docker", `--seeds runs in the simulator only; --cluster must be auto or sim, not "docker"`},
	{"run --target zap", `--target: unknown value "zap"; allowed are raft, zab`},
	{"run --target zab --workload x", `--workload: unknown value "x"; allowed are register, set, session, watch`},
	{"run --strategy x", `--strategy: unknown value "x"; allowed are pinned, round-robin, random`},
	{"run --read x", `--read: unknown value "x"; allowed are readindex, `},
	{"run --flaw x", `--flaw: unknown value "x"; allowed are `},
	{"run --time soon", `--time: "soon" is not a duration above 0, such as 500ms, 30s or 2m`},
	{"run --time -3s", `--time: -3s is not above 0 and up to 1000h`},
	{"run --rate 0", `--rate: "0" is not a number above 0`},
	{"run --seeds 3", `--seeds: "3" is not A:B with two whole numbers`},
	{"run --seeds 9:3", `--seeds: "9:3" is not A:B`},
	{"run --seeds 1:2 --cluster local", `--seeds runs in the simulator only; --cluster must be auto or sim, not "local"`},
	{"run --seeds 1:2 --seed 3", `--seeds cannot be combined with --seed or --plan`},
	{"run --expect R1", `--expect: "R1" is not a claim and what it expects, such as R1=violated or R2=holds`},
	{"run --nodes 1 --nemesis kill,partition", `--nemesis: this cluster cannot be broken by "partition": a cluster of one node has no links; it can by kill, pause, clock`},
	{"run --nodes 1 --nemesis partition --seeds 1:9", `--nemesis: this cluster cannot be broken by "partition": a cluster of one node has no links; it can by `},
	{"run --nodes 1 --nemesis transfer --cluster local", `--nemesis: this cluster cannot be broken by "transfer": a cluster of one node has nobody to hand over to; it can by `},
	{"run --nodes 2 --nemesis members --cluster docker", `--nemesis: this cluster cannot be broken by "members": a cluster of fewer than 3 nodes keeps its members; it can by `},
	{"run --target zab --nemesis members", `--nemesis: this cluster cannot be broken by "members": zab does not change its members; it can by `},
	{"run --expect R1=perhaps", `--expect: "R1=perhaps" is not a claim and what it expects`},
	{"run --expect X1=holds", `--expect: unknown claim "X1"; those that a run can decide are B14, R1, R2, `},
	{"run --expect Z6=holds", `--expect: claim Z6 is about the judgement lost, which this run is not put to; its judgements are invariants, faults, linearizable, `},
	{"run --seeds 1:2 --expect Z6=holds", `--expect: claim Z6 is about the judgement lost, which this run is not put to`},
	{"run --seeds 1:2 --record", `--record: only nodes that are processes record`},
	{"up --record", `--record needs --out: what is recorded in a temporary directory is gone with it`},
	{"list more", `list takes no arguments, got "more"`},
	{"up --nodes x", `--nodes: "x" is not a whole number from 1 on`},
	{"up --read x", `--read: unknown value "x"; allowed are readindex, `},
}

// put writes a file.
func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongUsageIsOneSentenceThatNamesWhatIsAllowed(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string { return put(t, filepath.Join(dir, name), text) }
	torn, unknown, bad := file("torn.json", "{\n\"nodes\": 5,\n"), file("unknown.json", "{\"nodez\": 5}"), file("bad.json", "{\n\"nodes\": 500}")
	recorded := file("recorded.json", "{\n\"cluster\": \"sim\",\n\"record\": true}")
	endless := file("endless.json", "{\n\"nemesis\": [\"kill\"],\n\"weather\": {\"drift\": 0.01}}")
	alone := file("alone.json", "{\n\"cluster\": \"local\",\n\"nodes\": 1,\n\"nemesis\": [\"shape\"]}")
	held := filepath.Join(dir, "held")
	if err := os.Mkdir(held, 0o777); err != nil {
		t.Fatal(err)
	}
	file("held/history.jsonl", "")
	for _, c := range append(misuses, []struct{ args, want string }{
		{"frob", `unknown command "frob"; commands are run, check, list, up`},
		{"run --nemesis kil", `--nemesis: unknown value "kil"; allowed are all, none, ` + strings.Join(nemesisNames(), ", ")},
		{"run --nemesis kill,all", `--nemesis: unknown value "all"; allowed are kill`},
		{"run --cluster moon", `--cluster: unknown value "moon"; allowed are auto, sim, local, docker`},
		{"run --target zab --flaw resubmit", `--flaw: unknown value "resubmit"; allowed are ` + strings.Join(flawsOf("zab"), ", ") + "; the target raft allows it"},
		{"run --nodes five", `--nodes: "five" is not a whole number from 1 on`},
		{"run --clients 0", `--clients: "0" is not a whole number from 1 on`},
		{"run --seed -1", `--seed: "-1" is not a whole number from 0 to `},
		{"run --plan " + bad + " --seed 3", `--seed cannot be combined with --plan`},
		{"run --plan " + torn, torn + ":3: the file ends within the plan"},
		{"run --plan " + unknown, unknown + `:1: unknown field "nodez"`},
		{"run --plan " + bad, bad + `:2: nodes: 500 is not from 1 to 99`},
		{"run --plan " + dir + "/none", `--plan: open `},
		{"run --plan " + alone, alone + `:4: nemesis: this cluster cannot be broken by "shape": a cluster of one node has no links; it can by `},
		{"run --cluster sim --out " + held, `--out: ` + held + ` already holds a run`},
		{"run --cluster sim --record", `--record: only nodes that are processes record; in the simulator the seed repeats all of a run`},
		{"run --plan " + recorded, recorded + `:3: record: only nodes that are processes record`},
		{"run --plan " + endless, endless + `:3: weather: every and hold are 0s together; for faults to be drawn from them it takes 1ms at least`},
		{"run --plan " + recorded + " --record", `--record cannot be combined with --plan`},
		{"node replay", `node replay needs recordings, or directories of them such as a run's`},
		{"node replay " + dir + "/none", `stat ` + dir + `/none: no such file`},
		{"node replay " + held, `below ` + held + ` there is no *.rec; nodes record with --record`},
		{"node replay --frob", `flag provided but not defined: -frob; see assize node replay --help`},
		{"node frob", `node takes no arguments but replay, got "frob"`},
		{"node --id 1 --dir d --peer p", `--client is missing; see assize node --help`},
		{"run more", `run takes no arguments, got "more"`},
		{"run --frob", "flag provided but not defined: -frob; see assize run --help"},
		{"check", "check takes one argument, the run's directory; got 0"},
		{"check " + dir, dir + " is not the directory of a run"},
	}...) {
		status, stdout, stderr := call(t, strings.Fields(c.args)...)
		if status != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "assize: "+c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q, want %d and %q", c.args, status, stdout, stderr, exitUsage, c.want)
		}
	}
}

// TestOneNodeIsBrokenByWhatItCanBe where nobody has said by what.
func TestOneNodeIsBrokenByWhatItCanBe(t *testing.T) {
	dir, _ := simulate(t, exitValid, "--nodes", "1", "--seed", "1", "--time", "5s")
	p, err := readPlan(filepath.Join(dir, report.PlanFile))
	if err != nil || !slices.Equal(p.Nemesis, []string{"kill", "pause"}) {
		t.Errorf("%v: nemeses %q", err, p.Nemesis)
	}
}

func flawsOf(target string) []string {
	t, _ := targets.Find(target)
	return t.FlawNames()
}

func TestListNamesEverything(t *testing.T) {
	status, stdout, _ := call(t, "list")
	if status != exitValid {
		t.Errorf("exit %d", status)
	}
	for _, want := range []string{
		"raft", "read modes: readindex, ", "forget-vote", "sim", "local", "register", "set", "kill", "pause", "partition", "shape", "transfer", "members", "clock",
		"linearizable", "lost", "agreement", "alive", "availability", "R1  linearizable", "Z10 watch",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("list does not name %s", want)
		}
	}
}

func TestMalformedHistoryIsBroken(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plan.json": "{}", "history.jsonl": "{\"index\":0}\nrubbish\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	status, stdout, stderr := call(t, "check", dir)
	if status != exitBroken || stdout != "" || !strings.HasPrefix(stderr, "BROKEN  ") || !strings.Contains(stderr, "history.jsonl:1") {
		t.Errorf("exit %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

// shownAt draws the same progress at several times and returns what was written.
func shownAt(onTerminal bool, times ...time.Duration) string {
	var b bytes.Buffer
	now := time.Unix(0, 0).Add(time.Hour)
	p := newProgress(&b, false, harness.Plan{Target: "raft", Cluster: "local", Workload: "register", Time: 60 * time.Second})
	p.terminal = onTerminal
	for _, at := range times {
		p.now = func() time.Time { return now.Add(at) }
		p.update(harness.Progress{
			Phase: "storm", At: at, OK: int(at / time.Millisecond), Fail: 96, Info: 11, Leader: "n5", Term: 2,
			Active: []history.Fault{{ID: 3, What: "cut n4 | n1 n2 n3 n5"}},
		})
	}
	p.end()
	return b.String()
}

func TestProgressInAPipeIsALineEachTenSeconds(t *testing.T) {
	var times []time.Duration
	for at := time.Duration(0); at < 25*time.Second; at += 100 * time.Millisecond {
		times = append(times, at)
	}
	want := "raft local register  10.0/60 s  1000 ops/s  ok 10000 info 11 fail 96  leader n5 (2)  F3 cut n4 | n1 n2 n3 n5\n" +
		"raft local register  20.0/60 s  1000 ops/s  ok 20000 info 11 fail 96  leader n5 (2)  F3 cut n4 | n1 n2 n3 n5\n"
	if got := shownAt(false, times...); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgressOnATerminalIsRedrawnAtMostTenTimesASecond(t *testing.T) {
	var times []time.Duration
	for at := time.Duration(0); at < time.Second; at += 10 * time.Millisecond {
		times = append(times, at)
	}
	got := shownAt(true, times...)
	if n := strings.Count(got, "\r"); n != 11 || strings.Contains(got, "\n") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("%d times redrawn: %q", n, got)
	}
}

func TestQuietIsQuiet(t *testing.T) {
	p := newProgress(nil, true, harness.Plan{})
	p.update(harness.Progress{})
	p.end()
}

// TestTargetsAndWorkloadsNameWhatThereIs: each workload is some target's, and each judgement, also of a claim, has a checker.
func TestTargetsAndWorkloadsNameWhatThereIs(t *testing.T) {
	for _, c := range report.Claims {
		if _, known := checkers.Find(c.Judgement); !known {
			t.Errorf("claim %s: there is no checker %q", c.ID, c.Judgement)
		}
	}
	done := map[string]bool{}
	for _, target := range targets.Table {
		for _, name := range target.Workloads {
			if _, known := workloads.Find(name); !known {
				t.Errorf("%s: there is no workload %q", target.Name, name)
			}
			done[name] = true
		}
	}
	for _, w := range workloads.Table {
		if !done[w.Name] {
			t.Errorf("%s: no target can do it", w.Name)
		}
		for _, name := range w.Checkers {
			if _, known := checkers.Find(name); !known {
				t.Errorf("%s: there is no checker %q", w.Name, name)
			}
		}
	}
}
