package docker

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"assize/cluster"
	"assize/cluster/agent"
	"assize/cluster/fleet"
)

// bare is a place of which only what is believed is there.
func bare(t *testing.T) (*place, *box) {
	t.Helper()
	began := time.Now()
	j, err := fleet.NewJournal(filepath.Join(t.TempDir(), "server.log"), func() time.Duration { return time.Since(began) }, nil)
	must(t, err)
	t.Cleanup(func() { j.Close() })
	c := &Cluster{}
	c.Cluster, err = fleet.New(t.Context(), fleet.Config{Nodes: 1}, c)
	must(t, err)
	b := &box{}
	return &place{of: c, node: &fleet.Node{ID: 1, Name: "n1", Log: j}, box: b}, b
}

// TestEndIsTakenNoteOfOnce: the agent tells of a server's end while its container goes, and the start of it fails.
func TestEndIsTakenNoteOfOnce(t *testing.T) {
	for range 2000 {
		p, b := bare(t)
		l := &life{box: b, done: make(chan struct{})}
		p.life = l
		var all sync.WaitGroup
		all.Go(func() { p.ended(b, agent.End{Life: 1, Status: "exit status 2"}) })
		all.Go(func() { p.lost(b, "its container's exit status 137") })
		all.Go(func() { p.stillborn(l, "no answer") })
		all.Wait()
		<-l.Done()
	}
}

// TestEngineThatDoesNotKill: what is believed of a container that the engine has failed to kill is what is so.
func TestEngineThatDoesNotKill(t *testing.T) {
	engine := proxied(t)
	c := town(t, 1, nil)

	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	before := status(t, c, "n1").Process
	engine.fail("/kill", 1)
	if err := c.Crash(t.Context(), "n1"); wrong(err, "the test wills it") {
		t.Errorf("crash: %v", err)
	}
	must(t, c.Start(t.Context(), "n1")) // it runs
	if after := status(t, c, "n1").Process; after != before {
		t.Errorf("process %d, want %d: it has not been killed", after, before)
	}
	must(t, c.Kill(t.Context(), "n1"))
	if _, err := c.Status(t.Context(), "n1"); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("killed: status %v, want it refused", err)
	}
	must(t, c.Crash(t.Context(), "n1"))
	must(t, c.Start(t.Context(), "n1"))
	if ahead := time.Until(status(t, c, "n1").Wall).Round(time.Minute); ahead != time.Hour {
		t.Errorf("its clock is %v ahead, want an hour", ahead)
	}
}

// TestContainerThatStartsAtTheSecondAttempt has each of its lines in the journal once.
func TestContainerThatStartsAtTheSecondAttempt(t *testing.T) {
	engine := proxied(t)
	c := town(t, 1, nil)
	must(t, c.Crash(t.Context(), "n1"))
	engine.fail("/start", 1)
	if err := c.Start(t.Context(), "n1"); wrong(err, "the test wills it") {
		t.Errorf("start: %v", err)
	}
	must(t, c.Start(t.Context(), "n1"))
	must(t, c.Crash(t.Context(), "n1")) // returns when all that was printed has been read
	log, err := os.ReadFile(filepath.Join(c.config.Dir, "nodes", "n1", "server.log"))
	must(t, err)
	if got := bytes.Count(log, []byte(" ready ")); got != 2 {
		t.Errorf("%d lines say that it is ready, want 2:\n%s", got, log)
	}
}

// TestStartThatFailedHalfway: what the agent could not be told at the first attempt it is told at the next, before its server starts.
func TestStartThatFailedHalfway(t *testing.T) {
	c := town(t, 2, nil)
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Wall: time.Hour}))
	must(t, c.Crash(t.Context(), "n1"))
	p, err := c.place("n1")
	must(t, err)
	p.mu.Lock()
	peers := p.peers
	p.peers = make([]byte, 1<<20)
	p.mu.Unlock()
	if err := c.Start(t.Context(), "n1"); err == nil {
		t.Error("a file that is too long was written")
	}
	p.mu.Lock()
	p.peers = peers
	p.mu.Unlock()
	must(t, c.Start(t.Context(), "n1"))
	if ahead := time.Until(status(t, c, "n1").Wall).Round(time.Minute); ahead != time.Hour {
		t.Errorf("its clock is %v ahead, want an hour", ahead)
	}
	// So it is with one that went on after it had been frozen.
	must(t, c.Freeze(t.Context(), "n1"))
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{}))
	p.mu.Lock()
	p.peers, p.stalePeer = make([]byte, 1<<20), true
	p.mu.Unlock()
	if err := c.Resume(t.Context(), "n1"); err == nil {
		t.Error("a file that is too long was written")
	}
	p.mu.Lock()
	p.peers = peers
	p.mu.Unlock()
	must(t, c.Resume(t.Context(), "n1"))
	if ahead := time.Until(status(t, c, "n1").Wall).Round(time.Minute); ahead != 0 {
		t.Errorf("its clock is %v ahead, want none", ahead)
	}
}

// TestResumeUndoesAStopThatFailed, as far as was heard of it.
func TestResumeUndoesAStopThatFailed(t *testing.T) {
	c := town(t, 1, nil)
	p, err := c.place("n1")
	must(t, err)
	must(t, p.box.remote.Pause(t.Context()))
	must(t, c.Resume(t.Context(), "n1"))
	status(t, c, "n1")
}

// TestServerThatRunsUnknownIsKilled: its start has succeeded, and the answer was lost.
func TestServerThatRunsUnknownIsKilled(t *testing.T) {
	c := town(t, 1, nil)
	p, err := c.place("n1")
	must(t, err)
	p.stillborn(p.life, "no answer")
	must(t, c.Kill(t.Context(), "n1"))
	if _, err := c.Status(t.Context(), "n1"); !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("status %v, want it refused", err)
	}
	must(t, c.Start(t.Context(), "n1"))
	status(t, c, "n1")
}

// TestFrozenContainerThatDoesNotThawIsRemoved, and nobody waits for what it prints.
func TestFrozenContainerThatDoesNotThawIsRemoved(t *testing.T) {
	engine := proxied(t)
	c := town(t, 1, nil)
	must(t, c.Freeze(t.Context(), "n1"))
	engine.fail("/unpause", 1000)
	must(t, c.Close())
	if n := left(t, c); n != 0 {
		t.Errorf("something of run %s is left", c.run)
	}
}

// TestSkewThatWasUnderWayAtTheFreeze is set once: its order is carried out when the container goes on, however long ago it was given up.
func TestSkewThatWasUnderWayAtTheFreeze(t *testing.T) {
	c := town(t, 1, nil)
	p, err := c.place("n1")
	must(t, err)
	must(t, c.engine.ContainerPause(t.Context(), p.id))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	failed := make(chan error)
	go func() { failed <- c.Skew(ctx, "n1", cluster.Skew{Wall: time.Hour}) }()
	c.Sleep(300 * time.Millisecond)
	must(t, c.Freeze(t.Context(), "n1"))
	must(t, <-failed)
	must(t, c.Resume(t.Context(), "n1"))
	if ahead := time.Until(status(t, c, "n1").Wall).Round(time.Minute); ahead != time.Hour {
		t.Errorf("its clock is %v ahead, want an hour", ahead)
	}
}

// TestMonotonicJumpOfAFrozenNode comes about, once, when it goes on; its next life begins anew.
func TestMonotonicJumpOfAFrozenNode(t *testing.T) {
	c := town(t, 1, nil)
	ahead := func() time.Duration { return (status(t, c, "n1").Mono - c.Now()).Round(time.Hour) }
	must(t, c.Freeze(t.Context(), "n1"))
	must(t, c.Skew(t.Context(), "n1", cluster.Skew{Mono: time.Hour}))
	for range 2 {
		must(t, c.Resume(t.Context(), "n1"))
		if got := ahead(); got != time.Hour {
			t.Errorf("its monotonic clock is %v ahead, want an hour", got)
		}
		must(t, c.Freeze(t.Context(), "n1"))
		must(t, c.Cut(t.Context(), nil))
	}
	must(t, c.Crash(t.Context(), "n1"))
	must(t, c.Start(t.Context(), "n1"))
	if got := ahead(); got != 0 {
		t.Errorf("of the next life it is %v ahead", got)
	}
}
