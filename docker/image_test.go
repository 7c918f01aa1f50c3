package docker

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestExecutablesThatAreUnfit(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unfit(text, runtime.GOARCH); err == nil || !strings.Contains(err.Error(), "no Linux executable") {
		t.Errorf("a script: %v", err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	if err := unfit(os.Args[0], runtime.GOARCH); err == nil {
		t.Error("a test is our command")
	}
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	if err := unfit(os.Args[0], other); err == nil || !strings.Contains(err.Error(), "the engine's machine is "+other) {
		t.Errorf("another machine's: %v", err)
	}
	if sh, err := exec.LookPath("sh"); err == nil {
		if err := unfit(sh, runtime.GOARCH); err == nil || !strings.Contains(err.Error(), "dynamically") {
			t.Errorf("sh: %v", err)
		}
	}
}

// TestRebuiltOnce: the second time the binary is there.
func TestRebuiltOnce(t *testing.T) {
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Skipf("no go command: %v", err)
	}
	t.Setenv("GOCACHE", strings.TrimSpace(string(cache))) // it would move with the other one, and all be compiled anew
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	told := 0
	tell := func(string) { told++ }
	var paths []string
	for range 2 {
		path, err := rebuilt(t.Context(), os.Args[0], runtime.GOARCH, tell)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if paths[0] != paths[1] || told != 1 {
		t.Errorf("%v, built %d times", paths, told)
	}
	if err := unfit(paths[0], runtime.GOARCH); err != nil {
		t.Errorf("what was built: %v", err)
	}
}

func TestBuildReports(t *testing.T) {
	for report, want := range map[string]string{
		`{"stream":"Step 1/3"}` + "\n" + `{"aux":{"ID":"sha256:1"}}`: "",
		`{"stream":"Step 1/3"}` + "\n" + `{"error":"no space left"}`: "no space left",
		`{"stream":`: "unexpected EOF",
		`<html></a>`: "invalid character",
	} {
		err := buildResult("assize:1", strings.NewReader(report))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", report, err, want)
		}
	}
}

func TestSavedFilesStayWithinTheDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"record/1.rec", "../../up", "/abs", `..\..\win`, "a/../../b"} {
		if err := save(filepath.Join(dir, "in"), name, strings.NewReader("x")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside are %v, %v", entries, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "in", "record", "1.rec")); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

func FuzzBuildReport(f *testing.F) {
	f.Add(`{"error":"x"}`)
	f.Fuzz(func(t *testing.T, s string) {
		var r io.Reader = strings.NewReader(s)
		buildResult("x", r) // must end, and not panic
	})
}
