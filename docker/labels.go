package docker

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Labels of all that is made.
const (
	labelRun        = "assize.run"        // which run
	labelController = "assize.controller" // whose: see controller
	labelNode       = "assize.node"       // of a container or volume: n1
	labelImage      = "assize.image"
)

func labels(run string) map[string]string {
	return map[string]string{labelRun: run, labelController: self().String()}
}

// controller is a process that has made containers: on which machine, in which of its lives, and which process.
type controller struct {
	machine string // no other machine's, nor another process namespace's
	boot    string
	process string // pid and time of start, since pids are used again
}

// self is this process. Where its start cannot be read nobody will ever find it dead.
func self() controller {
	machine, boot := identity()
	return controller{machine, boot, processID(os.Getpid())}
}

func (c controller) String() string { return c.machine + "/" + c.boot + "/" + c.process }

func parseController(s string) (controller, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return controller{}, fmt.Errorf("controller %q", s)
	}
	return controller{parts[0], parts[1], parts[2]}, nil
}

// dead tells whether c is a controller of this machine that certainly lives no more: what is only not to be seen may be alive, and somebody who takes
// it for dead removes its run. Of other machines' nobody here can know. here: the engine is this machine's. One that several machines share
// may hold runs of a clone of this machine, with the same id; it is in another of its lives.
func (c controller) dead(here bool) bool {
	machine, boot := identity()
	if c.machine != machine {
		return false
	}
	if c.boot != boot {
		return here && c.boot != "" && boot != ""
	}
	number, start, _ := strings.Cut(c.process, "-")
	pid, err := strconv.Atoi(number)
	return err == nil && pid > 0 && ended(pid, start)
}
