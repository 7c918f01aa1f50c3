package daemon

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Build names a program. Two that are equal are the same file, where Digest is not empty.
type Build struct {
	Version string // of the source: commit, with a + where it was changed, or what else is known
	Go      string
	System  string // e.g. linux/amd64
	Digest  string // of the executable
}

// ThisBuild is the running program's.
func ThisBuild() Build {
	b := Build{Version: "unknown", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Digest: digest()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	changed := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Version = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	b.Version += changed
	return b
}

// digest of the executable: a version does not tell two builds of a changed tree apart.
func digest() string {
	name, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

func (b Build) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", b.Version, b.Go, b.System, b.Digest)), " ")
}
