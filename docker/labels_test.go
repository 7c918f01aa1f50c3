package docker

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

func TestControllersLifeAndDeath(t *testing.T) {
	me := self()
	if back, err := parseController(me.String()); err != nil || back != me {
		t.Errorf("%v reads as %v, %v", me, back, err)
	}
	if me.dead(true) {
		t.Error("this process is dead")
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^$")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	other := me
	other.process = processID(cmd.Process.Pid)
	if other.process == me.process || other.process == "" {
		t.Errorf("the other process is %q", other.process)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if !other.dead(true) {
		t.Error("a process that has ended is alive")
	}
	far := other
	far.machine = "another"
	if far.dead(true) {
		t.Error("nobody here can know that a controller of another machine is dead")
	}
	if runtime.GOOS == "linux" {
		past := me
		past.boot = "an earlier one"
		if !past.dead(true) {
			t.Error("a process has outlived its machine's life")
		}
		if past.dead(false) {
			t.Error("with an engine that several machines share, another life of this machine may be a clone's")
		}
		again := me
		again.process += "1"
		if !again.dead(true) {
			t.Error("a pid that is used again passes for the process before")
		}
	}
	for _, process := range []string{"", "-", "x", "x-1", "-1-1", "0-1"} {
		odd := me
		odd.process = process
		if odd.dead(true) {
			t.Errorf("process %q, which nobody can find, is dead", process)
		}
	}
	for _, s := range []string{"", "a", "a/b", "a/b/c/d"} {
		if c, err := parseController(s); err == nil {
			t.Errorf("%q is a controller: %v", s, c)
		}
	}
}
