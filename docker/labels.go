package docker

import (
	"fmt"
	"os"
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

// dead tells whether c is a controller of this machine that lives no more. Of other machines' nobody here can know.
func (c controller) dead() bool {
	machine, boot := identity()
	if c.machine != machine {
		return false
	}
	if c.boot != boot {
		return true
	}
	var pid int
	if _, err := fmt.Sscanf(c.process, "%d-", &pid); err != nil {
		return true
	}
	return processID(pid) != c.process
}
