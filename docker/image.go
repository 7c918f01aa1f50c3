package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/client"
)

// program is our own command, by its import path: what a node runs.
const program = "assize/cmd/assize"

// dockerfile of the nodes' image: nothing but the binary.
//
//go:embed Dockerfile
var dockerfile []byte

// prepareImage makes sure that the image is there, and returns a binary of the command that runs on this machine.
func (c *Cluster) prepareImage(ctx context.Context) (binary string, err error) {
	binary = c.config.Binary
	if binary == "" {
		if binary, err = os.Executable(); err != nil {
			return "", fmt.Errorf("find this executable: %w", err)
		}
	}
	own := binary
	if why := unfit(binary, c.about.Arch); why != nil {
		if binary, err = rebuilt(ctx, own, c.about.Arch, c.config.Progress); err != nil {
			return "", fmt.Errorf("%s cannot run in an empty container (%w), and could not be built anew: %w", own, why, err)
		}
	}
	c.image, err = makeImage(ctx, c.engine, binary, c.config.Progress)
	if runtime.GOOS == "linux" && runtime.GOARCH == c.about.Arch {
		return binary, err
	}
	return own, err
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// unfit tells why an executable cannot run in an empty container of this architecture; nil: it can. One that wants an interpreter is dynamic.
func unfit(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("it is no Linux executable: %w", err)
	}
	defer f.Close()
	if want, known := machines[arch]; known && f.Machine != want {
		return fmt.Errorf("it is for %v, the engine's machine is %s", f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it is linked dynamically")
		}
	}
	if info, err := readMain(path); err != nil || info != program {
		return fmt.Errorf("it is %q, not %s", info, program)
	}
	return nil
}

// rebuilt is our command, built statically from the source that lies here. It is kept in the user's cache under the hash of the executable that
// asks for it, so that each is built once.
func rebuilt(ctx context.Context, own, arch string, tell func(string)) (string, error) {
	sum, err := hashOf(own)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "assize")
	path := filepath.Join(dir, "assize-"+arch+"-"+sum)
	if unfit(path, arch) == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	forget(dir)
	tell("building a static binary for the nodes")
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer os.Remove(fresh)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", fresh, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w: %s; build this command with CGO_ENABLED=0, or run it in its source tree", program, err, firstLine(out))
	}
	if err := unfit(fresh, arch); err != nil {
		return "", err
	}
	return path, os.Rename(fresh, path)
}

// forget removes all but the newest few binaries.
func forget(dir string) {
	const most = 8
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < most {
		return
	}
	oldest, at := "", int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), "assize-") && (oldest == "" || info.ModTime().UnixNano() < at) {
			oldest, at = e.Name(), info.ModTime().UnixNano()
		}
	}
	os.Remove(filepath.Join(dir, oldest))
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// makeImage builds the image of this binary, unless there is one: it is named by the binary's hash.
func makeImage(ctx context.Context, engine *client.Client, binary string, tell func(string)) (name string, err error) {
	sum, err := hashOf(binary)
	if err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	name = "assize:" + sum
	if _, err := engine.ImageInspect(ctx, name); err == nil {
		return name, nil
	} else if !cerrdefs.IsNotFound(err) {
		return "", fmt.Errorf("image %s: %w", name, err)
	}
	tell("building image " + name)
	files, err := buildContext(binary)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", name, err)
	}
	r, err := engine.ImageBuild(ctx, files, build.ImageBuildOptions{
		Tags: []string{name}, Remove: true, ForceRemove: true, Labels: map[string]string{labelImage: "true"}, Version: build.BuilderV1,
	})
	if err != nil {
		return "", fmt.Errorf("build image %s: %w", name, err)
	}
	defer r.Body.Close()
	return name, buildResult(name, r.Body)
}

func buildContext(binary string) (io.Reader, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name string
		mode int64
		body []byte
	}{{"Dockerfile", 0o644, dockerfile}, {"assize", 0o755, content}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.body))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	return &b, w.Close()
}

// buildResult reads the engine's report: a failed build answers 200 and says so within.
func buildResult(name string, report io.Reader) error {
	for d := json.NewDecoder(report); ; {
		var line struct {
			Error string `json:"error"`
		}
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("build image %s: %w", name, err)
		}
		if line.Error != "" {
			return fmt.Errorf("build image %s: %s", name, line.Error)
		}
	}
}

// readMain is the import path of an executable's main package.
func readMain(path string) (string, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	return info.Path, nil
}
