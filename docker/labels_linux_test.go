package docker

import (
	"os"
	"syscall"
	"testing"
)

// TestWhoCannotBeSeenMayLive: one whose run is at work must not be taken for dead because this process has run out of files, or may not look.
func TestWhoCannotBeSeenMayLive(t *testing.T) {
	me := self()
	var files syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: files.Max}))
	lives := !ended(os.Getpid(), "") && !me.dead(true) && processID(os.Getpid()) == ""
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files))
	if !lives {
		t.Error("without files to look with this process is dead")
	}
}
