package docker

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"assize/cluster/agent"
	"assize/cluster/fleet"
)

// bare is a place of which only what is believed is there.
func bare(t *testing.T) (*place, *box) {
	t.Helper()
	began := time.Now()
	j, err := fleet.NewJournal(filepath.Join(t.TempDir(), "server.log"), func() time.Duration { return time.Since(began) })
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
