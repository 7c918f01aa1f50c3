package agent

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/cluster/packets"
	"assize/cluster/skew"
)

// These tests leave the feints behind: packets and clocks for real, in namespaces of the agent's own.

// lives of a server that a test takes: each has its clocks falsified by a process of its own, which starts slowly under the race detector.
func lives(n uint64) uint64 {
	if testing.Short() {
		return 2
	}
	return n
}

func address(line string) string { return line[strings.LastIndexByte(line, ' ')+1:] }

func TestRealPacketsAreDroppedThroughRestartsAndPassAfterSilence(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make namespaces")
	}
	if why := packets.Probe().Drop; why != "" {
		t.Skip("no packet can be dropped here: ", why)
	}
	w := startWard(t, "-hold", "-isolated", "-real", "-grace", "2s")
	r, _ := w.connect()
	start := func() string {
		t.Helper()
		must(t, r.Start(t.Context(), serving(w)))
		return address(w.until("listening at"))
	}
	passes := func(r *Remote, at string, want bool) {
		t.Helper()
		wait := 300 * time.Millisecond
		if want {
			wait = patience
		}
		got, err := r.Probe(t.Context(), []Target{{Address: at, Wait: wait, Times: 1}})
		if must(t, err); (got[0][0] >= 0) != want {
			t.Errorf("%s: trip %v, want passing: %v", at, got, want)
		}
	}
	at := start()
	passes(r, at, true)
	peer := netip.MustParseAddrPort(at)
	must(t, r.Packets(t.Context(), packets.Set{To: []packets.Peer{{Address: peer.Addr(), Ports: []uint16{peer.Port()}}}}))
	passes(r, at, false)
	must(t, r.Packets(t.Context(), packets.Set{}))
	passes(r, at, true)

	must(t, r.Packets(t.Context(), packets.Set{From: []packets.Peer{{Address: peer.Addr()}}}))
	must(t, r.Kill(t.Context()))
	at = start()
	passes(r, at, false)
	counts, err := r.Counts(t.Context())
	if must(t, err); len(counts) != 1 || counts[0].Cut == 0 {
		t.Errorf("counts %v, want some packets of one peer dropped", counts)
	}
	must(t, r.Close())
	w.until("agent: healed")
	r, _ = w.connect()
	passes(r, at, true)
}

func TestRealClocksAreFalseThroughRestartsAndTrueAfterSilence(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make namespaces")
	}
	if err := skew.Able(); err != nil {
		t.Skip("no clock can be falsified here: ", err)
	}
	w := startWard(t, "-hold", "-isolated", "-real", "-grace", "2s")
	r, ends := w.connect()
	// ahead is by how many hours the server's wall clock is.
	ahead := func(r *Remote, want float64) {
		t.Helper()
		before := time.Now()
		w.order(r, "wall")
		wall, err := strconv.ParseInt(address(w.until("wall ")), 10, 64)
		must(t, err)
		if got := time.Unix(wall, 0).Sub(before).Hours(); math.Abs(got-want) > 0.1 {
			t.Errorf("the server is %.2f hours ahead, want %v", got, want)
		}
	}
	must(t, r.Start(t.Context(), serving(w)))
	ahead(r, 0)
	must(t, r.Skew(t.Context(), 0, cluster.Skew{Wall: time.Hour}))
	ahead(r, 1)
	must(t, r.Skew(t.Context(), 0, cluster.Skew{Wall: time.Hour, WallRate: 0.1}))
	ahead(r, 2)
	for life := range lives(10) {
		must(t, r.Kill(t.Context()))
		want := End{Life: life + 1, Status: "signal: killed", Killed: true, Asked: true}
		if got := next(t, ends, "the end"); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		must(t, r.Start(t.Context(), serving(w, fmt.Sprint(life))))
		ahead(r, 2)
	}
	must(t, r.Pause(t.Context()))
	must(t, r.Skew(t.Context(), 0, cluster.Skew{Wall: time.Hour})) // of a stopped one
	if s := stateOf(t, r); !s.Paused || !s.Running {
		t.Errorf("state %+v", s)
	}
	must(t, r.Resume(t.Context()))
	ahead(r, 3)
	must(t, r.Close())
	w.until("agent: healed")
	r, _ = w.connect()
	ahead(r, 0)
	must(t, r.Skew(t.Context(), 0, cluster.Skew{Wall: time.Hour}))
	ahead(r, 1)
	must(t, r.Skew(t.Context(), 0, cluster.Skew{}))
	ahead(r, 0)
}

// Whatever becomes of the server while its clocks are being falsified, its end is seen and told.
func TestServerThatDiesUnderTheTracerIsNoticed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make namespaces")
	}
	if err := skew.Able(); err != nil {
		t.Skip("no clock can be falsified here: ", err)
	}
	w := startWard(t, "-hold", "-isolated", "-real")
	r, ends := w.connect()
	for life := uint64(1); life <= lives(20); life++ {
		must(t, r.Start(t.Context(), serving(w)))
		w.until("serving")
		w.order(r, "exit")
		r.Skew(t.Context(), 0, cluster.Skew{Wall: time.Hour}) // it may come too late
		if got := next(t, ends, "the end"); got.Life != life || got.Killed || got.Asked {
			t.Errorf("got %+v, want an end of life %d by itself", got, life)
		}
		must(t, r.Skew(t.Context(), 0, cluster.Skew{}))
	}
}
