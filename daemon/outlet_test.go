package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assize/machine"
)

// slowDisk holds every Append and Install until it is told to go on.
type slowDisk struct {
	began       chan []string // what is being appended or installed
	end         chan error
	checkpoints chan string
	failed      func(error) // of the last checkpoint
}

func newSlowDisk() *slowDisk {
	return &slowDisk{began: make(chan []string), end: make(chan error), checkpoints: make(chan string, 10)}
}

func texts(records [][]byte) (all []string) {
	for _, r := range records {
		all = append(all, string(r))
	}
	return all
}

func (d *slowDisk) Append(records [][]byte) error {
	d.began <- texts(records)
	return <-d.end
}

func (d *slowDisk) Install(state []byte, tail [][]byte) error {
	d.began <- append([]string{"install " + string(state)}, texts(tail)...)
	return <-d.end
}

func (d *slowDisk) Checkpoint(state []byte, tail [][]byte, failed func(error)) error {
	d.failed = failed
	d.checkpoints <- fmt.Sprint(string(state), texts(tail))
	return nil
}

func logged(records ...string) (x machine.Effects) {
	for _, r := range records {
		x.Log = append(x.Log, []byte(r))
	}
	return x
}

func sent(body string) machine.Effects {
	return machine.Effects{Send: []machine.Message{{Body: []byte(body)}}}
}

// journey is an outlet whose releases can be seen.
type journey struct {
	*outlet
	disk *slowDisk
	out  chan string
	err  chan error
}

func newJourney() *journey {
	j := &journey{disk: newSlowDisk(), out: make(chan string, 100), err: make(chan error, 1)}
	j.outlet = newOutlet(j.disk, new(counts), func(e *effects) {
		for _, m := range e.send {
			j.out <- string(m.Body)
		}
	}, func(m machine.Message) { j.out <- string(m.Body) })
	go func() { j.err <- j.run() }()
	return j
}

func (j *journey) step(all ...machine.Effects) {
	e := j.blank()
	for _, x := range all {
		e.add(x)
	}
	e.events = len(all)
	if err := j.put(e); err != nil {
		j.out <- err.Error()
	}
}

func (j *journey) nothingOut(t *testing.T) {
	t.Helper()
	select {
	case got := <-j.out:
		t.Fatalf("%q is out", got)
	default:
	}
}

func TestEffectsWaitForTheirRecords(t *testing.T) {
	j := newJourney()
	j.step(logged("term 1"), sent("vote 1"))
	if got, want := fmt.Sprint(<-j.disk.began), "[term 1]"; got != want {
		t.Errorf("written: %s, want %s", got, want)
	}
	j.nothingOut(t)
	// These need no disk, but they tell of what is not durable yet.
	j.step(sent("heartbeat"))
	j.nothingOut(t)
	j.disk.end <- nil
	for _, want := range []string{"vote 1", "heartbeat"} {
		if got := <-j.out; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	j.close()
	if err := <-j.err; err != nil {
		t.Error(err)
	}
}

// TestEarlyMessagesDoNotWait for the disk, only for what was to go to the same node before them.
func TestEarlyMessagesDoNotWait(t *testing.T) {
	to := func(node int, early bool, body string) machine.Effects {
		return machine.Effects{Send: []machine.Message{{To: node, Body: []byte(body), Early: early}}}
	}
	j := newJourney()
	j.step(logged("a"), to(2, true, "early 2"), to(3, false, "bound 3"), to(3, true, "early 3"), to(2, true, "early 2 again"))
	<-j.disk.began
	for _, want := range []string{"early 2", "early 2 again"} {
		if got := <-j.out; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// This one comes while the disk is at work: behind what is still to be released.
	j.step(to(3, true, "early 3, later"))
	j.nothingOut(t)
	j.disk.end <- nil
	for _, want := range []string{"bound 3", "early 3", "early 3, later"} {
		if got := <-j.out; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	j.close()
	if err := <-j.err; err != nil {
		t.Error(err)
	}
}

func TestEffectsWithoutRecordsDoNotWait(t *testing.T) {
	j := newJourney()
	j.step(sent("heartbeat"))
	if got := <-j.out; got != "heartbeat" {
		t.Errorf("got %q", got)
	}
	j.close()
	if err := <-j.err; err != nil {
		t.Error(err)
	}
}

// snapshotOf a step that has logged records, and of what it needs of those before.
func snapshotOf(state string, installed bool, tail string, records ...string) machine.Effects {
	x := logged(records...)
	x.Snapshot, x.Installed, x.Tail = []byte(state), installed, [][]byte{[]byte(tail)}
	return x
}

// TestOneSyncForMany: what comes while the disk works is written together. An installed snapshot takes the place of what was logged before it, and a later
// checkpoint that of the snapshot; by itself a checkpoint takes no record's place, and stands for all that was written with it.
func TestOneSyncForMany(t *testing.T) {
	for _, c := range []struct {
		name             string
		batches          [][]machine.Effects
		want, checkpoint string
	}{
		{"no snapshot", [][]machine.Effects{{logged("b")}, {logged("c"), logged("d", "e")}}, "[b c d e]", ""},
		{"checkpoint", [][]machine.Effects{{logged("b")}, {logged("c"), snapshotOf("s", false, "t", "d"), logged("e")}, {logged("f")}}, "[b c d e f]", "s[t e f]"},
		{"two checkpoints", [][]machine.Effects{{snapshotOf("s", false, "t", "b"), logged("c"), snapshotOf("u", false, "v", "d")}, {logged("e")}}, "[b c d e]", "u[v e]"},
		{"two batches of one each", [][]machine.Effects{{snapshotOf("s", false, "t", "b"), logged("c")}, {logged("d"), snapshotOf("u", false, "v"), logged("e")}}, "[b c d e]", "u[v e]"},
		{"installed", [][]machine.Effects{{logged("b"), snapshotOf("s", true, "t"), logged("c")}, {logged("d")}}, "[install s t c d]", ""},
		{"installed over a checkpoint", [][]machine.Effects{{snapshotOf("u", false, "v", "b")}, {logged("c"), snapshotOf("s", true, "t"), logged("d")}}, "[install s t d]", ""},
		{"installed, then a checkpoint", [][]machine.Effects{{logged("b"), snapshotOf("s", true, "t"), logged("c")}, {snapshotOf("u", false, "v", "d"), logged("e")}}, "[install u v e]", ""},
		{"in one batch", [][]machine.Effects{{snapshotOf("s", true, "t"), snapshotOf("u", false, "v", "d"), logged("e")}, {logged("f")}}, "[install u v e f]", ""},
	} {
		j := newJourney()
		j.step(logged("a"), sent("1"))
		<-j.disk.began
		for _, b := range c.batches {
			j.step(append(b, sent("2"))...)
		}
		j.disk.end <- nil
		if got := <-j.out; got != "1" {
			t.Errorf("%s: got %q, want 1", c.name, got)
		}
		if got := fmt.Sprint(<-j.disk.began); got != c.want {
			t.Errorf("%s: written: %s, want %s", c.name, got, c.want)
		}
		j.nothingOut(t)
		if len(j.disk.checkpoints) > 0 {
			t.Errorf("%s: the checkpoint is begun before the records are durable", c.name)
		}
		j.disk.end <- nil
		for range c.batches {
			if got := <-j.out; got != "2" {
				t.Errorf("%s: got %q, want 2", c.name, got)
			}
		}
		j.close()
		if err := <-j.err; err != nil {
			t.Error(err)
		}
		close(j.disk.checkpoints)
		if got := <-j.disk.checkpoints; got != c.checkpoint {
			t.Errorf("%s: checkpoint %s, want %s", c.name, got, c.checkpoint)
		}
		if _, more := <-j.disk.checkpoints; more {
			t.Errorf("%s: there is another checkpoint", c.name)
		}
	}
}

// TestNothingWaitsForACheckpoint, not even for its step's own messages where that step has logged nothing.
func TestNothingWaitsForACheckpoint(t *testing.T) {
	j := newJourney()
	j.step(snapshotOf("s", false, "t"), sent("1"))
	if got := <-j.out; got != "1" {
		t.Errorf("got %q, want 1", got)
	}
	<-j.disk.checkpoints
	j.step(sent("2"))
	if got := <-j.out; got != "2" {
		t.Errorf("got %q, want 2", got)
	}
	// It fails much later, when nothing else is to be written.
	j.disk.failed(errors.New("no space"))
	if err := <-j.err; err == nil || err.Error() != "no space" {
		t.Errorf("got %v", err)
	}
	j.step(sent("3"))
	if got := <-j.out; !strings.Contains(got, "no space") {
		t.Errorf("got %q, want the error", got)
	}
}

func TestNothingLeavesAfterADiskError(t *testing.T) {
	j := newJourney()
	j.step(logged("a"), sent("1"))
	<-j.disk.began
	j.step(logged("b"), sent("2"))
	j.disk.end <- errors.New("no space")
	if err := <-j.err; err == nil || err.Error() != "no space" {
		t.Errorf("got %v", err)
	}
	j.nothingOut(t)
	j.step(sent("3"))
	if got := <-j.out; !strings.Contains(got, "no space") {
		t.Errorf("got %q, want the error", got)
	}
}

// TestOwnerWaitsForADiskThatIsFarBehind: what has been stepped and is not durable is bounded.
func TestOwnerWaitsForADiskThatIsFarBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJourney()
		j.step(logged("a"))
		<-j.disk.began
		j.step(logged(strings.Repeat("x", aheadBytes+1)))
		through := false
		go func() {
			j.step(logged("b"), sent("late"))
			through = true
		}()
		synctest.Wait()
		if through {
			t.Error("the owner went on")
		}
		j.disk.end <- nil
		<-j.disk.began
		j.disk.end <- nil
		if got, want := fmt.Sprint(<-j.disk.began), "[b]"; got != want {
			t.Errorf("written: %s, want %s", got, want)
		}
		j.disk.end <- nil
		if got := <-j.out; got != "late" {
			t.Errorf("got %q", got)
		}
		j.close()
		<-j.err
	})
}

// teller tells how much it has logged.
type teller struct{ logged int64 }

func (m *teller) Step(e machine.Event) (x machine.Effects) {
	if e.Request != nil {
		m.logged++
		x.Log = [][]byte{e.Request.Body}
	}
	return x
}

func (m *teller) Status() machine.Status     { return machine.Status{} }
func (m *teller) Report(bool) machine.Report { return machine.Report{Zxid: m.logged} }

// TestReportsTellWhatIsDurable, as all does that leaves a node; and where it stops before that they tell nothing.
func TestReportsTellWhatIsDurable(t *testing.T) {
	for _, stops := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newSlowDisk()
			h := newHost(Config{Clock: &stepClock{}, Options: machine.Options{Tick: time.Hour}}, &teller{}, d, &journal{w: io.Discard})
			ctx, stop := context.WithCancel(t.Context())
			go h.own(ctx)
			go h.writeOut()
			if r, ok := h.Report(false); !ok || r.Zxid != 0 {
				t.Errorf("got %+v, %v at the beginning", r, ok)
			}
			h.inbox.put(machine.Event{Request: &machine.Request{Conn: 1, Body: []byte("a")}})
			<-d.began
			told := make(chan string, 1)
			go func() {
				r, ok := h.Report(false)
				told <- fmt.Sprint(r.Zxid, ok)
			}()
			synctest.Wait()
			if len(told) > 0 {
				t.Errorf("it tells %s while the disk is at work", <-told)
			}
			want := "1 true"
			if stops {
				stop()
				want = "0 false"
			} else {
				d.end <- nil
			}
			if got := <-told; got != want {
				t.Errorf("stops %v: got %s, want %s", stops, got, want)
			}
			if stop(); stops {
				d.end <- nil
			}
			h.outlet.close()
		})
	}
}
