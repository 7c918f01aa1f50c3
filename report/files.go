package report

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"assize/harness"
)

// Names of the files in a run's directory.
const (
	PlanFile    = "plan.json"
	EnvFile     = "env.json"
	HistoryFile = "history.jsonl"
	StatusFile  = "status.jsonl"
	VerdictFile = "verdict.json"
	SummaryFile = "summary.txt"
)

// Env is env.json: by which build, on which machine, with which powers.
type Env struct {
	Version string   `json:"version"`
	Commit  string   `json:"commit"`
	Dirty   bool     `json:"dirty"`
	Go      string   `json:"go"`
	System  string   `json:"system"`
	CPUs    int      `json:"cpus"`
	Powers  []string `json:"powers"`            // of the cluster
	Lacking []string `json:"lacking"`           // with the reasons
	Choices []string `json:"choices,omitempty"` // by what means powers are exercised where there is more than one
}

// Environment of this process.
func Environment(powers, lacking, choices []string) Env {
	e := Env{
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Powers: powers, Lacking: lacking, Choices: choices,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		e.Version = info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				e.Commit = s.Value
			case "vcs.modified":
				e.Dirty = s.Value == "true"
			}
		}
		if e.Commit == "" {
			e.Commit, e.Dirty = checkout(info.Main.Path)
		}
	}
	return e
}

// checkout tells the commit of the work tree here, if it is the module's own: `go run` stamps nothing into what it builds.
func checkout(module string) (commit string, dirty bool) {
	mod, err := os.ReadFile("go.mod")
	if first, _, _ := strings.Cut(string(mod), "\n"); err != nil || first != "module "+module {
		return "", false
	}
	head, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return "", false
	}
	changed, err := exec.Command("git", "status", "--porcelain").Output()
	return strings.TrimSpace(string(head)), err != nil || len(changed) > 0
}

// Begin writes what is known before the storm.
func Begin(dir string, p harness.Plan, e Env) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, PlanFile), p); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, EnvFile), e)
}

// Save writes the verdict, its text and the checkers' files.
func Save(dir string, v Verdict) error {
	for name, b := range v.Files {
		// A name is a checker's, which has it from the history: it stays within the directory.
		if name = filepath.Base(filepath.Clean("/" + name)); name == "/" || name == "." {
			return fmt.Errorf("a checker's file has no name")
		}
		if err := write(filepath.Join(dir, name), b); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(dir, SummaryFile), []byte(Text(v, dir))); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, VerdictFile), v)
}

// JSON is verdict.json.
func JSON(v Verdict) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return write(path, append(b, '\n'))
}

// write replaces the file at once: a controller that is killed leaves the old one or the new one.
func write(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o666); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
