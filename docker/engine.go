package docker

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/docker/docker/client"
)

// Engine is what is known of a Docker engine that answers.
type Engine struct {
	Version string // such as 20.10.24
	API     string // that was agreed on
	Arch    string // of its machine, in Go's words
	Host    string // name or address of its machine, as clients reach it
	Direct  bool   // containers' addresses can be reached from here
}

// pingBound is how long an engine may take to say that it is there.
const pingBound = 3 * time.Second

// Find asks the engine that DOCKER_HOST names, or this machine's.
func Find(ctx context.Context) (Engine, error) {
	c, about, err := connect(ctx)
	if err != nil {
		return about, err
	}
	return about, c.Close()
}

// connect speaks the newest API that both sides know: engines from 1.24 on.
func connect(ctx context.Context) (*client.Client, Engine, error) {
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, Engine{}, fmt.Errorf("docker: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, pingBound)
	defer cancel()
	v, err := c.ServerVersion(ctx)
	if err != nil {
		c.Close()
		return nil, Engine{}, fmt.Errorf("no Docker engine answers at %s: %w", c.DaemonHost(), err)
	}
	if v.Os != "linux" {
		c.Close()
		return nil, Engine{}, fmt.Errorf("the Docker engine at %s runs %s containers; nodes are Linux programs", c.DaemonHost(), v.Os)
	}
	about := Engine{Version: v.Version, API: c.ClientVersion(), Arch: goArch(v.Arch), Host: "127.0.0.1"}
	if at, err := url.Parse(c.DaemonHost()); err == nil && at.Hostname() != "" {
		about.Host = at.Hostname()
	}
	// Docker Desktop's containers live in a virtual machine whose network is not ours.
	about.Direct = runtime.GOOS == "linux" && strings.HasPrefix(c.DaemonHost(), "unix://") && !desktop(v.Platform.Name)
	return c, about, nil
}

// whole is for the making of what somebody will have to remove: an interruption does not keep the engine from making what it has been asked for, perhaps
// after all that could be seen of the run has been removed.
func whole(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), engineBound)
}

func desktop(platform string) bool { return strings.Contains(platform, "Desktop") }

func goArch(arch string) string {
	switch arch {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return arch
}
