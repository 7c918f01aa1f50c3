package agent

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"assize/cluster"
	"assize/cluster/packets"
)

// A controller that stood still while its faults were healed must not go on as if they were in force: it is told before it is answered. One that had
// nothing in force has lost nothing.
func TestControllerThatWasSilentIsToldOfTheLapse(t *testing.T) {
	w := startWard(t, "-hold", "-grace", "1s")
	stream, cmd := w.attach()
	lapses := make(chan Lapse, 10)
	r := Connect(stream, func(e Event) {
		if e.Lapse != nil {
			lapses <- *e.Lapse
		}
	})
	defer r.Close()
	// Nothing of what is said gets through while the session's other half is stopped.
	stall := func() {
		t.Helper()
		must(t, cmd.Process.Signal(syscall.SIGSTOP))
		w.until("agent: healed")
		must(t, cmd.Process.Signal(syscall.SIGCONT))
		stateOf(t, r)
	}
	must(t, r.Start(t.Context(), serving(w)))
	w.until("serving")
	stall()
	must(t, r.Skew(t.Context(), 0, cluster.Skew{WallRate: 1}))
	must(t, r.Packets(t.Context(), packets.Set{To: []packets.Peer{{Address: netip.MustParseAddr("10.0.0.2")}}}))
	must(t, r.Pause(t.Context()))
	stall()
	want := Lapse{Count: 1, What: "packets pass again, clocks are true again, the server goes on"}
	if got := next(t, lapses, "the lapse"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	must(t, r.Kill(t.Context()))
	stall()
	want = Lapse{Count: 2, What: "the server has been started"}
	if got := next(t, lapses, "the second lapse"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// Another session is told of the last one, for its controller may not have been.
	later := Connect(func() io.ReadWriteCloser { s, _ := w.attach(); return s }(), func(e Event) {
		if e.Lapse != nil {
			lapses <- *e.Lapse
		}
	})
	defer later.Close()
	if got := next(t, lapses, "the lapse, told again"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSilenceHeals(t *testing.T) {
	w := startWard(t, "-hold", "-grace", "300ms")
	r, _ := w.connect()
	must(t, r.Start(t.Context(), serving(w, "kept")))
	must(t, r.Skew(t.Context(), 0, cluster.Skew{WallRate: 1}))
	must(t, r.Packets(t.Context(), packets.Set{To: []packets.Peer{{Address: netip.MustParseAddr("10.0.0.2")}}}))
	must(t, r.Pause(t.Context()))
	before := stateOf(t, r)
	must(t, r.Close())
	for _, want := range []string{"feint: packets pass", "clock wall 0s rate 0", "agent: healed: the controller has been silent for 300ms"} {
		w.until(want)
	}
	again, _ := w.connect()
	s := stateOf(t, again)
	if s.Healed < before.Healed+1 || s.HealedAt.IsZero() || s.Paused || !s.Running || len(s.Packets.To) > 0 || s.Skew != (cluster.Skew{}) || s.Pid != before.Pid {
		t.Errorf("state %+v", s)
	}
	w.order(again, "print awake")
	w.until("awake")

	// A server that is down is started again.
	must(t, again.Kill(t.Context()))
	must(t, again.Close())
	w.untilBoth("serving [kept]", "agent: healed")
	again, _ = w.connect()
	must(t, again.Pause(t.Context())) // its commands act as ever
	if s := stateOf(t, again); !s.Paused || s.Life != 2 {
		t.Errorf("state %+v", s)
	}
}

// While somebody is there nothing heals: not before the last of the sessions has gone, however long that is.
func TestBeatsKeepFaults(t *testing.T) {
	w := startWard(t, "-hold", "-grace", "2s")
	r, _ := w.connect()
	other, _ := w.connect()
	must(t, r.Start(t.Context(), serving(w)))
	must(t, r.Pause(t.Context()))
	must(t, r.Close())
	// Time passes by way of a probe that waits for a silent target for longer than the grace, as often as it is asked for.
	l := listenSilently(t)
	began := time.Now()
	_, err := other.Probe(t.Context(), []Target{{Address: l, Wait: 3 * time.Second, Times: mostMissed}})
	must(t, err)
	if took := time.Since(began); took < 4*time.Second {
		t.Fatalf("the probe took %v: too little for anybody to be missed", took)
	}
	if s := stateOf(t, other); !s.Paused || s.Healed != 0 {
		t.Errorf("it has healed under a controller that was there: %+v", s)
	}
}

func TestVigil(t *testing.T) {
	at := time.Now()
	v := vigil{grace: 10 * time.Second, kept: true, last: at}
	look := func(after time.Duration, want bool) {
		t.Helper()
		at = at.Add(after)
		if got := v.look(at); got != want {
			t.Errorf("silent for %v: due %v, want %v", v.silent, got, want)
		}
	}
	look(5*time.Second, false)
	look(4*time.Second, false)
	look(time.Minute, false) // frozen
	look(5*time.Second, false)
	look(4*time.Second, false)
	v.hear()
	look(5*time.Second, false)
	look(5*time.Second, true)
	v.note(at, false)
	look(5*time.Second, false)
	look(5*time.Second, true)
	v.note(at, true)
	look(5*time.Second, false)
	look(5*time.Second, false)
	v.hear()
	look(5*time.Second, false)
	look(5*time.Second, true)
	if n, _ := v.healings(); n != 1 {
		t.Errorf("%d healings, want 1", n)
	}
}

// An order that waits behind a slow one while its controller dies is carried out after the healing. It must not be in force for ever.
func TestOrderAfterTheHealingExpires(t *testing.T) {
	a := newAgent(Config{Dir: t.TempDir(), Table: "x", Hold: true, Grace: 10 * time.Second, Output: io.Discard}, pretence(io.Discard, ""))
	at := a.vigil.last
	a.vigil.note(at, true)
	if got := a.obey(request{Do: doPackets, Packets: &packets.Set{To: []packets.Peer{{Address: netip.MustParseAddr("10.0.0.2")}}}}); got.Error != "" {
		t.Fatal(got.Error)
	}
	due := false
	for range 3 {
		at = at.Add(4 * time.Second)
		due = due || a.vigil.look(at)
	}
	if !due {
		t.Error("nothing is to be healed")
	}
}

// TestControllerThatSpeaksWhileTheHealingWaitsForItsTurn keeps its faults.
func TestControllerThatSpeaksWhileTheHealingWaitsForItsTurn(t *testing.T) {
	a := newAgent(Config{Dir: t.TempDir(), Table: "x", Hold: true, Grace: 10 * time.Second, Output: io.Discard}, pretence(io.Discard, ""))
	for at := a.vigil.last; !a.vigil.look(at); at = at.Add(4 * time.Second) {
	}
	a.vigil.hear()
	must(t, a.change(a.expire))
	if n, _ := a.vigil.healings(); n != 0 {
		t.Errorf("%d healings, want none", n)
	}
}

func TestStoppedAgentDoesNotHealAtItsAwakening(t *testing.T) {
	w := startWard(t, "-hold", "-grace", "3s")
	r, _ := w.connect()
	must(t, r.Start(t.Context(), serving(w)))
	must(t, r.Pause(t.Context()))
	must(t, w.cmd.Process.Signal(syscall.SIGSTOP))
	for late := time.Now().Add(patience); ; {
		threads, err := tasks(w.cmd.Process.Pid)
		if must(t, err); !slices.ContainsFunc(threads, func(p process) bool { return !p.stopped() }) {
			break
		}
		if time.Now().After(late) {
			t.Fatal("the agent does not stop")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // longer than the grace
	defer cancel()
	if _, err := r.State(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("state of a stopped agent: %v", err)
	}
	must(t, w.cmd.Process.Signal(syscall.SIGCONT))
	if s := stateOf(t, r); s.Healed != 0 || !s.Paused {
		t.Errorf("state %+v", s)
	}
}
