package docker

import (
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	dockernet "github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

func suffix() string { return strings.ToLower(crand.Text()[:8]) }

func drawn(draw uint64) *rand.Rand { return rand.New(rand.NewPCG(draw, 1)) }

// TestNothingIsLeftAndNothingElseIsTouched: the engine has others' things on it, and the host others' rules.
func TestNothingIsLeftAndNothingElseIsTouched(t *testing.T) {
	before := hostRules(t)
	c := town(t, 2, nil)
	ctx := t.Context()
	engine, image := c.engine, c.image
	others := "others-" + suffix() // none of somebody's who has thought of the same name
	// Somebody else's network, volume and container, of all images with ours.
	foreign, err := engine.NetworkCreate(ctx, others+"-net", dockernet.CreateOptions{Driver: "bridge", Labels: map[string]string{"owner": "another"}})
	must(t, err)
	_, err = engine.VolumeCreate(ctx, volume.CreateOptions{Name: others + "-volume"})
	must(t, err)
	theirs, err := engine.ContainerCreate(ctx, &container.Config{Image: image, Cmd: []string{"agent", "--dir", "/data", "--hold"}},
		&container.HostConfig{NetworkMode: container.NetworkMode(others + "-net"), Binds: []string{others + "-volume:/data"}}, nil, nil, others+"-container")
	must(t, err)
	must(t, engine.ContainerStart(ctx, theirs.ID, container.StartOptions{}))
	t.Cleanup(func() {
		own, _, err := connect(context.Background())
		must(t, err)
		defer own.Close()
		must(t, gone(own.ContainerRemove(context.Background(), theirs.ID, container.RemoveOptions{Force: true})))
		must(t, gone(own.NetworkRemove(context.Background(), foreign.ID)))
		must(t, gone(own.VolumeRemove(context.Background(), others+"-volume", true)))
	})
	living, err := sweep(ctx, engine, func(r labelledRun) bool { return r.name == c.run && abandoned(engine)(r) })
	if err != nil || !slices.Contains(living.Living, c.run) {
		t.Errorf("a sweep beside a living run: %+v, %v", living, err)
	}
	for _, n := range c.Nodes() {
		status(t, c, n)
	}
	must(t, c.Freeze(ctx, "n1"))
	must(t, c.Crash(ctx, "n2"))
	must(t, c.Close())
	if n := left(t, c); n != 0 {
		t.Errorf("something of run %s is left", c.run)
	}
	again, _, err := connect(ctx)
	must(t, err)
	defer again.Close()
	inspected, err := again.ContainerInspect(ctx, theirs.ID)
	if err != nil || !inspected.State.Running || len(inspected.NetworkSettings.Networks) != 1 {
		t.Errorf("the other container: %+v, %v", inspected.State, err)
	}
	must(t, again.ContainerRemove(ctx, theirs.ID, container.RemoveOptions{Force: true}))
	must(t, again.NetworkRemove(ctx, foreign.ID))
	must(t, again.VolumeRemove(ctx, others+"-volume", true))
	// Networks of other tests, with rules of their own, come and go meanwhile.
	rules, now := ofBridges(before, c.network.id, foreign.ID), ofBridges(hostRules(t), c.network.id, foreign.ID)
	if !slices.Equal(now, rules) {
		t.Errorf("the host's packet filter was\n%s\nand is\n%s", strings.Join(rules, "\n"), strings.Join(now, "\n"))
	}
}

var bridges = regexp.MustCompile(`br-[0-9a-f]{12}`)

// ofBridges are the rules that name no network's bridge, or one of these networks'.
func ofBridges(rules []string, networks ...string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(rule string) bool {
		bridge := bridges.FindString(rule)
		return bridge != "" && !slices.ContainsFunc(networks, func(id string) bool { return bridge == "br-"+id[:12] })
	})
}

// hostRules are the host's packet filters without their counters, as far as somebody can list them.
func hostRules(t *testing.T) (rules []string) {
	t.Helper()
	out, err := exec.Command("nft", "list", "ruleset").Output()
	if err != nil {
		t.Logf("the host's packet filter is not compared: nft list ruleset: %v", err)
		return nil
	}
	for line := range strings.Lines(string(out)) {
		rules = append(rules, counters.ReplaceAllString(strings.TrimSpace(line), ""))
	}
	return rules
}

var counters = regexp.MustCompile(`counter packets \d+ bytes \d+`)

// TestSweepRemovesWhatTheDeadHaveLeft, and only that.
func TestSweepRemovesWhatTheDeadHaveLeft(t *testing.T) {
	c := town(t, 1, nil)
	ctx := t.Context()
	cmd := exec.Command("true")
	must(t, cmd.Start())
	dead := self()
	dead.process = processID(cmd.Process.Pid)
	if dead.process == "" {
		dead.process = "1-1"
	}
	cmd.Wait()
	far := self()
	far.machine, far.process = "elsewhere", "1-1"
	orphan, away := "testdead"+suffix(), "testfar"+suffix()
	for run, who := range map[string]controller{orphan: dead, away: far} {
		marks := map[string]string{labelRun: run, labelController: who.String()}
		_, err := c.engine.VolumeCreate(ctx, volume.CreateOptions{Name: "assize-" + run, Labels: marks})
		must(t, err)
		_, err = c.engine.NetworkCreate(ctx, "assize-"+run, dockernet.CreateOptions{Driver: "bridge", Labels: marks})
		must(t, err)
	}
	defer removeRun(context.WithoutCancel(ctx), c.engine, orphan)
	defer removeRun(context.WithoutCancel(ctx), c.engine, away)
	mine := func(r labelledRun) bool { return slices.Contains([]string{orphan, away, c.run}, r.name) }
	swept, err := sweep(ctx, c.engine, func(r labelledRun) bool { return mine(r) && abandoned(c.engine)(r) })
	must(t, err)
	if !slices.Contains(swept.Volumes, "assize-"+orphan) || !slices.Contains(swept.Networks, "assize-"+orphan) {
		t.Errorf("swept %+v, want all of %s", swept, orphan)
	}
	if !slices.Contains(swept.Living, away) || !slices.Contains(swept.Living, c.run) || strings.Contains(strings.Join(swept.Volumes, " "), away) {
		t.Errorf("swept %+v, want neither another machine's run nor our own", swept)
	}
	status(t, c, "n1")
}

// TestTwoSweepAtOnce: two runs that begin at one time find what a third has left. Neither fails for what the other has removed, or is about to.
func TestTwoSweepAtOnce(t *testing.T) {
	c := town(t, 3, nil)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := removeRun(context.Background(), c.engine, c.run); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := left(t, c); n != 0 {
		t.Errorf("something of run %s is left", c.run)
	}
	must(t, c.Close())
	c.Violations() // its containers have not died by themselves
}

// TestWhatCouldNotBeRemovedIsNotSaidToBe.
func TestWhatCouldNotBeRemovedIsNotSaidToBe(t *testing.T) {
	proxy := proxied(t)
	engine, _, err := connect(t.Context())
	must(t, err)
	defer engine.Close()
	run := "testkept" + suffix()
	_, err = engine.VolumeCreate(t.Context(), volume.CreateOptions{Name: "assize-" + run, Labels: labels(run)})
	must(t, err)
	defer removeRun(context.WithoutCancel(t.Context()), engine, run)
	proxy.fail("DELETE", 1<<30)
	if removed, err := removeAll(t.Context(), engine, run); wrong(err, "the test wills it") || len(removed.Volumes) > 0 {
		t.Errorf("removed %+v, %v", removed, err)
	}
	proxy.fail("", 0)
	if removed, err := removeAll(t.Context(), engine, run); err != nil || !slices.Equal(removed.Volumes, []string{"assize-" + run}) {
		t.Errorf("removed %+v, %v", removed, err)
	}
}

// TestInterruptionLeavesNothingBehind, not even what the engine was about to make when it came.
func TestInterruptionLeavesNothingBehind(t *testing.T) {
	proxy := proxied(t)
	engine, _, err := connect(t.Context())
	must(t, err)
	defer engine.Close()
	for _, making := range []string{"/networks/create", "/volumes/create", "/containers/create"} {
		ctx, interrupt := context.WithCancel(t.Context())
		proxy.delay(making, interrupt)
		if c, err := New(ctx, plan(t, 1)); err == nil {
			t.Errorf("%s: it came about", making)
			must(t, c.Close())
		}
		proxy.held.Wait()
		runs, err := runsOf(t.Context(), engine)
		must(t, err)
		for _, r := range runs {
			if r.controller == self().String() {
				t.Errorf("%s: run %s has left something", making, r.name)
				must(t, removeRun(t.Context(), engine, r.name))
			}
		}
	}
}

// TestImageInUseIsLeft, also where the container that uses it is down.
func TestImageInUseIsLeft(t *testing.T) {
	c := town(t, 1, nil)
	ctx := t.Context()
	name := "assize-test:" + suffix()
	p, err := c.place("n1")
	must(t, err)
	made, err := c.engine.ContainerCommit(ctx, p.id, container.CommitOptions{Reference: name})
	must(t, err)
	user, err := c.engine.ContainerCreate(ctx, &container.Config{Image: name, Cmd: []string{"nothing"}}, nil, nil, nil, "")
	must(t, err)
	t.Cleanup(func() {
		own, _, err := connect(context.Background())
		must(t, err)
		defer own.Close()
		must(t, gone(own.ContainerRemove(context.Background(), user.ID, container.RemoveOptions{Force: true})))
		_, err = own.ImageRemove(context.Background(), name, image.RemoveOptions{Force: true})
		must(t, gone(err))
	})
	i := image.Summary{ID: made.ID, RepoTags: []string{name}}
	if removed, err := removeImage(ctx, c.engine, i); err != nil || len(removed) > 0 {
		t.Errorf("removed %v, %v, want none", removed, err)
	}
	if _, err := c.engine.ImageInspect(ctx, name); err != nil {
		t.Error(err)
	}
	must(t, c.engine.ContainerRemove(ctx, user.ID, container.RemoveOptions{}))
	if removed, err := removeImage(ctx, c.engine, i); err != nil || !slices.Equal(removed, []string{name}) {
		t.Errorf("removed %v, %v, want %s", removed, err, name)
	}
}
