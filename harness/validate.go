package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"assize/workloads"
)

// Ways in which clients choose a node.
const (
	Pinned     = "pinned"      // each client keeps to one node
	RoundRobin = "round-robin" // each operation goes to the next node
	Random     = "random"      // each operation goes to any node
)

// Strategies are the allowed values of Plan.Strategy.
var Strategies = []string{Pinned, RoundRobin, Random}

// Ways in which links between containers are cut.
const (
	CutPackets    = "packets"
	CutDisconnect = "disconnect"
)

// Cuts are the allowed values of Plan.Cut.
var Cuts = []string{CutPackets, CutDisconnect}

// Allowed are the values that a plan may take for what this package does not know.
type Allowed struct {
	Targets, Clusters, Nemeses []string
	Observed                   []string // targets that can have observers
	Modes, Flaws               []string // of the plan's target
}

// FieldError is what is wrong with one field of a plan.
type FieldError struct{ Field, Reason string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// Fill puts defaults where the plan has zeros.
func (p *Plan) Fill() {
	def(&p.Format, 1)
	def(&p.Target, "raft")
	def(&p.Cluster, "local")
	def(&p.Nodes, 5)
	def(&p.Workload, "register")
	def(&p.Time, 20*time.Second)
	def(&p.Rate, 100)
	def(&p.Clients, 10)
	def(&p.Strategy, Pinned)
	def(&p.Timeout, time.Second)
	def(&p.Election, 300*time.Millisecond)
	def(&p.Heartbeat, p.Election/6)
	def(&p.Grace, 10*time.Second)
}

func def[T comparable](at *T, value T) {
	var zero T
	if *at == zero {
		*at = value
	}
}

// Validate says what is wrong with a plan that has been filled, naming the values that are allowed. Its errors are FieldErrors.
func (p *Plan) Validate(a Allowed) error {
	var names []string
	for _, w := range workloads.Table {
		names = append(names, w.Name)
	}
	w := p.Weather
	return first(
		bad("format", p.Format != 1, "%d is not known; this version knows 1", p.Format),
		choice("target", p.Target, a.Targets),
		choice("cluster", p.Cluster, a.Clusters),
		choice("workload", p.Workload, names),
		choices("nemesis", p.Nemesis, a.Nemeses),
		choice("cut", p.Cut, append([]string{""}, Cuts...)),
		bad("cut", p.Cut != "" && p.Cluster != "docker", "only links between containers can be cut in more than one way; --cluster must be docker"),
		choice("strategy", p.Strategy, Strategies),
		choice("read", p.Read, append([]string{""}, a.Modes...)),
		choice("flaw", p.Flaw, append([]string{""}, a.Flaws...)),
		bad("nodes", p.Nodes < 1 || p.Nodes > 99, "%d is not from 1 to 99", p.Nodes),
		bad("observers", p.Observers < 0 || p.Nodes+p.Observers > 99, "%d is not from 0 to %d, which makes 99 nodes", p.Observers, 99-p.Nodes),
		bad("observers", p.Observers > 0 && !slices.Contains(a.Observed, p.Target), "%s has no observers; those that have are %s", p.Target, list(a.Observed)),
		bad("clients", p.Clients < 1 || p.Clients > 10000, "%d is not from 1 to 10000", p.Clients),
		bad("rate", !(p.Rate > 0 && p.Rate <= 1e6), "%v is not above 0 and up to 1000000 operations a second", p.Rate),
		bad("time", p.Time <= 0 || p.Time > longest, "%v is not above 0 and up to %v", p.Time, longest),
		bad("timeout", p.Timeout <= 0 || p.Timeout > time.Hour, "%v is not above 0 and up to 1h", p.Timeout),
		bad("election", p.Election < 0 || p.Election > time.Hour, "%v is not from 0 to 1h", p.Election),
		bad("heartbeat", p.Heartbeat <= 0 || p.Heartbeat >= p.Election, "%v is not above 0 and below the election time-out %v", p.Heartbeat, p.Election),
		bad("grace", p.Grace < time.Second || p.Grace > time.Hour, "%v is not from 1s to 1h", p.Grace),
		probability("weather.loss", w.Loss), probability("weather.duplicate", w.Duplicate), probability("weather.tear", w.Tear),
		bad("weather.drift", !(w.Drift >= 0 && w.Drift < 1), "%v is not at least 0 and below 1", w.Drift),
		bad("weather.spread", !(w.Spread >= 0 && w.Spread <= 10), "%v is not from 0 to 10", w.Spread),
		bad("weather", w != (Weather{}) && p.Faults == nil && len(p.Nemesis) > 0 && w.Every+w.Hold < leastWeather,
			"every and hold are %v together; for faults to be drawn from them it takes %v at least", w.Every+w.Hold, leastWeather),
		bad("weather", w.Every < 0 || w.Hold < 0 || w.Delay < 0 || w.Sync < 0 || w.Snapshot < 0, "a time or a number is below 0"),
		p.validFaults(),
	)
}

const (
	longest      = 1000 * time.Hour // storm, and fault
	leastWeather = time.Millisecond // between two faults of one nemesis, on average, or there were no end of them
)

func (p *Plan) validFaults() error {
	seen := map[int]bool{}
	for i, f := range p.Faults {
		if !slices.Contains(p.Nemesis, f.Name) {
			return &FieldError{"faults", fmt.Sprintf("fault %d is a %q, but the plan's nemesis has only %s", i+1, f.Name, list(p.Nemesis))}
		}
		if f.ID < 1 || seen[f.ID] {
			return &FieldError{"faults", fmt.Sprintf("fault %d has the id %d; ids are from 1 and unique", i+1, f.ID)}
		}
		if f.At < 0 || f.For < 0 || f.At > longest || f.For > longest {
			return &FieldError{"faults", fmt.Sprintf("fault %d begins at %v and lasts %v; both must be from 0 to %v", i+1, f.At, f.For, longest)}
		}
		seen[f.ID] = true
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func bad(field string, is bool, format string, args ...any) error {
	if !is {
		return nil
	}
	return &FieldError{field, fmt.Sprintf(format, args...)}
}

func probability(field string, x float64) error {
	return bad(field, !(x >= 0 && x <= 1), "%v is not from 0 to 1", x)
}

func choice(field, value string, allowed []string) error {
	return bad(field, !slices.Contains(allowed, value), "unknown value %q; allowed are %s", value, list(allowed))
}

func choices(field string, values, allowed []string) error {
	for i, v := range values {
		if err := choice(field, v, allowed); err != nil {
			return err
		}
		if slices.Contains(values[:i], v) {
			return &FieldError{field, fmt.Sprintf("%q is named twice", v)}
		}
	}
	return nil
}

func list(values []string) string {
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
	if len(values) == 0 {
		return "none"
	}
	return strings.Join(values, ", ")
}

// ParsePlan reads a plan.json. name is the file's, for the error, which says at which line the file is wrong.
func ParsePlan(name string, b []byte) (Plan, error) {
	var p Plan
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&p)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			return Plan{}, fmt.Errorf("%s:%d: there is more behind the plan", name, lineAt(b, d.InputOffset()))
		}
		return p, nil
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch field, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); {
	case errors.As(err, &syntax):
		return Plan{}, fmt.Errorf("%s:%d: %w", name, lineAt(b, syntax.Offset), err)
	case errors.As(err, &kind):
		return Plan{}, fmt.Errorf("%s:%d: %s is a %s, want %s", name, lineAt(b, kind.Offset), kind.Field, kind.Value, kind.Type)
	case unknown:
		return Plan{}, fmt.Errorf("%s:%d: unknown field %s", name, lineOf(b, strings.Trim(field, `"`)), field)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Plan{}, fmt.Errorf("%s:%d: the file ends within the plan", name, lineAt(b, int64(len(b))))
	}
	return Plan{}, fmt.Errorf("%s: %w", name, err)
}

// Locate puts file and line before a FieldError of the plan that b holds.
func Locate(name string, b []byte, err error) error {
	var field *FieldError
	if !errors.As(err, &field) {
		return fmt.Errorf("%s: %w", name, err)
	}
	path := strings.Split(field.Field, ".")
	return fmt.Errorf("%s:%d: %w", name, lineOf(b, path[len(path)-1]), err)
}

func lineAt(b []byte, offset int64) int {
	return 1 + bytes.Count(b[:min(max(offset, 0), int64(len(b)))], []byte("\n"))
}

// lineOf finds the line on which a field is named; the first where it is not.
func lineOf(b []byte, field string) int {
	return lineAt(b, int64(max(0, bytes.Index(b, []byte(`"`+field+`"`)))))
}
