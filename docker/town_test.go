package docker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"assize/cluster"
	"assize/history"
	"assize/targets"
)

// town is a real cluster of our Raft in containers; the test is skipped where no engine answers.
func town(t *testing.T, nodes int, change func(*Config)) *Cluster {
	t.Helper()
	config := plan(t, nodes)
	if change != nil {
		change(&config)
	}
	c, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if v := c.Violations(); len(v) > 0 && !t.Failed() {
			t.Errorf("violations %q", v)
		}
	})
	return c
}

// plan of a town.
func plan(t *testing.T, nodes int) Config {
	t.Helper()
	if _, err := Find(t.Context()); err != nil {
		t.Skip(err)
	}
	raft, _ := targets.Find("raft")
	d := raft.Defaults
	return Config{
		System: raft.System, Dir: t.TempDir(), Nodes: nodes, Seed: 1, Grace: time.Minute,
		Beside:   true, // tests of other packages watch what becomes of runs that they have killed
		Settings: cluster.Settings{Target: "raft", Read: d.Read, Heartbeat: d.Heartbeat, Election: d.Election, Drift: d.Drift, Snapshot: 100},
	}
}

// until waits for something that must come; it fails only after so long that nothing but its never coming explains it.
func until(t *testing.T, c *Cluster, what string, done func() bool) {
	t.Helper()
	for end := c.Now() + time.Minute; !done(); c.Sleep(20 * time.Millisecond) {
		if c.Now() > end {
			t.Fatalf("%s: never", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T, c *Cluster, node string) cluster.Status {
	t.Helper()
	var s cluster.Status
	until(t, c, node+" answers", func() (ok bool) {
		var err error
		s, err = c.Status(t.Context(), node)
		return err == nil
	})
	return s
}

// write a value through a node; it must succeed in the end.
func write(t *testing.T, c *Cluster, node, key string, value int) {
	t.Helper()
	until(t, c, "a write through "+node, func() bool {
		client, err := c.Dial(t.Context(), node, cluster.Options{Timeout: time.Second})
		if err != nil {
			return false
		}
		defer client.Close()
		_, err = client.Do(t.Context(), history.Txn{{F: history.Write, Key: key, In: []int{value}}})
		return err == nil
	})
}

// reach must come to exactly these dead links.
func reach(t *testing.T, c *Cluster, want ...cluster.Link) {
	t.Helper()
	var dead []cluster.Link
	deadline := c.Now() + 20*time.Second
	for {
		var err error
		dead, err = c.Reach(t.Context())
		must(t, err)
		if slices.Equal(dead, want) {
			return
		}
		if c.Now() > deadline {
			t.Fatalf("dead links %v, want %v", dead, want)
		}
		c.Sleep(50 * time.Millisecond)
	}
}

func wrong(err error, part string) bool { return err == nil || !strings.Contains(err.Error(), part) }

// left counts what carries the run's label.
func left(t *testing.T, c *Cluster) int {
	t.Helper()
	engine, _, err := connect(context.Background())
	must(t, err)
	defer engine.Close()
	runs, err := runsOf(context.Background(), engine)
	must(t, err)
	n := 0
	for _, r := range runs {
		if r.name == c.run {
			n++
		}
	}
	return n
}
