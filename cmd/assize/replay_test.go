package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/daemon"
	"assize/machine"
	"assize/targets"
)

// TestRecordedRunReplays: each life of each node of a real run under faults does again what it did, and what was changed in its recording, or in the
// machine, is noticed.
func TestRecordedRunReplays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	status, stdout, stderr := call(t, "run", "--cluster", "local", "--nodes", "3", "--time", "5s", "--nemesis", "kill,pause", "--record", "--out", dir)
	if status == exitBroken || !strings.Contains(stdout, "nodes   assize node replay "+dir+"\n") {
		t.Fatalf("exit %d\n%s%s", status, stdout, stderr)
	}
	names, err := recordings([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"n1", "n2", "n3"} {
		if !slices.ContainsFunc(names, func(name string) bool {
			return strings.Contains(name, filepath.Join("nodes", n, "data", "record", "1.rec"))
		}) {
			t.Errorf("no recording of %s's first life in %v", n, names)
		}
	}
	if len(names) < 4 {
		t.Errorf("only the lives %v, though nodes were killed", names)
	}
	status, stdout, stderr = call(t, "node", "replay", dir)
	if status != exitValid || strings.Count(stdout, "effects, hash equal\n") != len(names) || strings.Contains(stdout, "another build") {
		t.Errorf("exit %d\n%s%s", status, stdout, stderr)
	}
	for _, name := range names {
		flipped(t, name)
		anotherMode(t, name)
	}
	// The plan says it too.
	again := filepath.Join(t.TempDir(), "again")
	p, err := readPlan(filepath.Join(dir, "plan.json"))
	if err != nil || !p.Record {
		t.Errorf("%s: got %+v, %v", again, p, err)
	}
}

// flipped flips one bit at several places that must all be noticed: those of whole frames. The last bytes may be of one that was cut off.
func flipped(t *testing.T, name string) {
	t.Helper()
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(good) < 4096 {
		return // a life that was hardly one
	}
	bad := filepath.Join(t.TempDir(), "bad.rec")
	for range 5 {
		b := slices.Clone(good)
		i := 16 + rand.IntN(len(b)-16-1024)
		b[i] ^= 1 << rand.IntN(8)
		if err := os.WriteFile(bad, b, 0o666); err != nil {
			t.Fatal(err)
		}
		status, stdout, stderr := call(t, "node", "replay", bad)
		if status != exitUnknown || !strings.Contains(stdout, "  DAMAGED  offset ") {
			t.Errorf("%s with a flipped bit in byte %d: exit %d\n%s%s", name, i, status, stdout, stderr)
		}
	}
}

// anotherMode replays a recording of nodes that confirm reads with one that does not.
func anotherMode(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := daemon.OpenRecording(f)
	if err != nil {
		t.Fatal(err)
	}
	r.Config.Options.Read = "local"
	target, _ := targets.Find(r.Target)
	got, err := r.Replay(target.New)
	if err != nil {
		t.Fatal(err)
	}
	// A life may have been too short for a read.
	if d := got.Difference; d == nil && got.Events.Requests > 20 {
		t.Errorf("%s: not noticed in %d requests", name, got.Events.Requests)
	} else if d != nil && !slices.ContainsFunc(d.Events, func(e machine.Event) bool { return e.Request != nil }) {
		t.Errorf("%s: differs where no client has asked: %+v", name, d)
	}
}

// tampered is a machine with one message too many in one step.
type tampered struct {
	machine.Machine
	steps, at int
	passed    chan struct{} // closed some steps later
}

func (m *tampered) Step(e machine.Event) machine.Effects {
	x := m.Machine.Step(e)
	if m.steps++; m.steps == m.at {
		x.Send = append(x.Send, machine.Message{From: 1, To: 99, Body: []byte("pst")})
	}
	if m.steps == m.at+10 {
		close(m.passed)
	}
	return x
}

// TestDifferenceIsShown with the batch at which it begins, and the events of the batch.
func TestDifferenceIsShown(t *testing.T) {
	target, _ := targets.Find("raft")
	m := &tampered{at: 20, passed: make(chan struct{})}
	dir := t.TempDir()
	c := daemon.Config{
		Node: cluster.Node{ID: 1, Dir: dir, Peer: "127.0.0.1:0", Client: "127.0.0.1:0", Settings: cluster.Settings{Target: "raft", Record: true}},
		New: func(c machine.Config) machine.Machine {
			m.Machine = target.New(c)
			return m
		},
		Voters: []int{1}, Options: target.Defaults, Front: target.Front,
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- daemon.Run(ctx, c) }()
	select {
	case <-m.passed:
	case err := <-ended:
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	rubbish := filepath.Join(dir, "rubbish")
	if err := os.WriteFile(rubbish, []byte("rubbish"), 0o666); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := call(t, "node", "replay", rubbish, dir)
	if status != exitInvalid {
		t.Errorf("exit %d, %s", status, stderr)
	}
	for _, want := range []string{
		"  no recording of a node: it does not begin with", "  n1, life 1, raft, recorded by ", "  DIFFERS  batch ", "    recorded: hash ", "    replayed: hash ", "    tick\n",
		"2 recordings: 0 replay, 1 differ, 0 damaged\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if status, _, stderr := call(t, "node", "replay", rubbish); status != exitUsage || !strings.HasPrefix(stderr, "assize: "+rubbish+": no recording of a node: ") {
		t.Errorf("exit %d, %s", status, stderr)
	}
}

func TestTextOfAReplay(t *testing.T) {
	r := daemon.Replay{
		Batches: 3, Events: daemon.Events{Ticks: 2, Messages: 3, Requests: 4, Gone: 1}, Effects: 17, Compared: 4, End: daemon.Within,
		From:   daemon.Reading{Wall: time.Unix(1_800_000_000, 5), Mono: time.Second},
		To:     daemon.Reading{Wall: time.Unix(1_800_000_009, 0), Mono: 2500 * time.Millisecond},
		Status: machine.Status{Role: machine.Leader, Term: 4, Commit: 9, Applied: 8},
	}
	opening := "  3 batches of 10 events: 2 ticks, 3 messages, 4 requests, 1 ends of connections\n" +
		"  from 2027-01-15T08:00:00.000000005Z on, for 1.500 s by the node's monotonic clock\n"
	status := "  leader in term 4, commit 9, applied 8\n"
	d := &daemon.Difference{
		Batch: 3, At: 777, Reading: r.To, Panic: "raft: two leaders",
		Events: []machine.Event{
			{}, {Message: &machine.Message{From: 2, Body: []byte("\x01\xff")}}, {Request: &machine.Request{Conn: 0xab, Seq: 7, Body: bytes.Repeat([]byte{1}, 33)}}, {Gone: 0xab},
		},
	}
	events := "    tick\n    message from n2, 2 bytes: 01ff\n    request 7 of connection ab, 33 bytes: " + strings.Repeat("01", 32) + "..\n    connection ab has ended\n"
	many := *d
	many.Panic, many.Recorded, many.Events = "", &daemon.Outcome{Tally: daemon.Tally{Logged: 1, Sent: 2}, Status: machine.Status{Role: "follower", Term: 3}}, make([]machine.Event, 23)
	zeros := strings.Repeat("0", 32)
	for _, c := range []struct {
		end        daemon.End
		compared   uint64
		difference *daemon.Difference
		want       string
	}{
		{daemon.InOrder, 4, nil, status + "  replays: 17 effects, hash equal\n"},
		{daemon.Between, 4, nil, "  ends behind batch 3, as after a kill\n" + status + "  replays: 17 effects, hash equal\n"},
		{daemon.Within, 3, nil, "  ends within batch 3, as after a kill\n" + status + "  replays: 17 effects, hash equal\n"},
		{daemon.Within, 0, nil, "  ends before anything came of it, as after a kill: nothing was compared\n"},
		{daemon.Within, 3, d, "  PANICS  batch 3, at offset 777, after 2.5s, with which the recording ends: raft: two leaders\n" + events},
		{daemon.InOrder, 3, &many, "  DIFFERS  batch 3, at offset 777, after 2.5s\n" +
			"    recorded: hash " + zeros + ": 1 logged, 0 snapshots, 2 sent, 0 replied, 0 applied; follower in term 3, leader 0, last 0, commit 0, applied 0, state 0\n" +
			"    replayed: hash " + zeros + ": 0 logged, 0 snapshots, 0 sent, 0 replied, 0 applied;  in term 0, leader 0, last 0, commit 0, applied 0, state 0\n" +
			strings.Repeat("    tick\n", 20) + "    and 3 events more\n"},
	} {
		r.End, r.Compared, r.Difference = c.end, c.compared, c.difference
		var b bytes.Buffer
		tell(&b, r, true)
		if got := b.String(); got != opening+c.want {
			t.Errorf("got\n%s\nwant\n%s", got, opening+c.want)
		}
	}
	var b bytes.Buffer
	r.Difference = nil
	tell(&b, r, false)
	if got, want := b.String(), opening+"  up to there: 17 effects, hash equal\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
