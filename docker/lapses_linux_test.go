//go:build linux

package docker

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"assize/cluster"
)

// signalled sends a signal to the processes of a node's container whose command line has these words, as somebody on the host would.
func signalled(t *testing.T, c *Cluster, node, words string, with syscall.Signal) {
	t.Helper()
	if !c.direct {
		t.Skip("the engine is not this machine's")
	}
	p, err := c.place(node)
	must(t, err)
	top, err := c.engine.ContainerTop(t.Context(), p.id, nil)
	must(t, err)
	at := slices.Index(top.Titles, "PID")
	found := false
	for _, process := range top.Processes {
		if !strings.Contains(strings.Join(process, " "), words) {
			continue
		}
		pid, err := strconv.Atoi(process[at])
		must(t, err)
		if err := syscall.Kill(pid, with); err != nil {
			t.Skipf("the container's processes cannot be signalled from here: %v", err)
		}
		found = true
	}
	if !found {
		t.Fatalf("no process of %s is %q: %v", node, words, top.Processes)
	}
}

// TestLapseIsToldAndWhatWasInForceIsAgain: a controller that stands still for longer than the grace must not go on as if its faults had lasted.
func TestLapseIsToldAndWhatWasInForceIsAgain(t *testing.T) {
	c := town(t, 3, func(config *Config) { config.Grace = 3 * time.Second })
	cut := cluster.Link{From: "n1", To: "n2"}
	must(t, c.Cut(t.Context(), []cluster.Link{cut}))
	must(t, c.Skew(t.Context(), "n2", cluster.Skew{Wall: time.Hour}))
	must(t, c.Pause(t.Context(), "n2"))
	must(t, c.Kill(t.Context(), "n3"))
	var told []string
	for _, node := range []string{"n2", "n3"} {
		signalled(t, c, node, "agent attach", syscall.SIGSTOP) // all the same to the agent as a stop of this process
		c.Sleep(4 * time.Second)
		signalled(t, c, node, "agent attach", syscall.SIGCONT)
		until(t, c, node+" has told", func() bool {
			told = append(told, c.Lapsed()...)
			return slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, node+": ") })
		})
	}
	for _, want := range []string{"n2: ", "clocks are true again, the server goes on", "n3: ", "the server has been started"} {
		if !strings.Contains(strings.Join(told, "\n"), want) {
			t.Errorf("lapses %q, want one with %q", told, want)
		}
	}
	if again := c.Lapsed(); len(again) > 0 {
		t.Errorf("lapses %q are told again", again)
	}
	reach(t, c, cut)
	s := status(t, c, "n2")
	if ahead := time.Until(s.Wall).Round(time.Minute); ahead != time.Hour {
		t.Errorf("n2 is %v ahead, want an hour", ahead)
	}
	// The server that the agent has started can be stopped and killed as any other.
	until(t, c, "n3 is known to run", func() bool { return c.Pause(t.Context(), "n3") == nil })
	must(t, c.Resume(t.Context(), "n3"))
	must(t, c.Kill(t.Context(), "n3"))
	must(t, c.Start(t.Context(), "n3"))
	status(t, c, "n3")
}

// TestServerThatDiesAloneIsAViolation: its container lives, and the agent tells.
func TestServerThatDiesAloneIsAViolation(t *testing.T) {
	c := town(t, 2, nil)
	before := status(t, c, "n1").Process
	signalled(t, c, "n1", "/assize node", syscall.SIGKILL)
	var v []string
	until(t, c, "a violation", func() bool {
		v = append(v, c.Violations()...)
		return len(v) > 0
	})
	if len(v) != 1 || !strings.Contains(v[0], "n1 died by itself with signal: killed") {
		t.Errorf("violations %q", v)
	}
	must(t, c.Start(t.Context(), "n1"))
	if after := status(t, c, "n1").Process; after == before {
		t.Errorf("process %d has outlived its death", before)
	}
	// One that is killed by us is none, whoever tells of it; see town.
	must(t, c.Kill(t.Context(), "n1"))
	must(t, c.Start(t.Context(), "n1"))
}
