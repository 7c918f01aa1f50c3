package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"assize/harness"
)

// progress tells of a run on stderr: on a terminal one line redrawn at most ten times a second, elsewhere a line every 10 s.
type progress struct {
	w        io.Writer
	terminal bool
	now      func() time.Time
	plan     harness.Plan

	last    time.Time // line
	drawn   bool
	since   harness.Progress // what the rate is counted from
	counted time.Time
	rate    float64
}

// newProgress returns nil where nothing is to be told.
func newProgress(w io.Writer, quiet bool, p harness.Plan) *progress {
	if quiet {
		return nil
	}
	return &progress{w: w, terminal: terminal(w), now: time.Now, plan: p}
}

// terminal tells whether w is a terminal that can redraw a line.
func terminal(w io.Writer) bool {
	f, isFile := w.(*os.File)
	if !isFile || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *progress) update(h harness.Progress) {
	if p == nil {
		return
	}
	now := p.now()
	if p.last.IsZero() {
		p.counted, p.since = now, h
		if !p.terminal {
			p.last = now // the first line of a pipe comes after 10 s
		}
	}
	if d := now.Sub(p.counted); d >= time.Second {
		p.rate = float64(done(h)-done(p.since)) / d.Seconds()
		p.counted, p.since = now, h
	}
	every := 10 * time.Second
	if p.terminal {
		every = 100 * time.Millisecond
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	p.print(p.line(h))
}

func done(h harness.Progress) int { return h.OK + h.Fail + h.Info }

// print draws a line over the one before. Wrapping is off meanwhile, since a line that wraps cannot be redrawn.
func (p *progress) print(line string) {
	if p.terminal {
		p.drawn = true
		fmt.Fprintf(p.w, "\r\x1b[?7l%s\x1b[K\x1b[?7h", line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// end makes room for what comes next.
func (p *progress) end() {
	if p != nil && p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *progress) line(h harness.Progress) string {
	words := []string{
		strings.Join([]string{p.plan.Target, p.plan.Cluster, p.plan.Workload}, " "),
		fmt.Sprintf("%.1f/%g s", min(h.At, p.plan.Time).Seconds(), p.plan.Time.Seconds()),
		fmt.Sprintf("%.0f ops/s", p.rate),
		fmt.Sprintf("ok %d info %d fail %d", h.OK, h.Info, h.Fail),
	}
	if h.Phase != "storm" {
		words = append(words, h.Phase)
	}
	if h.Leader != "" {
		words = append(words, fmt.Sprintf("leader %s (%d)", h.Leader, h.Term))
	} else {
		words = append(words, "no leader")
	}
	for _, f := range h.Active {
		words = append(words, fmt.Sprintf("F%d %s", f.ID, f.What))
	}
	return strings.Join(words, "  ")
}
