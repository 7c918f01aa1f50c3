package fleet

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func now() time.Duration { return time.Second }

// Behind the panic comes a trace of all goroutines, longer than any end of the log.
func TestJournalRemembersThePanic(t *testing.T) {
	j, err := NewJournal(filepath.Join(t.TempDir(), "server.log"), now, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	j.Line("all is well")
	j.Line("panic: log 7 is behind commit 9")
	for range 100 {
		j.Line("goroutine 1 [running]:")
	}
	if got := j.Ending(); len(got) != causeLines || got[0] != "panic: log 7 is behind commit 9" {
		t.Errorf("ending %q", got)
	}
	j.Begin()
	j.Line("next life")
	if got := j.Ending(); len(got) != 1 || got[0] != "next life" {
		t.Errorf("ending %q, want that of the next life", got)
	}
}

func TestJournalBreaksLongLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.log")
	j, err := NewJournal(path, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	j.Copy(io.MultiReader(strings.NewReader("one\r\ntwo\n"), strings.NewReader(strings.Repeat("x", 200<<10)), strings.NewReader("\nend")))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(string(b), "x"), 200<<10; got != want {
		t.Errorf("%d bytes of the long line, want %d", got, want)
	}
	if got, want := strings.Count(string(b), "\n"), 2+4+1; got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
	if tail := j.Ending(); tail[len(tail)-1] != "end" || tail[0] != "one" {
		t.Errorf("tail begins %q and ends %q", tail[0], tail[len(tail)-1])
	}
}
