package history

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const recordTo = "ASSIZE_TEST_RECORD_TO"

// TestMain makes of this binary a controller that records until it is killed, and says after each event that it is on record.
func TestMain(m *testing.M) {
	path := os.Getenv(recordTo)
	if path == "" {
		os.Exit(m.Run())
	}
	f, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	r := NewRecorder(f, func() time.Duration { return 0 })
	for {
		op := r.Record(ev(1, Invoke, Mop{F: Read, Key: "k"}))
		fmt.Println(op.Index)
	}
}

// TestKilledController: whatever had been told that it was on record is on record after a SIGKILL.
func TestKilledController(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), recordTo+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	told := 0
	for in := bufio.NewScanner(out); in.Scan(); told++ {
		if told == 5000 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait()
	ops, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if told < 5000 || len(ops) < told {
		t.Errorf("got %d events in the file, want at least the %d that were on record", len(ops), told)
	}
}
