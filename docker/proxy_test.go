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
	"time"
)

// proxy stands before the engine and fails what it is told to.
type proxy struct {
	mu     sync.Mutex
	part   string // of the paths of the requests that fail
	times  int
	failed int
	late   string // of the paths of the requests that the engine hears of late, whoever has made them and still waits
	seen   func() // called when one of them has come
	held   sync.WaitGroup
}

// delay the requests whose method and path have this in them.
func (p *proxy) delay(part string, seen func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late, p.seen = part, seen
}

func (p *proxy) delays(r *http.Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.late == "" || !strings.Contains(r.Method+" "+r.URL.Path, p.late) {
		return false
	}
	p.held.Add(1)
	p.seen()
	return true
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
		if p.delays(r) {
			defer p.held.Done()
			<-time.After(300 * time.Millisecond)
			whatever, end := context.WithCancel(context.WithoutCancel(r.Context())) // one that cannot end has the proxy look for the client itself
			defer end()
			r = r.WithContext(whatever)
		}
		through.ServeHTTP(w, r)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+l.Addr().String())
	return p
}
