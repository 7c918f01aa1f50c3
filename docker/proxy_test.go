package docker

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// proxy stands before the engine and fails what it is told to.
type proxy struct {
	mu     sync.Mutex
	part   string // of the paths of the requests that fail
	times  int
	failed int
}

// fail the next requests whose method and path have this in them; nothing where times is 0.
func (p *proxy) fail(part string, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part, p.times, p.failed = part, times, 0
}

func (p *proxy) fails(r *http.Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed >= p.times || !strings.Contains(r.Method+" "+r.URL.Path, p.part) {
		return false
	}
	p.failed++
	return true
}

// proxied has all that this test asks of the engine go by way of a proxy.
func proxied(t *testing.T) *proxy {
	t.Helper()
	engine, _, err := connect(t.Context())
	if err != nil {
		t.Skip(err)
	}
	at, local := strings.CutPrefix(engine.DaemonHost(), "unix://")
	must(t, engine.Close())
	if !local {
		t.Skip("the engine is not on a unix socket")
	}
	p := &proxy{}
	through := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	through.FlushInterval = -1
	through.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", at)
	}}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "engine.sock"))
	must(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.fails(r) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"message":"the test wills it"}`)
			return
		}
		through.ServeHTTP(w, r)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+l.Addr().String())
	return p
}
