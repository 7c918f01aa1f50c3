package report

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"assize/checkers"
)

// Text is what a terminal gets to see at the end. dir is the run's directory; empty: it was not kept.
func Text(v Verdict, dir string) string {
	var b strings.Builder
	if v.Broken == "" {
		fmt.Fprintf(&b, "%s  %s: %s\n", v.Verdict, v.Short, context(v))
	} else {
		fmt.Fprintf(&b, "%s  the test itself failed: %s\n  %s\n  what was recorded is %s: %s\n", v.Verdict, context(v), clean(oneLine(v.Broken)), v.Recorded, clean(v.Headline))
	}
	if e := v.decisive(); e != nil {
		e.write(&b)
	}
	v.table(&b)
	if v.Expect != nil {
		not := "as"
		if !v.AsExpected {
			not = "not as"
		}
		fmt.Fprintf(&b, "  %s claim %s expects\n", not, clean(v.Expect.Claim))
	}
	if dir != "" {
		fmt.Fprintf(&b, "replay  assize run --plan %s\n", shell(filepath.Join(dir, "plan.json")))
		fmt.Fprintf(&b, "check   assize check %s\n", shell(dir))
		if v.Plan.Record {
			fmt.Fprintf(&b, "nodes   assize node replay %s\n", shell(dir))
		}
	}
	return b.String()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// context of a verdict: what was tried, where, for how long.
func context(v Verdict) string {
	p := v.Plan
	length := plain(p.Time)
	if storm := v.Counts.Storm; storm > 0 && storm < p.Time*9/10 {
		length = fmt.Sprintf("%.1f of %s", storm.Seconds(), length)
	}
	words := []string{p.Target, p.Cluster, p.Workload, length, "seed " + strconv.FormatUint(p.Seed, 10)}
	if p.Read != "" {
		words = append(words, "read "+p.Read)
	}
	if p.Flaw != "" {
		words = append(words, "flaw "+p.Flaw)
	}
	return clean(strings.Join(words, ", "))
}

// plain seconds where a duration has whole ones.
func plain(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return d.String()
}

// decisive is the evidence behind the verdict: of the first judgement that is violated, else the first that there is.
func (v *Verdict) decisive() *Evidence {
	for i, e := range v.Evidence {
		if e.Verdict == checkers.Invalid {
			return &v.Evidence[i]
		}
	}
	if v.Verdict == Valid || v.Recorded == Valid || len(v.Evidence) == 0 {
		return nil
	}
	return &v.Evidence[0]
}

func (e *Evidence) write(b *strings.Builder) {
	rows := make([][]string, 0, len(e.Items))
	for n, i := range e.Items {
		who := i.Process
		if i.Node != "" {
			who += " on " + i.Node
		}
		if i.NodeRole != "" {
			who += " (" + i.NodeRole + ")"
		}
		rows = append(rows, []string{strconv.Itoa(n+1) + " #" + strconv.Itoa(i.Invoke), who, i.Operation, i.Role, i.Words})
	}
	columns(b, rows)
	for _, d := range e.Edges {
		fmt.Fprintf(b, "  %d before %d: %s\n", d.From, d.To, d.Why)
	}
	for _, why := range e.Why {
		fmt.Fprintf(b, "  %s\n", why)
	}
	for _, f := range e.Faults {
		fmt.Fprintf(b, "  fault: %s\n", f)
	}
}

// table of the judgements.
func (v *Verdict) table(b *strings.Builder) {
	var rows [][]string
	for _, j := range v.Judgements {
		label, word := j.Checker, map[checkers.Verdict]string{checkers.Valid: "holds", checkers.Invalid: "violated", checkers.Unknown: "unknown"}[j.Verdict]
		if w, known := words[j.Checker]; known {
			label = w.label
		}
		note := clean(j.Words)
		if note == "" && j.Judged > 0 {
			note = thousands(j.Judged) + " " + clean(j.Unit)
		}
		rows = append(rows, []string{label, word, note, took(j.Took)})
	}
	if s := v.Stale; s != nil {
		note := ""
		if s.Stale > 0 {
			note = fmt.Sprintf("by %.3f s at most; acknowledged writes that one read missed: %d at most", s.Time.Seconds(), s.Versions)
		}
		rows = append(rows, []string{"behind acknowledged writes", fmt.Sprintf("%s of %s reads", thousands(s.Stale), thousands(s.Reads)), note})
	}
	columns(b, rows)
}

func took(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// widest column that pads those below it: a long sentence must not push everything else off the screen.
const widest = 60

// columns writes rows with two spaces before and between their cells. A column that is empty in all rows is left out.
func columns(b *strings.Builder, rows [][]string) {
	var width []int
	for _, row := range rows {
		for c, cell := range row {
			if c == len(width) {
				width = append(width, 0)
			}
			width[c] = max(width[c], min(len([]rune(cell)), widest))
		}
	}
	for _, row := range rows {
		line := ""
		for c, cell := range row {
			if width[c] > 0 {
				line += "  " + cell + strings.Repeat(" ", max(0, width[c]-len([]rune(cell))))
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// thousands groups the digits of n by commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// shell quotes a path where a shell would take it apart.
func shell(path string) string {
	if strings.ContainsAny(path, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
