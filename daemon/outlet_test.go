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

// slowDisk holds every Append until it is told to go on.
type slowDisk struct {
	began chan []string // what is being appended
	end   chan error
}

func newSlowDisk() *slowDisk {
	return &slowDisk{began: make(chan []string), end: make(chan error)}
}

func (d *slowDisk) Append(snapshot []byte, records [][]byte) error {
	var all []string
	if snapshot != nil {
		all = append(all, "snapshot "+string(snapshot))
	}
	for _, r := range records {
		all = append(all, string(r))
	}
	d.began <- all
	return <-d.end
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

// TestOneSyncForMany: what comes while the disk works is written together, and a snapshot takes the place of what was logged before it.
func TestOneSyncForMany(t *testing.T) {
	j := newJourney()
	j.step(logged("a"), sent("1"))
	<-j.disk.began
	j.step(logged("b"), sent("2"))
	j.step(logged("c"), machine.Effects{Snapshot: []byte("s"), Log: [][]byte{[]byte("d")}}, logged("e"), sent("3"))
	j.step(logged("f"), sent("4"))
	j.disk.end <- nil
	if got := <-j.out; got != "1" {
		t.Errorf("got %q, want 1", got)
	}
	if got, want := fmt.Sprint(<-j.disk.began), "[snapshot s d e f]"; got != want {
		t.Errorf("written: %s, want %s", got, want)
	}
	j.nothingOut(t)
	j.disk.end <- nil
	for _, want := range []string{"2", "3", "4"} {
		if got := <-j.out; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	j.close()
	<-j.err
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

func (m *teller) Status() machine.Status { return machine.Status{} }
func (m *teller) Report() machine.Report { return machine.Report{Zxid: m.logged} }

// TestReportsTellWhatIsDurable, as all does that leaves a node; and where it stops before that they tell nothing.
func TestReportsTellWhatIsDurable(t *testing.T) {
	for _, stops := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newSlowDisk()
			h := newHost(Config{Clock: &stepClock{}, Options: machine.Options{Tick: time.Hour}}, &teller{}, d, &journal{w: io.Discard})
			ctx, stop := context.WithCancel(t.Context())
			go h.own(ctx)
			go h.writeOut()
			if r, ok := h.Report(); !ok || r.Zxid != 0 {
				t.Errorf("got %+v, %v at the beginning", r, ok)
			}
			h.inbox.put(machine.Event{Request: &machine.Request{Conn: 1, Body: []byte("a")}})
			<-d.began
			told := make(chan string, 1)
			go func() {
				r, ok := h.Report()
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
